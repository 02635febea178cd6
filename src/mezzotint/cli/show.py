"""mezzotint show: pictures of the data, the forward process, the schedule, the reverse process, the loss"""

from pathlib import Path
from typing import Annotated, Any

import typer

from mezzotint.cli import options
from mezzotint.cli.output import reserve, writing

DEFAULT_TIMES = "0,0.05,0.1,0.2,0.4,0.6,0.8,1"

show = typer.Typer(help="Pictures of data, noising, schedule, denoising and loss.", rich_markup_mode=None)


def _open(source: str, overrides: list[str] | None, data: Path | None) -> tuple[Any, Any]:
    import torch

    from mezzotint import config as configuration
    from mezzotint.run.latents import completed, open_source

    config = configuration.load(source, overrides or [], data__path=None if data is None else str(data))
    config = completed(config)
    return config, open_source(config, torch.device("cpu"))


def _place(output: Path | None, name: str) -> Path:
    """Where a PNG goes. Raises ConfigError where it cannot, before the work."""
    from mezzotint.plots import check_ending

    path = output or Path(name)
    check_ending(path, ".png")
    reserve(path)
    return path


def _save(image: Any, path: Path, settings: dict[str, Any]) -> int:
    from mezzotint import plots

    with writing(path):
        plots.save_png(image, path, settings)
    print(path)
    return 0


@show.command("data")
def data(
    source: options.Source,
    overrides: options.Overrides = None,
    data: options.Data = None,
    n: Annotated[int, typer.Option("-n", help="number of pictures", min=1)] = 64,
    output: options.Output = None,
) -> int:
    """Exactly what the network sees: cropped, scaled, augmented.

    \b
    Example:
      mezzotint show data folder --data my/photos data.size=64
    """
    config, opened = _open(source, overrides, data)
    path = _place(output, f"{config.data.name.replace('/', '-')}-data.png")
    medium = opened.facts.medium
    x0, cond = opened.preview(max(n, medium.least))
    print(f"{config.data.name}: {opened.count}; {'x'.join(map(str, opened.facts.shape))}")
    print(f"values {x0.min():.3f} to {x0.max():.3f}, mean {x0.mean():.3f}, standard deviation {x0.std():.3f}")
    for note in opened.notes:
        print(note)
    for skipped in opened.skipped:
        print(f"skipped {skipped}")
    image = medium.sheet(opened.codec.decode(x0), cond.label)
    return _save(image, path, {"data": config.data.name})


@show.command("forward")
def forward(
    source: options.Source,
    overrides: options.Overrides = None,
    data: options.Data = None,
    times: Annotated[
        str,
        typer.Option(
            "--times",
            help="times with commas, 0 (clean) to 1 (noise): u, as `show schedule` draws it",
        ),
    ] = DEFAULT_TIMES,
    n: Annotated[int, typer.Option("-n", help="number of pictures", min=1)] = 6,
    seed: options.Seed = 0,
    output: options.Output = None,
) -> int:
    """The same pictures with more and more noise.

    \b
    Example:
      mezzotint show forward mnist --data pictures/mnist --times 0,0.25,0.5,1
    """
    from mezzotint.errors import ConfigError
    from mezzotint.model.strips import noising

    config, opened = _open(source, overrides, data)
    try:
        places = [float(part) for part in times.split(",")]
    except ValueError:
        places = [-1.0]
    if any(not 0 <= u <= 1 for u in places):
        raise ConfigError(f"--times must be numbers from 0 to 1 with commas, not {times!r}")
    path = _place(output, f"{Path(source).stem}-forward.png")
    batch = opened.preview(max(n, opened.facts.medium.least))
    settings = {"data": config.data.name, "times": places, "seed": seed}
    return _save(noising(config, opened.facts, opened.codec, batch, places, seed), path, settings)


@show.command("schedule")
def schedule(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE|CONFIG.yaml]",
            help="recipe whose schedule is drawn; all named schedules by default",
        ),
    ] = None,
    overrides: options.Overrides = None,
    output: options.Output = None,
) -> int:
    """Signal, noise and log-SNR over time of a schedule, or of all.

    \b
    Example:
      mezzotint show schedule mnist diffusion.schedule.timesteps=300
    """
    from typing import get_args

    import torch

    from mezzotint import build, plots
    from mezzotint import config as configuration

    if source is not None:
        config = configuration.load(source, overrides or [])
        configs = {config.diffusion.schedule.kind: config}
    else:
        kinds = get_args(configuration.Discrete.model_fields["kind"].annotation)
        configs = {k: configuration.parse({"diffusion": {"schedule": {"kind": k}}}) for k in kinds}
    path = _place(output, f"{Path(source).stem if source else 'all'}-schedule.png")
    u = (torch.arange(500, dtype=torch.float64) + 0.5) / 500
    image = plots.schedule_plot(
        {name: (u, build.make_schedule(config)(u)) for name, config in configs.items()}
    )
    for name, config in configs.items():
        end = build.make_schedule(config)(torch.tensor([1 - 1e-9], dtype=torch.float64))
        print(
            f"{name}: at the end logsnr {end.item():.2f}, alpha {build.make_process(config)(end)[0].item():.2g}"
        )
    return _save(image, path, {"schedules": list(configs)})


@show.command("reverse")
def reverse(
    run: options.Run,
    n: Annotated[int, typer.Option("-n", help="number of pictures", min=1)] = 6,
    sampler: options.Sampler = None,
    steps: options.Steps = None,
    label: options.Class = None,
    guidance: options.Guidance = None,
    seed: options.Seed = 0,
    output: options.Output = None,
) -> int:
    """Every step from noise to pictures. Top: the noisy picture. Below: the network's guess at the clean one (x0 prediction).

    \b
    Example:
      mezzotint show reverse mnist --class 3 --steps 50
    """
    from mezzotint.conditions.labels import ALL, split
    from mezzotint.model.loading import load
    from mezzotint.model.strips import denoising, spread_steps

    model = load(run)
    classes = ALL if not label and model.classes else split(label, model.classes)
    settings: dict[str, Any] = {"sampler": sampler, "steps": steps, "guidance": guidance}
    request = model.request(max(n, model.medium.least), label=classes, seed=seed, **settings)
    path = _place(output, f"{model.source}-reverse.png")
    shown = spread_steps(request.steps)
    previews = [preview for preview in model.previews(request) if preview.step in shown]
    samples = model.finish(request, previews[-1].belief)
    return _save(denoising(previews), path, {**samples.settings, "show": "reverse"})


@show.command("loss")
def loss(run: options.Run, output: options.Output = None) -> int:
    """The loss curve of a run, held-out loss included.

    \b
    Example:
      mezzotint show loss mnist
    """
    from mezzotint import plots
    from mezzotint.disk.folder import read_metrics
    from mezzotint.disk.names import find
    from mezzotint.errors import ModelError

    folder = find(run).absolute().parent
    rows = read_metrics(folder)
    if not rows:
        raise ModelError(f"{folder} has no losses in a metrics.jsonl; give a run, not a model file alone")
    path = _place(output, f"{folder.name}-loss.png")
    return _save(plots.loss_curve(rows), path, {"run": folder.name})
