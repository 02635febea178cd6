"""Draws the pictures of phase 12: `python docs/guide/figures/phase12.py`. Every seed is fixed."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint import plots
from mezzotint.data.bouncing import SIDE, Clip, bundled, clip
from mezzotint.media.pictures import to_uint8

HERE = Path(__file__).parent


def strips() -> None:
    """Three clips, every second frame."""
    clips = torch.stack([torch.from_numpy(clip(0, i, bundled()).pixels) for i in range(3)])
    save(plots.sheet(clips[:, :, ::2].transpose(1, 2).flatten(0, 1), columns=8, scale=2), "strips")


def noise(sigma: float = 4.0) -> None:
    """One clip, clean and noisy, and the mean of its frames along the path."""
    one: Clip = clip(0, 4, bundled())
    x = torch.from_numpy(one.pixels).double() / 127.5 - 1  # (1, 16, 32, 32)
    noisy = x + sigma * torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    moves = [[int(part) for part in (SIDE // 2 - 8 - at).round()] for at in torch.from_numpy(one.path)]

    def mean(frames: Tensor) -> Tensor:
        moved = [frame.roll(move, (-2, -1)) for frame, move in zip(frames[0], moves)]
        return torch.stack(moved).mean(0)[None]

    rows = []
    for frames, scale in ((x, 1.0), (noisy, 1 / (1 + sigma))):
        rows += [to_uint8(frame[None] * scale) for frame in frames[0, ::2]]
        rows.append(to_uint8(mean(frames) if scale == 1 else mean(frames) * 0.6))
    captions = [f"frame {t}" for t in range(0, 16, 2)] + ["mean"]
    save(plots.sheet(torch.stack(rows), columns=9, captions=captions, scale=2), "noise")


def save(image: Any, name: str) -> None:
    path = HERE / f"12-{name}.png"
    image.quantize(64).save(path, optimize=True) if image.width > 1000 else image.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB, {image.size}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    strips()
    noise()
