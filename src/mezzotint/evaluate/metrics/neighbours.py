"""The nearest neighbours of some points among many, in bounded memory."""

import torch
from torch import Tensor

ROWS, COLUMNS = 512, 16384  # distances at a time


def nearest(x: Tensor, data: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest rows of `data` to every row of x: distances ascending, and their numbers, both (n, k).

    x: (n, *D); data: (N, *D), N >= k, of any dtype, bytes too. Euclidean, by products of matrices, in float64 if one of
    them is, otherwise in float32. Distances below 1e-3 (float32) of the data's spread are rounding.
    """
    dtype = torch.promote_types(torch.promote_types(x.dtype, data.dtype), torch.float32)
    if not 1 <= k <= len(data):
        raise ValueError(f"there are no {k} neighbours among {len(data)}")
    # distances do not change with the origin, and lose fewest digits from the middle
    middle = data[:COLUMNS].to(dtype).flatten(1).mean(0)
    found: list[tuple[Tensor, Tensor]] = []
    for rows in x.split(ROWS):
        point = rows.to(dtype).flatten(1) - middle
        best = point.new_empty(len(point), 0)
        which = torch.empty(len(point), 0, dtype=torch.int64)
        for first in range(0, len(data), COLUMNS):
            part = data[first : first + COLUMNS].to(dtype).flatten(1) - middle
            # |x - y|^2 less |x|^2, which all have in common
            apart = torch.addmm(part.square().sum(1), point, part.T, alpha=-2)
            few, place = apart.topk(min(k, len(part)), largest=False)
            best, which = torch.cat([best, few], 1), torch.cat([which, place + first], 1)
            best, place = best.topk(min(k, best.shape[1]), largest=False)
            which = which.gather(1, place)
        found.append(((best + point.square().sum(1, keepdim=True)).clamp(min=0).sqrt(), which))
    distances, numbers = zip(*found)
    return torch.cat(distances), torch.cat(numbers)
