"""Trivial codecs, with which an autoencoder of the same rate is compared.

The rate is how many numbers stand for a picture; none of them is rounded here, as an autoencoder's are not.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.media.pictures import to_model, to_uint8

FITTED = 2000  # training pictures by which coefficients are chosen


def bicubic(pictures: Tensor, rate: int) -> Tensor:
    """Pictures uint8 (N, C, H, W) shrunk to at most `rate` numbers, of their aspect, and enlarged again."""
    channels, height, width = pictures.shape[1:]
    rows = max(1, int(math.sqrt(rate / channels * height / width)))
    size = rows, max(1, min(width, rate // channels // rows))
    small = F.interpolate(to_model(pictures), size, mode="bicubic", antialias=True)
    return to_uint8(F.interpolate(small, (height, width), mode="bicubic"))


def dct(pictures: Tensor, rate: int, training: Tensor) -> Tensor:
    """Pictures uint8 (N, C, H, W) by the `rate` coefficients of their cosine transform whose variance over training pictures is
    largest: of the whole picture, in colours that are about independent. The others are set to their means."""
    seen = _coefficients(training[:: max(1, len(training) // FITTED)])
    mean, variance = seen.mean(0), seen.var(0)
    kept = torch.zeros(variance.numel(), dtype=torch.bool)
    kept[variance.flatten().argsort(descending=True, stable=True)[:rate]] = True
    coefficients = torch.where(kept.view_as(variance), _coefficients(pictures), mean)
    height, width = pictures.shape[-2:]
    plain = _basis(height).T @ coefficients @ _basis(width)
    return to_uint8(torch.einsum("dc,ndhw->nchw", _colours(pictures.shape[1]), plain))


def _coefficients(pictures: Tensor) -> Tensor:
    height, width = pictures.shape[-2:]
    x = torch.einsum("dc,nchw->ndhw", _colours(pictures.shape[1]), to_model(pictures.cpu()))
    return _basis(height) @ x @ _basis(width).T


def _basis(n: int) -> Tensor:
    """The orthonormal DCT-II, (n, n) float32, a frequency a row."""
    place = torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi / n * (place + 0.5) * place[:, None]) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows.float()


def _colours(channels: int) -> Tensor:
    """Orthonormal: brightness, red against blue, and both against green; of grey pictures brightness alone."""
    if channels != 3:
        return torch.eye(channels)
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    return rows / rows.norm(dim=1, keepdim=True)
