"""Do clips of bouncing digits stay one digit, and move as they should? Judged frame by frame.

The position of a digit is measured on its pixels (`metrics.motion`); its class by a classifier that was trained on the still
digits, each in the middle of the canvas, and has never seen a clip.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint.data import bouncing
from mezzotint.data.drawn import glyphs_of
from mezzotint.errors import ConfigError
from mezzotint.evaluate.continuation import Continuation, evaluate_continuation, lines
from mezzotint.evaluate.judges.classifier import cached_classifier
from mezzotint.evaluate.judges.features import Extractor, extract
from mezzotint.evaluate.metrics.frechet import Moments, frechet_distance
from mezzotint.evaluate.metrics.median import Median
from mezzotint.evaluate.metrics.motion import differences, frames, straightness, travel
from mezzotint.evaluate.metrics.share import Share
from mezzotint.evaluate.reference import SILENT, Progress
from mezzotint.model.model import Model
from mezzotint.model.spread import things
from mezzotint.train.distributed import ALONE, Ranks

CLIPS = 200  # that are judged, where nobody says how many
CLOSE = 1.0  # pixels from a straight path
REAL = 2 * 10**9  # the seed of real clips, which no training has


@dataclass(frozen=True)
class ScoredClips:
    """one_class: clips whose frames are all taken for one digit. asked: for the one that was asked for, where it was. straight: clips that
    lie within a pixel of a straight, mirrored path (root mean square); pixels: the median of that distance; travel: the median distance from its mean place.
    frames, changes: Fréchet distances of single frames, and of the differences between frames, to those of as many real clips. real: the same of
    real clips, held against other real ones. continued: how it goes on with clips whose first frames it is shown."""

    source: str
    n: int
    one_class: Share
    asked: Share | None
    straight: Share
    pixels: Median
    travel: Median
    frames: float
    changes: float
    real: "ScoredClips | None" = None
    continued: Continuation | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_clips(
    model: Model,
    n: int = CLIPS,
    seed: int = 0,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
    **settings: Any,
) -> ScoredClips:
    """Makes n clips, all classes in turn, and judges them; and continues as many real ones from their first frames.
    ranks: that share the sampling. settings: as of `Model.sample`. Raises ConfigError for a model that makes no such clips."""
    if model.config.data.name != "bouncing":
        raise ConfigError(f"{model.source} was not trained on bouncing digits, so its clips cannot be scored")
    glyphs = glyphs_of(model.config.data)
    judge = ranks.in_turn(lambda: still_judge(glyphs, progress))
    request = model.request(n, label="all" if model.classes else None, seed=seed, **settings)
    made = things(model, request, ranks, watch=partial(progress, "sampling"))
    real = [real_clips(glyphs, REAL, n), real_clips(glyphs, REAL + 1, n)]
    labels = request.cond.label.cpu() if request.cond.label is not None else None
    best = judge_clips("real", *real[1], judge, real[0][0])
    found = judge_clips(model.source, made, labels, judge, real[0][0])
    continued = evaluate_continuation(model, real[0][0], seed, progress, ranks, **settings)
    return replace(found, real=best, continued=continued)


def judge_clips(
    source: str, clips: Tensor, labels: Tensor | None, judge: Extractor, real: Tensor
) -> ScoredClips:
    """clips, real: uint8 (N, 1, T, 32, 32); labels: (N,) int64, the requested class of each."""
    n, length = len(clips), clips.shape[2]
    shown = extract(judge, centred(frames(clips)))
    assert shown.logits is not None
    taken = shown.logits.argmax(1).reshape(n, length)
    one = (taken == taken[:, :1]).all(1)
    asked = None if labels is None else Share.of(int((taken == labels[:, None]).all(1).sum()), n)
    pixels = straightness(clips)
    others = extract(judge, centred(frames(real)))
    moved, real_moved = extract(judge, differences(clips)), extract(judge, differences(real))
    return ScoredClips(
        source,
        n,
        Share.of(int(one.sum()), n),
        asked,
        Share.of(int((pixels <= CLOSE).sum()), n),
        Median.of(pixels),
        Median.of(travel(clips)),
        frechet_distance(Moments.of(shown.pool), Moments.of(others.pool)),
        frechet_distance(Moments.of(moved.pool), Moments.of(real_moved.pool)),
    )


def still_judge(glyphs: bouncing.Glyphs, progress: Progress = SILENT) -> Extractor:
    """A classifier of glyphs in the middle of the canvas; trained at its first use, and kept in the cache."""
    middle = [np.floor((bouncing.SIDE - np.array(one.shape)) / 2) for one in glyphs.pixels]
    images = np.stack([bouncing.draw(one, at) for one, at in zip(glyphs.pixels, middle)])[:, None]
    return cached_classifier(
        torch.from_numpy(images),
        torch.from_numpy(glyphs.labels),
        len(glyphs.classes),
        report=lambda done, total: progress("training the judge", done, total),
    )


def centred(pictures: Tensor) -> Tensor:
    """Pictures uint8 (N, C, H, W) with the box of their ink in the middle, by whole pixels; those without ink as they are."""
    moved = pictures.clone()
    ink = pictures.amax(1) >= bouncing.INK
    for i, there in enumerate(ink):
        shifts = []
        for axis in (1, 0):
            at = there.any(axis).nonzero()[:, 0]
            free = there.shape[1 - axis] - 1
            shifts.append((free - int(at[0]) - int(at[-1])) // 2 if len(at) else 0)
        moved[i] = pictures[i].roll(shifts, (1, 2))
    return moved


def real_clips(glyphs: bouncing.Glyphs, seed: int, n: int) -> tuple[Tensor, Tensor]:
    drawn = [bouncing.clip(seed, i, glyphs) for i in range(n)]
    return torch.from_numpy(np.stack([one.pixels for one in drawn])), torch.tensor(
        [one.label for one in drawn]
    )


def table(scored: Sequence[ScoredClips]) -> list[str]:
    """Lines of text: a row for every model, and one for real clips."""
    cells = [
        [
            "",
            "n",
            "one class",
            "as asked",
            f"within {CLOSE:g} px",
            "median px",
            "travel px",
            "Fréchet of frames",
            "of changes",
        ]
    ]
    rows = [*scored, *(one.real for one in scored[:1] if one.real)]
    for one in rows:
        shares = [_percent(one.one_class), _percent(one.asked), _percent(one.straight)]
        cells.append(
            [
                one.source,
                f"{one.n:,}",
                *shares,
                _interval(one.pixels),
                _interval(one.travel),
                f"{one.frames:.3g}",
                f"{one.changes:.3g}",
            ]
        )
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    aligned = ["  ".join(word.ljust(w) for word, w in zip(row, widths)).rstrip() for row in cells]
    return [
        *aligned,
        *(line for one in scored if one.continued for line in lines(one.source, one.continued)),
        "",
        "with 95 % intervals, shares in %; places by pixels alone, classes by a classifier of still digits",
    ]


def _interval(median: Median) -> str:
    return f"{median.value:.2f} ({median.low:.2f} to {median.high:.2f})"


def _percent(share: Share | None) -> str:
    if share is None:
        return "-"
    return f"{100 * share.value:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"
