"""Does the model make pictures, or hand out those that it was trained on?

A copy shows by its ratio: its distance to the nearest training picture, over the mean distance to the next ones (after
Carlini et al. 2023, section 5.1). A picture of one's own lies nearly as far from the first as from the others, a copy
much nearer. How near is too near, real pictures tell: held-out ones among the training pictures, and training pictures
among the rest of them, for some sets have near twins (digits of one writer). A blurred copy, or one under noise, may have
a ratio like a real picture's, but all such samples together show: their nearest picture is a training picture, and never
a held-out one.

Distances are of the arrays as given. Of pixels, they find copies pixel by pixel; of features, also what is shifted or
recoloured.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.evaluate.metrics.neighbours import nearest
from mezzotint.evaluate.metrics.share import Share

NEIGHBOURS = 50  # neighbours that the nearest is compared with
CALIBRATION_PICTURES = 1000  # real pictures of either kind that set the threshold
FALSE_ALARM_SHARE = 0.01  # share of them with a ratio below it
MAX_COPY_SHARE = 0.05  # five times the false alarms
MAX_ODDS = 10.0  # odds of training pictures against held-out ones, over those by chance
MAX_P_VALUE = 0.001  # of the test of labels, for a verdict by odds


@dataclass(frozen=True)
class Memorization:
    """What was found about n samples.

    copied: share of samples suspiciously near one training picture: with a ratio below the threshold, as 1 in 100 real
    pictures have. chance: the same share with held-out pictures in place of training pictures, and what nobody can
    have copied.
    nearer: share of samples whose nearest picture of all is a training picture and not a held-out one. expected: that
    share of samples that know neither, N / (N + M). p_value: how probable so large a share is then. It is small long
    before there are copies, and also where training and held-out pictures differ: no verdict in itself.
    ratios: (n,) float64 from 0 for a copy to 1; threshold: of the ratio. nearest: (n,) int64, each sample's nearest
    training picture; distances: (n,) float64, to it.
    """

    copied: Share
    chance: Share
    nearer: Share
    expected: float
    p_value: float
    ratios: Tensor
    threshold: float
    nearest: Tensor
    distances: Tensor

    @property
    def odds(self) -> float:
        """How many times as often as by chance the nearest picture is a training picture, a cautious estimate: by the
        lower end of `nearer`. About 1 or less without memory."""
        return self.nearer.low / max(1 - self.nearer.low, 1e-12) * (1 - self.expected) / self.expected

    @property
    def flagged(self) -> bool:
        """The verdict. Either surely more than 1 in 20 samples are suspiciously near a training picture, and twice as
        many as are so near a held-out one; or training pictures are nearest ten times as often as by chance."""
        copies = self.copied.low > max(MAX_COPY_SHARE, 2 * self.chance.high)
        return copies or (self.odds > MAX_ODDS and self.p_value < MAX_P_VALUE)

    @property
    def suspects(self) -> Tensor:
        """Numbers of the samples with a ratio below the threshold, the likeliest copies first, (s,) int64."""
        order = self.ratios.argsort()
        return order[self.ratios[order] < self.threshold]


def memorization(samples: Tensor, train: Tensor, held_out: Tensor, seed: int = 0) -> Memorization:
    """Compares samples (n, *D) with training (N, *D) and held-out pictures (M, *D), n >= 1, N >= 4, M >= 20.

    All in one scale, of any dtype: bytes are read chunk by chunk. Held-out pictures must be new to the model, and like
    the training pictures. seed: of the real pictures drawn for the threshold.
    """
    if len(train) < 4 or len(held_out) < 20 or not len(samples):
        raise ValueError(
            f"{len(samples)} samples, {len(train)} training and {len(held_out)} held-out pictures are too few to tell"
            " copies; use at least 1, 4 and 20"
        )
    if not samples.shape[1:] == train.shape[1:] == held_out.shape[1:]:
        shapes = ", ".join(str(tuple(x.shape[1:])) for x in (samples, train, held_out))
        raise ValueError(f"samples, training and held-out pictures have different shapes: {shapes}")
    generator = torch.Generator().manual_seed(seed)
    train_order, held_out_order = (torch.randperm(len(x), generator=generator) for x in (train, held_out))
    # ratios among 64 training pictures compare with those among 64 others
    held_out_order = held_out_order[: len(train)]
    k = min(NEIGHBOURS, len(train) - 1, len(held_out_order))

    to_train, which = nearest(samples, train, k)
    to_matched, by_number = nearest(samples, held_out[held_out_order], k)
    threshold = _threshold(
        train, train[train_order[:CALIBRATION_PICTURES]], held_out[held_out_order[:CALIBRATION_PICTURES]], k
    )
    to_held_out, which_held_out = to_matched[:, 0], held_out_order[by_number[:, 0]]
    if len(held_out_order) < len(held_out):
        to_held_out, which_held_out = (column[:, 0] for column in nearest(samples, held_out, 1))
    of_train = to_train[:, 0] < to_held_out
    favourite = torch.where(of_train, which[:, 0], len(train) + which_held_out)
    n, first, ratios = len(samples), which[:, 0], _ratio(to_train)
    gap = samples.double().flatten(1) - train[first].double().flatten(1)
    return Memorization(
        copied=Share.of(int((ratios < threshold).sum()), n),
        chance=Share.of(int((_ratio(to_matched) < threshold).sum()), n),
        nearer=Share.of(int(of_train.sum()), n),
        expected=len(train) / (len(train) + len(held_out)),
        p_value=_label_test(favourite, len(train), len(held_out)),
        ratios=ratios,
        threshold=threshold,
        nearest=first,
        distances=gap.square().sum(1).sqrt(),
    )


def among_few(samples: Tensor, train: Tensor) -> Memorization:
    """The same without held-out pictures, for sets too small to do without any: samples (n, *D) among training pictures (N, *D), N >= 4.

    The threshold is that of the training pictures among the rest of them, so that two that are alike raise no alarm and a
    set of twins raises none at all. What held-out pictures alone tell is left open: `chance` is 0, `odds` 0, `p_value` 1.
    """
    if len(train) < 4 or not len(samples):
        raise ValueError(
            f"{len(samples)} samples and {len(train)} training pictures are too few to recognise copies"
        )
    k = min(NEIGHBOURS, len(train) - 1)
    distances, which = nearest(samples, train, k)
    ratios, n = _ratio(distances), len(samples)
    threshold = float(_ratio(nearest(train, train, k + 1)[0][:, 1:]).quantile(FALSE_ALARM_SHARE))
    return Memorization(
        copied=Share.of(int((ratios < threshold).sum()), n),
        chance=Share.of(0, n),
        nearer=Share.of(n, n),
        expected=1.0,
        p_value=1.0,
        ratios=ratios,
        threshold=threshold,
        nearest=which[:, 0],
        distances=distances[:, 0].double(),
    )


def _threshold(train: Tensor, train_pictures: Tensor, held_out: Tensor, k: int) -> float:
    """The ratio below which 1 in 100 real pictures lie among training pictures.

    Of `held_out`, or, if that is less, of `train_pictures`, some of `train`, which are their own nearest; but at least half
    the former, as training pictures that are there twice would say that a copy is nothing unusual.
    """
    others = nearest(train_pictures, train, k + 1)[0][:, 1:]
    held_out_ratio, train_ratio = (
        float(_ratio(distances).quantile(FALSE_ALARM_SHARE))
        for distances in (nearest(held_out, train, k)[0], others)
    )
    return min(held_out_ratio, max(train_ratio, held_out_ratio / 2))


def _ratio(distances: Tensor) -> Tensor:
    """The first over the mean of the others; 0 / 0, where all neighbours are copies of the sample, is a copy."""
    distances = distances.double()
    others = distances[:, 1:].mean(1)
    return torch.where(others > 0, distances[:, 0] / others, 0.0)


def _label_test(favourite: Tensor, train: int, held_out: int) -> float:
    """P(so many nearest pictures are of the training set) if the labels "training" were dealt out at random.

    favourite: (n,) the nearest of all pictures, numbered from 0, training pictures first. Some pictures are the nearest
    of many samples, so samples are not independent; labels are. Of the sum over pictures of (times nearest) x (label)
    mean and variance are known exactly, and its distribution is nearly normal.
    """
    both = train + held_out
    times = torch.bincount(favourite, minlength=both).double()
    share = train / both
    variance = float((times - times.mean()).square().sum()) * share * (1 - share) * both / (both - 1)
    if not variance:
        return 1.0
    excess = float(times[:train].sum()) - len(favourite) * share
    return 0.5 * math.erfc(excess / math.sqrt(2 * variance))
