"""Does a model learn a new class from forty pictures in a minute, and keep the old ones?

    python benchmarks/newglyph.py --data FOLDER_OF_MNIST_PARQUET [--seconds 60]

Forty pictures of a glyph that is drawn on the spot, a star with slight changes, in a folder; then `mezzotint train folder --from mnist` for a
minute of one thread, with and without `train.replay`, by LoRA, and the same minute from random weights. Of each, 500 stars and 500 digits are
made by the model's own settings. The judge is a classifier of eleven classes that never saw a sample: MNIST's training split and 2,000 fresh
stars, other ones than the forty. Copies are stars nearer to one of the forty than 99 of 100 real ones are (`evaluate.copies`).
"""

import argparse
import json
import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import measuring

PICTURES, SIDE, SCALE = 40, 28, 8
POINTS = 5
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


def judge_of(data: Path | None, pictures: int) -> Any:
    """A classifier of ten digits and the star, and its share of right answers on the test split and on fresh stars."""
    import torch

    from mezzotint.data.images import load_pictures
    from mezzotint.evaluate.judges.classifier import train_classifier

    digits = load_pictures("mnist", data)
    test = load_pictures("mnist", data, split="test")
    images = torch.cat([digits.images.cpu(), stars(range(10**6, 10**6 + 2000))])
    labels = torch.cat([digits.labels.cpu(), torch.full((2000,), 10)])
    net = train_classifier(images, labels, 11, pictures_seen=pictures)
    fresh = stars(range(2 * 10**6, 2 * 10**6 + 500))
    return net, {
        "digits": float((answers(net, test.images.cpu()[:2000]) == test.labels.cpu()[:2000]).double().mean()),
        "stars": float((answers(net, fresh) == 10).double().mean()),
    }


def answers(net: Any, images: Any) -> Any:
    import torch

    from mezzotint.media.pictures import to_model

    with torch.no_grad():
        return torch.cat([net(to_model(part)).argmax(1) for part in images.split(500)])


def judged(folder: Path, net: Any, n: int) -> dict[str, float]:
    """Of a run: the share of stars and of digits that are recognised, and of stars that are copies."""
    import torch

    import mezzotint
    from mezzotint.evaluate.copies import look_for_copies

    model = mezzotint.load(folder)
    new = model.sample(n, label="star", seed=0).values
    scores = {"new": float((answers(net, new) == 10).double().mean())}
    if len(model.classes) > 1:
        asked = [str(k) for k in range(10)]
        old = model.sample(n, label=asked, seed=0)
        scores["old"] = float((answers(net, old.values) == torch.arange(n) % 10).double().mean())
    found = look_for_copies(folder)
    assert found is not None
    return scores | {"copies": found.copied.value}


RUNS = {
    "with replay": ["--from", "mnist", "train.replay=0.5"],
    "without replay": ["--from", "mnist"],
    "LoRA of rank 4, with replay": ["--from", "mnist", "train.replay=0.5", "train.lora=4"],
    "from random weights": ["network.width=32", "network.multipliers=[1,1]", "network.attention=[4]", "network.patch=2",
                            "data.size=28", "diffusion.parameterization=velocity", "diffusion.weight=simple",
                            "train.optimizer=muon", "train.lr=4e-3"],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", nargs="*", default=list(RUNS))
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--judge", type=int, default=120_000, help="pictures that the judge is trained on")
    chosen = parser.parse_args()
    began = time.perf_counter()
    net, right = judge_of(chosen.data, chosen.judge)
    print(
        f"judge: {right['digits']:.2%} of 2,000 test digits, {right['stars']:.2%} of 500 fresh stars; {time.perf_counter() - began:.0f} s"
    )
    print("| | star recognised | digits recognised | copies | seconds | images |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "few" / "star").mkdir(parents=True)
        for seed in range(PICTURES):
            star(seed).save(folder / "few" / "star" / f"{seed}.png")
        for name, words in RUNS.items():
            if name not in chosen.runs:
                continue
            began = time.perf_counter()
            run = name.replace(" ", "-").replace(",", "")
            measuring.mezzotint(
                "train", "folder", "--data", folder / "few", "--out", folder / "runs", "--name", run,
                "--minutes", chosen.seconds / 60, "data.flip=false", *words,
            )  # fmt: skip
            seconds = time.perf_counter() - began
            row = judged(folder / "runs" / run, net, chosen.n)
            lines = (folder / "runs" / run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            images = max(json.loads(line)["images"] for line in lines)
            old = f"{row['old']:.1%}" if "old" in row else "-"
            print(
                f"| {name} | {row['new']:.1%} | {old} | {row['copies']:.1%} | {seconds:.0f} | {images:,} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
