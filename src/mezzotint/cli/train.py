"""mezzotint train"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.cli import options
from mezzotint.cli.output import Patience, first_process, lasting, say, stopping
from mezzotint.errors import printable

if TYPE_CHECKING:
    from mezzotint.config import Config
    from mezzotint.data.open import Source as Data
    from mezzotint.model.model import Model
    from mezzotint.run.allowance import Allowance
    from mezzotint.run.events import Done, Event
    from mezzotint.run.track import Tracker


@lasting()
def train(
    source: options.Source,
    overrides: options.Overrides = None,
    data: options.Data = None,
    codec: Annotated[
        str | None,
        typer.Option(
            "--codec",
            metavar="RUN|FILE",
            help="autoencoder of a latent model: a run, or a published file",
        ),
    ] = None,
    out: options.Out = Path("runs"),
    name: Annotated[
        str | None, typer.Option("--name", help="name of the run (default: that of the recipe)")
    ] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="budget: passes over the data")] = None,
    images: options.Images = None,
    steps: options.TrainSteps = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="budget: time on this machine")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="batch size: pictures or points per step")
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="peak learning rate")] = None,
    seed: options.TrainSeed = None,
    origin: Annotated[
        str | None,
        typer.Option("--from", help="run or model file to start from (fine-tuning)"),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option("--freeze", help="parameters to freeze, by names with * and ?; with --from"),
    ] = None,
    device: options.Device = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="precision: auto, fp32 or bf16")
    ] = None,
    compile: Annotated[bool | None, typer.Option("--compile/--no-compile", help="torch.compile")] = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check of configuration and data; nothing is written")
    ] = False,
    track: Annotated[
        list[str] | None, typer.Option("--track", help="tracker of metrics: tensorboard or wandb")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="samples/watch.png, refreshed as it learns; a GIF at the end")
    ] = False,
) -> int:
    """Trains a model; run it again to continue where it stopped.

    For its time and memory, run mezzotint doctor with the same arguments.

    \b
    Examples:
      mezzotint train digits
      mezzotint train mnist --data pictures/mnist --minutes 5
      mezzotint train folder --data my/photos data.size=64 --name photos --watch
      mezzotint train folder --data my/glyphs --from runs/photos --name glyphs
      mezzotint train latent --codec photos_vae --data my/photos data.size=128
      torchrun --nproc-per-node=4 -m mezzotint train cifar10 --compile
    """
    from mezzotint import config as configuration

    load = configuration.load
    if origin is not None:
        from mezzotint.run.start import beginning

        load = partial(beginning, name=origin)
    config = load(
        source,
        overrides=overrides or [],
        data__path=None if data is None else str(data),
        codec__file=codec,
        train__epochs=epochs,
        train__images=images,
        train__steps=steps,
        train__minutes=minutes,
        train__batch_size=batch_size,
        train__lr=lr,
        train__seed=seed,
        train__device=device,
        train__precision=precision,
        train__compile=compile,
        train__freeze=freeze,
    )
    name = Path(source).stem if name is None else name
    if dry_run:
        check_name(name)
        return _dry_run(config)
    return run_of(config, out, name, overwrite=overwrite, resume=resume, watch=watch, track=track)


def check_name(name: str) -> None:
    """Raises ConfigError where a run cannot be called so."""
    from mezzotint.errors import ConfigError

    if name in ("", "..", "latest") or Path(name).name != name:
        raise ConfigError(
            f"--name must be the name of one folder, not {name!r}; --out sets the folder around it"
        )


def run_of(
    config: "Config",
    out: Path,
    name: str,
    *,
    overwrite: bool,
    resume: bool,
    watch: bool = False,
    track: Sequence[str] | None = None,
) -> int:
    """Trains a configuration into out / name, and prints its progress. Returns the exit code."""
    from mezzotint.run.allowance import Allowance

    allowance, patience = Allowance(), Patience(say)
    with patience.during("starting PyTorch"):
        from mezzotint.run.fit import fit
        from mezzotint.train.distributed import leave

    check_name(name)
    folder = out / name
    trackers = []
    if track and first_process():
        from mezzotint.run.track import open_trackers

        trackers = open_trackers(list(track), folder, config.model_dump(mode="json"), name)
    judge = _judge_of(config) if config.train.evaluate_every and first_process() else None
    with stopping("saving after this step; a second time stops at once, at the last checkpoint") as received:
        try:
            events = fit(
                config,
                folder,
                overwrite=overwrite,
                resume=resume,
                watch=watch,
                stop=lambda: bool(received),
                judge=judge,
                allowance=allowance,
            )
            done, source_read = _follow(events, folder, trackers, patience)
        except KeyboardInterrupt:
            say("stopped at once; the same command resumes from the last checkpoint")
            return 128 + received[-1]
        finally:
            patience.done()
            for tracker in trackers:
                tracker.close()
            leave()
    if not done.finished:
        say(f"saved at step {done.step:,} of {done.until:,}; the same command resumes there")
        return 128 + received[0]
    say(f"done: {done.folder}/model.safetensors at step {done.step:,}")
    _afterwards(folder, source_read, allowance, patience)
    more = f"sample {_spoken(done.folder)} -n 64"
    if config.objective == "autoencode":
        more = f"evaluate {_spoken(done.folder)};  mezzotint train latent --codec {_spoken(done.folder)}"
    say(f"look at {done.folder}/report.html;  more: mezzotint {more}")
    return 0


def _judge_of(config: "Config") -> "Callable[[Model], dict[str, float]]":
    """What evaluates a model in training: few samples, against features that are computed once."""
    from mezzotint.evaluate.evaluation import quality
    from mezzotint.evaluate.reference import open_judge, open_reference
    from mezzotint.model.device import find_device

    say("preparing the classifier that scores the samples; it is cached for the next time")
    reference = open_reference(config.data)
    judge = open_judge("auto", reference, find_device(config.train.device))
    return lambda model: quality(model, judge, reference, n=500)


def _afterwards(folder: Path, data: "Data | None", allowance: "Allowance", patience: Patience) -> None:
    """After the end: are the samples copies? And the report of the run."""
    if not first_process():
        return
    from mezzotint.errors import RunError
    from mezzotint.studies.report.page import report

    try:
        _look_for_copies(folder, data, allowance, patience)
        with patience.during("writing the report"):
            report(folder)
    except OSError as error:
        raise RunError(
            f"the model is safe, but {folder}/report.html cannot be written ({error}); make room, then: "
            f"mezzotint report {_spoken(folder)}"
        ) from error


def _look_for_copies(folder: Path, data: "Data | None", allowance: "Allowance", patience: Patience) -> None:
    """Says what was found. Takes what is left of the allowance: with too little for it, it is left out, and said."""
    from mezzotint.evaluate.copies import MIN_SAMPLES, CopyCheck, is_checked

    if is_checked(folder):  # a run that was finished before
        return
    with patience.during("reading the training pictures"):
        check = CopyCheck.of(folder, data)
    if check is None:
        return
    usual, later = check.usual, f"mezzotint report {_spoken(folder)} --copies"
    n = min(usual, check.affordable(allowance.left))
    lines = []
    if n >= MIN_SAMPLES:
        with patience.during(f"checking for copies of the training pictures, about {check.seconds(n):.0f} s"):
            found = check.look(n)
        if n < usual:
            lines.append(f"checked for copies with {n} of {usual} samples, to save time; with all: {later}")
        if found.flagged:
            lines.append(
                f"careful: {found.copied.value:.0%} of the samples look like copies of training pictures"
            )
    else:
        check.forget()
        lines.append(f"not checked for copies of the training pictures, to save time; check: {later}")
    for line in lines:
        _log(folder, line)
        say(line)


def _spoken(folder: Path) -> str:
    return folder.name if folder.parent == Path("runs") else str(folder)


def _dry_run(config: "Config") -> int:
    from mezzotint.config import dump
    from mezzotint.run.fit import check

    with Patience(partial(say, error=True)).during(f"reading {config.data.name}"):
        found = check(config)
    say("\n".join([dump(config).rstrip("\n"), *(f"# {line}" for line in found.splitlines())]))
    return 0


def _follow(
    events: Iterable["Event"], folder: Path, trackers: Sequence["Tracker"], patience: Patience
) -> "tuple[Done, Data | None]":
    """Shows what a run says: a bar with rate and time left on a terminal, plain lines elsewhere; log.txt has it too.
    Returns the end and the data of the run."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from mezzotint.run.events import Busy, Done, Logged, Note, Opened, Sheet, Tick

    console = Console(highlight=False)
    bar = Progress(
        TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[news]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal or not first_process(),
        expand=True,
    )
    task, data = None, None
    shown, began, first = -math.inf, time.monotonic(), 0
    with bar:
        for event in events:
            patience.done()
            match event:
                case Busy(text):
                    patience.busy(text)
                case Opened(source):
                    data = source
                case Note(text):
                    _log(folder, text)
                    say(text)
                case Tick(step, until, loss, rate):
                    if task is None:
                        task = bar.add_task("", total=until, completed=step, news="")
                        began, first = time.monotonic(), step
                    bar.update(task, completed=step, total=until)
                    if loss is None or rate is None:
                        continue
                    news = f"loss {loss:.4f}  {rate:,.0f} images/s"
                    bar.update(task, news=news)
                    left = (time.monotonic() - began) / max(step - first, 1) * (until - step)
                    line = f"step {step:,}/{until:,}  {news}  {_clock(left)} left"
                    _log(folder, line)
                    if not console.is_terminal and (time.monotonic() - shown > 5 or step == until):
                        say(line)
                        shown = time.monotonic()
                case Logged(row):
                    for tracker in trackers:
                        tracker.scalars(row["step"], row)
                case Sheet(step, name, image):
                    for tracker in trackers:
                        tracker.picture(step, name, image)
                case Done():
                    return event, data
    raise AssertionError("a run ends with Done")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _log(folder: Path, line: str) -> None:
    if folder.is_dir() and first_process():
        with suppress(OSError), (folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {printable(line, keep='')}\n")
