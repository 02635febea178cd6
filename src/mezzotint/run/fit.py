"""One run, from a configuration to a model file: training, held-out loss, sample sheets, checkpoints, going on."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from PIL import Image

from mezzotint import build, plots
from mezzotint import config as configuration
from mezzotint.config import Config
from mezzotint.disk.checkpoint import checkpoints, load_last, save_checkpoint
from mezzotint.disk.folder import check_free, claim, cut_metrics, empty, locked, log_metrics, read_metrics
from mezzotint.disk.model_file import Header, save_adapter, save_model
from mezzotint.disk.names import ADAPTER, MODEL
from mezzotint.disk.snapshots import cut_snapshots, save_snapshot
from mezzotint.errors import ConfigError, RunError
from mezzotint.model.autoencoder import Autoencoder
from mezzotint.model.model import Model
from mezzotint.run.allowance import SHARE, Allowance
from mezzotint.run.budget import Clock, Plan, clock_of, in_steps
from mezzotint.run.events import Busy, Done, Event, Logged, Note, Opened, Sheet, Tick
from mezzotint.run.latents import completed
from mezzotint.run.parts import Parts
from mezzotint.run.reconstructions import sheets_of
from mezzotint.run.sheets import WATCH_AT
from mezzotint.train import distributed
from mezzotint.train.diagnose import blame, gradient_noise_scale
from mezzotint.train.distributed import Ranks
from mezzotint.train.loop import Progress, held_out_loss
from mezzotint.train.lora import adapter, merged
from mezzotint.train.meter import Every, Meter, Reading
from mezzotint.train.objectives import Timed, core

LOST = 20  # steps in a row that were not finite: more of them will not help
ROLLBACKS = 5
CURVE_SECONDS = 5  # between drawings of the loss curve, which take longer than small checkpoints
CHANGED = 0.05  # of the steps of a budget in minutes: what is less is not told
QUIET_SECONDS = 2  # after which the loss so far is told though it is not logged yet


def fit(
    config: Config,
    folder: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    watch: bool = False,
    stop: Callable[[], bool] = lambda: False,
    judge: Callable[[Model], dict[str, float]] | None = None,
    allowance: Allowance | None = None,
    ranks: Ranks | None = None,
) -> Iterator[Event]:
    """Trains one model into a run directory, and goes on by itself where an earlier call stopped.

    overwrite: start anew in a used directory. resume: go on although the budget has changed. watch: refresh
    samples/watch.png at 1, 2, 5, 10, 20 ... % from the same seeds, and make a GIF of it at the end. stop: asked after
    every step; True saves and ends. judge: at every train.evaluate_every, numbers about the model for metrics.jsonl.
    allowance: of time for sheets and curves, by default a tenth from now on. In processes started by torchrun, all of
    them call this; ranks=ALONE trains alone in one of them. Raises ConfigError, DataError, ModelError or RunError; a run that cannot begin leaves the directory as
    it was.
    """
    began = time.perf_counter()
    folder, allowance = Path(folder), allowance or Allowance()
    more = " and coding it, once" if config.codec else ""
    more += ", and drawing samples to replay, once" if config.train.replay else ""
    yield Busy(f"reading {config.data.name}{more}")
    config = completed(config)
    ranks = distributed.start() if ranks is None else ranks
    if ranks.first:
        check_free(folder, config, overwrite=overwrite, resume=resume)
    run = Parts(config, folder, ranks)
    run.rehearse()
    with locked(folder) if ranks.first else nullcontext() as line:
        if ranks.first:
            check_free(folder, config, overwrite=overwrite, resume=resume)  # now nobody else writes into it
            if overwrite:
                empty(folder)
        ranks.tell(0)  # the others wait here until the directory is ready
        stored, odd = load_last(folder, run.state)
        data = run.fingerprint()
        if stored is not None and stored.get("data", data) != data:
            raise ConfigError(
                f"the data has changed since step {run.state.step:,} of {folder}; restore it, choose another --name, or --overwrite the run"
            )
        if ranks.first:
            claim(folder, config)
        if run.features is not None and stored is None:
            yield Busy("training the features of the objective, once")
        run.learn_features(stored is not None)
        yield Note(run.describe())
        yield Opened(run.pictures)
        for note in run.notes:
            yield Note(note)
        if line:
            yield Note(line)
        for skipped in run.source.skipped[:5]:
            yield Note(f"skipped {skipped}")
        if len(run.source.skipped) > 5:
            yield Note(f"... {len(run.source.skipped)} files skipped in total")
        for line in odd:
            yield Note(f"{line}; resuming from an older checkpoint")
        if stored is not None:
            yield Note(f"resuming from step {run.state.step:,} of {folder}")

        budget = {key: getattr(config.train, key) for key in configuration.BUDGETS}
        kept = stored if stored and stored["budget"] == budget else None
        if kept:
            plan = Plan.of(kept)
        elif (fixed := run.fixed_budget()) is not None:
            plan = Plan(fixed)
        else:
            yield Note("measuring the time of a step, to convert minutes into steps")
            steps, done = run.measured_budget(began), run.state.step
            plan = Plan.from_now(done + steps, done)
            yield Note(in_steps(config.train.minutes or 0, steps))
        clock = clock_of(config.train, began, kept)
        training = _Training(run, plan, {"budget": budget, "data": data}, stored or {}, allowance, clock)
        yield from training.follow(watch, stop, judge)


def check(config: Config) -> str:
    """All that can go wrong before training, tried without writing anything. Returns a line about the run that would
    be, and below it one for every guess about its data. Raises ConfigError or DataError."""
    run = Parts(completed(config), Path("run"), distributed.start())
    notes = "".join(f"\n{note}" for note in run.notes)
    return f"{run.describe()}; first loss {run.rehearse():.4f}{notes}"


class _Training:
    """The course of a run by a plan, and what it writes on the way."""

    def __init__(
        self,
        run: Parts,
        plan: Plan,
        fixed: dict[str, Any],
        stored: dict[str, Any],
        allowance: Allowance,
        clock: Clock | None = None,
    ) -> None:
        """fixed: what a checkpoint keeps of the start. clock: of a budget in minutes; not for objectives that change by the steps of the start."""
        self.run, self.fixed = run, fixed
        self.clock = None if isinstance(core(run.objective), Timed) else clock
        self.meter = Meter(stored.get("losses", []))
        self.rollbacks: int = stored.get("rollbacks", 0)
        self.allowance, self.sheets = allowance, sheets_of(run, allowance)
        self.drawn, self.seconds_a_curve = time.perf_counter(), 1.0  # the loss curve
        self.go_by(plan)

    def go_by(self, plan: Plan) -> None:
        """Sets what is due when."""
        run, until, train = self.run, plan.until, self.run.config.train
        self.plan, self.until = plan, until

        def every(text: str) -> Every:
            return Every.parse(text, until, run.steps_an_epoch)

        self.log, self.sheet = every(train.log_every), every(train.sample_every)
        asked, sizes = every(train.validate_every).steps, [len(x0) for x0, _ in run.validation]
        # A pass forward, and of the first batch two more and one with its way back (see `validated`), where a picture in
        # training takes one with its way back, thrice as long. Counted and not timed: a run that goes on has the same rows.
        pictures = (sum(sizes) + 5 * sum(sizes[:1])) / 3
        self.validate = Every(max(asked, math.ceil(pictures / SHARE / train.batch_size)))
        self.rarer = self.validate.steps > asked and asked < until
        self.checkpoint, self.snapshot = every(train.checkpoint_every), every(train.snapshot_every)
        self.evaluate = every(train.evaluate_every) if train.evaluate_every else None
        self.keep_every = every(train.keep_every).steps if train.keep_every else None

    def follow(
        self,
        watch: bool,
        stop: Callable[[], bool],
        judge: Callable[[Model], dict[str, float]] | None,
    ) -> Iterator[Event]:
        run, state, folder = self.run, self.run.state, self.run.folder
        with self.writing():
            self.forget_what_lies_ahead()
            if state.step >= self.until:
                self.publish()
            elif state.step == 0 and run.config.train.nonfinite == "rollback":
                self.save(0, stopped=True)  # something to go back to
        if state.step >= self.until:
            yield Note(
                f"{folder} is already trained to step {state.step:,}; raise the budget and add --resume to train on"
            )
            yield Done(folder, state.step, self.until, True)
            return
        if self.rarer:
            n = self.validate.steps
            often = f"every {n:,} steps and " if n < self.until else "only "
            yield Note(f"the held-out loss is computed {often}at the end, to save time")
        stopped, told = False, time.perf_counter()  # told: when the loss was
        yield Busy("computing the first step")
        while state.step < self.until and not stopped:
            until, plan = self.until, self.plan
            watching = {max(1, plan.reached(at)) for at in WATCH_AT if at > plan.share} if watch else set()
            for progress in run.steps(until, slower=0.5**self.rollbacks, plan=plan):
                step = progress.step
                self.meter.add(progress)
                row: dict[str, Any] = {"step": step, "images": step * run.config.train.batch_size}
                lost, news = False, row
                if self.log(step, until):
                    reading = self.meter.read(step)
                    row |= self.logged(progress, reading)
                    lost = self.meter.skipped_in_a_row() >= LOST
                    if reading.skipped and not lost:
                        yield Note(f"{self.explain(reading.skipped)}; left out")
                elif time.perf_counter() - told > QUIET_SECONDS:
                    news = self.logged(progress, self.meter.peek(step))  # told, and not kept
                if "loss" in news:
                    told = time.perf_counter()
                yield Tick(step, until, news.get("loss"), news.get("images_per_second"))
                if due := self.due(step, watching):
                    yield Busy(f"step {step:,}: {', '.join(due)}")
                with self.meter.paused(), self.writing():
                    if run.validation and self.validate(step, until):
                        row |= self.validated()
                    if judge and self.evaluate and self.evaluate(step, until) and run.ranks.first:
                        assert isinstance(run.model, Model)
                        row |= judge(run.model)
                    if len(row) > 2 and run.ranks.first:
                        row["seconds"] = round(time.perf_counter() - self.began, 2)
                        log_metrics(folder, row)
                    image = self.pictures(step, watching)
                    stopped = run.ranks.any(stop()) and step < until
                    looked = self.look(step)
                    if looked or self.checkpoint(step, until) or self.snapshot(step, until) or stopped:
                        lost = lost or self.save(step, stopped, looked)
                if "seconds" in row:
                    yield Logged(row)
                if image:
                    yield Sheet(step, "samples", image)
                if lost:
                    yield Note(self.roll_back(step))
                    break
                if looked and abs(self.until - until) > CHANGED * until:
                    yield Note(f"at the speed of the last steps, the budget is {self.until:,} steps")
                if looked or stopped:
                    break
        if line := self.sheets.words():
            yield Note(line)
        yield Done(folder, state.step, self.until, state.step == self.until)

    def forget_what_lies_ahead(self) -> None:
        """Metrics and snapshots beyond the step that the state stands at; the clock starts."""
        self.began = time.perf_counter()
        if self.run.ranks.first:
            cut_metrics(self.run.folder, self.run.state.step)
            cut_snapshots(self.run.folder, self.run.state.step)

    def due(self, step: int, watching: set[int]) -> list[str]:
        """What comes before the next step and may take a while."""
        whether = {
            "held-out loss": bool(self.run.validation) and self.validate(step, self.until),
            "evaluation": self.evaluate is not None and self.evaluate(step, self.until),
            "pictures": self.sheet(step, self.until) or step in watching,
            "checkpoint": self.checkpoint(step, self.until) or self.snapshot(step, self.until),
        }
        return [name for name, is_due in whether.items() if is_due]

    def look(self, step: int) -> bool:
        """Looks at the clock if that is due, in all processes at once; not where nothing can be saved, since a step was not finite."""
        if self.clock is None or not self.clock.due(self.plan, step) or self.meter.skipped_in_a_row():
            return False
        plan = self.clock.look(self.plan, step)
        self.go_by(plan._replace(until=int(self.run.ranks.tell(plan.until))))
        return True

    # --- what is measured -----------------------------------------------------------------------------------

    def logged(self, progress: Progress, reading: Reading) -> dict[str, Any]:
        """A row of the training loss since the last one."""
        row: dict[str, Any] = {"lr": progress.lr}
        if math.isfinite(reading.loss):
            row |= {"loss": reading.loss}
            if isinstance(self.run.model, Model):  # an autoencoder knows no noise
                row["loss_by_level"] = reading.levels
        if math.isfinite(norm := float(progress.grad_norm)):
            row["grad_norm"] = norm
        if reading.skipped:
            row["skipped"] = len(reading.skipped)
        speed = reading.speed * self.run.config.train.batch_size
        return row | {"images_per_second": round(speed, 1)}

    def validated(self) -> dict[str, Any]:
        """The held-out loss of the average, how far the raw weights are above it, and how noisy the gradient is."""
        run = self.run
        for objective in (run.averaged, run.plain):
            if isinstance(inside := core(objective), Timed):
                inside.at(run.state.step - 1, self.until, learns=False)
        loss, levels = held_out_loss(run.averaged, run.validation, ranks=run.ranks)
        row: dict[str, Any] = {"val_loss": loss, "val_loss_by_level": levels}
        if isinstance(run.model, Autoencoder):
            row = {"val_loss": loss, "psnr": run.model.psnr(run.validation)}
        few = run.validation[:1]  # these two cost as much as the whole held-out loss
        run.state.net.eval()
        raw, averaged = held_out_loss(run.plain, few).loss, held_out_loss(run.averaged, few).loss
        run.state.net.train()
        row["ema_gap"] = raw - averaged
        row["noise_scale"] = gradient_noise_scale(run.plain, run.state.net, few)
        return row

    def pictures(self, step: int, watching: set[int]) -> Image.Image | None:
        """Writes what is due of sheet and watch; returns the sheet."""
        last = step == self.until
        if step in watching:
            self.sheets.watch(step, last=last)
        return self.sheets.sheet(step, last=last) if self.sheet(step, self.until) else None

    # --- values that are not finite --------------------------------------------------------------------------

    def explain(self, skipped: list[int]) -> str:
        """Which steps failed and why, found by computing the first of them once more."""
        run, first = self.run, skipped[0] - 1
        batch = next(iter(run.batches(first)))
        run.state.net.eval()
        schedule = build.make_schedule(run.config)
        cause = blame(run.plain, schedule, run.state.net, batch, run.config.train.seed, first)
        run.state.net.train()
        more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        return f"step {skipped[0]:,}{more} was not finite: {cause}"

    def roll_back(self, step: int) -> str:
        """Back to the last good checkpoint, at half the learning rate. Raises RunError where that is not wanted, or
        has been tried too often. Returns what was done."""
        run, train = self.run, self.run.config.train
        cause = self.explain([step])
        good, _ = checkpoints(run.folder)
        if train.nonfinite != "rollback" or self.rollbacks == ROLLBACKS or not good:
            kept = f" (the last good checkpoint is {good[0]})" if good else ""
            tried = f" after going back {self.rollbacks} times" if self.rollbacks else ""
            raise RunError(
                f"training failed{tried}: {cause}; lower train.lr or train.clip and train again with --overwrite{kept}, "
                "see docs/troubleshooting.md"
            )
        lost_at, rollbacks = run.state.step, self.rollbacks + 1
        stored, _ = load_last(run.folder, run.state)
        self.meter = Meter((stored or {}).get("losses", []))
        if stored:
            self.go_by(Plan.of(stored))
            if self.clock:
                self.clock.go_on(stored)
        self.rollbacks = rollbacks
        with self.writing():
            self.forget_what_lies_ahead()
        return f"{cause}; from step {lost_at:,} back to {run.state.step:,}, at {0.5**rollbacks:g} of the learning rate"

    # --- what is written ------------------------------------------------------------------------------------

    def save(self, step: int, stopped: bool, looked: bool = False) -> bool:
        """What is due of snapshot, checkpoint, model file and loss curve; True where there is nothing worth saving: the
        network is lost. After a few steps that were not finite it may be, and nothing is written until it is known."""
        state, train = self.run.state, self.run.config.train
        lost = self.meter.skipped_in_a_row()
        if not all(weight.isfinite().all() for weight in state.net.parameters()):
            return True
        if lost:
            return lost >= LOST or step == self.until
        if self.run.ranks.first:
            if self.snapshot(step, self.until):
                save_snapshot(self.run.folder, state)
            if self.checkpoint(step, self.until) or stopped or looked:
                extra = {"until": self.until, **self.fixed, "losses": self.meter.pending_rows()}
                extra["rollbacks"] = self.rollbacks
                if self.clock:
                    extra |= {"looked": self.plan[1:], **self.clock.kept(step)}
                save_checkpoint(self.run.folder, state, extra, train.keep, self.keep_every)
                self.publish(stopped)
        return False

    def publish(self, stopped: bool = False) -> None:
        """The model file and the loss curve, the latter only now and then and at the end."""
        run = self.run
        if run.ranks.first:
            header = Header(run.config, run.facts, run.state.step, run.model.header.weights)
            coded = run.model.codec.weights if isinstance(run.model, Model) else None
            net = run.state.ema.net
            save_model(run.folder / MODEL, merged(net), header, coded)
            if run.config.train.lora:
                save_adapter(run.folder / ADAPTER, adapter(net, run.other), header)
            began = time.perf_counter()
            rested = began - self.drawn > CURVE_SECONDS and self.seconds_a_curve < self.allowance.for_one
            if stopped or run.state.step >= self.until or rested:
                with self.allowance.spending():
                    plots.save_png(plots.loss_curve(read_metrics(run.folder)), run.folder / "loss.png")
                self.drawn = time.perf_counter()
                self.seconds_a_curve = self.drawn - began

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around whatever writes into the run directory."""
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self.run.folder} cannot be written ({error}); free disk space, then run the same command to resume"
            ) from error
