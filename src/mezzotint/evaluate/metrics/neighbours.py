"""The nearest neighbours of some points among many, in bounded memory."""

import torch
from torch import Tensor

ROWS_PER_BLOCK, COLUMNS_PER_BLOCK = 512, 16384  # of the matrix of distances


def nearest(x: Tensor, data: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest rows of `data` to every row of x: distances ascending, and their numbers, both (n, k).

    x: (n, *D); data: (N, *D), N >= k, of any dtype, bytes too. Euclidean, by products of matrices, in float64 if one of
    them is, otherwise in float32. Distances below 1e-3 (float32) of the data's spread are rounding.
    """
    dtype = torch.promote_types(torch.promote_types(x.dtype, data.dtype), torch.float32)
    if not 1 <= k <= len(data):
        raise ValueError(f"there are no {k} neighbours among {len(data)}")
    # distances do not change with the origin, and lose fewest digits from the middle
    middle = data[:COLUMNS_PER_BLOCK].to(dtype).flatten(1).mean(0)
    blocks: list[tuple[Tensor, Tensor]] = []
    for rows in x.split(ROWS_PER_BLOCK):
        point = rows.to(dtype).flatten(1) - middle
        squares = point.new_empty(len(point), 0)
        which = torch.empty(len(point), 0, dtype=torch.int64)
        for start in range(0, len(data), COLUMNS_PER_BLOCK):
            part = data[start : start + COLUMNS_PER_BLOCK].to(dtype).flatten(1) - middle
            # |x - y|^2 less |x|^2, which all have in common
            offsets = torch.addmm(part.square().sum(1), point, part.T, alpha=-2)
            candidates, place = offsets.topk(min(k, len(part)), largest=False)
            squares, which = torch.cat([squares, candidates], 1), torch.cat([which, place + start], 1)
            squares, place = squares.topk(min(k, squares.shape[1]), largest=False)
            which = which.gather(1, place)
        blocks.append(((squares + point.square().sum(1, keepdim=True)).clamp(min=0).sqrt(), which))
    distances, numbers = zip(*blocks)
    return torch.cat(distances), torch.cat(numbers)
