"""Does the mnist recipe make good digits in five minutes?  Three seeds, judged once on the test split by three judges.

    python benchmarks/digits.py [KEY=VALUE ...] [--data FOLDER_OF_MNIST_PARQUET] [--seeds 0 1 2]
    python benchmarks/digits.py --data FOLDER --models mnist mnist_fast          # of models that there are
    python benchmarks/digits.py --data FOLDER --training --models mnist sample.guidance=1.5     # while choosing

For each seed: `mezzotint train mnist --seed S`, the recipe as it is but for KEY=VALUE, from random weights; then 2,000 pictures with the model
file's own sampling settings, with classes in the shares of the training set, and 2,000 with all classes equally often. See judging.py for
the judges and what is measured. Calls are rows through the network a picture, guidance counted.

With --models, KEY=VALUE are of the group sample; --training compares with training pictures, so that the test split is left for the end. Above
the models stands what pictures of the training split get, the best that one can learn from them.

Beside it, of what the judges see: how much of the background is not black (pixels above 0, real 19 %), and how much the thickness varies (the
standard deviation of a picture's mean level).
"""

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import measuring
import yaml
from sampling import counted

GOALS = {
    "seconds": 300,
    "calls": 20,
    "right": 0.993,
    "ratio": 1.5,
}  # by the outside judge, classes equally often


def train_run(folder: Path, seed: int, data: Path | None, more: list[str]) -> dict[str, Any]:
    words: list[object] = ["train", "mnist", "--seed", seed, "--out", folder, "--name", f"seed{seed}", *more]
    if data is not None:
        words += ["--data", data]
    began = time.perf_counter()
    measuring.mezzotint(*words)
    seconds = time.perf_counter() - began
    lines = (folder / f"seed{seed}" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    pictures = max(json.loads(line)["images"] for line in lines)
    return {
        "model": f"seed {seed}",
        "file": str(folder / f"seed{seed}"),
        "seconds": seconds,
        "pictures": pictures,
    }


def judge_model(source: str, panel: Any, settings: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The numbers of one model, and a sheet of its pictures, a column for each class. settings: in place of its own."""
    from mezzotint.model.loading import load

    model = load(source)
    with counted(model) as calls:
        samples = model.sample(200, label="all", seed=0, **settings)
    judged = as_numbers(panel(model, **settings))
    settings = model.config.sample.model_dump() | settings
    return {
        "calls": calls.rows / 200,
        **seen(samples.values),
        "settings": settings,
        **judged,
    }, samples.sheet()


def as_numbers(verdicts: Any) -> dict[str, Any]:
    return {name: {shares: asdict(one) for shares, one in both.items()} for name, both in verdicts.items()}


def seen(pictures: Any) -> dict[str, float]:
    """Of pictures uint8 (N, 1, H, W): the share of pixels above black, and the spread of mean levels."""
    levels = pictures.float().flatten(1).mean(1)
    return {"above black": float((pictures > 0).float().mean()), "thickness": float(levels.std())}


def met(row: dict[str, Any]) -> bool:
    verdict = row["outside"]["equal"]
    right = verdict["right"] >= GOALS["right"] and verdict["ratio"] <= GOALS["ratio"]
    return right and row["calls"] <= GOALS["calls"] and row.get("seconds", 0) <= GOALS["seconds"]


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--data", type=Path, help="MNIST as parquet; by default from the dataset hub")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, help="keep the runs in this folder")
    parser.add_argument("--models", nargs="+", help="judge these models, and train none")
    parser.add_argument("--training", action="store_true", help="compare with training pictures")
    parser.add_argument("keys", nargs="*", help="keys of the recipe, such as train.lr=2e-3")
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    from judging import Panel

    from mezzotint import config as configuration

    settings = {}
    if options.models:  # words after them that say KEY=VALUE are none of them
        words, options.models = options.models, [one for one in options.models if "=" not in one]
        keys = [*options.keys, *(one for one in words if "=" in one)]
        if wrong := [key for key in keys if not key.startswith("sample.")]:
            parser.error(f"with --models, keys are of the group sample: not {', '.join(wrong)}")
        settings = {
            name.removeprefix("sample."): yaml.safe_load(value)
            for name, _, value in (key.partition("=") for key in keys)
        }
    n, more = (200, ["--images", "2560"]) if options.quick else (2000, [])
    data = configuration.load("mnist", [] if options.data is None else [f"data.path={options.data}"]).data
    rows: list[dict[str, Any]] = [{"model": Path(one).name, "file": one} for one in options.models or []]
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.runs or temporary)
        for seed in () if options.models else options.seeds:
            rows.append(train_run(folder, seed, options.data, [*more, *options.keys]))
            print(f"seed {seed}: trained in {rows[-1]['seconds']:.0f} s")
        panel = Panel(data, n, training=options.training)
        training = {"model": "training pictures", **as_numbers(panel.of_training())}
        for row in rows:
            numbers, sheet = judge_model(row.pop("file"), panel, settings)
            row |= numbers
            row["met"] = met(row)
            name = measuring.file_name("digits", options.quick)
            sheet.save(options.out / f"{name}-{row['model'].replace(' ', '')}.png")
    judges = {
        name: {"name": str(one), "accuracy": panel.judges[name, "equal"].accuracy}
        for name, one in panel.extractors.items()
    }
    real = seen(panel.reference.images)
    result = {
        "machine": machine,
        "n": n,
        "goals": GOALS,
        "compared with": "training pictures" if options.training else "the test split",
        "judges": judges,
        "real": real,
        "training": training,
        "rows": rows,
    }
    print(
        f"real: {real['above black']:.1%} above black, thickness {real['thickness']:.1f}",
        *(
            f"{name} recognises {one['accuracy']:.2%} of them"
            for name, one in judges.items()
            if one["accuracy"] is not None
        ),
        sep="; ",
    )
    head = ["model", "seconds", "calls", "above black, thickness"]
    head += [f"{name}, {shares}" for name in panel.extractors for shares in panel.asked]
    table = [
        [
            row["model"],
            f"{row['seconds']:.0f}" if "seconds" in row else "",
            f"{row['calls']:g}" if "calls" in row else "",
            f"{row['above black']:.1%}, {row['thickness']:.1f}" if "calls" in row else "",
            *(told(row[name][shares]) for name in panel.extractors for shares in panel.asked),
        ]
        for row in (training, *rows)
    ]
    print(measuring.markdown(head, table))
    measuring.keep(options.out, "digits", result, options.quick)


def told(verdict: dict[str, Any]) -> str:
    """ratio, recognised, recall (of real pictures)"""
    right = "" if verdict["right"] is None else f", {verdict['right']:.2%}"
    return f"{verdict['ratio']:.2f}{right}, recall {verdict['recall']:.2f} ({verdict['recall_real']:.2f})"


if __name__ == "__main__":
    main()
