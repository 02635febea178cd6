"""How long until the pictures are good, beside diffusers' example with the same network?

    python benchmarks/quality.py --data FOLDER_OF_MNIST_PARQUET      # about 8 minutes
    python benchmarks/quality.py --quick --data ...

Two loops train the network of the mnist recipe without classes, for the same seconds: the recipe as `mezzotint train` runs
it, and the loop of diffusers' example for unconditional generation (see throughput.py) with the batch, precision and settings
it has there: AdamW at 1e-4, eps on 1,000 linear steps, float32. The clock stands still while they are judged: after a
quarter, a half and all of the time, 2,000 pictures of each average of weights, by the same sampler, 20 network calls
each, and their Fréchet distance to the 10,000 of the test split over that of real pictures (see judging.py, the judge `own`).
"""

import copy
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring
import rivals
from throughput import BATCH, adapted, diffusers_example, our_run

from mezzotint.media.pictures import to_uint8

SHARES = (1 / 4, 1 / 2, 1)
SETTINGS: dict[str, Any] = {"sampler": "dpmpp_2m", "steps": 20}


def train_for(steps: Callable[[int], None], goal_seconds: float) -> tuple[float, int]:
    """Trains for the seconds wanted, ten steps at a time; the seconds and steps that it took."""
    seconds, count = 0.0, 0
    while seconds < goal_seconds:
        seconds += measuring.seconds(lambda: steps(10))
        count += 10
    return seconds, count


def ours(folder: Path, images: int, data: Path, judge: Callable[[Any], float]) -> list[dict[str, float]]:
    run = our_run(folder, "data.labels=false", "sample.guidance=1", "train.batch_size=64", data=data)
    stream = run.steps(images // 64)
    points: list[dict[str, float]] = []
    seconds = 0.0
    for share in SHARES:
        began = time.perf_counter()
        while run.state.step < share * (images // 64):
            progress = next(stream)
        float(progress.loss)
        seconds += time.perf_counter() - began
        samples = run.model.sample(2000, **SETTINGS)
        points.append({"seconds": seconds, "pictures": 64.0 * run.state.step, "ratio": judge(samples.values)})
        print(f"ours: {points[-1]}")
    return points


def theirs(
    folder: Path, marks: list[float], data: Path, judge: Callable[[Any], float]
) -> list[dict[str, float]]:
    import torch

    from mezzotint.diffusion.corrections import clip
    from mezzotint.diffusion.denoiser import Denoiser
    from mezzotint.diffusion.engine import alone
    from mezzotint.diffusion.parameterization import eps
    from mezzotint.diffusion.process import vp
    from mezzotint.diffusion.schedule import linear
    from mezzotint.tasks.generate import generate, seeds_from

    run = our_run(folder, "data.labels=false", "sample.guidance=1", data=data)
    net, table = adapted(copy.deepcopy(run.state.net), "diffusers"), linear(1000)
    steps, average = diffusers_example(net, run.source.pictures.images, "no")
    averaged = copy.deepcopy(net)
    points: list[dict[str, float]] = []
    seconds, count = 0.0, 0
    for mark in marks:
        more, steps_done = train_for(steps, mark - seconds)
        seconds, count = seconds + more, count + steps_done
        average.copy_to(averaged.parameters())
        belief = Denoiser(averaged.net.eval(), vp, eps, table.index, dtype=run.dtype)
        parts = []
        for first in range(0, 2000, 100):
            seeds = seeds_from(first, 100, torch.device("cpu"))
            walk = generate(vp, table, (1, 28, 28), seeds, spacing="trailing", **SETTINGS)
            *_, last = alone(belief, walk, corrections=[clip()])
            parts.append(to_uint8(last.x0))
        row = {"seconds": seconds, "pictures": float(BATCH * count), "ratio": judge(torch.cat(parts))}
        points.append(row)
        print(f"diffusers' loop: {row}")
    return points


def picture(curves: dict[str, list[dict[str, float]]]) -> Any:
    from mezzotint.plots.style import COLOURS, figure_of, log_axis, render

    figure, (axis,) = figure_of(5.6, 3.6, columns=1)
    points = [point for curve in curves.values() for point in curve]
    for colour, (name, curve) in zip(COLOURS, curves.items()):
        axis.plot(
            [p["seconds"] for p in curve], [p["ratio"] for p in curve], color=colour, marker="o", label=name
        )
    log_axis(axis, "x", [p["seconds"] for p in points])
    log_axis(axis, "y", [p["ratio"] for p in points])
    axis.set(xlabel="seconds of training", ylabel="Fréchet distance / real pictures")
    axis.legend(frameon=False, fontsize=9)
    return render(figure)


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="MNIST as parquet")
    parser.add_argument("--images", type=int, default=160_000, help="that our recipe sees")
    options = parser.parse_args()
    rivals.continue_there()
    os.environ["TQDM_DISABLE"] = "1"
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    import torch
    from judging import Panel

    from mezzotint import config as configuration

    panel = Panel(configuration.load("mnist", [f"data.path={options.data}"]).data, 2000, ["own"])
    judge = panel.judges["own", "natural"]

    def ratio_of(values: Any) -> float:
        return judge(values, torch.zeros(len(values), dtype=torch.int64)).ratio

    images = 2560 if options.quick else options.images
    with tempfile.TemporaryDirectory() as name:
        mine = ours(Path(name), images, options.data, ratio_of)
        other = theirs(Path(name), [point["seconds"] for point in mine], options.data, ratio_of)
    curves = {"mezzotint, mnist recipe": mine, "diffusers' example, same network": other}
    rows = [
        [name, f"{p['seconds']:.0f}", f"{p['pictures']:,.0f}", f"{p['ratio']:.2f}"]
        for name, curve in curves.items()
        for p in curve
    ]
    print(measuring.markdown(["loop", "seconds", "pictures seen", "Fréchet / real"], rows))
    measuring.keep(
        options.out, "quality", {"machine": machine, "settings": SETTINGS, "curves": curves}, options.quick
    )
    picture(curves).save(options.out / f"{measuring.file_name('quality', options.quick)}.png")


if __name__ == "__main__":
    main()
