"""Does a model learn a new class from forty pictures in a minute, and keep the old ones?

    python benchmarks/newglyph.py --data FOLDER_OF_MNIST_PARQUET [--images 12000]

Forty pictures of a glyph that is drawn on the spot, a star with slight changes, in a folder; then `mezzotint train folder --from mnist` on one
thread, with and without `train.replay`, by LoRA, and as long from random weights. The budget is in images, so that a busy machine trains as
much as a quiet one; what it took of the processor is told. Of each, 500 stars and 500 digits are made by the model's own settings. Copies are
stars nearer to one of the forty than 99 of 100 of these are to another one (`evaluate.metrics.memorization`).
"""

import argparse
import math
import os
import random
import resource
import tempfile
from pathlib import Path
from typing import Any

import measuring

PICTURES, SIDE, SCALE = 40, 28, 8
POINTS = 5
LEARNT, TESTED = 4000, 2000  # digits of the judge
GOALS = {"new": 0.95, "old": 0.99, "copies": 0.05}


def star(seed: int) -> Any:
    """A white star on black, 28x28 (PIL, mode L): turned, sheared, scaled and shifted a little, by the seed."""
    from PIL import Image, ImageDraw

    luck = random.Random(seed)
    turn, shear, size = luck.gauss(0, 0.15), luck.gauss(0, 0.1), luck.uniform(8.0, 11.0)
    middle = [SIDE / 2 + luck.gauss(0, 0.7) for _ in range(2)]
    inner = luck.uniform(0.38, 0.5)
    corners = []
    for k in range(2 * POINTS):
        radius, angle = size * (inner if k % 2 else 1), turn + math.pi * k / POINTS
        x, y = radius * math.sin(angle), -radius * math.cos(angle)
        corners.append((SCALE * (middle[0] + x + shear * y), SCALE * (middle[1] + y)))
    image = Image.new("L", (SIDE * SCALE, SIDE * SCALE))
    ImageDraw.Draw(image).polygon(corners, fill=255)
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def stars(seeds: range) -> Any:
    """(n, 1, 28, 28) uint8."""
    import numpy as np
    import torch

    return torch.from_numpy(np.stack([np.asarray(star(seed)) for seed in seeds]))[:, None]


class Judge:
    """Ten digits and the star: a linear layer on the 96 features of the classifier of `mezzotint evaluate`, which is trained on MNIST's
    training split and kept in the cache. The layer learns from digits of that split and from fresh stars, and from no sample."""

    def __init__(self, data: Path | None) -> None:
        import torch

        from mezzotint.config import Data
        from mezzotint.evaluate.reference import open_judge, open_reference

        reference = open_reference(Data(name="mnist", path=data))
        self.extractor = open_judge("classifier", reference, torch.device("cpu"))
        few = torch.arange(LEARNT) * len(reference.learn) // LEARNT
        images = torch.cat([reference.learn[few], stars(range(10**6, 10**6 + LEARNT // 4))])
        labels = torch.cat([reference.learn_labels[few], torch.full((LEARNT // 4,), 10)])
        x = self.features(images)
        self.mean, self.std = x.mean(0), x.std(0) + 1e-6
        self.layer = torch.nn.Linear(x.shape[1], 11)
        optimizer = torch.optim.LBFGS(self.layer.parameters(), max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Any:
            optimizer.zero_grad()
            logits = self.layer((x - self.mean) / self.std)
            penalty = 1e-3 * self.layer.weight.square().sum()
            loss = torch.nn.functional.cross_entropy(logits, labels) + penalty
            loss.backward()
            return loss

        optimizer.step(closure)
        test = torch.arange(TESTED) * len(reference.images) // TESTED
        digits, fresh = self(reference.images[test]), self(stars(range(2 * 10**6, 2 * 10**6 + 500)))
        self.right = {
            "digits": float((digits == reference.labels[test]).double().mean()),
            "stars": float((fresh == 10).double().mean()),
        }

    def features(self, images: Any) -> Any:
        from mezzotint.evaluate.judges.features import extract

        return extract(self.extractor, images).pool.float()

    def __call__(self, images: Any) -> Any:
        """(n, 1, 28, 28) uint8 -> (n,) classes."""
        import torch

        with torch.no_grad():
            return self.layer((self.features(images) - self.mean) / self.std).argmax(1)


def judged(folder: Path, judge: Judge, n: int) -> dict[str, float]:
    """Of a run: the share of stars and of digits that are recognised, and of stars that are copies."""
    import torch

    import mezzotint
    from mezzotint.evaluate.metrics.memorization import among_few

    model = mezzotint.load(folder)
    new = model.sample(n, label="star" if model.classes else None, seed=0).values
    scores = {"new": float((judge(new) == 10).double().mean())}
    if len(model.classes) > 1:
        old = model.sample(n, label=[str(k) for k in range(10)], seed=0).values
        scores["old"] = float((judge(old) == torch.arange(n) % 10).double().mean())
    return scores | {"copies": among_few(new, stars(range(PICTURES))).copied.value}


RUNS = {
    "with replay": ["--from", "mnist", "train.replay=0.5"],
    "without replay": ["--from", "mnist"],
    "LoRA of rank 4, with replay": ["--from", "mnist", "train.replay=0.5", "train.lora=4", "train.lr=5e-3"],
    "from random weights": ["network.width=32", "network.multipliers=[1,1]", "network.attention=[4]", "network.patch=2",
                            "data.size=28", "diffusion.parameterization=velocity", "diffusion.weight=simple",
                            "train.optimizer=muon", "train.lr=4e-3", "sample.guidance=1"],
}  # fmt: skip


def learnt(folder: Path, name: str, words: list[str], images: int) -> tuple[Path, float]:
    """Trains a run on the forty pictures; returns its folder, and the seconds of processor that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    measuring.mezzotint(
        "train", "folder", "--data", folder / "few", "--out", folder / "runs", "--name", name,
        "--images", images, "data.flip=false", *words,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return folder / "runs" / name, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=12_000, help="budget, rows of a batch counted")
    parser.add_argument("--runs", nargs="*", default=list(RUNS))
    parser.add_argument("-n", type=int, default=500, help="samples of each kind")
    parser.add_argument("--sheets", type=Path, help="folder for a sheet of each run")
    chosen = parser.parse_args()
    measuring.use_threads(1)
    judge = Judge(chosen.data)
    print(
        f"judge: {judge.right['digits']:.2%} of {TESTED:,} test digits, {judge.right['stars']:.2%} of 500 fresh stars"
    )
    print("| | star recognised | digits recognised | copies | seconds of one thread |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["MEZZOTINT_CACHE"] = str(folder / "cache")  # samples to replay are drawn anew
        (folder / "few" / "star").mkdir(parents=True)
        for seed in range(PICTURES):
            star(seed).save(folder / "few" / "star" / f"{seed}.png")
        for name in chosen.runs:
            run, seconds = learnt(folder, name.replace(" ", "-").replace(",", ""), RUNS[name], chosen.images)
            row = judged(run, judge, chosen.n)
            cells = [f"{row[key]:.1%}" if key in row else "-" for key in ("new", "old", "copies")]
            print(f"| {name} | {' | '.join(cells)} | {seconds:.0f} |", flush=True)
            if chosen.sheets:
                import mezzotint

                model = mezzotint.load(run)
                label = [*map(str, range(10)), "star"] if model.classes else None
                model.sample(44, label=label).sheet(11).save(chosen.sheets / f"{run.name}.png")


if __name__ == "__main__":
    main()
