"""One run, from a configuration to a model file: data, training, held-out loss, sample sheets, checkpoints, resume."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mezzotint import build, plots
from mezzotint import config as configuration
from mezzotint.checkpoint import (
    Header,
    last_checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_model,
)
from mezzotint.config import Config
from mezzotint.device import find_device, find_precision
from mezzotint.diffusion.loss import Objective
from mezzotint.errors import RunError
from mezzotint.model import Model
from mezzotint.rundir import check_free, claim, cut_metrics, log_metrics, read_metrics
from mezzotint.source import Source, open_source
from mezzotint.train.ema import Ema
from mezzotint.train.loop import Progress, State, held_out_loss, train
from mezzotint.train.meter import Every, Meter
from mezzotint.train.optim import adamw, learning_rate

WATCH_AT = (0.01, 0.02, 0.05, *(i / 10 for i in range(1, 11)))  # shares of the budget


class Note(NamedTuple):
    """Something to tell the user, one line."""

    text: str


class Tick(NamedTuple):
    """After a step. At logged steps also the mean loss since the last one, and the speed in pictures a second."""

    step: int
    until: int
    loss: float | None
    rate: float | None


class Done(NamedTuple):
    """The end. finished: False where it was stopped before the budget was used."""

    folder: Path
    step: int
    until: int
    finished: bool


Event = Note | Tick | Done


def fit(
    config: Config,
    folder: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    watch: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Trains one model into a run directory, and goes on by itself where an earlier call stopped.

    overwrite: start anew in a used directory. resume: go on although the budget has changed. watch: refresh
    samples/watch.png at 1, 2, 5, 10, 20 ... % from the same seeds, and make a GIF of it at the end. stop: asked after
    every step; True saves and ends. Raises ConfigError, DataError, ModelError or RunError; a run that cannot begin
    leaves the directory as it was.
    """
    began = time.perf_counter()
    folder = Path(folder)
    check_free(folder, config, overwrite=overwrite, resume=resume)
    run = _Run(config, folder)
    run.rehearse()
    used = claim(folder, config, overwrite=overwrite)
    yield Note(run.describe())
    for skipped in run.source.skipped[:5]:
        yield Note(f"skipped {skipped}")
    if len(run.source.skipped) > 5:
        yield Note(f"... {len(run.source.skipped)} files skipped in all")

    checkpoint = last_checkpoint(folder) if used else None
    stored = load_checkpoint(checkpoint, run.state) if checkpoint else {}
    if checkpoint:
        yield Note(f"going on from step {run.state.step:,} of {folder}")
    same_budget = {key: getattr(config.train, key) for key in configuration.BUDGETS}
    if stored and stored["budget"] == same_budget:
        until = stored["until"]
    elif (fixed := run.fixed_budget()) is not None:
        until = fixed
    else:
        yield Note("measuring the speed of a step, to turn minutes into steps")
        until = run.state.step + run.measured_budget(began)
    run.meter = Meter(stored.get("losses", []))
    run.budget = {"until": until, "budget": same_budget}
    with run.writing():
        cut_metrics(folder, run.state.step)
        if run.state.step >= until:
            run.publish()
    if run.state.step >= until:
        yield Note(
            f"{folder} is already trained to step {run.state.step:,}; raise the budget and add --resume to go on"
        )
        yield Done(folder, run.state.step, until, True)
        return
    yield from run.train(until, watch, stop)


def check(config: Config) -> str:
    """All that can go wrong before training, tried without writing anything. Returns a line about the run that would
    be. Raises ConfigError or DataError."""
    run = _Run(config, Path("run"))
    return f"{run.describe()}; first loss {run.rehearse():.4f}"


class _Run:
    """The things of one run, put together from its configuration."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.folder = config, folder
        device = find_device(config.train.device)
        self.source: Source = open_source(config, device)
        self.facts = self.source.facts
        self.dtype = find_precision(config.train.precision, device) if self.facts.pictures else torch.float32
        self.device = device
        self.state, self.objective = self._state()
        self.budget: dict[str, Any] = {}
        self.meter = Meter()
        header = Header(config, self.facts, 0, f"ema {config.train.ema:g}")
        averaged = build.denoiser(config, self.state.ema.net, dtype=self.dtype)
        self.averaged = build.objective(config, averaged)
        self.model = Model(header, averaged, device, folder.name)
        self.validation = self.source.held_out(config.train.batch_size)

    def _state(self) -> tuple[State, Objective]:
        train = self.config.train
        torch.manual_seed(train.seed)
        net = build.network(self.config, self.facts).to(self.device)
        compile = self.device.type == "cuda" if train.compile is None else train.compile
        state = State(net, adamw(net, train.lr, train.weight_decay), Ema(net, train.ema))
        return state, build.objective(
            self.config, build.denoiser(self.config, net, dtype=self.dtype, compile=compile)
        )

    def describe(self) -> str:
        parameters = sum(p.numel() for p in self.state.net.parameters())
        what = "pictures" if self.facts.pictures else "points"
        classes = f", {len(self.facts.classes)} classes" if self.facts.classes else ""
        size = "x".join(str(n) for n in self.facts.shape)
        return (
            f"{self.config.data.name}: {what} {size}{classes}, {self.source.count}; {self.config.network.kind} "
            f"{parameters / 1e6:.2f}M parameters; {self.device.type} {str(self.dtype).removeprefix('torch.')}"
        )

    @torch.no_grad()
    def rehearse(self) -> float:
        """The loss of a few examples and one step of sampling: what does not fit together must be said now, not when
        the first batch or the first sheet is due. Returns the loss."""
        loss = held_out_loss(self.averaged, [self.source.preview(min(8, self.config.train.batch_size))])
        next(self.model.stream(1))
        return loss

    @property
    def steps_an_epoch(self) -> float:
        return self.source.total / self.config.train.batch_size

    def fixed_budget(self) -> int | None:
        """Steps of a budget in steps, images or epochs; of 20 epochs where none is given; None for minutes."""
        train = self.config.train
        if train.minutes is not None:
            return None
        images = train.images or (train.epochs or 20) * self.source.total
        return train.steps or max(1, math.ceil(images / train.batch_size))

    def measured_budget(self, began: float) -> int:
        """Steps that fit into the minutes asked for, from a trial on a second network that is thrown away."""
        state, objective = self._state()
        budget = 60 * (self.config.train.minutes or 0)
        marks = [time.perf_counter()]
        for progress in self._steps(state, objective, 10**9):
            float(progress.loss)  # waits for the device
            marks.append(time.perf_counter())
            if len(marks) > 10 and marks[-1] - marks[3] > 0.02 * budget:
                break
        # Leaving out the first steps, which warm up caches, threads and compilation; the median, since a busy moment
        # now must not cut the whole run short.
        a_step = statistics.median(after - before for before, after in pairwise(marks[3:]))
        left = budget - (time.perf_counter() - began)
        return max(1, int(0.94 * left / a_step))  # the rest for sheets, checkpoints and the held-out loss

    def _steps(self, state: State, objective: Objective, until: int) -> Iterator[Progress]:
        config = self.config.train
        return train(
            objective,
            state,
            self.source.batches(config.seed, config.batch_size, state.step),
            until=until,
            lr=learning_rate(config.lr, config.warmup, config.decay),
            seed=config.seed,
            clip=config.clip,
            accumulate=config.accumulate,
            label_drop=config.label_drop if self.facts.classes else 0.0,
            null=len(self.facts.classes),
        )

    def train(self, until: int, watch: bool, stop: Callable[[], bool]) -> Iterator[Event]:
        config, state, folder = self.config.train, self.state, self.folder
        intervals = (config.log_every, config.validate_every, config.sample_every, config.checkpoint_every)
        log, validate, sheet, checkpoint = (
            Every.parse(text, until, self.steps_an_epoch) for text in intervals
        )
        watching = {max(1, math.ceil(share * until)) for share in WATCH_AT} if watch else set()
        start = time.perf_counter()
        for progress in self._steps(state, self.objective, until):
            step = progress.step
            self.meter.add(progress.loss)
            row: dict[str, float] = {"step": step, "images": step * config.batch_size}
            if log(step, until):
                loss, steps_a_second = self.meter.read()
                if not math.isfinite(loss):
                    raise RunError(self._not_finite(step))
                row |= {"loss": loss, "lr": progress.lr, "grad_norm": float(progress.grad_norm)}
                row |= {"images_per_second": round(steps_a_second * config.batch_size, 1)}
            yield Tick(step, until, row.get("loss"), row.get("images_per_second"))
            with self.meter.paused(), self.writing():
                if self.validation and validate(step, until):
                    row["val_loss"] = held_out_loss(self.averaged, self.validation)
                if len(row) > 2:
                    log_metrics(folder, {**row, "seconds": round(time.perf_counter() - start, 2)})
                if sheet(step, until):
                    self.sheet(step)
                if step in watching:
                    self.watch(step, last=step == until)
                stopped = stop() and step < until
                if checkpoint(step, until) or stopped:
                    self.save()
            if stopped:
                break
        yield Done(folder, state.step, until, state.step == until)

    def _not_finite(self, step: int) -> str:
        good = last_checkpoint(self.folder)
        return (
            f"the loss is not finite at step {step}; lower train.lr or train.clip and train again with --overwrite"
            + (f" (the last good checkpoint is {good})" if good else "")
        )

    def save(self) -> None:
        """A checkpoint, the model file and the loss curve; never of a network that is lost."""
        if not all(weight.isfinite().all() for weight in self.state.net.parameters()):
            raise RunError(self._not_finite(self.state.step))
        extra = {**self.budget, "losses": self.meter.unread()}
        save_checkpoint(self.folder, self.state, extra, self.config.train.keep)
        self.publish()

    def publish(self) -> None:
        """The model file and the loss curve."""
        header = Header(self.config, self.facts, self.state.step, self.model.header.weights)
        save_model(self.folder / "model.safetensors", self.state.ema.net, header)
        plots.save_png(plots.loss_curve(read_metrics(self.folder)), self.folder / "loss.png")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around whatever writes into the run directory."""
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self.folder} cannot be written ({error}); make room, then give the same command to go on"
            ) from error

    def sheet(self, step: int) -> None:
        """samples/step-N.png: the same seeds and classes every time."""
        count = len(self.facts.classes) or 8
        if not self.facts.pictures:
            n, columns = 2000, None
        else:
            large = max(self.facts.shape[1:]) > 32
            columns = count if count <= 10 else 8
            n = columns * (4 if large else 8)
        samples = self.model.sample(n, label="all" if self.facts.classes else None)
        folder = self.folder / "samples"
        folder.mkdir(exist_ok=True)
        plots.save_png(
            samples.sheet(columns), folder / f"step-{step:07d}.png", {**samples.settings, "step": step}
        )

    def watch(self, step: int, last: bool) -> None:
        """samples/watch.png: the newest of a series from the same seeds; samples/watch.gif: all of it, at the end."""
        frames = self.folder / "samples" / "watch"
        frames.mkdir(parents=True, exist_ok=True)
        samples = self.model.sample(
            16 if self.facts.pictures else 2000, label="all" if self.facts.classes else None
        )
        picture = samples.sheet()
        plots.save_png(picture, frames / f"{step:07d}.png")
        plots.save_png(picture, self.folder / "samples" / "watch.png", {**samples.settings, "step": step})
        if last:
            plots.gif(
                [plots.read_png(f) for f in sorted(frames.glob("*.png"))],
                self.folder / "samples" / "watch.gif",
            )
