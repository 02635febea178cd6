"""mezzotint sample"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import options
from mezzotint.cli.bar import Bar
from mezzotint.cli.output import lasting, reserve, say, writing

if TYPE_CHECKING:
    from torch import Tensor

    from mezzotint.model.model import Model
    from mezzotint.model.request import Request
    from mezzotint.model.samples import Samples


@lasting()
def sample(
    run: options.Run,
    n: Annotated[int, typer.Option("-n", help="number of pictures", min=1)] = 64,
    sampler: options.Sampler = None,
    steps: options.Steps = None,
    label: options.Class = None,
    guidance: options.Guidance = None,
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval", help="LOW,HIGH: guidance for sigma / alpha in between alone; 0,inf: always"
        ),
    ] = None,
    rescale: Annotated[
        float | None,
        typer.Option("--rescale", help="share of CFG rescale, 0 to 1, for the contrast of guidance"),
    ] = None,
    clip: Annotated[
        bool | None,
        typer.Option("--clip/--no-clip", help="beliefs kept in the range of the data; for pictures"),
    ] = None,
    eta: Annotated[float | None, typer.Option("--eta", help="share of fresh noise, 0 to 1, for ddim")] = None,
    churn: Annotated[
        float | None, typer.Option("--churn", help="amount of fresh noise (S_churn), for heun, euler, dpm2")
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(
            "--spacing", help="spacing of the steps: karras, logsnr, time, trailing, leading, linspace"
        ),
    ] = None,
    seed: options.Seed = 0,
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="weights: ema (their average), raw (the last), an EMA length such as 0.1, or what info shows",
        ),
    ] = "ema",
    output: options.Output = None,
    format: Annotated[
        str | None, typer.Option("--format", help="file format: png (a grid), folder, npz or gif")
    ] = None,
    trajectory: Annotated[bool, typer.Option("--trajectory", help="pictures of every step, too")] = False,
    batch: Annotated[
        int | None, typer.Option("--batch", help="number of pictures in a network call", min=1)
    ] = None,
    device: options.Device = None,
) -> int:
    """Makes pictures. The PNG carries its settings; `mezzotint info` shows them, and what to type for it again.

    \b
    Examples:
      mezzotint sample digits -n 100 --class all --guidance 2
      mezzotint sample runs/mnist --class 7 --sampler ddim --steps 50 -o sevens.png
      mezzotint sample latest -n 1000 -o many.npz
    """
    import time

    from mezzotint.conditions.labels import split
    from mezzotint.model.model import load

    kind = _kind(format, output)
    model = load(run, device=device or "auto", weights=weights)
    path = output or Path(f"{model.source}-{seed}{'' if kind == 'folder' else '.' + kind}")
    settings: dict[str, Any] = {"sampler": sampler, "steps": steps, "guidance": guidance}
    settings |= {"eta": eta, "churn": churn, "spacing": spacing, "clip": clip, "guidance_rescale": rescale}
    settings["guidance_interval"] = None if interval is None else _interval(interval)
    request = model.request(n, label=split(label, model.classes), seed=seed, **settings)
    batch = batch or model.batch
    total = -(-n // batch) * request.settings.steps
    reserve(path, folder=kind == "folder")
    names = _names(path, request, model) if kind == "folder" else []
    _tell_kept(path, names)
    began = time.perf_counter()
    done = 0
    parts: list[list[Tensor]] = []  # of every batch: the states after every step if wanted, and the result
    with Bar() as bar:
        for part in request.parts(batch):
            frames = []
            for preview in model.previews(part):
                done += 1
                bar.show("sampling", done, total)
                if trajectory or kind == "gif":
                    frames.append(preview.state)
            parts.append([*frames, preview.belief])
    *states, values = (_join(frames) for frames in zip(*parts))
    samples = model.finish(request, values)
    with writing(path):
        _write(path, kind, samples, states, model, names)
        if trajectory:
            _trajectory(path.with_name(f"{path.stem}-trajectory"), samples, states)
    say(f"{path}: {n} samples of {model.source} in {time.perf_counter() - began:.1f} s")
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

    kinds = ("png", "folder", "npz", "gif")
    if format is not None and format not in kinds:
        raise ConfigError(f"--format must be png, folder, npz or gif, not {format!r}")
    ending = "" if output is None or output.is_dir() else output.suffix.lower()
    if format is None and ending and ending[1:] not in kinds:
        raise ConfigError(f"-o {output}: end it in .png, .npz or .gif, or add --format folder")
    if format is not None and ending[1:] in kinds and ending[1:] != format:
        raise ConfigError(f"-o {output} is no name for --format {format}; leave one of them out")
    return format or ending[1:] or ("png" if output is None else "folder")


def _write(
    path: Path, kind: str, samples: "Samples", states: "list[Tensor]", model: "Model", names: Sequence[str]
) -> None:
    import io
    import json
    from dataclasses import replace

    import numpy as np

    from mezzotint import plots
    from mezzotint.disk.files import write

    match kind:
        case "png":
            samples.save(path)
        case "gif":
            frames = [replace(samples, values=values).sheet() for values in [*states[:-1], samples.values]]
            plots.gif(frames, path)
        case "npz":
            images = samples.medium.arrays(samples.values)
            labels = {} if samples.labels is None else {"labels": samples.labels.numpy()}
            if labels:
                labels["classes"] = np.array(model.classes)
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
