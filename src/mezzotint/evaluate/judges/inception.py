"""The Inception network of 2015, whose features the published Fréchet distances and Inception Scores are measured in.

Inception-v3 (Szegedy et al. 2016) as it was first published for TensorFlow: 1,008 outputs, averages that leave out what
lies beyond the border, and a last block that takes the maximum where the paper averages. The weights are no part of this
package: give the file of the port to PyTorch that is in general use, `pt_inception-2015-12-05-6726825d.pth`, or the same
tensors as safetensors. Modules have the names of that file.

Tests compare shapes and sizes with the paper, the resize with a direct computation, and the loading with random weights.
Nobody has yet compared distances in these features with published ones.
"""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mezzotint import cache
from mezzotint.errors import DataError
from mezzotint.evaluate.judges.features import Extractor, Features, in_colour

SIDE_PIXELS = 299
CLASSES = 1008
Pair = tuple[int, int]


class Conv(nn.Module):
    """Convolution without bias, batch normalisation (epsilon 0.001), relu."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | Pair, stride: int = 1, padding: int | Pair = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _average(x: Tensor) -> Tensor:
    """Over 3x3, of those pixels alone that are in the picture."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class Square(nn.Module):
    """35x35 pixels: 1x1, 5x5, two 3x3, and an average (figure 5 of the paper)."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 64, 1)
        self.branch5x5_1 = Conv(inputs, 48, 1)
        self.branch5x5_2 = Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        parts = [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double]
        return torch.cat([*parts, self.branch_pool(_average(x))], dim=1)


class Halve35(nn.Module):
    """35x35 to 17x17 pixels (figure 10)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(inputs, 384, 3, 2)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], dim=1)


class Factored(nn.Module):
    """17x17 pixels: 7x7 as rows and columns (figure 6)."""

    def __init__(self, inputs: int, c: int) -> None:
        super().__init__()
        row, column = ((1, 7), (0, 3)), ((7, 1), (3, 0))
        self.branch1x1 = Conv(inputs, 192, 1)
        self.branch7x7_1 = Conv(inputs, c, 1)
        self.branch7x7_2 = Conv(c, c, row[0], padding=row[1])
        self.branch7x7_3 = Conv(c, 192, column[0], padding=column[1])
        self.branch7x7dbl_1 = Conv(inputs, c, 1)
        self.branch7x7dbl_2 = Conv(c, c, column[0], padding=column[1])
        self.branch7x7dbl_3 = Conv(c, c, row[0], padding=row[1])
        self.branch7x7dbl_4 = Conv(c, c, column[0], padding=column[1])
        self.branch7x7dbl_5 = Conv(c, 192, row[0], padding=row[1])
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], dim=1)


class Halve17(nn.Module):
    """17x17 to 8x8 pixels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Conv(inputs, 192, 1)
        self.branch3x3_2 = Conv(192, 320, 3, 2)
        self.branch7x7x3_1 = Conv(inputs, 192, 1)
        self.branch7x7x3_2 = Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Conv(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_2(self.branch7x7x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(seven))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, 2)], dim=1)


class Forked(nn.Module):
    """8x8 pixels: 3x3 as a row beside a column (figure 7). maximum: pool so, as the last block of 2015 does."""

    def __init__(self, inputs: int, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = Conv(inputs, 320, 1)
        self.branch3x3_1 = Conv(inputs, 384, 1)
        self.branch3x3_2a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Conv(inputs, 448, 1)
        self.branch3x3dbl_2 = Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.maximum else _average(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(parts, dim=1)


class Inception(nn.Module):
    """(B, 3, 299, 299), as `prepare` makes them, to what the last averaging leaves, (B, 2048); `fc` makes logits."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b = Square(192, 32)
        self.Mixed_5c = Square(256, 64)
        self.Mixed_5d = Square(288, 64)
        self.Mixed_6a = Halve35(288)
        self.Mixed_6b = Factored(768, 128)
        self.Mixed_6c = Factored(768, 160)
        self.Mixed_6d = Factored(768, 160)
        self.Mixed_6e = Factored(768, 192)
        self.Mixed_7a = Halve17(768)
        self.Mixed_7b = Forked(1280, maximum=False)
        self.Mixed_7c = Forked(2048, maximum=True)
        self.fc = nn.Linear(2048, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean(dim=(2, 3))


def resize_tensorflow(x: Tensor, side: int = SIDE_PIXELS) -> Tensor:
    """Bilinear interpolation of TensorFlow 1: pixel i of the result lies at i * old / new, so that corners do not meet,
    and nothing is smoothed before making smaller. x: (B, C, H, W) float."""
    for axis in (2, 3):
        old = x.shape[axis]
        place = torch.arange(side, device=x.device, dtype=torch.float32) * (old / side)
        low = place.long().clamp(max=old - 1)
        share = (place - low).view(-1, *[1] * (3 - axis))
        below = x.index_select(axis, low)
        x = below + (x.index_select(axis, (low + 1).clamp(max=old - 1)) - below) * share
    return x


def prepare(images: Tensor) -> Tensor:
    """Bytes (B, 1 or 3, H, W) as the network takes them: resized as in TensorFlow 1, then (k - 128) / 128."""
    return (resize_tensorflow(in_colour(images).float()) - 128) / 128


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from safetensors, or from PyTorch's own format without running any code in it. Raises DataError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        reason = next(iter(str(error).splitlines()), "it is empty")
        if isinstance(error, UnpicklingError):  # whose own words advise to trust the file
            reason = "it is no file of weights, or a damaged one"
        raise DataError(f"cannot read the weights {path} ({reason}); download the file again") from error
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise DataError(f"{path} holds no state dict of tensors; take pt_inception-2015-12-05-6726825d.pth")
    return dict(weights)


def inception_extractor(path: str | Path, device: torch.device | str = "cpu") -> Extractor:
    """The network with weights from a file. Logits are those of the published Inception Score: without the bias.

    Raises DataError where the file is not that of this network.
    """
    weights = read_weights(Path(path))
    weights = {
        key: value
        for key, value in weights.items()
        if not key.startswith("AuxLogits.") and not key.endswith("num_batches_tracked")
    }
    with torch.device("meta"):  # its random weights would take seconds to make
        net = Inception()
    expected = {key for key in net.state_dict() if not key.endswith("num_batches_tracked")}
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    different = sorted(expected ^ weights.keys()) or [
        k for k in expected if tuple(weights[k].shape) != shapes[k]
    ]
    if different:
        raise DataError(
            f"{path} is not the Inception network of 2015 ({len(different)} tensors differ, {different[0]} is one); "
            "take pt_inception-2015-12-05-6726825d.pth"
        )
    net.to_empty(device="cpu").load_state_dict(weights, strict=False)
    net = net.to(device).eval().requires_grad_(False)
    version = cache.digest(*(part for key in sorted(weights) for part in (key, weights[key])))

    def compute(images: Tensor) -> Features:
        pools = [net(prepare(part.to(device))) for part in images.split(25)]  # 25 pictures take 1 GB
        pool = torch.cat(pools)
        return Features(pool.cpu(), (pool @ net.fc.weight.T).cpu())

    return Extractor(
        "inception",
        version,
        f"{SIDE_PIXELS} bilinear as TensorFlow 1",
        2048,
        labels=False,
        compute=compute,
    )
