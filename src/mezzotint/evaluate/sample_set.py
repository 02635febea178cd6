"""Pictures (or points) to be judged: made by a model, or read from a folder or an npz file."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from mezzotint.conditions.labels import Word
from mezzotint.data.classes import renumbered
from mezzotint.data.images import load_pictures
from mezzotint.data.splits import ALL
from mezzotint.data.texts import CLASSES, named
from mezzotint.errors import DataError
from mezzotint.evaluate.reference import MAX_BYTES, SILENT, Progress, Reference
from mezzotint.model.model import Model
from mezzotint.model.spread import things
from mezzotint.train.distributed import ALONE, Ranks


@dataclass(frozen=True)
class SampleSet:
    """values: pictures uint8 (N, C, H, W), or points float32 (N, 2). labels: (N,) int64, the requested class of each,
    numbered as in the reference, or None. nearest: (N, C, H, W), each one's nearest training picture, once it is known. folder: of the run that made them."""

    name: str
    values: Tensor
    labels: Tensor | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    nearest: Tensor | None = None
    folder: Path | None = None

    def first(self, n: int) -> "SampleSet":
        """n of them. Raises DataError where there are fewer: numbers with different n cannot be compared."""
        if len(self.values) < n:
            raise DataError(
                f"{self.name} has {len(self.values):,}, fewer than n = {n:,}; add -n {len(self.values)}"
            )
        if len(self.values) == n:
            return self
        index = torch.arange(n) * len(self.values) // n  # of all classes, in whatever order they come
        return replace(
            self, values=self.values[index], labels=None if self.labels is None else self.labels[index]
        )


def sample_set_of(
    model: Model,
    n: int,
    seed: int = 0,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
    **settings: Any,
) -> SampleSet:
    """n samples of a model, of all classes in turn, by its own sampling defaults or other settings. ranks: which share the work
    and all get the samples."""
    began = time.perf_counter()
    request = model.request(n, label=Word.ALL if model.classes else None, seed=seed, **settings)
    watch = partial(progress, f"sampling {model.source}")
    samples = model.finish(request, things(model, request, ranks, watch=watch))
    return SampleSet(
        model.source, samples.values, samples.labels, samples.settings, time.perf_counter() - began
    )


def samples_against(
    model: Model,
    reference: Reference,
    n: int,
    seed: int = 0,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
    **settings: Any,
) -> SampleSet:
    """As `sample_set_of`, with labels numbered as in a reference. A model that knows words is asked for the captions of the
    reference that it can read, in turn; or where names of classes are its captions for each of these."""
    names: Sequence[str] = model.classes
    classes: Sequence[str] = reference.classes
    prompts: Sequence[str] = ()
    by_class = model.config.data.captions == CLASSES and not names
    if by_class:
        names = prompts = model.facts.examples
        classes = named(classes)
    elif model.language is not None:
        prompts = [text for text in reference.captions if text and model.language.fits(text)]
    asked = {"prompt": list(prompts)} if prompts else {}
    samples = sample_set_of(model, n, seed, progress, ranks, **asked, **settings)
    if by_class:
        samples = replace(samples, labels=torch.arange(n) % len(names))
    if prompts:
        words = "names of the classes" if by_class else f"{len(prompts):,} captions of {reference.name}"
        samples = replace(samples, settings={**samples.settings, "prompt": words})
    return replace(samples, labels=by_name(samples.labels, names, classes))


def by_name(labels: Tensor | None, names: Sequence[str], classes: Sequence[str]) -> Tensor | None:
    """Labels (N,) that number `names`, as numbers of `classes` of the same names; None where one of them is not there."""
    if labels is None:
        return None
    numbers = torch.from_numpy(renumbered(labels.cpu().numpy(), names, classes))
    return numbers if bool((numbers >= 0).all()) else None


def read_samples(source: str, shape: tuple[int, ...] | None = None, classes: Sequence[str] = ()) -> SampleSet:
    """Pictures of a folder, decoded to shape (C, H, W), or of an npz file as `mezzotint sample` writes it (its `images`
    uint8 (N, H, W, C), or those of other programs, `arr_0`).

    classes: those of the reference. Sub-folders with their names, or `labels` in the file, are taken as what was asked
    for, joined by name where the file has the names in `classes`. Raises DataError.
    """
    path = Path(source)
    if path.suffix != ".npz":
        channels, size = (None, None) if shape is None else (shape[0], (shape[1], shape[2]))
        pictures = load_pictures(
            "folder", path, split=ALL, size=size, channels=channels, memory_limit=MAX_BYTES
        )
        images, labels = pictures.batch(torch.arange(len(pictures)))
        return SampleSet(path.name, images, by_name(labels, pictures.classes, classes))
    try:
        with np.load(path, allow_pickle=False) as file:
            key = "images" if "images" in file else "arr_0"
            values = torch.from_numpy(file[key])
            labels = torch.from_numpy(file["labels"]).long() if "labels" in file else None
            if labels is not None and "classes" in file:
                labels = by_name(labels, file["classes"].tolist(), classes)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; check the name") from error
    except (OSError, ValueError, KeyError, BadZipFile, TypeError, EOFError) as error:
        raise DataError(
            f"{path} is not an npz file of pictures ({error}); it should hold images, uint8 (N, H, W, C)"
        ) from error
    if values.ndim == 2 and values.shape[1] == 2 and values.is_floating_point():
        return SampleSet(path.name, values.float(), labels)
    if values.ndim == 4 and values.dtype == torch.uint8 and values.shape[3] in (1, 3):
        fits = labels is None or (len(labels) == len(values) and bool((labels < len(classes)).all()))
        return SampleSet(path.name, values.permute(0, 3, 1, 2).contiguous(), labels if fits else None)
    raise DataError(
        f"{path}: {key} is {values.dtype} {tuple(values.shape)}; it should be uint8 (N, H, W, C), or points (N, 2)"
    )
