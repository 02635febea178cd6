"""Does a clip move as a thing does that goes straight on and bounces off the walls? Decided by its pixels alone.

The centre of mass of every frame is held against the best straight path with mirrored ends; what is left over is an error in
pixels. See `data.bouncing` for clips whose error is known to be nearly nothing.
"""

import torch
from torch import Tensor

INK = 32  # grey levels from which on a pixel belongs to the thing
BLUR = 0.25  # pixels, to each side
FASTEST = 4.0  # pixels a frame that are looked for
STARTS, SPEEDS = 32, 33  # of the first, coarse search
FINER, ROUNDS = 5, 12  # values of each beside the best, each round at 0.6 of the step


def centres(clips: Tensor) -> tuple[Tensor, Tensor]:
    """Centres of mass, and how far the ink reaches: clips uint8 (N, C, T, H, W) -> (N, T, 2) float64, row and column, and
    (N, T, 2, 2): first and last row and column. NaN for a frame without ink."""
    grey = clips.double().mean(1)
    axes = (grey.sum(3), grey.sum(2))  # by row (N, T, H), by column (N, T, W)
    inked = (grey.ge(INK).any(3), grey.ge(INK).any(2))
    middles, ends = [], []
    for mass, ink in zip(axes, inked):
        at = torch.arange(mass.shape[-1], dtype=torch.float64)
        middles.append((mass * at).sum(-1) / mass.sum(-1))
        first = torch.where(ink, at, torch.inf).amin(-1)
        last = torch.where(ink, at, -torch.inf).amax(-1)
        ends.append(torch.stack([first, last], -1))
    middle, end = torch.stack(middles, -1), torch.stack(ends, -2)
    nothing = ~inked[0].any(-1)
    return (
        middle.masked_fill(nothing[..., None], torch.nan),
        end.masked_fill(nothing[..., None, None], torch.nan),
    )


def straightness(clips: Tensor) -> Tensor:
    """Root mean square distance in pixels between the centres of the frames and the best path that goes straight on and
    bounces: clips uint8 (N, C, T, H, W), T >= 3 -> (N,) float64. inf where a frame is empty.

    The walls of a centre lie where the ink would touch the edge: the mean over the frames of how far the ink reaches beyond its
    centre, less the quarter of a pixel that ink between two pixels seems wider, on average, than it is. Start and speed are searched on a grid, then on ever finer ones about the best.
    """
    if clips.ndim != 5 or clips.shape[2] < 3:
        raise ValueError(f"clips are (N, C, T, H, W) with T >= 3, not {tuple(clips.shape)}")
    middle, ends = centres(clips)
    sides = torch.tensor(clips.shape[-2:], dtype=torch.float64)
    low = (middle - ends[..., 0]).nanmean(1) - BLUR
    high = sides - 1 - (ends[..., 1] - middle).nanmean(1) + BLUR
    squared = torch.stack([_axis(middle[..., k], low[:, k], high[:, k]) for k in range(2)], -1).sum(-1)
    return squared.sqrt().nan_to_num(nan=torch.inf)


def travel(clips: Tensor) -> Tensor:
    """How far a thing moves around: root mean square distance in pixels of the centres of the frames from their mean. clips uint8
    (N, C, T, H, W) -> (N,) float64. Frames without ink are left out; a clip without any has 0.

    What stands still, or trembles about a place, is near a straight path, too: look at both numbers."""
    middle, _ = centres(clips)
    away = middle - middle.nanmean(1, keepdim=True)
    return away.square().sum(-1).nanmean(1).sqrt().nan_to_num()


def _axis(seen: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Mean squared distance of (N, T) to the best reflected line between walls (N,), (N,): (N,)."""
    n, frames = seen.shape
    room = (high - low).clamp(min=1e-6)
    times = torch.arange(frames, dtype=torch.float64)

    def error(start: Tensor, speed: Tensor) -> Tensor:
        """(N, K), (N, K) -> (N, K). Starts run over twice the room: what is beyond comes back."""
        there = (start[..., None] + speed[..., None] * times).remainder(2 * room[:, None, None])
        there = torch.minimum(there, 2 * room[:, None, None] - there) + low[:, None, None]
        return (there - seen[:, None]).square().mean(-1)

    starts = torch.linspace(0, 2, STARTS + 1, dtype=torch.float64)[:-1]
    speeds = torch.linspace(
        0, FASTEST, SPEEDS, dtype=torch.float64
    )  # the way back is a start beyond the room
    start = (room[:, None, None] * starts[:, None]).expand(n, STARTS, SPEEDS).flatten(1)
    speed = speeds.expand(n, STARTS, SPEEDS).flatten(1)
    step_start, step_speed = 2 * room / STARTS, torch.full_like(room, FASTEST / (SPEEDS - 1))
    offsets = torch.linspace(-1, 1, FINER, dtype=torch.float64)
    for _ in range(ROUNDS + 1):
        errors = error(start, speed)
        best = errors.nan_to_num(nan=torch.inf).argmin(1, keepdim=True)
        chosen_start, chosen_speed = start.gather(1, best), speed.gather(1, best)
        step = torch.stack([step_start, step_speed], -1)[:, None]
        grid = torch.cartesian_prod(offsets, offsets)[None] * step
        start, speed = chosen_start + grid[..., 0], chosen_speed + grid[..., 1]
        step_start, step_speed = 0.6 * step_start, 0.6 * step_speed
    return errors.amin(1)


def differences(clips: Tensor) -> Tensor:
    """What changes from frame to frame, as pictures: clips uint8 (N, C, T, H, W) -> uint8 (N (T - 1), C, H, W), 128 where
    nothing does."""
    change = clips[:, :, 1:].int() - clips[:, :, :-1].int()
    return ((change + 255) / 2).round().to(torch.uint8).transpose(1, 2).flatten(0, 1)


def frames(clips: Tensor) -> Tensor:
    """(N, C, T, H, W) -> (N T, C, H, W)."""
    return clips.transpose(1, 2).flatten(0, 1)
