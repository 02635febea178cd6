"""Requests: what command line, Python, REST, page and sheets all pass to a model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions.labels import Label
from mezzotint.config import Sample
from mezzotint.disk.model_file import Header
from mezzotint.errors import ConfigError
from mezzotint.tasks.generate import seeds_from
from mezzotint.tasks.task import Kind, Task

SEEDS = 2**63  # there are so many, from 0


@dataclass(frozen=True, eq=False)
class Request:
    """n samples requested from a model (see `Model.request`, which checks and completes the settings).

    label: the classes by names that request them again (`conditions.labels.in_words`); cond: the same for networks, n rows
    on the CPU. Thing i is made from seed + i and does not depend on the others. settings: all of them, nothing left to
    defaults.

    task: what is done, by default new samples from noise. details: of the task, which go into the PNG beside the settings; rows: those of
    each thing alone. finish: what is done with finished things (B, *shape) at last. prompts: n texts, where the model has captions; negative: the negative
    prompt, and away, the same for networks, one row. base: n codes to which the model's output is added, for models that enlarge. note: a line for people.
    """

    n: int
    label: Label
    cond: Cond
    seed: int
    settings: Sample
    task: Kind = field(default_factory=Task)
    details: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    finish: Callable[[Tensor], Tensor] | None = None
    prompts: tuple[str, ...] = ()
    negative: str | None = None
    away: Cond | None = None
    base: Tensor | None = None
    note: str = ""

    @property
    def steps(self) -> int:
        """Number of steps, which may be more than in the settings, depending on the task."""
        return self.task.count(self.settings.steps)

    @property
    def seeds(self) -> Tensor:
        """(n,) int64 on the CPU: the seed that makes each thing again, alone."""
        return seeds_from(self.seed, self.n, torch.device("cpu"))

    def part(self, begin: int, end: int) -> "Request":
        """Things begin ... end - 1 of it."""
        rows = self.cond.map(lambda column: column[begin:end])
        return replace(
            self,
            n=min(end, self.n) - begin,
            cond=rows,
            seed=self.seed + begin,
            task=self.task.part(begin, end),
            rows=self.rows[begin:end],
            prompts=self.prompts[begin:end],
            base=None if self.base is None else self.base[begin:end],
        )

    def parts(self, batch: int) -> Iterator["Request"]:
        """The same things in requests of at most `batch`."""
        for begin in range(0, self.n, batch):
            yield self.part(begin, begin + batch)

    def written(self, header: Header, source: str) -> dict[str, Any]:
        """The settings stored in its pictures, as JSON: all that is needed to request them again from the model of that header and name.
        `Model.request` takes it as it is, and so does the server; `model.again` has the command line."""
        asked = {"seed": self.seed, "label": self.label, "n": self.n}
        return {
            **self.settings.model_dump(),
            **asked,
            "model": source,
            "step": header.step,
            "weights": header.weights,
            **self._words(),
            **self.details,
        }

    def _words(self) -> dict[str, Any]:
        """What was asked in words, where that was possible."""
        if not self.prompts:
            return {}
        prompt = self.prompts[0] if len(set(self.prompts)) == 1 else list(self.prompts)
        return {"prompt": prompt, "negative": self.negative}


def check_seeds(seed: int, n: int) -> None:
    """Raises ConfigError where seeds would be out of range."""
    if not 0 <= seed <= SEEDS - n:
        raise ConfigError(f"the seeds of n = {n} pictures must be from 0 to 2^63 - 1; take another seed")
