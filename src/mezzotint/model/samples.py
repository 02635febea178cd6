"""What a model makes: previews on the way, and finished samples with what made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from mezzotint import plots
from mezzotint.media.codec import Codec
from mezzotint.media.medium import Medium


@dataclass(frozen=True)
class Preview:
    """After a step of sampling: steps done of how many, and on request the pictures as they are then.

    Reading `belief` or `state` decodes, waits for the device and copies; a loop that reads only the last one costs nothing.
    """

    step: int
    steps: int
    x: Tensor  # (N, *D) float32 on the device, as the model computes: the state that the next step starts from,
    x0: Tensor  # and the belief it moved by
    medium: Medium
    codec: Codec

    @property
    def belief(self) -> Tensor:
        """What the pictures will be: (N, C, H, W) uint8, points (N, 2) float32, on the CPU."""
        return self.codec.decode(self.x0).cpu()

    @property
    def state(self) -> Tensor:
        """The noisy state that the next step starts from, fresh noise included, in the same form."""
        return self.codec.decode(self.x).cpu()


@dataclass(frozen=True)
class Samples:
    """What a model made. As a sequence: pictures (PIL) or points (2,)."""

    values: Tensor  # pictures (N, C, H, W) uint8, points (N, 2) float32; on the CPU
    seeds: Tensor  # (N,) int64: the seed that makes each again, alone
    labels: Tensor | None  # (N,) int64, where there are classes
    settings: dict[str, Any]  # what made them; goes into the PNG
    medium: Medium
    classes: Sequence[str] = ()  # the names of the labels
    rows: Sequence[Mapping[str, Any]] = ()  # settings of each of them alone, where a task has such

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        return self.medium.item(self.values[index])

    def sheet(self, columns: int | None = None) -> Image.Image:
        """All of them in one picture: a grid, by columns with their names where all classes were wanted, or for points a
        scatter plot."""
        captions = None
        if columns is None and self.settings.get("task") == "morph" and len(self) <= 12:
            columns = len(self)
        if columns is None and self.labels is not None and self.settings.get("label") == "all":
            classes = self.labels.unique().tolist()
            if len(classes) <= 12 and len(classes) < len(self):
                columns = len(classes)
                captions = [self.classes[k] for k in classes] if self.classes else None
        return self.medium.sheet(self.values, self.labels, columns, captions=captions)

    def save(self, path: str | Path) -> None:
        """Writes a PNG that carries the settings: the sheet, or a single edited picture as it is, to the bit."""
        single = len(self) == 1 and "picture" in self.settings
        plots.save_png(self[0] if single else self.sheet(), Path(path), self.settings)

    def _repr_png_(self) -> bytes | None:
        return self.sheet()._repr_png_()
