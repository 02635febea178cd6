"""What the trials of `tune` are scored by, and the pictures that are scored.

The judge is a classifier whose features are compared. It uses training data alone: the pictures held out of training and
a fixed part of the others are the reference, and the rest trains the classifier.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mezzotint import cache
from mezzotint.config import Data
from mezzotint.data import toy
from mezzotint.data.held_out import held_out_count
from mezzotint.data.images import load_pictures
from mezzotint.data.known import flips_by_default
from mezzotint.data.texts import CLASSES
from mezzotint.evaluate.judges.features import Features, extract, seen
from mezzotint.evaluate.metrics.energy import energy_distance
from mezzotint.evaluate.metrics.frechet import Moments, frechet_distance
from mezzotint.evaluate.metrics.scenes import judge as judge_scenes
from mezzotint.evaluate.reference import (
    SILENT,
    Progress,
    Reference,
    drawn_scenes,
    judge_parts,
    max_pictures,
    open_judge,
)
from mezzotint.evaluate.sample_set import SampleSet, sample_set_of, samples_against
from mezzotint.model.model import Model
from mezzotint.train.distributed import ALONE, Ranks

REFERENCE_POINTS = 2000
RESAMPLES = 10  # of a trial's pictures, for its standard error


@dataclass(frozen=True)
class Judge:
    """see: pictures or points to rows (n, d), and logits of the data's classes. distance: of rows to the real ones. ask: a model for
    n pictures of seeds, of all classes or captions in turn. right: pictures to whether each is what was asked, where that is told
    without logits."""

    kind: Literal["frechet", "energy"]
    words: str
    version: str
    see: Callable[[Tensor], Features]
    distance: Callable[[Tensor], float]
    ask: Callable[[Model, int, int, Progress, Ranks], SampleSet] = sample_set_of
    right: Callable[[Tensor], Tensor] | None = None


class Look(NamedTuple):
    """A judge's view of pictures. rows: (n, d). right: (n,) bool, whether each is what it was asked to be; None without classes."""

    rows: Tensor
    right: Tensor | None


def open_tuning_judge(model: Model, progress: Progress = SILENT) -> Judge:
    """The judge of a model's trials: the Fréchet distance in the features of a classifier (of clusters, where there are
    no classes), or the energy distance of points. Raises DataError where the data is not there."""
    data = model.config.data
    if data.name in toy.TOYS:
        points, _ = toy.points(
            data.name, REFERENCE_POINTS, (0, 0, 0, 2)
        )  # no seed of training has four words
        words = f"{REFERENCE_POINTS:,} fresh points of {data.name}"
        version = cache.digest(points)
        return Judge(
            "energy", words, version, lambda x: Features(x, None), lambda x: energy_distance(x, points)
        )
    reference = training_reference(data, model.facts.shape)
    extractor = open_judge("auto", reference, model.device, progress)
    moments = Moments.of(reference.features(extractor, progress).pool)
    by_class = data.captions == CLASSES  # then samples have labels numbered as in the reference
    knows_classes = extractor.labels and (by_class or reference.classes == model.classes)

    def see(images: Tensor) -> Features:
        pool, logits = extract(extractor, images)
        return Features(pool, logits if knows_classes else None)

    version = cache.digest(str(extractor), reference.version)

    def ask(model: Model, n: int, seed: int, progress: Progress, ranks: Ranks = ALONE) -> SampleSet:
        return samples_against(model, reference, n, seed, progress, ranks)

    def right(images: Tensor) -> Tensor:
        asked = [reference.captions[i % len(reference.captions)] for i in range(len(images))]
        return torch.tensor([verdict.all for verdict in judge_scenes(images, asked)])

    return Judge(
        "frechet",
        reference.words,
        version,
        see,
        lambda x: frechet_distance(Moments.of(x), moments),
        ask,
        right if data.name == "scenes" else None,
    )


def training_reference(data: Data, shape: tuple[int, ...]) -> Reference:
    """Real pictures to choose settings by, of the training split alone: those that runs hold out, and a fixed random part
    of the others, up to 10,000 or half of them. The judge learns from the rest, as that of `evaluate` does. shape: (C, H, W) of the model's pictures."""
    if data.name == "scenes":
        return drawn_scenes()
    whole = load_pictures(
        data.name,
        data.path,
        split=data.split,
        column=data.column,
        labels=data.labels if isinstance(data.labels, str) else None,
        size=(shape[1], shape[2]),
        channels=shape[0],
        limit=data.limit,
        only=data.only,
        captions=None if data.captions == CLASSES else data.captions,
        background=data.background,
        memory_limit=int(data.memory_gb * 2**30),
    )
    parts = judge_parts(len(whole), data.holdout, max_pictures(whole))
    count, held_out = len(parts.choose), held_out_count(len(whole), data.holdout)
    images, labels = whole.batch(parts.choose)
    learn, learn_labels = whole.batch(parts.learn)
    return Reference(
        name=data.name,
        words=f"{count:,} training pictures of {data.name}, {held_out:,} of them held out",
        images=images,
        labels=labels,
        learn=learn,
        learn_labels=learn_labels,
        train=images[held_out:],
        unseen=images[:held_out],
        classes=() if labels is None else tuple(whole.classes),
        flip=flips_by_default(data.name) if data.flip is None else data.flip,
        captions=tuple(whole.captions[i] for i in parts.choose.tolist()) if whole.captions else (),
    )


def standard_error(statistic: Callable[[Tensor], float], n: int, draws: int = RESAMPLES) -> float:
    """Of a statistic of n pictures' numbers (n,), by the bootstrap (Efron 1979)."""
    random = torch.Generator().manual_seed(0)
    values = [statistic(torch.randint(n, (n,), generator=random)) for _ in range(draws)]
    return float(torch.tensor(values, dtype=torch.float64).std())


def look(
    model: Model,
    judge: Judge,
    n: int,
    seed: int,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
) -> Look:
    """Makes n pictures of all classes in turn with a model's defaults, and has the judge see them; ranks share both."""
    samples = judge.ask(model, n, seed, progress, ranks)
    rows, logits = seen(judge.see, samples.values, ranks.spread)
    right = None if logits is None or samples.labels is None else logits.argmax(1) == samples.labels
    if judge.right is not None:
        right = judge.right(samples.values)
    return Look(rows, right)
