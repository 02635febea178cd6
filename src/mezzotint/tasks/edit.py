"""Editing: a picture is changed as a whole, or repainted under a mask."""

import torch
from torch import Tensor

from mezzotint.diffusion.inverse import inpainting
from mezzotint.tasks.task import Task

RETURNS = 2  # of inpainting: measured, see docs/numerics.md


def edit(
    picture: Tensor, repainted: Tensor | None = None, *, strength: float = 1.0, returns: int = 1
) -> Task:
    """picture: codes (1, *D). strength: how far back to noise the picture is sent (SDEdit, Meng et al. 2022).

    repainted: bool, broadcasts with the codes, where it may change; elsewhere every prediction is set to the picture (`steered`, a DDNM of Wang et al. 2023),
    so that it stays to the bit. returns: as of `Task`.
    """
    if repainted is None:
        return Task(start=picture, strength=strength)
    return Task(start=picture, strength=strength, operator=inpainting(~repainted), y=picture, returns=returns)


def composite(things: Tensor, picture: Tensor, repainted: Tensor, feather: float) -> Tensor:
    """Results pasted into the original picture: uint8 (B, C, H, W), (C, H, W), bool (H, W) -> (B, C, H, W);
    or clips, with T before H.

    What is not repainted is the picture's to the bit. feather: pixels inside the repainted part over which it passes, linearly, into it.
    """
    share = repainted.float()
    if feather > 0:
        share = (_depth(repainted) / (feather + 1)).clamp(max=1)
    mixed = picture + share * (things.float() - picture)
    return torch.where(repainted, mixed.round().clamp(0, 255).to(torch.uint8), picture)


def _depth(repainted: Tensor) -> Tensor:
    """How many pixels away the nearest one is that is not repainted, (H, W) float32; the largest side where there is none."""
    rows, columns = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float32) for n in repainted.shape), indexing="ij"
    )
    here = torch.stack([rows, columns], -1).reshape(-1, 2)
    kept = here[~repainted.flatten()]
    if not len(kept):
        return torch.full(repainted.shape, float(max(repainted.shape)))
    near = torch.cat([torch.cdist(part, kept).amin(1) for part in here.split(1024)])
    return near.reshape(repainted.shape)
