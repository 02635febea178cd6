"""Does a model continue a clip as the real clip continues? Known frames are given, and the next ones compared with the real ones.

A digit that bounces has one way on: its first frames give its position, speed and direction. So the distance in pixels between
the centres of what is made and of what really came next is an error, and not a matter of taste.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mezzotint.diffusion.engine import together
from mezzotint.evaluate.metrics.median import Median
from mezzotint.evaluate.metrics.motion import centres
from mezzotint.evaluate.metrics.share import Share
from mezzotint.evaluate.reference import SILENT, Progress
from mezzotint.model.model import Model
from mezzotint.train.distributed import ALONE, Ranks

KNOWN, NEXT = 4, 4  # frames that are shown, and frames after them that are judged
CLOSE = 1.5  # pixels


@dataclass(frozen=True)
class Continuation:
    """kept: clips whose known frames came back to the bit. pixels: root mean square over the next frames of the distance between the centres of
    what was made and of what really came, the median of all clips. close: clips where that is at most CLOSE. still, straight: the medians of what
    knows less: the last known frame again and again, and the way from the last two frames straight on through the walls."""

    kept: Share
    pixels: Median
    close: Share
    still: float
    straight: float


def evaluate_continuation(
    model: Model,
    real: Tensor,
    seed: int = 0,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
    **settings: Any,
) -> Continuation:
    """Gives the model the first frames of each clip, uint8 (N, C, T, H, W), as `mezzotint edit RUN CLIP` does, without other conditions;
    clip i from seed + i. settings: as of `Model.edit`."""
    requests = [model.edits.edit(clip[:, :KNOWN], seed=seed + i, **settings) for i, clip in enumerate(real)]

    def go_on(begin: int) -> Sequence[Tensor]:  # several requests share a call
        part = dict(enumerate(requests[begin : begin + model.batch], begin))
        last = {i: state.x0 for i, state in together(model.guided, {i: model.walk(part[i]) for i in part})}
        progress("going on with clips", begin + len(part), len(real))
        return [torch.cat([model.finish(part[i], model.codec.decode(last[i]).cpu()).values for i in part])]

    parts = ranks.spread(range(0, len(real), model.batch), go_on)
    return judge_continuation(torch.cat([made for (made,) in parts]), real)


def judge_continuation(made: Tensor, real: Tensor) -> Continuation:
    """Clips that were made, and those whose first frames were known: both uint8 (N, C, T, H, W), T >= KNOWN + NEXT."""
    n, later = len(real), slice(KNOWN, KNOWN + NEXT)
    kept = (made[:, :, :KNOWN] == real[:, :, :KNOWN]).flatten(1).all(1)
    there, truth = centres(made)[0], centres(real)[0]
    last, before = truth[:, KNOWN - 1 : KNOWN], truth[:, KNOWN - 2 : KNOWN - 1]
    ahead = torch.arange(1, NEXT + 1, dtype=torch.float64)[None, :, None]
    pixels, still, straight = (
        distance(one, truth[:, later])
        for one in (there[:, later], last.expand(-1, NEXT, -1), last + ahead * (last - before))
    )
    return Continuation(
        Share.of(int(kept.sum()), n),
        Median.of(pixels),
        Share.of(int((pixels <= CLOSE).sum()), n),
        Median.of(still).value,
        Median.of(straight).value,
    )


def distance(there: Tensor, truth: Tensor) -> Tensor:
    """Root mean square distance of centres (N, T, 2): (N,). inf where there is no centre."""
    return (there - truth).square().sum(-1).mean(-1).sqrt().nan_to_num(nan=torch.inf)


def lines(source: str, found: Continuation) -> list[str]:
    """Lines of text on the result."""
    return [
        f"{source} goes on from {KNOWN} known frames: the next {NEXT} are {found.pixels.value:.2f} px "
        f"({found.pixels.low:.2f} to {found.pixels.high:.2f}) from where the digit really went, and within {CLOSE:g} px in "
        f"{100 * found.close.value:.1f} % ({100 * found.close.low:.1f} to {100 * found.close.high:.1f}) of clips;",
        f"  standing still: {found.still:.2f} px; straight on through the walls: {found.straight:.2f} px; known frames kept to the bit: "
        f"{100 * found.kept.value:g} %",
    ]
