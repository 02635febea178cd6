"""The real pictures that samples are compared with, and the judge: a network whose features of both are compared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mezzotint import cache
from mezzotint.config import Data
from mezzotint.data import scenes, toy
from mezzotint.data.classes import renumbered
from mezzotint.data.clips import check_still
from mezzotint.data.endings import few
from mezzotint.data.held_out import held_out_count, shuffled, split_set
from mezzotint.data.images import Pictures, load_pictures
from mezzotint.data.known import flips_by_default
from mezzotint.data.splits import ALL, split_of
from mezzotint.data.texts import CLASSES
from mezzotint.errors import ConfigError, DataError
from mezzotint.evaluate.judges.features import Extractor, Features, cached_features
from mezzotint.model.device import find_precision

Progress = Callable[[str, int, int], None]  # (what, done, of so many)
SHARED = "give all of them the same files, and one folder as MEZZOTINT_CACHE"  # where processes differ
SILENT: Progress = lambda what, done, total: None  # noqa: E731
MIN_REFERENCE_PICTURES = 500  # held-out pictures that make a reference
MAX_TUNING_PICTURES = (
    10_000  # training pictures to choose settings by, or half of the set where it is smaller
)
JUDGED = 3 * 10**9  # seeds of scenes that no training has
MAX_BYTES = 2**30  # of a part of a set that is held in memory; of larger ones, pictures spread over them


@dataclass(frozen=True)
class Reference:
    """Real pictures, decoded as the model's are.

    images: uint8 (M, C, H, W), with labels (M,) int64 where there are classes: what samples are compared with.
    words: a description for people. learn: uint8 (L, C, H, W), with labels: what a judge of the set is trained on, the
    same for every reference of a set; see `judge_parts`.
    captions: some of real pictures, for models that know words.
    train: uint8 (N, C, H, W): what the model was trained on. unseen: uint8, pictures that it has never seen.
    """

    name: str
    words: str
    images: Tensor
    labels: Tensor | None
    learn: Tensor
    learn_labels: Tensor | None
    train: Tensor
    unseen: Tensor
    classes: tuple[str, ...]
    flip: bool
    captions: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """A hash of the pictures."""
        return cache.digest(self.images)

    def features(self, extractor: Extractor, progress: Progress = SILENT) -> Features:
        """Of `images`; kept in the cache."""
        return cached_features(
            extractor,
            self.images,
            self.version,
            progress=lambda done, total: progress("features of the reference", done, total),
        )


class JudgeParts(NamedTuple):
    """Numbers of training pictures. choose: to choose settings by, those held out of training first; learn: those that a
    judge is trained on."""

    choose: Tensor
    learn: Tensor


def judge_parts(total: int, holdout: float, max_pictures: int) -> JudgeParts:
    """How the pictures of a training split are shared between a judge and whoever chooses settings by it: of pictures
    that a judge has learned, its features are clearer than of any others. `evaluate` and `tune` have one judge so.

    total: pictures of the split. holdout: the share held out of training. max_pictures: at most, of either part.
    """
    order = shuffled(total)  # the held-out pictures come first
    count = min(MAX_TUNING_PICTURES, max_pictures, total // 2)
    count = max(count, held_out_count(total, holdout))
    return JudgeParts(order[:count], order[count:][:max_pictures])


def open_reference(data: Data, size: tuple[int, int] | None = None, channels: int | None = None) -> Reference:
    """The reference for a run's data: its test split where there is one, then its validation split, then the part held
    out of training if that has 500 pictures, and else all that there are.

    size, channels: of the model's pictures. Raises DataError where there are no pictures.
    """
    if data.name in toy.TOYS:
        raise ConfigError(f"{data.name} is a set of points; it is compared with its exact density")
    if data.name == "scenes":
        return drawn_scenes()
    check_still(data)

    def pictures(split: str | None) -> Pictures:
        captions = None if data.captions == CLASSES else data.captions
        try:
            return opened(split, captions)
        except DataError:
            if not captions:
                raise
            return opened(split, None)  # another split may have none

    def opened(split: str | None, captions: bool | str | None) -> Pictures:
        return load_pictures(
            data.name,
            data.path,
            split=split,
            column=data.column,
            size=size or data.size,
            channels=channels or data.channels,
            limit=data.limit if split == data.split else None,
            only=data.only,
            # a judge may know classes that the model was not told of
            labels=data.labels if isinstance(data.labels, str) else None,
            captions=captions,
            background=data.background,
            memory_limit=int(data.memory_gb * 2**30),
        )

    whole = pictures(data.split)
    total = len(whole)
    parts = split_set(total, data.holdout)
    train, _ = _take(whole, parts.train)
    learn, learn_labels = whole.batch(judge_parts(total, data.holdout, max_pictures(whole)).learn)
    split = _first_split(pictures, data)
    captions = whole.captions or ()
    if split is not None:
        others, words = _by_name(split[1], whole, f"{split[0]} split of {data.name}")
        images, labels = _take(split[1], others)
        words = f"{words}, {len(images):,} pictures"
        if labels is not None:
            labels = torch.from_numpy(renumbered(labels.numpy(), split[1].classes, whole.classes))
            labels = labels if bool((labels >= 0).all()) else None
        unseen, captions = images, split[1].captions or captions
    else:
        unseen, labels = _take(whole, parts.held)
        images, words = unseen, f"part of {data.name} held out of training, {len(unseen):,} pictures"
        if len(parts.held) < MIN_REFERENCE_PICTURES:
            images, labels = _take(whole, torch.arange(total))
            words = f"all {len(images):,} pictures of {data.name}, training pictures included"
            words += ". A model that copies scores well here; only `memorization` shows it"
    return Reference(
        data.name,
        words,
        images,
        labels,
        learn,
        learn_labels,
        train,
        unseen,
        tuple(whole.classes) if labels is not None else (),
        flips_by_default(data.name) if data.flip is None else data.flip,
        tuple(captions),
    )


def drawn_scenes(n: int = 4000) -> Reference:
    """Captioned scenes that no training has, as a reference: as many again for a judge to learn from, and as many that training
    may have shown."""

    def drawn(seed: int, count: int) -> tuple[Tensor, list[str]]:
        some = [scenes.scene(seed, i) for i in range(count)]
        return torch.from_numpy(np.stack([one.pixels for one in some])), [str(one.whole) for one in some]

    (images, captions), (learn, _), (train, _) = (drawn(JUDGED + k, n) for k in range(3))
    words = f"{n:,} fresh scenes"
    return Reference(
        "scenes", words, images, None, learn, None, train, images, (), flip=False, captions=tuple(captions)
    )


def given_pictures(images: Tensor) -> Reference:
    """Real pictures uint8 (M, C, H, W) as a reference, without classes or any kept out of training."""
    if images.ndim != 4 or images.dtype != torch.uint8 or images.shape[1] not in (1, 3) or len(images) < 10:
        raise ConfigError(
            f"real pictures are uint8 (M, C, H, W), 10 at least, not {images.dtype} {list(images.shape)}; points are "
            f"compared with a set whose density is known, such as data={toy.TOYS[0]!r}"
        )
    images = images.cpu()
    return Reference(
        "the pictures given",
        f"{len(images):,} pictures given",
        images,
        None,
        images,
        None,
        images,
        images[:0],
        (),
        False,
    )


def _first_split(pictures: Callable[[str], Pictures], data: Data) -> tuple[str, Pictures] | None:
    """The split to judge by, and its pictures; None where there is none but the one that was trained on."""
    path = data.path
    if path is not None and path.expanduser().is_file():  # a single file is read whatever the split
        return None
    for name in ("test", "validation") if data.split != ALL else ():
        if data.split is not None and split_of(data.split) == name:
            continue
        try:
            return name, pictures(name)
        except DataError:
            continue
    return None


def _by_name(split: Pictures, whole: Pictures, words: str) -> tuple[Tensor, str]:
    """Which pictures of a split are of classes that training has, and what to call them."""
    numbers = torch.arange(len(split))
    if split.labels is None or whole.labels is None:
        return numbers, words
    known = torch.from_numpy(renumbered(split.labels.cpu().numpy(), split.classes, whole.classes)) >= 0
    if bool(known.all()):
        return numbers, words
    names = few([split.classes[k] for k in split.labels[~known].unique().tolist()])
    if not bool(known.any()):
        return numbers, f"{words}, whose classes ({names}) are none of those trained on and are not used"
    count = int((~known).sum())
    return numbers[known], f"{words}, without {count:,} of classes that were not trained on ({names})"


def _take(pictures: Pictures, index: Tensor) -> tuple[Tensor, Tensor | None]:
    """The pictures at `index`, or as many of them, evenly spread, as MAX_BYTES hold."""
    most = max_pictures(pictures)
    if len(index) > most:
        index = index[torch.arange(most) * len(index) // most]
    return pictures.batch(index)


def max_pictures(pictures: Pictures) -> int:
    """How many of a set MAX_BYTES hold."""
    return max(1, MAX_BYTES // (pictures.channels * pictures.size[0] * pictures.size[1]))


def open_judge(
    kind: str, reference: Reference, device: torch.device, progress: Progress = SILENT
) -> Extractor:
    """An extractor by name.

    auto: a classifier trained on the reference's training pictures, or without labels of its clusters; both are
    trained at their first use and kept. classifier, clusters: that one. inception=FILE: the network of published
    distances. dinov2, clip: from the hub; dinov2=PLACE: a folder, or a name on the hub. Raises ConfigError.
    """
    from mezzotint.evaluate.judges import classifier, clusters, inception, pretrained

    name, _, place = kind.partition("=")
    labels = reference.learn_labels
    dtype = find_precision("auto", device)

    def report(done: int, total: int) -> None:
        progress(f"training a classifier of {reference.name} to score with, once", done, total)

    match name:
        case "classifier" | "auto" if labels is not None and len(reference.classes) > 1:
            return classifier.cached_classifier(
                reference.learn,
                labels,
                len(reference.classes),
                flip=reference.flip,
                device=device,
                dtype=dtype,
                report=report,
            )
        case "classifier":
            raise ConfigError(f"{reference.name} has no classes to learn; use --extractor clusters")
        case "clusters" | "auto":
            return clusters.cached_clusters(
                reference.learn, flip=reference.flip, device=device, dtype=dtype, report=report
            )
        case "inception" if place:
            return inception.inception_extractor(Path(place).expanduser(), device)
        case "inception":
            raise ConfigError(
                "give the file of its weights: --extractor inception=pt_inception-2015-12-05-6726825d.pth"
            )
        case "dinov2" | "clip":
            return pretrained.pretrained_extractor(name, place or None, device)
        case _:
            raise ConfigError(
                f"--extractor {kind} is not one of auto, classifier, clusters, inception=FILE, dinov2, clip"
            )
