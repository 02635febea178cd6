"""What do 64 pictures cost, and what does another network call buy?

    python benchmarks/sampling.py [--model MODEL] [--data FOLDER_OF_MNIST_PARQUET]

**Latency.** 64 pictures with the model file's own settings, in a process that has loaded it: the first time, and after
that. From the shell, with the process and all: see startup.py, whose measurement is repeated here.

**Quality against calls.** 2,000 pictures of all classes in turn, by several samplers at several numbers of steps, with the
model's own guidance: Fréchet distance to real pictures, and agreement with the class asked for, by the classifier of
`mezzotint evaluate`. Calls are counted where the network is called, in rows a picture, so guidance counts. Nothing is
chosen by this curve: `mezzotint tune` chooses, on other pictures.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import measuring
from startup import shell_sample

SAMPLERS = ("ddim", "euler_a", "heun", "dpmpp_2m", "unipc")
STEPS = (5, 7, 10, 14, 20, 30)
GOALS = {"loaded": 0.5, "shell": 4.0}


class Calls:
    """Rows that went through the network."""

    rows = 0


@contextmanager
def counted(model: Any) -> Iterator[Calls]:
    calls = Calls()

    def add(net: Any, inputs: tuple[Any, ...]) -> None:
        calls.rows += len(inputs[0])

    hook = model.net.register_forward_pre_hook(add)
    yield calls
    hook.remove()


def latency(name: str, repetitions: int) -> dict[str, Any]:
    from mezzotint.model.loading import load

    result: dict[str, Any] = {}
    loaded: list[Any] = []
    result["load"] = measuring.seconds(lambda: loaded.append(load(name)))
    (model,) = loaded
    label = "all" if model.classes else None
    result["first"] = measuring.seconds(lambda: model.sample(64, label=label))
    again = [measuring.seconds(lambda: model.sample(64, label=label)) for _ in range(repetitions)]
    result["loaded"] = measuring.spread(again)
    with counted(model) as calls:
        model.sample(64, label=label)
    result["calls a picture"] = calls.rows / 64
    with tempfile.TemporaryDirectory() as folder:
        shell = [shell_sample(name, Path(folder)) for _ in range(max(1, repetitions // 3))]
    result["shell"] = measuring.spread(shell)
    result["settings"] = model.config.sample.model_dump()
    return result


def curve(name: str, data: Path | None, n: int, steps: tuple[int, ...]) -> list[dict[str, Any]]:
    from mezzotint.evaluate.evaluation import quality
    from mezzotint.evaluate.reference import open_judge, open_reference
    from mezzotint.model.loading import load

    model = load(name)
    data_config = model.config.data if data is None else model.config.data.model_copy(update={"path": data})
    channels, *size = model.facts.shape
    reference = open_reference(data_config, (size[0], size[1]), channels)
    judge = open_judge("auto", reference, model.device)
    points = []
    for sampler in SAMPLERS:
        for count in steps:
            with counted(model) as calls:
                numbers = quality(model, judge, reference, n, sampler=sampler, steps=count)
            point = {"sampler": sampler, "steps": count, "calls": calls.rows / n, **numbers}
            points.append(point)
            print(f"{sampler} {count}: " + ", ".join(f"{k} {v:.4g}" for k, v in list(point.items())[2:]))
    return points


def picture(points: list[dict[str, Any]]) -> Any:
    """One line for each sampler: the distance, and the share of wrong classes, against calls."""
    from mezzotint.plots.style import COLOURS, figure_of, log_axis, render

    panels = {
        "frechet": "Fréchet distance",
        "agreement": "pictures not recognised as their class, %",
    }
    figure, axes = figure_of(9.0, 3.6, columns=2)
    for axis, (key, words) in zip(axes, panels.items()):
        distances: list[float] = []
        for i, sampler in enumerate(dict.fromkeys(p["sampler"] for p in points)):
            mine = [p for p in points if p["sampler"] == sampler and key in p]
            y = [100 * (1 - p[key]) if key == "agreement" else p[key] for p in mine]
            axis.plot(
                [p["calls"] for p in mine], y, color=COLOURS[i], marker="o", markersize=4, label=sampler
            )
            distances += y
        log_axis(axis, "x", [p["calls"] for p in points])
        log_axis(axis, "y", [y for y in distances if y > 0])
        axis.set(xlabel="network calls a picture", ylabel=words)
    axes[0].legend(frameon=False, fontsize=9)
    return render(figure)


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--model", default="mnist", help="a model file, a run, or a bundled model")
    parser.add_argument("--data", type=Path, help="MNIST as parquet; by default where the model learned from")
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    result: dict[str, Any] = {"machine": machine, "goals": GOALS}
    result |= latency(options.model, 2 if options.quick else 15)
    rows = [["load", f"{result['load']:.2f}", ""], ["the first 64 pictures", f"{result['first']:.2f}", ""]]
    rows += [["64 pictures, loaded", measuring.format_spread(result["loaded"], 3), GOALS["loaded"]]]
    rows += [["64 pictures from the shell", measuring.format_spread(result["shell"]), GOALS["shell"]]]
    print(measuring.markdown(["what", "seconds", "at most"], [[str(w) for w in row] for row in rows]))
    print(f"{result['calls a picture']:g} network calls a picture")
    n, steps = (100, STEPS[1:3]) if options.quick else (2000, STEPS)
    result |= {"n": n, "curve": curve(options.model, options.data, n, steps)}
    measuring.keep(options.out, "sampling", result, options.quick)
    picture(result["curve"]).save(options.out / f"{measuring.file_name('sampling', options.quick)}.png")


if __name__ == "__main__":
    main()
