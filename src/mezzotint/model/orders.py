"""Thousands of orders at once: which of them share network calls, and how they are sampled.

The rows of a call are decided by the list of orders alone: not by how far an earlier process came, nor by how many there are. On a CPU the last
bits of a row may depend on how many rows are beside it; so a picture has the same bytes whenever and wherever its group is made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion.engine import together
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.model.model import Model
from mezzotint.model.request import Request
from mezzotint.model.samples import Samples


class Part(NamedTuple):
    """Pictures begin ... end - 1 of an order, by its place in the list."""

    order: int
    begin: int
    end: int


def grouped(requests: Sequence[Request], batch: int, whole: bool = False) -> list[list[Part]]:
    """Parts of requests that are answered together, at most `batch` things in a group: neighbours among those that take as many
    calls, so that all of a group come to their end together. whole: no request is divided; larger ones are alone."""

    def calls(order: int) -> int:
        settings = requests[order].settings
        return settings.steps * SAMPLERS[settings.sampler].calls

    groups: list[list[Part]] = []
    room = 0
    for order in sorted(range(len(requests)), key=calls):  # stable: those alike stay in the order of the list
        begin, n = 0, requests[order].n
        while begin < n:
            if not room or (whole and room < n):
                groups.append([])
                room = batch
            end = n if whole else min(n, begin + room)
            groups[-1].append(Part(order, begin, end))
            room, begin = max(0, room - (end - begin)), end
    return groups


def answered(model: Model, requests: Sequence[Request]) -> Iterator[int | list[Samples]]:
    """Answers requests for new things with shared calls: how many pictures' worth of steps is done, after every step, and at the end
    the samples of each. Requests with the same settings are sampled as one."""
    alike: dict[str, list[int]] = {}
    for number, request in enumerate(requests):
        alike.setdefault(f"{request.settings.model_dump_json()} {request.negative!r}", []).append(number)
    members = list(alike.values())
    wholes = [_whole([requests[number] for number in numbers]) for numbers in members]
    walks = {key: model.walk(whole, seeds) for key, (whole, seeds) in enumerate(wholes)}
    last: dict[int, Tensor] = {}
    done = [0.0] * len(members)
    for key, state in together(model.guided, walks):
        last[key] = state.x0
        done[key] = wholes[key][0].n * state.step / wholes[key][0].steps
        yield int(sum(done))
    found: dict[int, Samples] = {}
    for key, numbers in enumerate(members):
        things = model.codec.decode(last[key]).cpu().split([requests[number].n for number in numbers])
        found |= {number: model.finish(requests[number], part) for number, part in zip(numbers, things)}
    yield [found[number] for number in range(len(requests))]


def _whole(requests: Sequence[Request]) -> tuple[Request, Tensor]:
    """Requests that differ in seeds and in what is asked alone, as one, with the seeds of its things."""
    seeds = torch.cat([request.seeds for request in requests])
    cond = Cond.cat(request.cond for request in requests)
    return replace(requests[0], n=len(seeds), cond=cond), seeds
