"""Pixels or codes, U-Net or transformer: which makes the best flowers of 64 pixels in equal time?

    python benchmarks/designs.py --data FLOWERS [--minutes 60] [--codec RUN]
    python benchmarks/designs.py --data FLOWERS --models flowers -n 400            # of models that there are

Four trainings one after the other, each a process of its own, with the recipes' networks and settings, for the same seconds of
computing (of all threads together: 60 minutes are 30 of two cores), of which sheets and held-out losses take none here. A trial of
some steps says how many fit. The autoencoder is trained before for a quarter of that time, or is that of --codec; its time is told, and not
taken from the models of its codes, as it is trained once for all of them.

A design that was trained before in the folder of --runs, with the same recipe, keys and seconds, is not trained again. Judged by
the classifier of `mezzotint evaluate`, which has learned from training pictures, and by a second judge, features of clusters that
know no classes: Fréchet distances to the test split with their 95 % intervals. Beside them as many training pictures, classes in equal
shares as those of the samples (mean of five draws). Peak memory is of the process that trains.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import measuring
from sampling import counted

FLOWERS = ["data.name=flowers", "data.size=64"]
LATENT_DIT = ["network.kind=dit", "network.width=192", "network.depth=6", "network.patch=2"]
DESIGNS: dict[str, tuple[str, list[str]]] = {  # recipe, and keys
    "pixels, U-Net": ("flowers_attention", []),
    "pixels, transformer": ("flowers_dit", []),
    "codes, U-Net": ("latent", ["data.labels=true", "sample.guidance=2"]),
    "codes, transformer": ("latent", ["data.labels=true", "sample.guidance=2", *LATENT_DIT]),
}
JUDGES = ("classifier", "clusters")
TRIAL = 6  # steps that tell what one costs, after two that do not count


def learn(recipe: str, keys: list[str], seconds: float, folder: Path) -> dict[str, Any]:
    """Trains for so many seconds of computing and saves folder/model.safetensors."""
    from mezzotint import config
    from mezzotint.disk.model_file import Header, save_model
    from mezzotint.model.model import Model
    from mezzotint.run.latents import completed
    from mezzotint.run.parts import Parts
    from mezzotint.train.distributed import Ranks

    folder.mkdir(parents=True, exist_ok=True)
    wanted = completed(config.load(recipe, [*FLOWERS, *keys, "train.steps=1000"]))
    trial = Parts(wanted, folder, Ranks()).steps(10**6)
    for _ in range(2):
        next(trial)
    began = time.process_time()
    for _ in range(TRIAL):
        next(trial)
    steps = max(TRIAL, round(seconds / ((time.process_time() - began) / TRIAL)))
    run = Parts(wanted, folder, Ranks())
    began = time.process_time()
    for progress in run.steps(steps):
        if progress.step % max(1, steps // 20) == 0:
            print(
                f"  {folder.name}: step {progress.step:,} of {steps:,}, loss {float(progress.loss):.4f}",
                file=sys.stderr,
            )
    spent = time.process_time() - began
    header = Header(wanted, run.facts, steps, run.model.header.weights)
    codec = run.model.codec.weights if isinstance(run.model, Model) else None
    save_model(folder / "model.safetensors", run.state.ema.net, header, codec)
    return {
        "steps": steps,
        "pictures": steps * wanted.train.batch_size,
        "seconds": spent,
        "parameters": sum(p.numel() for p in run.state.net.parameters()),
        "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def folder_of(design: str) -> str:
    return design.replace(", ", "_")


def learned_apart(recipe: str, keys: list[str], seconds: float, folder: Path, threads: int) -> dict[str, Any]:
    """The same in a process of its own; of one that was measured before, with the same words, what it kept."""
    asked, kept = [recipe, keys, seconds], folder / "learned.json"
    if kept.is_file() and (before := json.loads(kept.read_text()))["asked"] == asked:
        return before["found"]
    command = [sys.executable, __file__, "--data", ".", "--threads", str(threads)]
    done = subprocess.run(
        [*command, "--one", json.dumps([recipe, keys, seconds, str(folder)])],
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)
    kept.write_text(json.dumps({"asked": asked, "found": found}))
    return found


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="flowers as parquet")
    parser.add_argument("--minutes", type=float, default=60, help="of computing, for each design")
    parser.add_argument("--codec", type=Path, help="a run of an autoencoder; default: it is trained")
    parser.add_argument("--runs", type=Path, default=Path("runs/designs"), help="the folder of the trainings")
    parser.add_argument("-n", "--n", type=int, default=1000, help="samples of each")
    parser.add_argument("--models", nargs="+", help="judge these models, and train none")
    parser.add_argument("--one", help="of the process that trains: recipe, keys, seconds and folder as JSON")
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    if options.one:
        recipe, keys, seconds, folder = json.loads(options.one)
        print(json.dumps(learn(recipe, keys, seconds, Path(folder))))
        return
    machine = measuring.machine(options.threads)
    seconds, n = (4, 16) if options.quick else (60 * options.minutes, options.n)
    data = [f"data.path={options.data.resolve()}"]
    result: dict[str, Any] = {"machine": machine, "n": n, "rows": {}}
    place = str(options.data.resolve())
    real = of_training(place, n)
    if options.models:
        rows: dict[str, dict[str, Any]] = {name: {} for name in options.models}
        judge(rows, options.models, place, n)
        table = [
            [
                name,
                told(row["classifier"]),
                told(row["clusters"]),
                row["calls"],
                f"{row['seconds a picture']:.3f}",
            ]
            for name, row in rows.items()
        ]
        table.append(["training pictures", *(f"{distance:.3g}" for distance in real.values()), "", ""])
        print(measuring.markdown(["model", "Fréchet distance", "clusters", "calls", "s a picture"], table))
        return
    codec = options.codec
    if codec is None:
        codec = options.runs / "codec"
        result["codec"] = learned_apart(
            "vae", [*data, "train.batch_size=16"], seconds / 4, codec, options.threads
        )
    for name, (recipe, keys) in DESIGNS.items():
        coding = [f"codec.file={codec.resolve()}"] if recipe == "latent" else []
        folder = options.runs / folder_of(name)
        result["rows"][name] = learned_apart(
            recipe, [*data, *keys, *coding], seconds, folder, options.threads
        )
        print(json.dumps({name: result["rows"][name]}), flush=True)
    files = [str(options.runs / folder_of(name) / "model.safetensors") for name in result["rows"]]
    judge(result["rows"], files, place, n)
    result["training pictures"] = real
    head = [
        "design",
        "parameters",
        "pictures seen",
        "Fréchet distance",
        "clusters",
        "calls",
        "s a picture",
        "peak GB",
    ]
    table = [
        [
            name,
            f"{row['parameters'] / 1e6:.1f}M",
            f"{row['pictures']:,}",
            told(row["classifier"]),
            told(row["clusters"]),
            row["calls"],
            f"{row['seconds a picture']:.3f}",
            f"{row['peak GB']:.1f}",
        ]
        for name, row in result["rows"].items()
    ]
    print(measuring.markdown(head, table))
    measuring.keep(options.out, "designs", result, options.quick)


def judge(rows: dict[str, dict[str, Any]], files: list[str], data: str, n: int) -> None:
    """Adds to each row what its model's samples get."""
    from mezzotint import load
    from mezzotint.evaluate import evaluate

    for judged_by in JUDGES:
        for row, found in zip(
            rows.values(), evaluate(files, n=n, extractor=judged_by, data=data, metrics=["frechet"])
        ):
            distance = found.numbers[0]
            row[judged_by] = [distance.value, distance.low, distance.high]
    for row, file in zip(rows.values(), files):
        model = load(file)
        with counted(model) as calls:
            model.sample(4)
        began = time.perf_counter()
        model.sample(16)
        row["calls"], row["seconds a picture"] = calls.rows // 4, (time.perf_counter() - began) / 16


def of_training(data: str, n: int) -> dict[str, float]:
    """Fréchet distance of n training pictures to the test split, classes equally often, by each judge: mean of five draws."""
    import torch

    from mezzotint import config
    from mezzotint.evaluate.judges.features import extract
    from mezzotint.evaluate.metrics.frechet import Moments, frechet_distance
    from mezzotint.evaluate.reference import open_judge, open_reference

    reference = open_reference(config.load("flowers_latent", [f"data.path={data}"]).data)
    labels, found, random = reference.learn_labels, {}, torch.Generator().manual_seed(0)
    assert labels is not None
    for name in JUDGES:
        judge = open_judge(name, reference, torch.device("cpu"))
        real, learned = extract(judge, reference.images).pool, extract(judge, reference.learn).pool
        distances = []
        for _ in range(5):
            order = torch.randperm(len(labels), generator=random)
            share = n // len(reference.classes)
            some = torch.cat([order[labels[order] == k][:share] for k in range(len(reference.classes))])
            distances.append(frechet_distance(Moments.of(learned[some]), Moments.of(real)))
        found[name] = statistics.mean(distances)
    return found


def told(numbers: list[float]) -> str:
    value, low, high = numbers
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


if __name__ == "__main__":
    main()
