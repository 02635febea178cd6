"""What do edits keep, and how good is the rest?  Held-out MNIST digits, the bundled model with its own settings.

    python benchmarks/edits.py [masks] [enlarge] [invert] [--data FOLDER_OF_MNIST_PARQUET]

**masks.** The left half is seen, the class given, the right half made. Known pixels are compared to the bit; the judge is the
classifier of `mezzotint evaluate`, which has not learned from these pictures; the seam is the mean difference of the two
columns at the edge of the mask, over that of the same real pictures. Beside it, the same model without returns, and
diffusers' RePaintPipeline, whose network is an adapter that answers with the noise that this model finds, its class,
guidance and clipping included, in about as many calls. (Its mask is the other way round, 0 is repainted; it is given tensors, since
it crops files to multiples of 8, and their masks to multiples of 32.)

**enlarge.** Digits of 14x14, the means of 2x2 blocks of real ones, made 28x28: with the class given and without, beside
nearest and bicubic enlargement.

**invert.** Noise from pictures by `Model.invert`, 20 steps in float32, and pictures from that noise; beside naive DDIM
inversion, which asks once, at the state that it has instead of the one that it seeks.

Calls are rows through the network a picture, guidance counted. Nothing is chosen by these pictures: defaults were chosen on training
pictures (docs/LOG.md).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import measuring
import numpy as np
import torch
from PIL import Image
from sampling import Calls, counted
from torch import Tensor, nn

from mezzotint.cond import Cond
from mezzotint.conditions.labels import conditions
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.process import per_row
from mezzotint.diffusion.sampler import AfterStep, Steps, start
from mezzotint.diffusion.solvers import Ask
from mezzotint.evaluate.judges.features import extract
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.model.request import Request
from mezzotint.tasks.enlarge import with_means
from mezzotint.tasks.invert import Invert
from mezzotint.tasks.task import Task, Way

GOALS = {"recognised": 0.97, "seam": 0.05, "calls of a sample": 2.0, "inverted": 1e-4}
SEED = 1_000_000
BATCH = 125


class Digits:
    """n held-out digits, uint8 (n, 1, 28, 28) with labels, and the share of pictures that the judge takes for their class."""

    def __init__(self, reference: Any, judge: Any, n: int) -> None:
        order = torch.randperm(len(reference.images), generator=torch.Generator().manual_seed(0))[:n]
        self.pictures, self.labels, self.judge = reference.images[order], reference.labels[order], judge

    def recognised(self, pictures: Tensor) -> float:
        logits = extract(self.judge, pictures).logits
        assert logits is not None
        return float((logits.argmax(1) == self.labels[: len(pictures)]).double().mean())


def many(model: Model, request: Request, labels: Tensor | None, n: int, **task: Any) -> Request:
    """The request for n pictures instead of one: what is known is then n rows."""
    names = "none" if labels is None else [model.classes[label] for label in labels.tolist()]
    cond = conditions(names, model.classes, request.seeds + torch.arange(n), model.facts.empty)
    assert isinstance(request.task, (Task, Invert))
    return replace(request, n=n, cond=cond, task=replace(request.task, **task), finish=None)


@contextmanager
def rows_of(model: Model, n: int) -> Iterator[dict[str, float]]:
    row: dict[str, float] = {}
    calls: Calls
    with counted(model) as calls:
        yield row
    row["calls"] = calls.rows / n


# --- masks ---------------------------------------------------------------------------------------------------


def seam(pictures: Tensor, column: int) -> float:
    """The mean difference between two columns, in grey levels."""
    return float((pictures[..., column].double() - pictures[..., column - 1].double()).abs().mean())


class RePaintNetwork(nn.Module):
    """The model in the form that diffusers' pipelines call: state and timestep in, noise out."""

    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self, model: Model, scheduler: Any, cond: Cond) -> None:
        super().__init__()
        self.model, self.cond, self.table = [model], cond, scheduler.alphas_cumprod.double()

    def forward(self, x: Tensor, timestep: Tensor) -> Any:
        (model,) = self.model
        kept = self.table[timestep]
        level = (kept / (1 - kept)).log()
        alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
        state = model.process(level)[0] / alpha * x
        guidance = model.guidance(len(x), self.cond, model.settings())
        with torch.no_grad():
            x0 = model.guided(state, level.expand(len(x)), self.cond, guidance)  # type: ignore[call-arg]
        return SimpleNamespace(sample=(x - alpha * x0.clamp(-1, 1)) / sigma)


def by_diffusers(model: Model, digits: Digits, repainted: Tensor, steps: int = 13) -> Tensor:
    """Pictures by RePaintPipeline, as they come out; each step is walked twice."""
    from diffusers import RePaintPipeline, RePaintScheduler

    scheduler, made = RePaintScheduler(), []
    generator = torch.Generator().manual_seed(SEED)
    for pictures, labels in zip(digits.pictures.split(BATCH), digits.labels.split(BATCH)):
        seeds = torch.arange(len(labels))
        cond = conditions(
            [model.classes[k] for k in labels.tolist()], model.classes, seeds, model.facts.empty
        )
        pipeline = RePaintPipeline(RePaintNetwork(model, scheduler, cond), scheduler)
        pipeline.set_progress_bar_config(disable=True)
        known = (~repainted).float()[None, None].expand(len(pictures), 1, -1, -1)
        result = pipeline(
            image=model.codec.encode(pictures),
            mask_image=known,
            num_inference_steps=steps,
            jump_length=1,
            jump_n_sample=2,
            generator=generator,
            output_type="np",
        )
        made.append(torch.from_numpy(result.images).movedim(-1, 1))
    return (torch.cat(made) * 255).round().to(torch.uint8)


def masks(model: Model, digits: Digits) -> list[dict[str, Any]]:
    n, width = len(digits.pictures), digits.pictures.shape[-1]
    repainted = torch.zeros(digits.pictures.shape[-2:], dtype=torch.bool)
    repainted[:, width // 2 :] = True
    real = seam(digits.pictures, width // 2)
    request = model.edits.edit(digits.pictures[0], repainted, seed=SEED)
    finish = request.finish
    assert finish is not None
    y = model.codec.encode(digits.pictures)
    with counted(model) as sample:
        model.sample(1, label=0)

    def ours(returns: int) -> Tensor:
        asked = many(model, request, digits.labels, n, start=y, y=y, returns=returns)
        things = model.answer(asked, BATCH).values
        return finish(things, picture=digits.pictures)  # type: ignore[call-arg,misc]

    assert isinstance(request.task, Task)
    contenders: dict[str, Any] = {
        "edit": lambda: ours(request.task.returns),
        "RePaintPipeline": lambda: by_diffusers(model, digits, repainted),
        "edit, returns 1": lambda: ours(1),
    }
    rows = [{"what": "real pictures", "recognised": digits.recognised(digits.pictures), "seam": 1.0}]
    for name, make in contenders.items():
        with rows_of(model, n) as row:
            pictures = make()
        off = (pictures.int() - digits.pictures.int()).abs()[..., ~repainted].max()
        row |= {"what": name, "known pixels off": int(off), "recognised": digits.recognised(pictures)}
        row |= {"seam": seam(pictures, width // 2) / real, "calls of a sample": row["calls"] / sample.rows}
        rows.append(row)
        print(row, flush=True)
    return rows


# --- enlarging -----------------------------------------------------------------------------------------------


def psnr(pictures: Tensor, real: Tensor) -> float:
    """Of all pictures together, dB."""
    error = (pictures.double() - real.double()).square().mean()
    return float(10 * torch.log10(255**2 / error))


def bicubic(small: Tensor, factor: int) -> Tensor:
    return torch.stack(
        [
            torch.from_numpy(
                np.array(
                    Image.fromarray(one[0].numpy()).resize(
                        (one.shape[-1] * factor,) * 2, Image.Resampling.BICUBIC
                    )
                )
            )[None]
            for one in small
        ]
    )


def means(pictures: Tensor, factor: int) -> Tensor:
    """(n, 1, H, W) uint8 -> (n, 1, H / factor, W / factor) float64."""
    return pictures.double().unflatten(-1, (-1, factor)).unflatten(-3, (-1, factor)).mean((-3, -1))


def enlarging(model: Model, digits: Digits, factor: int = 2) -> list[dict[str, Any]]:
    n = len(digits.pictures)
    small = means(digits.pictures, factor).round().to(torch.uint8)
    request = model.edits.enlarge(small[0], factor, seed=SEED)

    def ours(labels: Tensor | None, **changes: Any) -> Tensor:
        asked = many(model, request, labels, n, y=model.codec.encode(small), **changes)
        things = model.answer(asked, BATCH).values
        return torch.cat([with_means(thing[None], one, factor) for thing, one in zip(things, small)])

    contenders: dict[str, Any] = {
        "real pictures": lambda: digits.pictures,
        "nearest": lambda: small.repeat_interleave(factor, -1).repeat_interleave(factor, -2),
        "bicubic": lambda: bicubic(small, factor),
        "enlarge": lambda: ours(None),
        "enlarge, class given": lambda: ours(digits.labels),
    }
    rows = []
    for name, make in contenders.items():
        with rows_of(model, n) as row:
            pictures = make()
        exact = (means(pictures, factor) == small).flatten(1).all(1)
        row |= {"what": name, "means exact": float(exact.double().mean())}
        row |= {"recognised": digits.recognised(pictures), "psnr": psnr(pictures, digits.pictures)}
        rows.append(row)
        print(row, flush=True)
    return rows


# --- inversion -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Naive(Invert):
    """DDIM's own inversion: the noise that is found in the state at hand is taken for that of the next (Song et al. 2021)."""

    def steps(self, way: Way, seeds: Tensor) -> Steps:
        stops = way.levels().flip(0)
        hop = Hop(way.process, torch.zeros((), dtype=torch.float64), lambda draw: torch.empty(0))
        x = self.picture.expand(len(seeds), *way.shape)
        for step, (t, s) in enumerate(pairwise(stops), 1):
            if t == torch.inf:  # a clean picture shows no noise: asked as if it were at the next level
                x = per_row(way.process(s)[0], x) * x
            level = s if t == torch.inf else t
            x0 = yield Ask(x, level)
            assert x0 is not None
            x = x if t == torch.inf else hop(x, x0, t, s)
            if step == len(stops) - 1:
                x = x / start(way.process, s, torch.ones((), dtype=torch.float64))
            yield AfterStep(x, x0, step)


def inversion(model: Model, digits: Digits, steps: int = 20) -> list[dict[str, Any]]:
    n, codes = len(digits.pictures), model.codec.encode(digits.pictures)
    request = model.edits.invert(digits.pictures[0], steps=steps)
    assert isinstance(request.task, Invert)

    def states(asked: Request) -> Tensor:
        return torch.cat([deque(model.previews(part), maxlen=1)[0].x for part in asked.parts(BATCH)])

    rows = []
    tasks = {"invert": request.task, "naive DDIM inversion": Naive(request.task.picture)}
    for name, task in tasks.items():
        with rows_of(model, n) as row:
            noise = states(many(model, replace(request, task=task), digits.labels, n, picture=codes))
        plain = replace(request, task=Task())
        again = states(many(model, plain, digits.labels, n, noise=noise))
        error = (again - codes).abs()
        row |= {
            "what": name,
            "largest error": float(error.max()),
            "rms error": float(error.square().mean().sqrt()),
        }
        row |= {"deviation of the noise": float(noise.std())}
        rows.append(row)
        print(row, flush=True)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    head = list(dict.fromkeys(key for row in rows for key in ("what", *row)))

    def words(value: Any) -> str:
        return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    return measuring.markdown(head, [[words(row.get(key)) for key in head] for row in rows])


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("parts", nargs="*", choices=["masks", "enlarge", "invert", []], help="by default all")
    parser.add_argument("--data", type=Path, help="MNIST as parquet; by default from the dataset hub")
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    from mezzotint import config as configuration
    from mezzotint.evaluate.reference import open_judge, open_reference

    n, few = (16, 4) if options.quick else (2000, 256)
    model = load("mnist")
    data = configuration.load("mnist", [] if options.data is None else [f"data.path={options.data}"]).data
    reference = open_reference(data)
    judge = open_judge("classifier", reference, torch.device("cpu"))
    for part in options.parts or ["masks", "enlarge", "invert"]:
        result: dict[str, Any] = {
            "machine": machine,
            "goals": GOALS,
            "settings": model.config.sample.model_dump(),
        }
        if part == "masks":
            rows = masks(model, Digits(reference, judge, n))
        elif part == "enlarge":
            rows = enlarging(model, Digits(reference, judge, n))
        else:
            rows = inversion(load("mnist", precision="fp32"), Digits(reference, judge, few))
        print(table(rows))
        result |= {"pictures": few if part == "invert" else n, "rows": rows}
        measuring.keep(options.out, f"edits-{part}", result, options.quick)


if __name__ == "__main__":
    main()
