"""Clips: pictures at several times, and how they are shown: as film strips where things stand still, else played."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from mezzotint import plots


def words(shape: tuple[int, ...]) -> str:
    """32x32 grey clips of 16 frames"""
    channels, frames, height, width = shape
    return f"{height}x{width} {'grey' if channels == 1 else 'RGB'} clips of {frames} frames"


def item(clip: Tensor) -> Image.Image:
    """One clip (C, T, H, W) as a film strip."""
    return sheet(clip[None])


def play(clips: Tensor) -> list[Tensor]:
    """Clips (N, C, T, H, W) to T times pictures (N, C, H, W)."""
    return list(clips.unbind(2))


def sheet(
    clips: Tensor,
    labels: Tensor | None = None,
    columns: int | None = None,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
    texts: Sequence[str] = (),
) -> Image.Image:
    """Film strips of clips (N, C, T, H, W) uint8 below each other, a row each; its text, if any, stands to the left."""
    frames = clips.transpose(1, 2)
    return plots.sheet(
        frames.flatten(0, 1), columns=frames.shape[1], scale=scale, row_labels=list(texts) or None
    )


def usual_sheet(shape: tuple[int, ...], classes: int) -> tuple[int, int]:
    """How many clips show what a model makes: one a class, or 8."""
    count = classes if 0 < classes <= 10 else 8
    return count, count


def strip(frames: Sequence[Tensor], captions: Sequence[str], labels: Tensor | None = None) -> Image.Image:
    """The same clips at several times of sampling: of each the frame in the middle, a row a clip, a column a time."""
    return plots.strip(torch.stack([clips[:, :, clips.shape[2] // 2] for clips in frames]), captions)
