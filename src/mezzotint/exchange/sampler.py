"""A sampler as a table of numbers, for any program that can call the network.

Whatever the solver, each state that it asks about is a linear combination of what is known by then: the noise at the start, the
answers so far, and fresh noise. So the solver itself, walked once over unit vectors in their place, says the coefficients.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mezzotint.conditions.labels import nothing
from mezzotint.config import Sample
from mezzotint.diffusion.flowmap import FlowMap
from mezzotint.diffusion.sampler import AfterStep, start
from mezzotint.diffusion.solvers import Ask
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.errors import ConfigError
from mezzotint.media.codec import AsTheyAre, Bytes
from mezzotint.model.model import Model
from mezzotint.tasks.task import Way

MAX_MOVES = 500  # so that the table stays small, since it grows with their square


def check(model: Model) -> None:
    """Raises ConfigError, naming the key, for a model of which a network and such a table are not all."""
    config, facts = model.config, model.facts
    if config.codec is None and not isinstance(facts.medium.codec, Bytes | AsTheyAre):
        raise ConfigError(f"{facts.kind}: their codes cannot be exported")
    if facts.reading not in ("words", "bytes"):
        raise ConfigError(
            f"texts read by an {facts.reading} cannot be exported; train with data.reading words or bytes"
        )
    if config.data.enlarge:
        raise ConfigError("data.enlarge: models that enlarge cannot be exported")


def sampler_table(model: Model, **settings: Any) -> dict[str, Any]:
    """All that samples with the network of a model alone, as JSON can say it.

    shape: of one thing's code, which is itself where no autoencoder made it. classes: their names; drawn: numbers of those that are drawn where
    none is asked for. nothing: what the network is told where nothing is asked, the last class and the empty text. For models of texts
    reading, words, length and examples are those of `Facts`: texts become 1, then the place of each word, or each byte, plus 2, then zeros.
    clip: whether answers are kept in [-1, 1]. moves: each makes the next thing known, where the first is noise z of `randomness.noise` (seed, 0, 0):
    either draw, (step, draw) of fresh noise, or an answer x0 at x, coefficients of all that is known:

        x0 = c_skip x + c_out F(c_in x, c_noise),    and with guidance g    x0 = x0(none) + g (x0 - x0(none)).

    result: coefficients of the thing that is made. settings: of `Model.sample`. Raises ConfigError.
    """
    check(model)
    chosen = model.request(1, **settings).settings
    if chosen.guidance != 1 and chosen.guidance_rescale:
        raise ConfigError("sample.guidance_rescale cannot be exported, since it is not linear; set it to 0")
    way = Way(
        model.process,
        model.schedule,
        (1,),
        chosen.sampler,
        chosen.steps,
        str(chosen.spacing),
        chosen.eta,
        chosen.churn,
    )
    count = sum(1 for _ in _moves(way, 1))
    if count > MAX_MOVES:
        raise ConfigError(
            f"{chosen.sampler} with {chosen.steps} steps makes {count - 1} network calls and draws of noise, and at most {MAX_MOVES - 1} can be exported; use fewer --steps, or another --sampler, such as dpmpp_2m with 20"
        )
    *moves, result = _moves(way, count)
    facts, told = model.facts, nothing(model.classes, model.language)
    texts = {key: getattr(facts, key) for key in ("reading", "words", "length")} | {
        "examples": facts.examples or ("",)
    }
    return {
        "format": 1,
        "model": model.source,
        "step": model.header.step,
        "weights": model.header.weights,
        "settings": chosen.model_dump(),
        "shape": model.codec.shape(facts.shape),
        "classes": model.classes,
        "drawn": [number for number in range(len(model.classes)) if number not in facts.empty],
        "nothing": {name: column[0].tolist() for name, column in told.asked.inputs().items()},
        **(texts if facts.length else {}),
        "clip": bool(chosen.clip),
        "moves": [move if isinstance(move, dict) else _answer(model, move, chosen) for move in moves],
        "result": result["result"],
    }


def _moves(way: Way, size: int) -> Iterator[Any]:
    """Draws, as {"draw": (step, draw)}; questions about vectors (1, size) of coefficients, of which the first as many count as are
    known; and at last {"result": coefficients}."""
    known, moves = 0, []

    def unit() -> Tensor:
        nonlocal known
        vector = torch.zeros(1, size, dtype=torch.float64)
        vector[0, known : known + 1] = 1
        known += 1
        return vector

    def draw(interval: int, number: int) -> Tensor:
        moves.append({"draw": (interval + 1, number)})
        return unit()

    stops = way.stops(way.levels())
    steps = SAMPLERS[way.sampler].walk(way.process, start(way.process, stops[0], unit()), stops, draw)
    answer: Tensor | None = None
    last = torch.zeros(1, size)
    while True:
        try:
            out = next(steps) if answer is None else steps.send(answer)
        except StopIteration:
            break
        answer = None
        yield from moves
        moves.clear()
        if isinstance(out, AfterStep):
            last = out.x
        else:
            yield out._replace(x=out.x[:, :known])
            answer = unit()
    yield from moves
    yield {"result": last[0, :known].tolist()}


def _answer(model: Model, ask: Ask, settings: Sample) -> dict[str, Any]:
    """A question, and what is made of the network's answer to it."""
    denoiser = model.denoiser
    c = denoiser.parameterization(*model.process(ask.level))
    if not c.c_skip.abs() < 22026:  # as `Denoiser` has it
        raise ConfigError(
            "eps prediction says nothing about the picture at (nearly) pure noise, where sampling starts: set sample.spacing=leading, or "
            "train with v"
        )
    low, high = settings.guided_between
    inside = low < float((-ask.level / 2).exp()) <= high
    move = {
        "x": ask.x[0].tolist(),
        "c_in": float(c.c_in),
        "c_skip": float(c.c_skip),
        "c_out": float(c.c_out),
        "c_noise": float(denoiser.c_noise(ask.level[None])),
        "guidance": settings.guidance if inside else 1.0,
    }
    if isinstance(denoiser, FlowMap):
        move["span"] = float(denoiser.span(ask.level, ask.level if ask.to is None else ask.to))
    return move
