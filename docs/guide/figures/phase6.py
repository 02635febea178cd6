"""Draws the pictures of phase 6: `python docs/guide/figures/phase6.py`. Every seed is fixed."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint import load, plots
from mezzotint.data import load_pictures
from mezzotint.evaluate.judges.classifier import classifier_extractor, train_classifier
from mezzotint.evaluate.judges.features import Features, extract
from mezzotint.evaluate.metrics.frechet import Moments, frechet_distance, frechet_infinity
from mezzotint.evaluate.metrics.kernel import squared_mmd
from mezzotint.evaluate.metrics.precision_recall import precision_recall
from mezzotint.evaluate.metrics.share import agreement
from mezzotint.model.model import Model
from mezzotint.plots.style import figure_of, render

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, PINK = plots.COLOURS[:4]


def tradeoff(model: Model, images: Tensor, labels: Tensor) -> None:
    """What four numbers say of six scales, and of real pictures."""
    judge = classifier_extractor(train_classifier(images, labels, 10, pictures_seen=20_000))
    n = 500
    features = extract(judge, images)
    random = torch.Generator().manual_seed(0)
    by_class = [(labels == k).nonzero().flatten() for k in range(10)]

    def numbers(part: Features, classes: Tensor, reference: Tensor) -> dict[str, float]:
        """Of a part against the real pictures reference: all of them, or as many as it has."""
        subset = reference[torch.randperm(len(reference), generator=random)[: len(classes)]]
        region = precision_recall(part.pool, features.pool[subset])
        return {
            "Fréchet distance": frechet_distance(Moments.of(part.pool), Moments.of(features.pool[reference])),
            "agreement": agreement(known(part.logits), classes).value,
            "precision": region.precision,
            "recall": region.recall,
        }

    def real_numbers() -> dict[str, float]:
        """What as many real pictures of each class get against the others."""
        mine = torch.cat([c[torch.randperm(len(c), generator=random)[: n // 10]] for c in by_class])
        others = torch.ones(len(images), dtype=torch.bool)
        others[mine] = False
        part = Features(features.pool[mine], known(features.logits)[mine])
        return numbers(part, labels[mine], others.nonzero().flatten())

    scales = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
    sample_sets = [model.sample(n, label="all", steps=8, guidance=g) for g in scales]
    rows = [
        numbers(extract(judge, one.values), known(one.labels), torch.arange(len(images)))
        for one in sample_sets
    ]
    tries = [real_numbers() for _ in range(5)]
    real = {name: sum(one[name] for one in tries) / len(tries) for name in tries[0]}
    figure, axes = figure_of(6.4, 3.4, 1, 2)
    for name, colour in zip(real, (BLUE, GREEN, ORANGE, PINK)):
        axis = axes[name != "Fréchet distance"]
        axis.plot(scales, [row[name] for row in rows], color=colour, marker="o", markersize=3, label=name)
        axis.axhline(real[name], color=colour, linestyle=":", linewidth=1)
    axes[0].set(title="Fréchet distance", ylim=(0, None))
    axes[1].set(title="shares", ylim=(0, 1.03))
    axes[1].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.set(xlabel="guidance", xscale="log", xticks=(1, 2, 3, 5), xticklabels=("1", "2", "3", "5"))
        axis.minorticks_off()
    save(render(figure), "tradeoff")
    print({g: {k: round(v, 3) for k, v in row.items()} for g, row in zip(scales, rows)}, real)


def known(values: Tensor | None) -> Tensor:
    assert values is not None
    return values


def in_n(images: Tensor) -> None:
    """Real pictures against other real pictures, in their 64 pixels as features."""
    pixels = images.flatten(1).double() / 255
    random = torch.Generator().manual_seed(0)
    sizes = (50, 100, 200, 400, 800)
    rows: dict[int, list[tuple[float, float, float]]] = {}
    for n in sizes:
        splits = (pixels[torch.randperm(len(pixels), generator=random)].split(n)[:2] for _ in range(20))
        rows[n] = [
            (
                frechet_distance(Moments.of(a), Moments.of(b)),
                frechet_infinity(a, b).value if n >= 4 * 64 else torch.nan,
                squared_mmd(a, b),
            )
            for a, b in splits
        ]
    mean = {n: torch.tensor(row).double().mean(0) for n, row in rows.items()}
    std = {n: torch.tensor(row).double().std(0) for n, row in rows.items()}
    curve = 2 * bias(torch.cov(pixels.T))
    figure, axes = figure_of(6.4, 3.4, 1, 2)
    axes[0].plot(sizes, [curve / n for n in sizes], color=BLUE, linewidth=1, label="2 c / n, by the formula")
    axes[0].errorbar(
        sizes, [mean[n][0] for n in sizes], [std[n][0] for n in sizes], fmt="o", color=BLUE, label="measured"
    )
    large = [n for n in sizes if n >= 256]
    axes[0].errorbar(
        large,
        [mean[n][1] for n in large],
        [std[n][1] for n in large],
        fmt="s",
        color=ORANGE,
        label="infinite n",
    )
    axes[1].errorbar(sizes, [mean[n][2] for n in sizes], [std[n][2] for n in sizes], fmt="o", color=GREEN)
    axes[0].legend(frameon=False, fontsize=8)
    for axis, title in zip(axes, ("Fréchet distance", "kernel distance")):
        axis.axhline(0, color=plots.COLOURS[-1], linewidth=0.8)
        axis.set(title=title, xlabel="n", xscale="log", xticks=sizes, xticklabels=map(str, sizes))
        axis.minorticks_off()
    save(render(figure), "frechet-n")
    print({n: [round(float(v), 4) for v in row] for n, row in mean.items()}, float(curve))


def bias(covariance: Tensor) -> float:
    """c of one set of n Gaussian rows, whose Fréchet distance to the truth is c / n."""
    v = torch.linalg.eigvalsh(covariance).clamp(min=1e-12)
    return float(v.sum() + (v[:, None] * v / (v[:, None] + v)).sum() / 2 + v.sum() / 4)


def save(image: Any, name: str) -> None:
    path = HERE / f"6-{name}.png"
    image.quantize(64).save(path, optimize=True) if image.width > 1000 else image.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB, {image.size}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    pictures = load_pictures("digits")
    everything, classes = pictures.batch(torch.arange(len(pictures)))
    assert classes is not None
    tradeoff(load("digits", precision="fp32"), everything, classes)
    in_n(everything)
