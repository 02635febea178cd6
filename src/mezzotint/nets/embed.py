"""Conditioning of a network, besides x: the noise level and the class, as one vector per row."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets.parts import normal, zero_init


def sinusoidal(t: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Cosines and sines of t at geometrically spaced frequencies (Vaswani et al. 2017; Ho et al. 2020).

    t: (B,), any real numbers; the frequencies run from 1 down to almost 1 / max_period, in radians.
    Returns (B, dim): [cos | sin], and a zero at the end if dim is odd. float64 for float64 t, else float32,
    because half precision cannot tell t = 999 from t = 1000.
    """
    t = t if t.dtype == torch.float64 else t.float()
    half = dim // 2
    frequencies = torch.exp(
        -math.log(max_period) / max(half, 1) * torch.arange(half, dtype=t.dtype, device=t.device)
    )
    angles = t[:, None] * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, dim % 2))


def _silent(dim: int) -> nn.Sequential:
    """An MLP of a sinusoid that starts by saying nothing."""
    return nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), zero_init(nn.Linear(dim, dim)))


class Conditioning(nn.Module):
    """The vector that modulates every block: an MLP of the noise level, plus an embedding of the class.

    dim: length of the vector. classes: K, the number of classes; 0 makes it unconditional. The class table has
    K + 1 rows: row K is the null label, "no class", which guidance needs (Ho & Salimans 2022). span: whether it is also
    told the length of a step, as a flow map is; grain: or the noise that lies over a picture it is shown. What they add starts at zero.
    """

    def __init__(self, dim: int, classes: int = 0, span: bool = False, grain: bool = False) -> None:
        super().__init__()
        self.dim, self.classes = dim, classes
        self.inner = nn.Linear(dim, dim)
        self.outer = nn.Linear(dim, dim)
        self.table = nn.Parameter(normal(classes + 1, dim)) if classes else None
        self.span = _silent(dim) if span else None
        self.grain = _silent(dim) if grain else None

    def forward(
        self,
        c_noise: Tensor,
        label: Tensor | None = None,
        span: Tensor | None = None,
        grain: Tensor | None = None,
    ) -> Tensor:
        """(B,) noise levels, (B,) int64 labels of 0..K, (B,) lengths of steps and (B,) grains in [0, 1) -> (B, dim). No label
        means K, no length or grain 0, for every row.

        Raises ValueError for a label where there are no classes, and for a length or a grain where none was foreseen. Labels out of 0..K make `one_hot` raise
        RuntimeError on a CPU and a device-side assertion on a GPU: checking them here would stall it.
        """
        emb = self.outer(F.silu(self.inner(sinusoidal(c_noise, self.dim).to(self.inner.weight.dtype))))
        if self.span is not None:
            length = torch.zeros_like(c_noise) if span is None else span
            emb = emb + self.span(sinusoidal(length, self.dim).to(self.inner.weight.dtype))
        elif span is not None:
            raise ValueError("this network is not a flow map: leave the span out, or build it with span=True")
        if self.grain is not None:
            noise = torch.zeros_like(c_noise) if grain is None else 1000 * grain
            emb = emb + self.grain(sinusoidal(noise, self.dim).to(self.inner.weight.dtype))
        elif grain is not None:
            raise ValueError("this network takes no picture: leave the grain out, or build it with shown=C")
        if self.table is None:
            if label is not None:
                raise ValueError(
                    "this network has no classes: leave the label out, or build it with classes=K"
                )
            return emb
        if label is None:
            label = torch.full(c_noise.shape, self.classes, device=c_noise.device)
        # A product with one-hot rows, not nn.Embedding: the gradient is a matrix product, which repeats bit for
        # bit, where a scatter of rows may add in any order.
        return emb + F.one_hot(label, self.classes + 1).to(self.table.dtype) @ self.table
