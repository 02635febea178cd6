"""How does the cost of a picture grow with its size, the batch and the network?

    python benchmarks/growth.py

Milliseconds a picture of a training step of the mnist recipe, and of one network call as sampling makes it, when one of
three things is changed and the others stay: side 32 pixels, batch 64, width 32. By turns, median of the repetitions.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring

DEFAULT_SIZES = {"side": 32, "batch": 64, "width": 32}
VARIED = {"side": (16, 32, 64), "batch": (16, 32, 64, 128, 256), "width": (16, 32, 64, 128)}
NAMES = {"side": "side, pixels", "batch": "batch", "width": "width of the network"}


def contenders(
    folder: Path, side: int, batch: int, width: int
) -> tuple[Callable[[], float], Callable[[], float]]:
    """Milliseconds a picture: of training, of a call."""
    import torch

    from mezzotint import config as configuration
    from mezzotint.cond import Cond
    from mezzotint.run.parts import Parts
    from mezzotint.train.distributed import Ranks

    settings = [*measuring.digits_of_size(side), f"train.batch_size={batch}", f"network.width={width}"]
    run = Parts(configuration.load("mnist", settings), folder, Ranks())
    stream = run.steps(10**9)
    x = torch.randn(batch, 1, side, side, device=run.device)
    level, cond = torch.zeros(batch, dtype=torch.float64), Cond(label=torch.arange(batch) % 10)
    cond = cond.map(lambda field: field.to(run.device))

    def milliseconds(work: Callable[[], Any]) -> Callable[[], float]:
        def whole() -> None:
            float(work().flatten()[0])  # waits for the device

        return lambda: 1000 * measuring.seconds(whole) / batch

    @torch.no_grad()
    def call() -> Any:
        return run.averaged.denoiser(x, level, cond)

    return milliseconds(lambda: next(stream).loss), milliseconds(call)


def picture(points: list[dict[str, Any]]) -> Any:
    from mezzotint.plots.style import COLOURS, figure_of, log_axis, render

    figure, axes = figure_of(9.0, 3.3, columns=3)
    for axis, what in zip(axes, VARIED):
        mine = [p for p in points if p["varied"] == what]
        x = [p[what] for p in mine]
        for colour, key, words in ((0, "train_ms", "training step"), (1, "call_ms", "network call")):
            axis.plot(x, [p[key]["median"] for p in mine], color=COLOURS[colour], marker="o", label=words)
        log_axis(axis, "x", x)
        log_axis(axis, "y", [p[key]["median"] for p in points for key in ("train_ms", "call_ms")])
        axis.set_xticks(x, [str(value) for value in x])
        axis.set(xlabel=NAMES[what])
    axes[0].set(ylabel="milliseconds a picture")
    axes[0].legend(frameon=False, fontsize=9)
    return render(figure)


def main() -> None:
    parser = measuring.parser(__doc__)
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    points: list[dict[str, Any]] = []
    for dimension, values in VARIED.items():
        works: dict[str, Callable[[], float]] = {}
        with tempfile.TemporaryDirectory() as folder:
            sizes = values[:2] if options.quick else values
            for value in sizes:
                pair = contenders(Path(folder), **{**DEFAULT_SIZES, dimension: value})
                works[f"train {value}"], works[f"call {value}"] = pair
            times = measuring.by_turns(works, 2 if options.quick else 9)
        for value in sizes:
            spreads = {f"{k}_ms": measuring.spread(times[f"{k} {value}"]) for k in ("train", "call")}
            points.append({"varied": dimension, **DEFAULT_SIZES, dimension: value, **spreads})
    rows = [
        [
            NAMES[p["varied"]],
            p[p["varied"]],
            measuring.format_spread(p["train_ms"]),
            measuring.format_spread(p["call_ms"]),
        ]
        for p in points
    ]
    print(measuring.markdown(["varied", "to", "training step, ms a picture", "network call"], rows))
    result = {"machine": machine, "usual": DEFAULT_SIZES, "points": points}
    measuring.keep(options.out, "growth", result, options.quick)
    picture(points).save(options.out / f"{measuring.file_name('growth', options.quick)}.png")


if __name__ == "__main__":
    main()
