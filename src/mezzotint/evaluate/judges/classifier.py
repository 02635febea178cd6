"""A compact classifier trained on the spot on a labelled picture set: an offline judge whose features fit the data.

A residual network (He et al. 2016) of three stages with batch normalisation. Its features are what global average
pooling leaves, 96 numbers a picture: few enough that their covariance is well estimated from 2,000 pictures.
"""

import math
import time
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint import cache
from mezzotint.evaluate.judges.features import Extractor, Features
from mezzotint.media.pictures import to_model

VERSION = 1  # of network, training and augmentation; a new one forgets what is in the cache
WIDTHS = (32, 48, 96)
BATCH_PICTURES = 128
PEAK_LR, WEIGHT_DECAY = 0.1, 5e-4
WARM_UP_SHARE = 0.2  # of the training
LABEL_SMOOTHING = 0.05
EPOCHS = 8
MIN_PICTURES, MAX_PICTURES = 100_000, 480_000  # pictures seen in training, repeats counted

Report = Callable[[int, int], None]  # (pictures seen, of so many), at first and about every second


class Residual(nn.Module):
    """relu(conv-norm-relu-conv-norm (x) + x), with a 1x1 convolution on the way past where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.past = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(h)) + self.past(x))


class Classifier(nn.Module):
    """Pictures (B, C, H, W) in [-1, 1] to logits (B, K); `features` to (B, 96).

    Sides of 16 pixels and more are halved by the first convolution, and again by a further stage each time they would
    stay above 8 before the last.
    """

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        first, middle, last = WIDTHS
        stem = 2 if side >= 16 else 1
        widths = [first, first, middle] if side >= 64 else [first, middle]
        strides = [1] + [2] * (len(widths) - 1)
        inputs = [first, *widths]
        self.body = nn.Sequential(
            nn.Conv2d(channels, first, 5, stem, 2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            *[Residual(a, b, stride) for a, b, stride in zip(inputs, widths, strides)],
            Residual(middle, last, 2),
        )
        self.head = nn.Linear(last, classes)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x).float().mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


def train_classifier(
    images: Tensor,
    labels: Tensor,
    classes: int,
    *,
    seed: int = 0,
    flip: bool = False,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    pictures_seen: int | None = None,
    report: Report | None = None,
) -> Classifier:
    """Trains a classifier by cross-entropy with smoothed labels.

    images: uint8 (N, C, H, W); labels: (N,) int64 in [0, classes).
    seed: of weights, order and augmentation; equal seeds give equal weights on one machine with equal threads.
    flip: mirror half of the pictures, right where mirrored pictures are pictures of the set.
    dtype: of the arithmetic, as `model.device.find_precision` says.
    pictures_seen: how many pictures to train on, repeats counted; see `budget` for the default.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Classifier(images.shape[1], min(images.shape[2:]), classes)
    net = net.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]

    def loss(index: Tensor, random: torch.Generator) -> Tensor:
        x = augment(to_model(images[index].to(device)), random, flip)
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            pool = net.features(x)
        return F.cross_entropy(net.head(pool), labels[index].to(device), label_smoothing=LABEL_SMOOTHING)

    minimize(loss, net.parameters(), len(images), pictures_seen or budget(len(images)), seed, report)
    return net.eval().requires_grad_(False)


def budget(count: int) -> int:
    """How many pictures a judge of a set of `count` is trained on: 8 epochs, at least 100,000, at most 480,000. Less of a
    very small set, which is soon memorized: 100 epochs, but 200 steps at least."""
    small_set = min(MIN_PICTURES, max(100 * count, 200 * BATCH_PICTURES))
    return min(max(EPOCHS * count, small_set), MAX_PICTURES)


def minimize(
    loss: Callable[[Tensor, torch.Generator], Tensor],
    parameters: Iterable[nn.Parameter],
    count: int,
    pictures_seen: int,
    seed: int,
    report: Report | None,
) -> None:
    """Stochastic gradient descent on one cycle of the learning rate (Smith & Topin 2018).

    loss: of the pictures with the numbers (B,), with a generator for their augmentation. count: how many there are.
    """
    batch = min(BATCH_PICTURES, count)
    steps = max(1, round(pictures_seen / batch))
    optimizer = torch.optim.SGD(parameters, PEAK_LR, 0.9, weight_decay=WEIGHT_DECAY, nesterov=True)
    random = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    spoke = time.perf_counter()
    if report:
        report(0, steps * batch)
    for step in range(steps):
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(count, generator=random)])
        index, order = order[:batch], order[batch:]
        share = step / steps
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * min(share / WARM_UP_SHARE, (1 - share) / (1 - WARM_UP_SHARE))
        value = loss(index, random)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if report and (step == steps - 1 or time.perf_counter() - spoke > 1):
            report((step + 1) * batch, steps * batch)
            spoke = time.perf_counter()


def augment(x: Tensor, random: torch.Generator, flip: bool) -> Tensor:
    """Small random rotations (12 degrees), scales (10 %), shears (10 %), shifts (7 % of the side), and flips.

    x: (B, C, H, W); the result lies in memory as the networks here want it, channels last.
    """
    r = 2 * torch.rand(len(x), 6, generator=random).to(x.device) - 1
    mirror = torch.where(r[:, 5] < 0, -1.0, 1.0) if flip else torch.ones_like(r[:, 5])
    angle, scale, shear = math.radians(12) * r[:, 0], 1 + 0.1 * r[:, 1], 0.1 * r[:, 2]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [mirror * cos, shear - sin, 0.14 * r[:, 3], mirror * sin, cos, 0.14 * r[:, 4]]
    matrix = torch.stack(rows, dim=1).view(-1, 2, 3)  # coordinates go from -1 to 1: 0.14 is 7 % of the side
    at = F.affine_grid(matrix, list(x.shape), align_corners=False)
    x = F.grid_sample(x, at, padding_mode="border", align_corners=False)
    return x.contiguous(memory_format=torch.channels_last)


def classifier_extractor(net: Classifier, name: str = "classifier") -> Extractor:
    """A classifier as an extractor, in float32 on the device where it lies."""
    weights = net.state_dict()
    device = net.head.weight.device

    def compute(images: Tensor) -> Features:
        x = to_model(images.to(device)).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            pool = net.features(x)
            return Features(pool.cpu(), net.head(pool).cpu())

    version = cache.digest(*(part for pair in weights.items() for part in pair))
    return Extractor(name, version, "none", net.head.in_features, True, compute)


def cached_classifier(
    images: Tensor,
    labels: Tensor,
    classes: int,
    *,
    seed: int = 0,
    flip: bool = False,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    report: Report | None = None,
) -> Extractor:
    """The classifier of a data set, trained at its first use and kept in the cache under a hash of pictures and labels.

    Arguments as of `train_classifier`; nothing is reported where it is in the cache.
    """
    name = f"classifier-{cache.digest(images, labels, f'{classes=} {flip=} {seed=} {VERSION=}')}"
    net = restore(name, images, classes, device)
    if net is None:
        net = train_classifier(
            images, labels, classes, seed=seed, flip=flip, device=device, dtype=dtype, report=report
        )
        cache.keep(name, net.state_dict())
    return classifier_extractor(net)


def restore(name: str, images: Tensor, classes: int, device: torch.device | str) -> Classifier | None:
    """The network of such pictures that the cache keeps under a name, if any."""
    weights = cache.load(name)
    if weights is None:
        return None
    net = Classifier(images.shape[1], min(images.shape[2:]), classes)
    net.load_state_dict(weights)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.eval().requires_grad_(False)
