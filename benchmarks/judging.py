"""Three judges of labelled pictures, none of which trained the model that is judged, and what real pictures get from each.

- `own`: the classifier of `mezzotint evaluate`, a residual network trained on rotated, sheared and shifted pictures; 96 features.
- `outside`: a plain network of 256 features, trained on pictures as they are. It sees what the first has learned to forgive: how thick
  a stroke is, where a digit stands, whether the background is black.
- `untrained`: 256 features of a network with random weights, which knows no classes and nothing of what is easy to classify.

Of each: Fréchet distance of samples to the test split, over that of real pictures that were drawn in the same shares of classes (mean of ten
draws, to the pictures not drawn); how often the class asked for is recognised; and recall (`mezzotint.evaluate.metrics.precision_recall`).
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint import cache
from mezzotint.config import Data
from mezzotint.evaluate.judges.features import Extractor, Features, extract
from mezzotint.evaluate.metrics.frechet import Moments, frechet_distance
from mezzotint.evaluate.metrics.precision_recall import precision_recall
from mezzotint.evaluate.reference import Reference, open_judge, open_reference
from mezzotint.media.pictures import to_model

JUDGES = ("own", "outside", "untrained")
SHARES = ("natural", "equal")
WIDTH = 256
SEEN, BATCH, LR = 300_000, 128, 1e-3  # pictures in training, repeats counted
DRAWS = 10  # of real pictures
CHOOSING = 10_000  # training pictures that samples are compared with while something is chosen


class Plain(nn.Module):
    """Pictures (B, C, H, W) in [-1, 1] to logits (B, K); `features` to (B, 256), of a hidden layer that sees where things stand."""

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * (-(-side // 4)) ** 2, WIDTH),
            nn.ReLU(),
        )
        self.head = nn.Linear(WIDTH, classes)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)


def trained(reference: Reference) -> Plain:
    """On the training split as it is; kept in the cache."""
    assert reference.learn_labels is not None
    images, labels = reference.learn, reference.learn_labels
    name = f"outside-{cache.digest(images, labels, f'{WIDTH=} {SEEN=} {BATCH=} {LR=}')}"
    net = fresh(reference)
    if (weights := cache.load(name)) is not None:
        net.load_state_dict(weights)
        return net.eval()
    adam, random, order = torch.optim.AdamW(net.parameters(), LR), torch.Generator().manual_seed(0), []
    steps = SEEN // BATCH
    for step in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(images), generator=random).tolist()
        index, order = order[:BATCH], order[BATCH:]
        for group in adam.param_groups:
            group["lr"] = LR * (1 - step / steps)
        pool = F.dropout(net.features(to_model(images[index])), 0.3)
        adam.zero_grad()
        F.cross_entropy(net.head(pool), labels[index]).backward()
        adam.step()
    cache.keep(name, net.state_dict())
    return net.eval()


def fresh(reference: Reference) -> Plain:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Plain(reference.images.shape[1], min(reference.images.shape[2:]), len(reference.classes))


def extractor(name: str, net: Plain, labels: bool) -> Extractor:
    @torch.no_grad()
    def compute(images: Tensor) -> Features:
        pool = net.features(to_model(images))
        return Features(pool, net.head(pool) if labels else None)

    version = cache.digest(*(part for pair in net.state_dict().items() for part in pair))
    return Extractor(name, version, "none", WIDTH, labels, compute)


def in_proportion(labels: Tensor, classes: int, n: int) -> list[int]:
    """n classes, as often as in `labels` to a picture: those with the largest remainders are given one more."""
    exact = torch.bincount(labels, minlength=classes).double() * n / len(labels)
    counts = exact.floor().long()
    counts[(exact - counts).argsort(descending=True)[: n - int(counts.sum())]] += 1
    return torch.repeat_interleave(torch.arange(classes), counts).tolist()


def in_equal_shares(classes: int, n: int) -> list[int]:
    return [k * classes // n for k in range(n)]


def counts(asked: Sequence[int], classes: int) -> list[int]:
    return torch.bincount(torch.tensor(asked), minlength=classes).tolist()


def first(labels: Tensor, wanted: Sequence[int]) -> Tensor:
    """Marks the first of each class, as many as wanted: (N,) bool."""
    marked = torch.zeros(len(labels), dtype=torch.bool)
    for k, count in enumerate(wanted):
        marked[(labels == k).nonzero()[:count, 0]] = True
    return marked


@dataclass(frozen=True)
class Verdict:
    """distance: Fréchet, and ratio: over that of real pictures. right: share recognised, None of a judge without classes. recall: of `real` in the same
    shares, beside it `recall_real`."""

    distance: float
    ratio: float
    right: float | None
    recall: float
    recall_real: float


Verdicts = dict[str, dict[str, Verdict]]  # {judge: {shares: verdict}}


class Judge:
    """One of them, and the real pictures. asked: what classes the n samples will have, in which shares real ones are drawn, too."""

    def __init__(self, extractor: Extractor, reference: Reference, asked: Sequence[int]) -> None:
        assert reference.labels is not None
        self.extractor, n = extractor, len(asked)
        real = extract(extractor, reference.images)
        self.moments = Moments.of(real.pool)
        self.accuracy = (
            None
            if real.logits is None
            else float((real.logits.argmax(1) == reference.labels).double().mean())
        )
        wanted = counts(asked, len(reference.classes))
        random, distances, recalls = torch.Generator().manual_seed(0), [], []
        for _ in range(DRAWS):
            order = torch.randperm(len(real.pool), generator=random)
            drawn = first(reference.labels[order], wanted)
            some, others = real.pool[order[drawn]], real.pool[order[~drawn]]
            distances.append(frechet_distance(Moments.of(some), Moments.of(others)))
            recalls.append(precision_recall(some, others[:n]).recall)
        self.some_real = others[:n]
        self.floor, self.recall_floor = statistics.mean(distances), statistics.mean(recalls)

    def __call__(self, pictures: Tensor, labels: Tensor) -> Verdict:
        """pictures: uint8 (n, C, H, W); labels: (n,), the classes asked for."""
        seen = extract(self.extractor, pictures)
        distance = frechet_distance(Moments.of(seen.pool), self.moments)
        right = None if seen.logits is None else float((seen.logits.argmax(1) == labels).double().mean())
        recall = precision_recall(seen.pool, self.some_real).recall
        return Verdict(distance, distance / self.floor, right, recall, self.recall_floor)


class Panel:
    """Some of them or all, in shares as in training ("natural") and equal ones. training: samples are compared with pictures of the
    training split, 10,000 of them, in place of the test split: for choosing."""

    def __init__(
        self,
        data: Data,
        n: int,
        names: Sequence[str] = JUDGES,
        *,
        training: bool = False,
        shares: Sequence[str] = SHARES,
    ) -> None:
        self.reference = open_reference(data)
        assert self.reference.learn_labels is not None
        classes = len(self.reference.classes)
        make: dict[str, Callable[[], Extractor]] = {
            "own": lambda: open_judge("classifier", self.reference, torch.device("cpu")),
            "outside": lambda: extractor("outside", trained(self.reference), True),
            "untrained": lambda: extractor("untrained", fresh(self.reference), False),
        }
        self.extractors = {name: make[name]() for name in names}
        if training:
            order = torch.randperm(len(self.reference.learn), generator=torch.Generator().manual_seed(3))
            learn, labels = self.reference.learn[order], self.reference.learn_labels[order]
            self.reference = replace(
                self.reference,
                images=learn[:CHOOSING],
                labels=labels[:CHOOSING],
                learn=learn[CHOOSING:],
                learn_labels=labels[CHOOSING:],
            )
        asked = {
            "natural": in_proportion(self.reference.learn_labels, classes, n),
            "equal": in_equal_shares(classes, n),
        }
        self.asked = {name: asked[name] for name in shares}
        self.judges = {
            (name, shares): Judge(one, self.reference, asked)
            for name, one in self.extractors.items()
            for shares, asked in self.asked.items()
        }

    def __call__(self, model: Any, seed: int = 1_000_000, **settings: Any) -> Verdicts:
        """The verdicts on a model's samples: {judge: {shares: verdict}}."""

        def sampled(asked: list[int]) -> tuple[Tensor, Tensor]:
            samples = model.sample(len(asked), label=asked, seed=seed, **settings)
            return samples.values, samples.labels

        return self.judged(sampled)

    def of_training(self) -> Verdicts:
        """The verdicts on pictures of the training split: the best that one can learn from them."""
        images, labels = self.reference.learn, self.reference.learn_labels
        assert labels is not None

        def drawn(asked: list[int]) -> tuple[Tensor, Tensor]:
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
            index = order[first(labels[order], counts(asked, len(self.reference.classes)))]
            return images[index], labels[index]

        return self.judged(drawn)

    def judged(self, made: Callable[[list[int]], tuple[Tensor, Tensor]]) -> Verdicts:
        """made: the classes asked for, to pictures and their classes."""
        found: Verdicts = {name: {} for name in self.extractors}
        for shares, asked in self.asked.items():
            pictures, labels = made(asked)
            for name in found:
                found[name][shares] = self.judges[name, shares](pictures, labels)
        return found
