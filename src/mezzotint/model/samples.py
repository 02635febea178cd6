"""What a model makes: previews on the way, and finished samples with what made them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from mezzotint import plots
from mezzotint.media.pictures import to_uint8

Label = int | str | Sequence[int | str] | None


@dataclass(frozen=True)
class Preview:
    """After a step of sampling: steps done of how many, and on request the pictures as they are then.

    Reading `belief` or `state` waits for the device and copies; a loop that reads only the last one costs nothing.
    """

    step: int
    steps: int
    x: Tensor  # (N, *D) float32 on the device, as the model computes: the state after the step,
    x0: Tensor  # and the belief it moved by

    @property
    def belief(self) -> Tensor:
        """What the pictures will be: (N, C, H, W) uint8, points (N, 2) float32, on the CPU."""
        return finish(self.x0)

    @property
    def state(self) -> Tensor:
        """The noisy state, in the same form."""
        return finish(self.x)


def finish(x: Tensor) -> Tensor:
    """From the model's range to what people use: pictures (N, C, H, W) to uint8, points (N, 2) float32; on the CPU."""
    return to_uint8(x).cpu() if x.ndim == 4 else x.float().cpu()


@dataclass(frozen=True)
class Samples:
    """What a model made. As a sequence: pictures (PIL) or points (2,)."""

    values: Tensor  # pictures (N, C, H, W) uint8, points (N, 2) float32; on the CPU
    seeds: Tensor  # (N,) int64: the seed that makes each again, alone
    labels: Tensor | None  # (N,) int64, where there are classes
    settings: dict[str, Any]  # what made them; goes into the PNG
    classes: Sequence[str] = ()  # the names of the labels

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        if self.values.ndim == 2:
            return self.values[index]
        return plots.picture(self.values[index])

    def sheet(self, columns: int | None = None) -> Image.Image:
        """All of them in one picture: a grid, by columns with their names where all classes were wanted, or for points a
        scatter plot."""
        if self.values.ndim == 2:
            return plots.scatter([(f"{len(self)} samples", self.values, self.labels)], limits=(-3, 3))
        if columns is None and self.labels is not None and self.settings.get("label") == "all":
            count = len(self.labels.unique())
            if count <= 12 and count < len(self):
                scale, gap = (12, 8) if max(self.values.shape[2:]) <= 10 else (None, 2)  # for the eye
                names = self.classes or None
                return plots.sheet(self.values, columns=count, captions=names, scale=scale, gap=gap)
        return plots.sheet(self.values, columns=columns)

    def save(self, path: str | Path) -> None:
        """Writes the sheet as a PNG that carries the settings."""
        plots.save_png(self.sheet(), Path(path), self.settings)

    def _repr_png_(self) -> bytes | None:
        return self.sheet()._repr_png_()
