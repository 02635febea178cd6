"""What all commands that make pictures share: the options, the progress, and the files that are written."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from mezzotint.cli import options
from mezzotint.cli.bar import Bar
from mezzotint.cli.imports import imports
from mezzotint.cli.output import reserve, say, writing

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from mezzotint.model.model import Model
    from mezzotint.model.request import Request
    from mezzotint.model.samples import Samples
    from mezzotint.train.distributed import Ranks

KINDS = ("png", "folder", "npz", "gif", "mp4")
FILMS = ("gif", "mp4")  # that play


@dataclass
class Making:
    """How pictures are made and where they go: the options of every command that makes some."""

    n: Annotated[int, typer.Option("-n", help="number of pictures", min=1)] = 1
    sampler: options.Sampler = None
    steps: options.Steps = None
    label: options.Class = None
    prompt: options.Prompt = None
    negative: options.Negative = None
    guidance: options.Guidance = None
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval", help="range LOW,HIGH of noise levels sigma / alpha with guidance; 0,inf: all"
        ),
    ] = None
    rescale: Annotated[
        float | None,
        typer.Option(
            "--rescale", help="CFG rescale factor, 0 to 1, against the strong contrast of high guidance"
        ),
    ] = None
    clip: Annotated[
        bool | None,
        typer.Option(
            "--clip/--no-clip", help="x0 predictions clipped to the range of the data; for pictures"
        ),
    ] = None
    eta: Annotated[float | None, typer.Option("--eta", help="share of fresh noise, 0 to 1, for ddim")] = None
    churn: Annotated[
        float | None, typer.Option("--churn", help="amount of fresh noise (S_churn), for heun, euler, dpm2")
    ] = None
    spacing: Annotated[
        str | None,
        typer.Option(
            "--spacing", help="spacing of the steps: karras, logsnr, time, trailing, leading, linspace"
        ),
    ] = None
    seed: options.Seed = 0
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="weights: ema (averaged), raw (the last), an EMA length such as 0.1, also at a step, 0.1@800, or as `mezzotint info` shows them",
        ),
    ] = "ema"
    output: options.Output = None
    format: Annotated[
        str | None, typer.Option("--format", help="file format: png (a grid), folder, npz, gif or mp4")
    ] = None
    trajectory: Annotated[bool, typer.Option("--trajectory", help="pictures of every step, too")] = False
    batch: Annotated[
        int | None, typer.Option("--batch", help="batch size: pictures per network call", min=1)
    ] = None
    device: options.Device = None
    encoder: options.Encoder = None
    adapter: Annotated[
        Path | None,
        typer.Option(
            "--adapter",
            help="adapter.safetensors of a run with train.lora, added to the model it was trained from",
        ),
    ] = None
    by_clip: Annotated[
        Path | None,
        typer.Option(
            "--by-clip",
            help="folder of a CLIP that guides pictures towards --prompt; --guidance is its scale",
        ),
    ] = None
    weak: options.Weak = None
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            help="Python class of the network whose weights the file holds, as MODULE:NAME; MODULE is imported from this folder or as installed",
        ),
    ] = None

    @property
    def ranks(self) -> "Ranks":
        """The processes of torchrun, which share the work; joined at the first look, before a device is chosen."""
        from mezzotint.train.distributed import start

        return start()

    @property
    def settings(self) -> dict[str, Any]:
        """Those of `Model.sample` by their names there."""
        names = ("sampler", "steps", "guidance", "eta", "churn", "spacing", "clip")
        interval = None if self.interval is None else _interval(self.interval)
        guided = {"guidance_interval": interval, "guidance_rescale": self.rescale}
        words = {"prompt": self.prompt or None, "negative": self.negative}
        return {name: getattr(self, name) for name in names} | guided | words

    def asked(self, model: "Model") -> dict[str, Any]:
        """The arguments of every request: number, classes, seed and settings."""
        return {"n": self.n, "label": self.classes(model), "seed": self.seed, **self.settings}

    def load(self, run: str, precision: str | None = None) -> "Model":
        with imports():
            from mezzotint.model.loading import load, with_weak

        options.check_encoder(self.encoder, [run])
        _ = self.ranks  # joined before a device is chosen
        make = None if self.network is None else functools.partial(_network, self.network)
        where = self.device or "auto"
        opening: dict[str, Any] = {
            "device": where,
            "precision": precision,
            "network": make,
            "encoder": self.encoder,
        }
        model = load(run, weights=self.weights, adapter=self.adapter, **opening)
        if self.weak is not None:
            model = with_weak(model, run, self.weak, **opening)
        return model if self.by_clip is None else model.by_clip(self.by_clip)

    def classes(self, model: "Model") -> Any:
        from mezzotint.conditions.labels import split

        return split(self.label, model.classes)


def _network(place: str) -> "nn.Module":
    """What MODULE:NAME makes. Runs code that the user named, as `python -m` would: from the current folder, or installed."""
    from importlib import import_module

    from mezzotint.errors import ConfigError

    module, _, name = place.partition(":")
    if not module or not name:
        raise ConfigError(
            f"--network {place}: write MODULE:NAME, such as small:Small for the class Small of small.py"
        )
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        make: Callable[[], nn.Module] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"--network {place}: {error}") from error
    return make()


def making(
    *, n: int, without: Sequence[str] = (), label: Any = options.Class
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Adds the options of `Making`, except `without`, to a command's own; it takes them as `how`. n: the default number; label: the option of the class."""
    hints = get_type_hints(Making, include_extras=True) | {"label": label}

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        own = [p for p in inspect.signature(command).parameters.values() if p.name != "how"]
        shared = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=n if field.name == "n" else field.default,
                annotation=hints[field.name],
            )
            for field in fields(Making)
            if field.name not in without
        ]

        @functools.wraps(command)
        def wrapped(**words: Any) -> int:
            how = {parameter.name: words.pop(parameter.name) for parameter in shared}
            return command(**words, how=Making(**how))

        signature = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + shared
        wrapped.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in signature}
        return wrapped

    return decorate


def make(model: "Model", request: "Request", how: Making, name: str) -> int:
    """Answers a request with a progress bar, and writes the result. name: of the file, without ending, where -o is missing. Several
    processes share the batches, and the first one writes."""
    import time

    from mezzotint import plots

    ranks = how.ranks
    kind = _kind(how.format, how.output)
    path = how.output or Path(f"{name}{'' if kind == 'folder' else '.' + kind}")
    if request.note:
        say(request.note)
    if kind == "mp4":  # before the work
        plots.ffmpeg()
    batch = how.batch or model.batch
    total = -(-request.n // batch) * request.steps
    ranks.once(lambda: reserve(path, folder=kind == "folder"))
    names = _names(path, request, model) if kind == "folder" and ranks.first else []
    _tell_kept(path, names)
    began = time.perf_counter()
    with Bar() as bar:

        def states_of(part: "Request") -> "Sequence[Tensor]":
            """The states after every step if wanted, and the result."""
            frames = []
            before = (part.seed - request.seed) // batch * request.steps
            for preview in model.previews(part):
                bar.show("sampling", before + preview.step, total)
                if how.trajectory or (kind in FILMS and model.medium.play is None):
                    frames.append(preview.state)
            return [*frames, preview.belief]

        parts = ranks.spread(list(request.parts(batch)), states_of)
    if not ranks.first:
        return 0
    *states, values = (_join(frames) for frames in zip(*parts))
    samples = model.finish(request, values)
    with writing(path):
        _write(path, kind, samples, states, model, names)
        if how.trajectory:
            _trajectory(path.with_name(f"{path.stem}-trajectory"), samples, states)
    say(f"{path}: {request.n} samples of {model.source} in {time.perf_counter() - began:.1f} s")
    return 0


def _interval(text: str) -> tuple[float, float | None]:
    from mezzotint.errors import ConfigError

    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--interval must be two numbers with a comma, such as 0.3,5, not {text!r}"
        ) from None
    return low, None if high == float("inf") else high


def _names(path: Path, request: "Request", model: "Model") -> list[str]:
    """Of the files of a folder that is there: the seed, and as much of the class's name as the file system takes."""
    if model.medium.table is not None:
        return ["points.csv", "settings.json"]
    most = os.pathconf(path, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255  # bytes
    names, labels = [], request.cond.label
    for i in range(request.n):
        name = f"{request.seed + i:06d}"
        if labels is not None and int(labels[i]) < len(model.classes):
            kept = "".join(c if c.isalnum() else "_" for c in model.classes[int(labels[i])])
            room = most - len(f".{name}-.png.tmp")  # the name while it is written
            name += f"-{kept.encode()[:room].decode(errors='ignore')}"
        names.append(f"{name}.png")
    return names


def _tell_kept(path: Path, names: Sequence[str]) -> None:
    """Says what an earlier call left in a folder, and what becomes of it."""
    there = {entry.name for entry in path.iterdir()} if names and path.is_dir() else set()
    replaced = len(there.intersection(names))
    if there:
        say(f"{path} is not empty: {replaced} files are replaced, {len(there) - replaced} others are kept")


def _join(parts: "tuple[Tensor, ...]") -> "Tensor":
    import torch

    return torch.cat(parts)


def _kind(format: str | None, output: Path | None) -> str:
    """What to write: as --format says, or else as the name after -o ends; a name without an ending is a folder's."""
    from mezzotint.errors import ConfigError
    from mezzotint.plots import check_ending

    if format is not None and format not in KINDS:
        raise ConfigError(f"--format must be png, folder, npz, gif or mp4, not {format!r}")
    ending = "" if output is None or output.is_dir() else output.suffix.lower()
    if format is None and ending and ending[1:] not in KINDS:
        raise ConfigError(f"-o {output}: end it in .png, .npz, .gif or .mp4, or add --format folder")
    if format == "folder" and ending[1:] in KINDS:
        raise ConfigError(f"-o {output}: give --format folder the name of a folder")
    if format not in (None, "folder") and ending:
        check_ending(f"-o {output}", f".{format}")
    return format or ending[1:] or ("png" if output is None else "folder")


def _write(
    path: Path, kind: str, samples: "Samples", states: "list[Tensor]", model: "Model", names: Sequence[str]
) -> None:
    import io
    import json

    import numpy as np

    from mezzotint import plots
    from mezzotint.disk.files import write

    match kind:
        case "png":
            samples.save(path)
        case "gif":
            frames, hold = _film(samples, states)
            plots.gif(frames, path, hold=hold)
        case "mp4":
            frames, hold = _film(samples, states)
            if note := plots.mp4(frames, path, samples.settings, hold=hold):
                say(note)
        case "npz":
            images = samples.medium.arrays(samples.values)
            labels = {} if samples.labels is None else {"labels": samples.labels.numpy()}
            if labels:
                labels["classes"] = np.array(model.classes)
            if samples.prompts:
                labels["captions"] = np.array(samples.prompts)
            buffer = io.BytesIO()
            seeds, settings = samples.seeds.numpy(), np.array(json.dumps(samples.settings))
            np.savez(buffer, images=images, seeds=seeds, settings=settings, **labels)  # type: ignore[arg-type]
            write(path, buffer.getvalue())
        case "folder":
            path.mkdir(exist_ok=True)
            if samples.medium.table is not None:
                write(path / names[0], samples.medium.table(samples.values).encode())
                write(path / names[1], json.dumps(samples.settings, indent=1).encode())
                return
            for i in range(len(samples)):
                samples.alone(i).save(path / names[i])


def _film(samples: "Samples", states: "list[Tensor]") -> "tuple[list[Image.Image], int]":
    """What is played, and for how many milliseconds the last frame is shown: things that move themselves, those on the way from one
    to another, or else the way out of the noise."""
    from dataclasses import replace

    from mezzotint import plots

    if samples.settings.get("task") == "morph":  # the things themselves are the frames
        return [replace(samples, values=value[None]).sheet() for value in samples.values], 500
    if samples.medium.play is not None:
        return samples.frames(), plots.MS_A_FRAME
    return [replace(samples, values=values).sheet() for values in [*states[:-1], samples.values]], 2000


def _trajectory(folder: Path, samples: "Samples", states: "list[Tensor]") -> None:
    from dataclasses import replace

    from mezzotint import plots

    folder.mkdir(exist_ok=True)
    _tell_kept(folder, [f"step-{step:04d}.png" for step in range(1, len(states) + 1)])
    for step, values in enumerate(states, 1):
        plots.save_png(
            replace(samples, values=values).picture(),
            folder / f"step-{step:04d}.png",
            {**samples.settings, "step_of_sampling": step},
        )
    say(f"{folder}: the state after each of {len(states)} steps")
