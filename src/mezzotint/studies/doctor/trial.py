"""What a run will cost, and whether it can learn at all: the part of the doctor that trains throw-away networks."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from mezzotint import build
from mezzotint.cond import Batch, Cond
from mezzotint.config import Config, DiT, Own, UNet, UNet2D
from mezzotint.data.latents import CodedSource
from mezzotint.data.open import PictureSource, Points, Source
from mezzotint.diffusion.denoiser import Denoiser
from mezzotint.diffusion.loss import stratified
from mezzotint.media.facts import Facts
from mezzotint.model.device import find_precision
from mezzotint.run.features import fresh_features
from mezzotint.run.parts import compiles, fresh_network, precision_of
from mezzotint.run.teacher import belief, open_teacher
from mezzotint.studies.doctor.pictures import Finding

COPIES = 4 + 3  # of the weights: themselves, gradients and two moments; and up to three averages
PEAK = 1.4  # of the activations kept: their gradients and the kernels' scratch, by the resident memory of a CPU step
PATIENCE = 1.5  # seconds that trying one size of batch may take; larger ones are extrapolated
ROWS, STEPS, SECONDS = 8, 150, 10.0  # of learning one batch by heart; healthy networks need 15 to 60 steps
LEARNED = 0.5  # of the first loss, which is that of an answer of zero
USUAL_LR = 1e-3  # AdamW learns one batch by heart at this rate with every network of ours


@dataclass(frozen=True)
class StepCost:
    """What a step costs, of a whole batch.

    computing, loading: seconds. beside: whether loading goes on beside the computing. Bytes: weights; activations, the
    peak of a micro-batch; data, held in memory. ours: share of one processor
    that the steps had, in [0, 1]; what other work left of it.
    """

    computing: float
    loading: float
    beside: bool
    weights: int
    activations: int
    data: int
    ours: float = 1.0

    @property
    def a_step(self) -> float:
        """Seconds."""
        return max(self.computing, self.loading) if self.beside else self.computing + self.loading


class Learner:
    """A fresh network with an optimiser, made as training makes them."""

    def __init__(self, config: Config, facts: Facts, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            self.net = fresh_network(config, facts, device)
        dtype, compile = precision_of(config, facts, device), compiles(config, device)
        self.schedule = build.make_schedule(config)
        teacher = open_teacher(config, device)
        lesson = build.Lesson(belief(teacher, config), self.net) if teacher else None
        self.denoiser: Denoiser | None = None  # which an autoencoder has not
        if config.objective == "autoencode":
            features = fresh_features(config, facts, device)
            self.objective = build.learned(config, self.net, dtype=dtype, features=features)
        else:
            self.denoiser = build.denoiser(config, self.net, dtype=dtype, compile=compile)
            self.objective = build.objective(config, self.denoiser, lesson)
        self.optimizer = build.optimizer(config, self.net)
        self.clip = config.train.clip or math.inf

    def loss(self, batch: Batch) -> Tensor:
        """The mean loss at noise and levels that are the same at every call and cover the whole schedule."""
        x0, cond = batch
        return self.objective(x0, self._eps(x0), self._u(x0), cond).mean()

    def _eps(self, x0: Tensor) -> Tensor:
        return torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)).to(x0)

    def _u(self, x0: Tensor) -> Tensor:
        return stratified(torch.full((len(x0),), 0.5, dtype=torch.float64))

    def step(self, batch: Batch, lr: float) -> float:
        """An optimiser step. Returns the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        loss = self.loss(batch)
        if loss.requires_grad:
            loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        self.optimizer.step()
        return float(loss.detach())

    def learn(self, batch: Batch, lr: float) -> list[float]:
        """Losses of one batch, shown again and again until most of it is learned, time is up, or it is not finite."""
        losses: list[float] = []
        began = time.perf_counter()
        while len(losses) < STEPS and time.perf_counter() - began < SECONDS:
            losses.append(self.step(batch, lr * min(1, (len(losses) + 1) / 10)))
            if not math.isfinite(losses[-1]) or losses[-1] < LEARNED / 2 * losses[0]:
                break
        return losses

    def has_gradient(self) -> bool:
        """Whether the last step had a gradient."""
        return any(bool(p.grad.any()) for p in self.net.parameters() if p.grad is not None)

    @torch.no_grad()
    def ignores(self, batch: Batch, classes: int) -> list[str]:
        """Which of its inputs have no effect on the answer, to the last bit."""
        x0, cond = batch
        denoiser, levels = self.denoiser, self.schedule(self._u(x0))
        if denoiser is None:
            return []
        self.net.eval()
        plain = denoiser.predict(x0, levels, cond)
        others = {
            "the picture": denoiser.predict(-x0, levels, cond),
            "the noise level": denoiser.predict(x0, levels.flip(0), cond),
        }
        if cond.label is not None and classes > 1:
            others["the class"] = denoiser.predict(x0, levels, Cond(label=(cond.label + 1) % classes))
        return [name for name, other in others.items() if torch.equal(plain, other)]

    def saved(self, batch: Batch) -> int:
        """Bytes that the backward pass keeps, weights apart: counted, so it does not matter what ran before."""
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = self.loss(
                batch
            )  # kept until all are counted: memory that is freed has its address used again
        for parameter in self.net.parameters():
            sizes.pop(parameter.untyped_storage().data_ptr(), None)
        del loss
        return sum(sizes.values())


def measure(config: Config, source: Source | CodedSource, device: torch.device) -> StepCost:
    """Trains for a few steps, on ever larger parts of a batch while those are quick."""
    size, largest = config.train.batch_size, math.ceil(config.train.batch_size / config.train.accumulate)
    batches = source.batches(config.train.seed, size, 0)
    whole = next(batches)
    began = time.perf_counter()
    next(batches)
    loading = time.perf_counter() - began
    learner, rows = Learner(config, source.facts, device), min(8, largest)
    while True:
        part = _first(whole, rows)
        learner.step(part, config.train.lr)  # the first of its shape is slow
        marks, busy = [time.perf_counter()], time.process_time()
        while len(marks) < 4 and marks[-1] - marks[0] < PATIENCE:
            learner.step(part, config.train.lr)
            marks.append(time.perf_counter())
        busy = time.process_time() - busy
        quickest = min(after - before for before, after in pairwise(marks))
        if rows == largest or 4 * quickest > PATIENCE:
            break
        rows = min(4 * rows, largest)
    images: object = source.pictures.images if isinstance(source, PictureSource) else None
    images = source.codes if isinstance(source, CodedSource) else images
    return StepCost(
        computing=quickest * size / rows,
        loading=loading,
        beside=not isinstance(source, Points) and not isinstance(images, Tensor),
        weights=sum(p.numel() * p.element_size() for p in learner.net.parameters()),
        activations=int(PEAK * learner.saved(part) * largest / rows),
        data=images.numel() if isinstance(images, Tensor) else 0,
        ours=min(1.0, busy / (marks[-1] - marks[0])) if device.type == "cpu" else 1.0,
    )


def _first(batch: Batch, rows: int) -> Batch:
    return Batch(batch.x0[:rows], batch.cond.map(lambda column: column[:rows]))


def precision(config: Config, device: torch.device) -> Iterator[Finding]:
    """bfloat16 where the hardware does not multiply it."""
    if config.train.precision == "bf16" and find_precision("auto", device) != torch.bfloat16:
        text = (
            f"train.precision=bf16, which this {device.type} does not support: several times slower than fp32"
        )
        yield Finding("warning", "precision", text, "set train.precision=auto", anchor="slow")


def speed(trial: StepCost, steps: int | None, config: Config) -> Iterator[Finding]:
    """How long a step takes, and the run."""
    text = f"a step takes {_duration(trial.a_step)}"
    text += f"; {steps:,} steps about {_duration(steps * trial.a_step)}" if steps else ""
    if trial.beside and trial.loading > 1.2 * trial.computing:
        text += f"; decoding a batch takes longer ({1000 * trial.loading:,.0f} ms) than computing with it"
        remedy = "shrink the pictures beforehand"
        if not config.data.stream:
            remedy = f"raise data.memory_gb, so that pictures are decoded once, or {remedy}"
        yield Finding("warning", "time", text, remedy, anchor="slow")
    elif steps and steps * trial.a_step > 24 * 3600:
        side = config.network.patch if isinstance(config.network, UNet | DiT) else None
        patch = f", network.patch={2 * side}" if isinstance(side, int) else ""
        remedy = (
            f"a faster device, a smaller network (network.width{patch}) or data.size, or a smaller budget"
        )
        yield Finding("warning", "time", text, remedy, anchor="slow")
    else:
        yield Finding("ok", "time", text)


def _duration(seconds: float) -> str:
    if seconds < 2:
        return f"{1000 * seconds:.0f} ms"
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def memory(trial: StepCost, limit: int | None, config: Config) -> Iterator[Finding]:
    """What training holds at once, against what there is. limit: bytes, None where it is not known."""
    weights = COPIES * trial.weights
    needed = weights + trial.activations + trial.data
    text = (
        f"about {_bytes(needed)}{f' of {_bytes(limit)}' if limit else ''}: weights with gradients, optimiser and EMAs "
        f"{_bytes(weights)}, activations {_bytes(trial.activations)}, data {_bytes(trial.data)}"
    )
    if not limit or needed < 0.8 * limit:
        yield Finding("ok", "memory", text)
        return
    remedy = f"raise train.accumulate={config.train.accumulate}, which splits the batch with the same result, or set a smaller train.batch_size"
    if trial.data > trial.activations:
        remedy = "lower data.memory_gb, so that pictures are decoded when they are needed"
    yield Finding("error" if needed > limit else "warning", "memory", text, remedy, anchor="out-of-memory")


def memory_of(device: torch.device) -> int | None:
    """Bytes that the device has, or the container allows; None where it is unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    limits = []
    with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(ValueError, OSError):  # "max" where a container has no limit
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits, default=None)


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def by_heart(config: Config, source: Source | CodedSource, device: torch.device) -> Finding:
    """Can a fresh network memorize one small batch? One that cannot will learn nothing from all of the data."""
    batch = _first(next(source.batches(config.train.seed, config.train.batch_size, 0)), ROWS)
    learner, note = Learner(config, source.facts, device), ""
    learner.step(batch, 0.0)
    began = time.perf_counter()
    learner.step(batch, 0.0)
    if (time.perf_counter() - began) * STEPS / 2 > SECONDS:
        width, config = _narrow(config)
        batch, note = _first(batch, ROWS // 2), f" with network.width={width}"
    learner, lr = Learner(config, source.facts, device), config.train.lr
    losses = learner.learn(batch, lr)
    text = f"one batch of {len(batch.x0)} pictures, {_story(losses)}{note}"
    if _learned(losses):
        ignored = learner.ignores(batch, len(source.facts.classes))
        if not ignored:
            return Finding("ok", "learning", text)
        text += f", but the network ignores {' and '.join(ignored)}"
        remedy = "look for an input that forward does not use"
        if ignored == ["the class"]:
            return Finding("error", "learning", text, remedy, anchor="samples-ignore-the-class")
        return Finding("error", "learning", text, remedy, anchor="the-loss-does-not-fall")
    if not math.isfinite(losses[0]):
        text += ": not finite from the start"
        remedy = "the data or the network makes NaN"
        if precision_of(config, source.facts, device) != torch.float32:
            remedy += "; try train.precision=fp32"
        return Finding("error", "learning", text, remedy, anchor="nan-or-infinite-loss")
    if math.isfinite(losses[-1]) and not learner.has_gradient():
        text += ": no gradient reaches the weights"
        remedy = "look for a detach, a no_grad or an output that does not depend on the weights"
        return Finding("error", "learning", text, remedy, anchor="the-loss-does-not-fall")
    if math.isfinite(losses[-1]) and len(losses) < STEPS:
        return Finding("ok", "learning", f"{text}: too slow to tell in {SECONDS:g} seconds")
    train = config.train.model_copy(update={"optimizer": "adamw", "lr": USUAL_LR, "weight_decay": 0.0})
    usual = Learner(config.model_copy(update={"train": train}), source.facts, device)
    again = usual.learn(batch, USUAL_LR)
    with_adamw = "" if config.train.optimizer == "adamw" else " train.optimizer=adamw"
    if _learned(again):
        text += f"; at train.lr={USUAL_LR:g}{with_adamw}: {_story(again)}"
        if lr > USUAL_LR:
            remedy = f"lower train.lr={lr:g}, which is too high"
            return Finding("error", "learning", text, remedy, anchor="nan-or-infinite-loss")
        remedy = f"raise train.lr={lr:g}, unless the budget is very long"
        return Finding("warning", "learning", text, remedy, anchor="the-loss-does-not-fall")
    text += f", nor at train.lr={USUAL_LR:g}{with_adamw}: {_story(again)}"
    remedy = "network, loss or data are broken: try a recipe's network.* and diffusion.* on this data"
    return Finding("error", "learning", text, remedy, anchor="the-loss-does-not-fall")


def _narrow(config: Config) -> tuple[int, Config]:
    """The same with a network of width 16 at most, for what would take too long to try, and its width."""
    network = config.network
    assert not isinstance(network, Own)  # `build.network` has refused it
    if isinstance(network, UNet2D):
        width = min(network.widths[0], 16)
        less = {
            "groups": network.groups,
            "middle_groups": network.middle_groups,
            "head_channels": network.head_channels,
        }
        divisors = {key: number and math.gcd(number, width) for key, number in less.items()}
        narrow = {"widths": [width] * len(network.widths), **divisors}
        return width, config.model_copy(update={"network": network.model_copy(update=narrow)})
    changes = {"width": min(network.width, 16)}
    if isinstance(network, UNet):
        changes["head_channels"] = min(network.head_channels, 16)  # divides every multiple of the width
    elif isinstance(network, DiT):
        changes["head_channels"] = changes["width"]  # one head
    return changes["width"], config.model_copy(update={"network": network.model_copy(update=changes)})


def _learned(losses: list[float]) -> bool:
    return math.isfinite(losses[-1]) and losses[-1] < LEARNED * losses[0]


def _story(losses: list[float]) -> str:
    return f"loss {losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} steps"
