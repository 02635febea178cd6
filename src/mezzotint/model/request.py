"""Who asks for what?  The one thing that command line, Python, REST, page and sheets hand to a model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions.labels import Label
from mezzotint.config import Sample
from mezzotint.diffusion.sampler import Steps
from mezzotint.tasks.generate import generate, seeds_from

Task = Callable[..., Steps]  # with the signature of `tasks.generate.generate`


@dataclass(frozen=True, eq=False)
class Request:
    """n things asked of a model (see `Model.request`, which checks and completes what people say).

    label: the classes in their words, which go into the PNG; cond: the same for networks, n rows on the CPU. Thing i is
    made from seed + i and does not depend on the others. settings: all of them, defaults included. task: what turns noise
    into things.
    """

    n: int
    label: Label
    cond: Cond
    seed: int
    settings: Sample
    task: Task = generate

    @property
    def seeds(self) -> Tensor:
        """(n,) int64 on the CPU: the seed that makes each thing again, alone."""
        return seeds_from(self.seed, self.n, torch.device("cpu"))

    def part(self, begin: int, end: int) -> "Request":
        """Things begin ... end - 1 of it."""
        rows = self.cond.map(lambda column: column[begin:end])
        return replace(self, n=min(end, self.n) - begin, cond=rows, seed=self.seed + begin)

    def parts(self, batch: int) -> Iterator["Request"]:
        """The same things in requests of at most `batch`."""
        for begin in range(0, self.n, batch):
            yield self.part(begin, begin + batch)
