"""How long until the pictures are good, beside other people's loops?  Distance against seconds from the first call, in one run.

    python benchmarks/quality.py --data FOLDER_OF_MNIST_PARQUET                        # 5 minutes of training each
    python benchmarks/quality.py --data FOLDER_OF_CIFAR10_PARQUET --minutes 15 -n 1000
    python benchmarks/quality.py --quick

Contenders, in turn, each in a process of its own with all threads (see contenders.py):

- ours: the recipe `mnist` or `cifar10` as it is, for these minutes. It is told the classes, and draws them in the shares of the training set;
- ours-plain: the recipe on the network that the peers train, without classes;
- diffusers: the loop of its example for unconditional generation, batches of 16, its warm-up and cosine scaled to the budget;
- denoising-diffusion-pytorch: its Trainer, batches of 16;
- smalldiffusion: its training_loop, with batches of ours.

The peers' loops, losses, noise levels, optimisers and averages are their own, with their defaults, in float32; they know no classes.
The network is ours for all: the recipe's, which works at half the size and is several times faster than their own. All draw with 20 network calls a
picture: ours as the recipe says (guidance counted; for cifar10, 14 steps guided where it helps), the peers by DPM-Solver++(2M) over their own levels,
since their own samplers would take 1,000.

Seconds count from the first call of a loop: compilation, warm-up, and our own trial of a step's speed among them. At the marks the clock stands
still and n pictures of the average are drawn; they are judged at the end (see judging.py): Fréchet distance to the test split over
that of real pictures drawn in the same, natural, shares of classes. Ours ends with its planned steps, so its last mark may lie before the others' or
after it. Of several seeds: median, smallest and largest.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import measuring
import rivals
from contenders import CALLS, CONTENDERS, OUR_OWN, Setting, record

MARKS = (0.25, 0.5, 1, 2, 5, 15)  # minutes, as far as the budget goes
GOOD = 3.0  # times real pictures
MOST = 0.5  # of the best peer's seconds that ours may take to be so good
LEADING = "outside"  # the judge of the table
Curve = Sequence[tuple[float, float]]  # (seconds, ratio)


def until_good(curve: Curve, level: float = GOOD) -> float | None:
    """Seconds until a curve falls to a level, between two marks as a straight line in logarithms of both; of the first mark
    where that is good already, so that it is at most this; None where it is never reached."""
    for k, (seconds, ratio) in enumerate(curve):
        if ratio > level or math.isnan(ratio):
            continue
        if k == 0:
            return seconds
        before, worse = curve[k - 1]
        share = math.log(worse / level) / math.log(worse / ratio)
        return before * (seconds / before) ** share
    return None


def compared(curves: Mapping[str, Curve]) -> dict[str, Any]:
    """Of one seed and judge: seconds until good of ours and of the best peer, and their ratio; where no peer gets there, the
    end of the longest peer's curve stands for it, and `least` says that its seconds are more than this."""
    times = {name: until_good(curve) for name, curve in curves.items()}
    peers = {name: seconds for name, seconds in times.items() if name not in OUR_OWN}
    reached = {name: seconds for name, seconds in peers.items() if seconds is not None}
    best = min(reached, key=lambda name: reached[name], default=None)
    theirs = reached[best] if best else max((curves[name][-1][0] for name in peers), default=None)
    mine = times.get("ours")
    ratio = mine / theirs if mine is not None and theirs is not None else None
    return {
        "seconds": times,
        "ours": mine,
        "best peer": best,
        "peer": theirs,
        "least": best is None,
        "ratio": ratio,
    }


def told(found: Sequence[dict[str, Any]]) -> str:
    """A line on what was compared, of all seeds."""
    if any(one["ours"] is None for one in found):
        return "ours: not reached"
    line = f"ours {spread_of([one['ours'] for one in found])}"
    if any(one["peer"] is None for one in found):
        return line
    names = sorted({one["best peer"] or "no peer reaches it" for one in found})
    more, less = (">= ", "<= ") if any(one["least"] for one in found) else ("", "")
    peer, ratio = [one["peer"] for one in found], [one["ratio"] for one in found]
    return (
        f"{line}, best peer ({', '.join(names)}) {more}{spread_of(peer)}, ratio {less}{spread_of(ratio, 2)}"
    )


def spread_of(values: Sequence[float], digits: int = 0) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return measuring.format_spread(measuring.spread(values), digits)


def apart(name: str, setting: Setting, threads: int) -> dict[str, Any]:
    """One contender and seed in a process of its own, which leaves its pictures and a JSON in the folder. What failed says so."""
    setting.folder.mkdir(parents=True)
    job = setting.folder / "job.json"
    job.write_text(json.dumps([name, {**asdict(setting), "folder": str(setting.folder)}]), encoding="utf-8")
    words = [sys.executable, __file__, "--inside", str(job), "--threads", str(threads)]
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False)
    result = setting.folder / "result.json"
    found = json.loads(result.read_text(encoding="utf-8")) if done.returncode == 0 else {}
    if done.returncode:
        found = {"points": [], "failed": (done.stderr.strip().splitlines() or ["no answer"])[-1]}
        print(f"  failed: {found['failed']}")
    return {"contender": name, "seed": setting.seed, "folder": str(setting.folder), **found}


def inside(job: Path) -> None:
    """The process of `apart`."""
    import torch
    from safetensors.torch import save_file

    name, words = json.loads(job.read_text(encoding="utf-8"))
    setting = Setting(**{**words, "folder": Path(words["folder"])})

    def keep(number: int, pictures: Any, labels: Any) -> None:
        labels = torch.zeros(len(pictures), dtype=torch.int64) if labels is None else labels
        tensors = {"pictures": pictures.cpu().contiguous(), "labels": labels.cpu().contiguous()}
        save_file(tensors, setting.folder / f"{number}.safetensors")

    result = record(CONTENDERS[name](setting), [60 * mark for mark in setting.marks], keep)
    (setting.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def judge(runs: Sequence[dict[str, Any]], panel: Any, sheets: Path) -> None:
    """Fills in the verdicts of all points, and saves 64 pictures of each contender's last mark."""
    from safetensors.torch import load_file

    from mezzotint import plots

    for run in runs:
        for k, point in enumerate(run["points"]):
            drawn = load_file(Path(run["folder"]) / f"{k}.safetensors")
            for name in panel.extractors:
                verdict = asdict(panel.judges[name, "natural"](drawn["pictures"], drawn["labels"]))
                if run["contender"] != "ours":
                    verdict["right"] = None  # nothing was asked for
                point[name] = verdict
            if k == len(run["points"]) - 1:
                name = f"{sheets.name}-{run['contender']}-seed{run['seed']}.png"
                plots.save_png(
                    plots.sheet(drawn["pictures"][:: max(1, len(drawn["pictures"]) // 64)][:64]),
                    sheets.with_name(name),
                )
        del run["folder"]


def curves_of(runs: Sequence[dict[str, Any]], judge: str) -> Iterator[tuple[str, int, Curve]]:
    for run in runs:
        if run["points"]:
            curve = [(point["seconds"], point[judge]["ratio"]) for point in run["points"]]
            yield run["contender"], run["seed"], curve


def summary(runs: Sequence[dict[str, Any]], judge: str) -> list[dict[str, Any]]:
    """What is compared, for each seed in which ours ran."""
    seeds = sorted({run["seed"] for run in runs})
    every = [{name: curve for name, s, curve in curves_of(runs, judge) if s == seed} for seed in seeds]
    return [{"seed": seed, **compared(curves)} for seed, curves in zip(seeds, every) if "ours" in curves]


def table(runs: Sequence[dict[str, Any]], judges: Sequence[str]) -> str:
    """A row for each contender and mark; of several seeds their median, smallest and largest."""
    rows = []
    for name in dict.fromkeys(run["contender"] for run in runs):
        mine = [run["points"] for run in runs if run["contender"] == name]
        for k in range(max(map(len, mine))):
            points = [points[k] for points in mine if k < len(points)]
            cells = [spread_of([point[judge]["ratio"] for point in points], 2) for judge in judges]
            recall = spread_of([point[judges[0]]["recall"] for point in points], 2)
            seconds, seen = ([point[key] for point in points] for key in ("seconds", "pictures"))
            calls = f"{statistics.median(point['calls'] for point in points):.1f}"
            rows.append([name, spread_of(seconds), f"{statistics.median(seen):,.0f}", calls, *cells, recall])
        rows += [
            [name, "failed", run["failed"]] for run in runs if run["contender"] == name and "failed" in run
        ]
    head = ["loop", "seconds", "pictures seen", "calls", *judges, f"recall, {judges[0]}"]
    return measuring.markdown(head, [row + [""] * (len(head) - len(row)) for row in rows])


def picture(runs: Sequence[dict[str, Any]], judges: Sequence[str]) -> Any:
    """A chart for each judge, a line for each seed."""
    from mezzotint.plots.style import COLOURS, INK, figure_of, log_axis, render

    figure, charts = figure_of(4.4 * len(judges), 3.8, columns=len(judges))
    for axis, judge in zip(charts, judges):
        curves = list(curves_of(runs, judge))
        colours = dict(zip(CONTENDERS, COLOURS))
        for k, (name, _, curve) in enumerate(curves):
            first = name not in {other for other, *_ in curves[:k]}
            label, xs, ys = name if first else None, *zip(*curve)
            axis.plot(xs, ys, color=colours[name], marker="o", markersize=4, label=label)
        log_axis(axis, "x", [seconds for *_, curve in curves for seconds, _ in curve])
        log_axis(axis, "y", [GOOD, *(ratio for *_, curve in curves for _, ratio in curve)])
        axis.axhline(GOOD, color=INK, linewidth=0.8, linestyle=":")
        axis.set(title=f"judge: {judge}", xlabel="seconds from the first call")
    charts[0].set_ylabel("Fréchet distance / that of real pictures")
    labelled = charts[0].get_legend_handles_labels()
    figure.legend(*labelled, loc="outside lower center", ncols=2 * len(judges) + 1, frameon=False, fontsize=8)
    return render(figure)


def main(words: list[str] | None = None) -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument(
        "--data", type=Path, help="MNIST or CIFAR-10 as parquet; by default from the dataset hub"
    )
    parser.add_argument(
        "--name", choices=("mnist", "cifar10"), help="the recipe; by default by the folder's name"
    )
    parser.add_argument("--minutes", type=float, default=5, help="of training, each")
    parser.add_argument(
        "--marks",
        type=float,
        nargs="+",
        default=MARKS,
        help="minutes after which to judge, as far as --minutes goes",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--contenders", nargs="+", choices=[*CONTENDERS], default=[*CONTENDERS])
    parser.add_argument("-n", type=int, default=2000, help="pictures drawn at each mark")
    parser.add_argument("--inside", type=Path, help="one contender and seed, for `apart`")
    options = parser.parse_args(words)
    if any(name not in OUR_OWN for name in options.contenders):
        rivals.continue_there()
    measuring.use_threads(options.threads)
    if options.inside:
        inside(options.inside)
        return
    machine = measuring.machine(options.threads)
    from judging import JUDGES, Panel

    from mezzotint import config as configuration

    found = options.data.name if options.data else ""
    recipe = options.name or ("cifar10" if "cifar" in found.lower() else "mnist")
    where = [f"data.path={options.data.resolve()}"] if options.data else []
    minutes, n, judges = options.minutes, options.n, JUDGES
    if options.quick:
        where = [*(where or measuring.digits_of_size()), "train.batch_size=8"]
        minutes, n, judges = 0.05, 50, ("untrained",)
    marks = sorted({*(mark for mark in options.marks if mark < minutes), minutes})
    # before all training: it takes minutes where the judges are not in the cache yet
    panel = Panel(configuration.load(recipe, where).data, n, judges, shares=("natural",))
    runs: list[dict[str, Any]] = []
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for number, seed in enumerate(options.seeds):
            at = number % len(options.contenders)  # who begins changes
            for name in options.contenders[at:] + options.contenders[:at]:
                print(f"seed {seed}, {name}", flush=True)
                folder = Path(temporary) / f"{name}-{seed}"
                setting = Setting(recipe, where, minutes, marks, n, seed, folder)
                runs.append(apart(name, setting, options.threads))
        print("judging", flush=True)
        file = measuring.file_name(f"quality-{recipe}", options.quick)
        judge(runs, panel, options.out / file)
    leading = sorted(panel.extractors, key=lambda name: name != LEADING)
    found_out = {name: summary(runs, name) for name in leading}
    print(table(runs, leading))
    for name, compared_so in found_out.items():
        if compared_so:
            print(
                f"seconds until {GOOD:g} times real pictures, judge {name}: {told(compared_so)} (goal {MOST:g})"
            )
    result = {
        "machine": machine,
        "recipe": recipe,
        "minutes": minutes,
        "n": n,
        "calls of the peers": CALLS,
        "judges": {
            name: {
                "name": str(one),
                "accuracy": panel.judges[name, "natural"].accuracy,
                "real": panel.judges[name, "natural"].floor,
            }
            for name, one in panel.extractors.items()
        },
        "until": {"level": GOOD, "goal": MOST, **found_out},
        "runs": runs,
    }
    measuring.keep(options.out, f"quality-{recipe}", result, options.quick)
    picture(runs, leading).save(options.out / f"{file}.png")


if __name__ == "__main__":
    main()
