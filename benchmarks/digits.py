"""Does the mnist recipe make good digits in five minutes?  Three seeds, judged once on the test split.

    python benchmarks/digits.py [--data FOLDER_OF_MNIST_PARQUET] [--seeds 0 1 2]

For each seed: `mezzotint train mnist --seed S`, the recipe as it is, from random weights; then 2,000 pictures with the model
file's own sampling settings. The classes asked for stand in the proportions of the training set, as the real pictures do that
they are compared with; the same with all classes equally often is given beside it.

The judge is the classifier of `mezzotint evaluate`, trained on MNIST's training split and kept in the cache. A picture is
right where it sees the class that was asked for. The Fréchet distance, in its features, is from the 2,000 pictures to
the 10,000 of the test split, over the mean of ten such distances of real ones: 2,000 of the test split drawn at random, to the
other 8,000. Calls are rows through the network a picture, guidance counted.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import measuring
from sampling import counted

GOALS = {
    "seconds": 300,
    "pictures": 320_000,
    "calls": 20,
    "right": 0.99,
    "ratio": 1.5,
    "judge": 0.994,
    "width": 128,
}


def train_run(folder: Path, seed: int, data: Path | None, more: list[str]) -> dict[str, Any]:
    words: list[object] = ["train", "mnist", "--seed", seed, "--out", folder, "--name", f"seed{seed}", *more]
    if data is not None:
        words += ["--data", data]
    began = time.perf_counter()
    measuring.mezzotint(*words)
    seconds = time.perf_counter() - began
    lines = (folder / f"seed{seed}" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {"seed": seed, "seconds": seconds, "pictures": max(json.loads(line)["images"] for line in lines)}


def in_proportion(labels: Any, classes: int, n: int) -> list[int]:
    """n classes, as often as in `labels` to a picture: those with the largest remainders are given one more."""
    import torch

    exact = torch.bincount(labels, minlength=classes).double() * n / len(labels)
    counts = exact.floor().long()
    counts[(exact - counts).argsort(descending=True)[: n - int(counts.sum())]] += 1
    return torch.repeat_interleave(torch.arange(classes), counts).tolist()


class Judge:
    """The classifier and the real pictures; what real pictures score."""

    def __init__(self, data: Any, n: int) -> None:
        import torch

        from mezzotint.evaluate.judges.features import Features, extract
        from mezzotint.evaluate.metrics.frechet import Moments, frechet_distance
        from mezzotint.evaluate.reference import open_judge, open_reference

        self.reference = open_reference(data)
        self.extractor = open_judge("classifier", self.reference, torch.device("cpu"))
        real: Features = extract(self.extractor, self.reference.images)
        assert real.logits is not None
        self.accuracy = float((real.logits.argmax(1) == self.reference.labels).double().mean())
        self.moments = Moments.of(real.pool)
        generator, distances = torch.Generator().manual_seed(0), []
        for _ in range(10):
            order = torch.randperm(len(real.pool), generator=generator)
            some, others = real.pool[order[:n]], real.pool[order[n:]]
            distances.append(frechet_distance(Moments.of(some), Moments.of(others)))
        self.floor = statistics.mean(distances)

    def __call__(self, samples: Any) -> dict[str, float]:
        from mezzotint.evaluate.judges.features import extract
        from mezzotint.evaluate.metrics.frechet import Moments, frechet_distance

        features = extract(self.extractor, samples.values)
        assert features.logits is not None
        distance = frechet_distance(Moments.of(features.pool), self.moments)
        return {
            "right": float((features.logits.argmax(1) == samples.labels).double().mean()),
            "frechet": distance,
            "ratio": distance / self.floor,
        }


def judge_model(path: Path, judge: Judge, labels: list[int]) -> tuple[dict[str, Any], Any]:
    """The numbers of one model, and a sheet of its pictures, a column for each class."""
    from mezzotint.model.model import load

    model = load(path)
    with counted(model) as calls:
        samples = model.sample(len(labels), label=labels, seed=1_000_000)
    result: dict[str, Any] = {"calls": calls.rows / len(labels), **judge(samples)}
    even = model.sample(len(labels), label="all", seed=2_000_000)
    result["classes equally often"] = judge(even)
    result["settings"] = model.config.sample.model_dump()
    return result, model.sample(200, label="all", seed=0).sheet()


def met(row: dict[str, Any]) -> bool:
    below = all(row[key] <= GOALS[key] for key in ("seconds", "pictures", "calls", "ratio"))
    return below and row["right"] >= GOALS["right"]


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--data", type=Path, help="MNIST as parquet; by default from the dataset hub")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, help="keep the runs in this folder")
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    from mezzotint import config as configuration

    n, more = (200, ["--images", "2560"]) if options.quick else (2000, [])
    data = configuration.load("mnist", [] if options.data is None else [f"data.path={options.data}"]).data
    rows = []
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        name = options.runs or temporary
        for seed in options.seeds:
            rows.append(train_run(Path(name), seed, options.data, more))
            print(f"seed {seed}: trained in {rows[-1]['seconds']:.0f} s")
        judge = Judge(data, n)
        print(f"judge: {judge.accuracy:.2%} on the test split; real pictures are at {judge.floor:.4g}")
        labels = in_proportion(judge.reference.learn_labels, len(judge.reference.classes), n)
        for row in rows:
            numbers, sheet = judge_model(
                Path(name) / f"seed{row['seed']}" / "model.safetensors", judge, labels
            )
            row |= numbers
            row["met"] = met(row)
            sheet.save(options.out / f"{measuring.file_name('digits', options.quick)}-seed{row['seed']}.png")
    result = {
        "machine": machine,
        "n": n,
        "goals": GOALS,
        "judge": {
            "name": str(judge.extractor),
            "accuracy": judge.accuracy,
            "width": judge.extractor.width,
            "real": judge.floor,
        },
        "seeds": rows,
    }
    table = [
        [
            row["seed"],
            f"{row['seconds']:.0f}",
            row["pictures"],
            f"{row['calls']:g}",
            f"{row['right']:.2%}",
            f"{row['ratio']:.3f}",
            f"{row['classes equally often']['right']:.2%}, {row['classes equally often']['ratio']:.3f}",
            "yes" if row["met"] else "no",
        ]
        for row in rows
    ]
    head = ["seed", "seconds", "pictures seen", "calls a picture", "right", "Fréchet / real", "equally often"]
    print(measuring.markdown([*head, "met"], table))
    measuring.keep(options.out, "digits", result, options.quick)


if __name__ == "__main__":
    main()
