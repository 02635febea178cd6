"""Colouring: a picture of known brightness gets colours."""

import torch
from torch import Tensor

from mezzotint.diffusion.inverse import LUMA, grey
from mezzotint.tasks.enlarge import shifted
from mezzotint.tasks.task import Task


def colour(brightness: Tensor, returns: int = 1) -> Task:
    """brightness: codes (1, 1, H, W), the luma (ITU-R BT.601) of what is made."""
    return Task(operator=grey(), y=brightness, returns=returns)


def with_brightness(things: Tensor, brightness: Tensor) -> Tensor:
    """Pictures of the brightness wanted, to the rounding of their bytes. things: uint8 (B, 3, H, W); brightness: uint8
    (1, H, W). In each pixel c is added to all three channels, within 0 to 255."""
    last = things.double().movedim(1, -1)
    weights = torch.tensor(LUMA, dtype=torch.float64)
    total = brightness.double()[..., None]
    return shifted(last, weights, total).movedim(-1, 1).round().to(torch.uint8)
