"""Requests that several processes answer together: the same batches as in one process, and so the same pictures to the bit."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mezzotint.model.model import Model
from mezzotint.model.request import Request
from mezzotint.train.distributed import Ranks

Watch = Callable[[int, int], None]  # (things that are done, of so many)


def things(
    model: Model,
    request: Request,
    ranks: Ranks,
    batch: int | None = None,
    watch: Watch = lambda done, total: None,
) -> Tensor:
    """The decoded samples of a request, (n, ...) on the CPU, in all processes; each makes its share of the batches. batch:

    batch size, by default the model's. With it the last bits of a thing may change on a CPU: that is
    why batches are dealt out whole, and why a request of a single batch keeps a single process busy. watch: called
    with the number of samples done, of the whole.
    """

    def make(part: Request) -> Sequence[Tensor]:
        made = model.make(part)
        watch(part.seed + part.n - request.seed, request.n)
        return (made,)

    watch(0, request.n)
    parts = list(request.parts(batch or model.batch))
    return torch.cat([made for (made,) in ranks.spread(parts, make)])
