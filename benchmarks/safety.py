"""What do the safety features of training cost, per step?  Our loop against a bare one, on the mnist recipe, in one process by turns.

The bare loop draws noise, levels and order from torch's generator, keeps one average of the weights, and looks at
nothing. Ours: noise and order as functions of (seed, step, row), the gate for values that are not finite, losses by
noise level, two averages, reading and logging every 50 steps; and, told apart, what is measured and written ten times
a run.

    python benchmarks/safety.py --data FOLDER_OF_MNIST_PARQUET [--repetitions 9] [--threads 2]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from mezzotint import config as configuration
from mezzotint.cond import Cond
from mezzotint.disk.checkpoint import save_checkpoint
from mezzotint.disk.folder import log_metrics
from mezzotint.disk.snapshots import save_snapshot
from mezzotint.media.pictures import to_model
from mezzotint.run.allowance import Allowance
from mezzotint.run.budget import Plan
from mezzotint.run.fit import _Training
from mezzotint.run.parts import Parts
from mezzotint.train.distributed import Ranks
from mezzotint.train.ema import Ema
from mezzotint.train.meter import Meter

STEPS = 25


def bare(run: Parts) -> Iterator[None]:
    """The least that trains: what a script of fifty lines does."""
    config, source = run.config.train, run.source
    state, objective, _ = run._state(Ranks())
    ema, pictures = Ema(state.net, config.ema), source.pictures
    null = len(run.facts.classes)
    parameters = list(state.net.parameters())
    step = 0
    while True:
        index = source.kept[torch.randint(len(source.kept), (config.batch_size,))]
        x0, label = to_model(pictures.images[index]), pictures.labels[index]
        label = torch.where(torch.rand(len(label)) < config.label_drop, null, label)
        eps, u = torch.randn_like(x0), torch.rand(len(x0), dtype=torch.float64)
        objective(x0, eps, u, Cond(label=label)).mean().backward()
        nn.utils.clip_grad_norm_(parameters, config.clip, foreach=True)
        state.optimizer.step()
        state.optimizer.zero_grad()
        step += 1
        ema.update(state.net, step)
        yield


def ours(run: Parts, folder: Path) -> Iterator[None]:
    meter = Meter()
    for progress in run.steps(10**6):
        meter.add(progress)
        if progress.step % 50 == 0:
            reading = meter.read(progress.step)
            log_metrics(folder, {"step": progress.step, "loss": reading.loss, "levels": reading.levels})
        yield


def seconds(steps: Iterator[None]) -> float:
    began = time.perf_counter()
    for _ in range(STEPS):
        next(steps)
    return (time.perf_counter() - began) / STEPS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = configuration.load("mnist", [], data__path=str(options.data))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = Parts(config, folder, Ranks())
        two = {"bare": bare(run), "ours": ours(run, folder)}
        for steps in two.values():
            seconds(steps)
        times: dict[str, list[float]] = {name: [] for name in two}
        for repetition in range(options.repetitions):
            for name in sorted(two, reverse=bool(repetition % 2)):
                times[name].append(seconds(two[name]))
        ratios = sorted(b / a for a, b in zip(times["bare"], times["ours"]))
        training = _Training(run, Plan(10**6), {}, {}, Allowance())
        began = time.perf_counter()
        training.validated()
        validation = time.perf_counter() - began
        began = time.perf_counter()
        save_checkpoint(folder, run.state, {}, 2)
        save_snapshot(folder, run.state)
        writing = time.perf_counter() - began
    bare_step = statistics.median(times["bare"])
    result = {
        "threads": options.threads,
        "bare_ms": 1e3 * bare_step,
        "ours_ms": 1e3 * statistics.median(times["ours"]),
        "overhead": statistics.median(ratios) - 1,
        "overhead_range": [ratios[0] - 1, ratios[-1] - 1],
        "validation_s": validation,
        "checkpoint_and_snapshot_s": writing,
    }
    steps = run.fixed_budget() or 1
    result["validation_share_of_a_run"] = 10 * validation / (steps * bare_step)
    result["writing_share_of_a_run"] = 10 * writing / (steps * bare_step)
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
