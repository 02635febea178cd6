"""mezzotint train"""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import options

if TYPE_CHECKING:
    from mezzotint.config import Config
    from mezzotint.fit import Done, Event


def train(
    source: options.Source,
    overrides: options.Overrides = None,
    data: options.Data = None,
    out: Annotated[Path, typer.Option("--out", help="the folder of all runs")] = Path("runs"),
    name: Annotated[
        str | None, typer.Option("--name", help="of this run; by default that of the recipe")
    ] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="budget: passes over the data")] = None,
    images: Annotated[int | None, typer.Option("--images", help="budget: pictures seen")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="budget: optimiser steps")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="budget: time on this machine")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="peak learning rate")] = None,
    seed: Annotated[int | None, typer.Option("--seed")] = None,
    device: options.Device = None,
    precision: Annotated[str | None, typer.Option("--precision", help="auto, fp32 or bf16")] = None,
    compile: Annotated[bool | None, typer.Option("--compile/--no-compile", help="torch.compile")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on although the budget has changed")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="start anew under a used name")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check configuration and data, write nothing")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="refresh samples/watch.png as it learns; a GIF at the end")
    ] = False,
) -> int:
    """Trains a model, and goes on by itself where an earlier, interrupted call stopped.

    Examples:  mezzotint train digits
    mezzotint train mnist --data pictures/mnist --minutes 5
    mezzotint train folder --data my/photos data.size=64 --name photos --watch
    """
    from mezzotint import config as configuration

    config = configuration.load(
        source,
        overrides or [],
        data__path=None if data is None else str(data),
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
    )
    if dry_run:
        return _dry_run(config)
    folder = out / (name or Path(source).stem)

    from mezzotint.fit import fit

    received: list[int] = []

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        print(
            "\nstopping after this step; once more to stop at once, losing what came after the last checkpoint"
        )

    previous = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        done = _follow(
            fit(config, folder, overwrite=overwrite, resume=resume, watch=watch, stop=lambda: bool(received)),
            folder,
        )
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if not done.finished:
        print(f"saved at step {done.step:,} of {done.until:,}; the same command goes on from there")
        return 128 + received[0]
    print(f"done: {done.folder}/model.safetensors at step {done.step:,}")
    print(
        f"pictures: {done.folder}/samples, {done.folder}/loss.png;  more: mezzotint sample {_spoken(done.folder)} -n 64"
    )
    return 0


def _spoken(folder: Path) -> str:
    return folder.name if folder.parent == Path("runs") else str(folder)


def _dry_run(config: "Config") -> int:
    import torch

    from mezzotint import build
    from mezzotint.config import dump
    from mezzotint.device import find_device
    from mezzotint.source import open_source

    source = open_source(config, find_device(config.train.device))
    net = build.network(config, source.facts)
    x0, label = source.preview(min(config.train.batch_size, source.total))
    objective = build.objective(config, build.denoiser(config, net.to(x0.device)))
    from mezzotint.diffusion.denoiser import Cond
    from mezzotint.train.loop import draw

    eps, u, label = draw(config.train.seed, 0, x0, label)
    with torch.no_grad():
        loss = objective(x0, eps, u, Cond(label=label)).mean()
    print(dump(config), end="")
    print(
        f"# {source.count}; {sum(p.numel() for p in net.parameters()) / 1e6:.2f}M parameters; first loss {loss:.4f}"
    )
    return 0


def _follow(events: Any, folder: Path) -> "Done":
    """Shows what a run says: a bar with rate and time left on a terminal, plain lines elsewhere; notes go to log.txt too."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from mezzotint.fit import Done, Note, Tick

    console = Console(highlight=False)
    bar = Progress(
        TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]}  {task.fields[rate]:,.0f} images/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = None
    shown, started, first = time.monotonic(), time.monotonic(), None
    with bar:
        event: Event
        for event in events:
            match event:
                case Note(text):
                    console.print(text, markup=False, soft_wrap=True)
                    _log(folder, text)
                case Tick(step, until, loss, rate):
                    if task is None:
                        task = bar.add_task("", total=until, completed=step, loss="...", rate=0.0)
                        started, first = time.monotonic(), step
                    bar.update(task, completed=step)
                    if loss is None or rate is None:
                        continue
                    bar.update(task, loss=f"{loss:.4f}", rate=rate)
                    left = (time.monotonic() - started) / max(step - (first or 0), 1) * (until - step)
                    line = (
                        f"step {step:,}/{until:,}  loss {loss:.4f}  {rate:,.0f} images/s  {_clock(left)} left"
                    )
                    _log(folder, line)
                    if not console.is_terminal and (time.monotonic() - shown > 5 or step == until):
                        print(line, flush=True)
                        shown = time.monotonic()
                case Done():
                    return event
    raise AssertionError("a run ends with Done")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _log(folder: Path, line: str) -> None:
    if folder.is_dir():
        with (folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
