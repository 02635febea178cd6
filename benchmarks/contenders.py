"""The contenders of quality.py: our recipe and other people's loops, each as something that trains and then draws pictures.

What is prepared before the clock starts, for all alike: imports, the pictures in memory, the network with its random weights of the seed.
What counts: making the loop, the first step, compilation, and all of training. Drawing does not: the clock stands still.
"""

import copy
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import measuring
import throughput as loops
from sampling import counted

CALLS = 20  # of the network, a picture
PLAIN = ("data.labels=false", "sample.guidance=1", f"sample.steps={CALLS}")
# The recipe of MNIST takes about 20 calls as it is; that of CIFAR-10 takes 50, and here draws like the other.
OURS = {
    "mnist": (),
    "cifar10": ("sample.steps=14", "sample.guidance=1.5", "sample.guidance_interval=[0.6,4.0]"),
}
BATCHES = {"diffusers": 16, "denoising-diffusion-pytorch": 16, "smalldiffusion": 64}
WARM_UP_SHARE = 0.05  # of diffusers' steps; their example has 500 of however many there are
DECAY = 0.99  # of the average that smalldiffusion's examples keep beside its loop
STEPS_A_LOOK = 4  # at the clock


@dataclass
class Setting:
    """recipe: its name. words: where its pictures are, and other keys. minutes: the budget. n: pictures drawn at each mark."""

    recipe: str
    words: Sequence[str]
    minutes: float
    marks: Sequence[float]
    n: int
    seed: int
    folder: Path


@dataclass
class Contender:
    """train: so many steps of `batch` pictures. draw: pictures uint8 (n, C, H, W), and the classes asked for or None; its calls
    are those of `net()`, whose rows are counted. steps: that it will train, as it plans by now; None for as many as there is time for."""

    train: Callable[[int], None]
    draw: Callable[[], tuple[Any, Any]]
    net: Callable[[], Any]
    batch: int
    steps: int | None = None
    about: dict[str, Any] = field(default_factory=dict)


Seconds = Callable[[], float]  # since the first call, but for those of drawing
Start = Callable[[Seconds], Contender]  # what the clock sees


class Clock:
    """Seconds spent inside `running`."""

    def __init__(self) -> None:
        self.before, self.began = 0.0, 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        self.began = time.perf_counter()
        yield
        self.before += time.perf_counter() - self.began

    def now(self) -> float:
        """Inside `running`."""
        return self.before + time.perf_counter() - self.began


def record(start: Start, marks: Sequence[float], keep: Callable[[int, Any, Any], object]) -> dict[str, Any]:
    """Trains and draws at the marks, in seconds. keep: is given the number of a mark, its pictures and their classes.

    A contender with planned steps ends with them, before the last mark or after it."""
    import torch

    clock, points, done = Clock(), list[dict[str, float]](), 0
    with clock.running():
        one = start(clock.now)
    for k, mark in enumerate(marks):
        before, last = done, k == len(marks) - 1 and one.steps is not None
        with clock.running():
            while (left := math.inf if one.steps is None else one.steps - done) > 0 and (
                last or clock.now() < mark
            ):
                count = int(min(STEPS_A_LOOK, left))
                one.train(count)
                done += count
            if torch.cuda.is_available():
                torch.cuda.synchronize()
        if done == before:
            continue  # it was done before, or has not come to a step
        with counted(SimpleNamespace(net=one.net())) as calls:
            pictures, labels = one.draw()
        keep(len(points), pictures, labels)
        points.append(
            {"seconds": clock.before, "pictures": done * one.batch, "calls": calls.rows / len(pictures)}
        )
        print(f"  {clock.before:.0f} s: {done * one.batch:,} pictures seen", flush=True)
    return {"batch": one.batch, "points": points, **one.about}


def parts(setting: Setting, *more: str) -> Any:
    from mezzotint import config as configuration
    from mezzotint.run.parts import Parts
    from mezzotint.train.distributed import Ranks

    words = [*setting.words, f"train.minutes={setting.minutes}", f"train.seed={setting.seed}", *more]
    return Parts(configuration.load(setting.recipe, words), setting.folder, Ranks())


def ours(setting: Setting) -> Start:
    """The recipe, with the classes of the set where it has them."""
    return _ours(setting, *OURS[setting.recipe])


def ours_plain(setting: Setting) -> Start:
    """The recipe on the network that the peers train: without classes, and so without guidance."""
    return _ours(setting, *PLAIN)


def _ours(setting: Setting, *more: str) -> Start:
    from judging import in_proportion

    from mezzotint.run.budget import Clock as Budget
    from mezzotint.run.budget import Plan

    run = parts(setting, *more)
    labels, classes = run.pictures.pictures.labels, len(run.facts.classes)
    asked = in_proportion(labels.cpu(), classes, setting.n) if classes else None

    def draw() -> tuple[Any, Any]:
        samples = run.model.sample(setting.n, label=asked, seed=1_000_000 * (setting.seed + 1))
        return samples.values, samples.labels if classes else None

    def start(now: Seconds) -> Contender:
        plan = Plan(run.measured_budget(time.perf_counter()))  # as `mezzotint train` does at the start,
        clock = Budget(setting.minutes, 0.0, now=now)  # and at its looks
        steps = loops.ours(run, plan.until)

        def train(count: int) -> None:
            nonlocal plan, steps
            for _ in range(min(count, plan.until - run.state.step)):
                steps(1)
                if clock.due(plan, run.state.step):
                    plan = clock.look(plan, run.state.step)
                    one.steps, steps = plan.until, loops.ours(run, plan.until, plan)

        batch = run.config.train.batch_size
        about = {"sampling": run.config.sample.model_dump(mode="json"), "precision": str(run.dtype)}
        one = Contender(train, draw, lambda: run.model.net, batch, plan.until, about)
        return one

    return start


def diffusers(setting: Setting) -> Start:
    """The loop of their example: AdamW at 1e-4, eps on 1,000 linear steps, float32, its cosine over the steps that fit into
    the budget, which a trial tells beforehand, off the clock; the first twentieth of them warms up."""
    from mezzotint.diffusion.parameterization import eps
    from mezzotint.diffusion.schedule import linear

    run, memory = _theirs(setting, "diffusers")
    net = loops.adapted(run.state.net, "diffusers", run.facts.shape[0])
    trial, _ = loops.diffusers_example(copy.deepcopy(net), memory, "no")
    seconds = [measuring.seconds(lambda: trial(1)) for _ in range(25)][5:]
    total = max(2, int(60 * setting.minutes / statistics.median(seconds)))
    averaged = copy.deepcopy(net)

    def start(now: Seconds) -> Contender:
        warmup = max(1, round(WARM_UP_SHARE * total))
        train, average = loops.diffusers_example(net, memory, "no", warmup, total)

        def draw() -> tuple[Any, Any]:
            average.copy_to(averaged.parameters())
            return _drawn(averaged.net, eps, linear(1000), run, setting), None

        return Contender(train, draw, lambda: averaged.net, memory.batch, total, {"warm-up steps": warmup})

    return start


def denoising_diffusion_pytorch(setting: Setting) -> Start:
    """Its Trainer with its defaults: Adam at 1e-4, v on 1,000 sigmoid steps, float32, an average of decay 0.995."""
    from mezzotint.diffusion.parameterization import v
    from mezzotint.diffusion.schedule import Table

    run, memory = _theirs(setting, "denoising-diffusion-pytorch")
    net = loops.adapted(run.state.net, "ddpm", run.facts.shape[0])

    def start(now: Seconds) -> Contender:
        train, trainer = loops.denoising_diffusion_pytorch(net, memory, "no", setting.folder)
        average = trainer.ema.ema_model
        kept = average.alphas_cumprod.double().cpu()

        def draw() -> tuple[Any, Any]:
            return _drawn(average.model.net, v, Table(kept.log() - (-kept).log1p()), run, setting), None

        return Contender(train, draw, lambda: average.model.net, memory.batch)

    return start


def smalldiffusion(setting: Setting) -> Start:
    """Its training_loop with its defaults, AdamW at 1e-3, and Scaled; eps on its 1,000 steps, which are diffusers'; and the average of
    its examples, beside it."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    from mezzotint.diffusion.parameterization import eps
    from mezzotint.diffusion.schedule import linear

    run, memory = _theirs(setting, "smalldiffusion")
    net = loops.adapted(run.state.net, "small", run.facts.shape[0])

    def start(now: Seconds) -> Contender:
        one_step = loops.smalldiffusion(net, memory, "no")
        average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(DECAY))

        def train(count: int) -> None:
            for _ in range(count):
                one_step(1)
                average.update_parameters(net)

        def draw() -> tuple[Any, Any]:
            return _drawn(average.module.net, eps, linear(1000), run, setting), None

        return Contender(train, draw, lambda: average.module.net, memory.batch)

    return start


CONTENDERS: dict[str, Callable[[Setting], Start]] = {
    "ours": ours,
    "ours-plain": ours_plain,
    "diffusers": diffusers,
    "denoising-diffusion-pytorch": denoising_diffusion_pytorch,
    "smalldiffusion": smalldiffusion,
}
OUR_OWN = ("ours", "ours-plain")


def _theirs(setting: Setting, name: str) -> tuple[Any, loops.Memory]:
    """A run of ours, for its network without classes and its pictures; and these in batches, mirrored where ours are."""
    import torch

    from mezzotint.evaluate.reference import flips_by_default

    os.environ["TQDM_DISABLE"] = "1"
    run = parts(setting, *PLAIN)
    torch.manual_seed(setting.seed)
    flip = flips_by_default(run.config.data.name) if run.config.data.flip is None else run.config.data.flip
    return run, loops.Memory(run.pictures.pictures.images, BATCHES[name], flip)


def _drawn(net: Any, parameterization: Any, table: Any, run: Any, setting: Setting) -> Any:
    """Pictures by DPM-Solver++(2M) over a peer's own noise levels, spaced as "trailing", x0 kept in [-1, 1]."""
    import torch

    from mezzotint.diffusion.corrections import clip
    from mezzotint.diffusion.denoiser import Denoiser
    from mezzotint.diffusion.engine import alone
    from mezzotint.diffusion.process import vp
    from mezzotint.media.pictures import to_uint8
    from mezzotint.tasks.generate import generate, seeds_from

    belief = Denoiser(net.eval(), vp, parameterization, table.index)
    done = []
    for first in range(0, setting.n, 64):
        count = min(64, setting.n - first)
        seeds = seeds_from(1_000_000 * (setting.seed + 1) + first, count, run.device)
        walk = generate(
            vp, table, run.facts.shape, seeds, sampler="dpmpp_2m", steps=CALLS, spacing="trailing"
        )
        *_, last = alone(belief, walk, corrections=[clip()])
        done.append(to_uint8(last.x0).cpu())
    return torch.cat(done)
