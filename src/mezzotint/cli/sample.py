"""mezzotint sample"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import options

if TYPE_CHECKING:
    from torch import Tensor

    from mezzotint.model import Model, Samples

FORMATS = {".png": "png", ".npz": "npz", ".gif": "gif"}


def sample(
    run: options.Run,
    n: Annotated[int, typer.Option("-n", help="how many", min=1)] = 64,
    sampler: Annotated[str | None, typer.Option("--sampler", help="see: mezzotint list samplers")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="more are slower and closer to the model's truth")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="a name, a number, a list a,b,c, or all (in turn)")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="1 is off; 2 to 4 is clearer, less varied")
    ] = None,
    eta: Annotated[float | None, typer.Option("--eta", help="fresh noise of ddim, 0 to 1")] = None,
    spacing: Annotated[
        str | None, typer.Option("--spacing", help="of the steps: trailing, karras, ...")
    ] = None,
    seed: options.Seed = 0,
    weights: Annotated[str, typer.Option("--weights", help="ema (the average) or raw (the last)")] = "ema",
    output: options.Output = None,
    format: Annotated[str | None, typer.Option("--format", help="png (a grid), folder, npz or gif")] = None,
    trajectory: Annotated[
        bool, typer.Option("--trajectory", help="save the pictures of every step, too")
    ] = False,
    batch: Annotated[int | None, typer.Option("--batch", help="pictures a network call", min=1)] = None,
    device: options.Device = None,
) -> int:
    """Makes pictures. The PNG carries its settings; `mezzotint info` reads them back.

    Examples:  mezzotint sample digits -n 100 --class all --guidance 2
    mezzotint sample runs/mnist --class 7 --sampler ddim --steps 50 -o sevens.png
    """
    import time

    from rich.console import Console
    from rich.progress import Progress

    from mezzotint.errors import ConfigError, RunError
    from mezzotint.model import load

    kind = format or (FORMATS.get(output.suffix.lower(), "folder") if output else "png")
    if kind not in ("png", "folder", "npz", "gif"):
        raise ConfigError(f"--format must be png, folder, npz or gif, not {kind!r}")
    model = load(run, device=device or "auto", weights=weights)
    settings = {"sampler": sampler, "steps": steps, "guidance": guidance, "eta": eta, "spacing": spacing}
    wanted = _label(label)
    batch = batch or model.batch
    total = -(-n // batch) * model.settings(**settings).steps
    labels = model.labels(wanted, n)
    began = time.perf_counter()
    console = Console(highlight=False)
    parts: list[
        list[Tensor]
    ] = []  # of every batch: the states after every step, where they are wanted, and the result
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("sampling", total=total)
        for begin in range(0, n, batch):
            count = min(batch, n - begin)
            part = None if labels is None else labels[begin : begin + count]
            frames = []
            for preview in model.stream(count, label=part, seed=seed + begin, **settings):
                bar.advance(task)
                if trajectory or kind == "gif":
                    frames.append(preview.state)
            parts.append([*frames, preview.belief])
    *states, values = (_join(frames) for frames in zip(*parts))
    samples = model.samples(values, wanted, seed, settings)
    path = output or Path(f"{Path(model.source).stem}-{seed}{'' if kind == 'folder' else '.' + kind}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, kind, samples, states, model)
        if trajectory:
            _trajectory(path.with_name(f"{path.stem}-trajectory"), samples, states)
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error}); choose another place with -o") from error
    print(f"{path}: {n} samples of {model.source} in {time.perf_counter() - began:.1f} s")
    return 0


def _join(parts: "tuple[Tensor, ...]") -> "Tensor":
    import torch

    return torch.cat(parts)


def _label(text: str | None) -> Any:
    """Words of the command line to what `Model.sample` takes: a list where there are commas."""
    return [part.strip() for part in text.split(",")] if text and "," in text else text


def _write(path: Path, kind: str, samples: "Samples", states: "list[Tensor]", model: "Model") -> None:
    import numpy as np

    from mezzotint import plots

    match kind:
        case "png":
            samples.save(path)
        case "gif":
            frames = [_sheet(samples, values) for values in [*states[:-1], samples.values]]
            plots.gif(frames, path)
        case "npz":
            images = samples.values.numpy()
            values = {
                "images": images.transpose(0, 2, 3, 1) if images.ndim == 4 else images,
                "seeds": samples.seeds.numpy(),
            }
            if samples.labels is not None:
                values["labels"] = samples.labels.numpy()
            np.savez(path, allow_pickle=False, **values)
        case "folder":
            path.mkdir(exist_ok=True)
            if samples.values.ndim == 2:
                np.savetxt(
                    path / "points.csv", samples.values.numpy(), delimiter=",", header="x,y", comments=""
                )
                return
            for i in range(len(samples)):
                name = f"{int(samples.seeds[i]):06d}"
                if samples.labels is not None and int(samples.labels[i]) < len(model.classes):
                    name += f"-{''.join(c if c.isalnum() else '_' for c in model.classes[int(samples.labels[i])])}"
                plots.save_png(
                    samples[i],
                    path / f"{name}.png",
                    {**samples.settings, "seed": int(samples.seeds[i]), "n": 1},
                )


def _sheet(samples: "Samples", values: "Tensor") -> Any:
    from dataclasses import replace

    return replace(samples, values=values).sheet()


def _trajectory(folder: Path, samples: "Samples", states: "list[Tensor]") -> None:
    from mezzotint import plots

    folder.mkdir(exist_ok=True)
    for step, values in enumerate(states, 1):
        plots.save_png(
            _sheet(samples, values),
            folder / f"step-{step:04d}.png",
            {**samples.settings, "step_of_sampling": step},
        )
    print(f"{folder}: the state after each of {len(states)} steps")
