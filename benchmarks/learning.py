"""How soon does a model of scenes show what it is asked? Every snapshot of its runs, against minutes of training.

    python benchmarks/learning.py RUN [RUN ...] [-n 400] [--guidance 2]

Of each snapshot the average of the model's own length as it was then, asked for n captions and a quarter as many with pairs of colour and shape that training
never showed, judged by pixels alone. Minutes are those of the run's own log, on its machine. Several runs are seeds of one recipe: their captions
are added up where they have the same steps, and minutes are averaged.
"""

import json
from pathlib import Path
from typing import Any

import measuring

from mezzotint import plots
from mezzotint.disk.model_file import read_header
from mezzotint.disk.names import find
from mezzotint.disk.snapshots import snapshots
from mezzotint.evaluate.metrics.share import Share
from mezzotint.evaluate.scenes import evaluate_scenes
from mezzotint.model.loading import load


def minutes_at(run: Path, step: int) -> float:
    """Minutes of training when a step was done, by the run's log."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return max(line["seconds"] for line in lines if "seconds" in line and line["step"] <= step) / 60


def learned(run: Path, step: int, n: int, **settings: Any) -> dict[str, tuple[int, int]]:
    """Of each kind of caption, how many were all correct and how many were asked, after a step."""
    length = read_header(find(run)).weights.split()[1]
    found = evaluate_scenes(load(run, weights=f"{length}@{step}"), n, **settings)
    return {
        kind: (round(row["all"].value * found.n[kind]), found.n[kind]) for kind, row in found.shares.items()
    }


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument(
        "runs", nargs="+", type=Path, help="folders of runs of one recipe, with as many steps"
    )
    parser.add_argument("-n", type=int, help="captions of each snapshot (400)")
    parser.add_argument("--guidance", type=float, help="by default the model's own")
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    n = options.n or (8 if options.quick else 400)
    settings = {} if options.guidance is None else {"guidance": options.guidance}
    steps = sorted(set.intersection(*(set(snapshots(run)) for run in options.runs)))
    rows = []
    for step in steps[:2] if options.quick else steps:
        total: dict[str, list[int]] = {}
        for run in options.runs:
            for kind, counts in learned(run, step, n, **settings).items():
                total[kind] = [a + b for a, b in zip(total.get(kind, (0, 0)), counts)]
        shares = {kind: Share.of(*counts) for kind, counts in total.items()}
        minutes = sum(minutes_at(run, step) for run in options.runs) / len(options.runs)
        rows.append({"step": step, "minutes": minutes, "shares": shares})
        print(
            f"step {step:,}, {minutes:.0f} minutes:",
            ", ".join(f"{k} {s.value:.1%}" for k, s in shares.items()),
            flush=True,
        )
    series = {
        kind: ([row["minutes"] for row in rows], [100 * row["shares"][kind].value for row in rows])
        for kind in rows[0]["shares"]
    }
    chart = plots.curves(series, xlabel="minutes of training", ylabel="all correct, %")
    options.out.mkdir(parents=True, exist_ok=True)
    plots.save_png(chart, options.out / f"{measuring.file_name('learning', options.quick)}.png")
    machine = measuring.machine(options.threads)
    result = {"machine": machine, "runs": [run.name for run in options.runs], "n": n, "rows": rows}
    measuring.keep(options.out, "learning", result, options.quick)


if __name__ == "__main__":
    main()
