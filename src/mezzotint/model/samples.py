"""Previews during sampling, and finished samples with the settings that made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from mezzotint import plots
from mezzotint.conditions.labels import ALL, name_of, word
from mezzotint.media.codec import Codec
from mezzotint.media.medium import MEDIA, Medium

MAX_CAPTIONED = 64  # pictures of a sheet that each have their text under them


@dataclass(frozen=True)
class Preview:
    """After a step of sampling: the steps done, the number of steps, and on request the pictures at this step.

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
    """Finished samples. As a sequence: pictures (PIL) or points (2,)."""

    values: Tensor  # pictures (N, C, H, W) uint8, points (N, 2) float32; on the CPU
    seeds: Tensor  # (N,) int64: the seed that makes each again, alone
    labels: Tensor | None  # (N,) int64, where there are classes
    settings: dict[str, Any]  # what makes them again (`Request.written`); goes into the PNG
    medium: Medium
    classes: Sequence[str] = ()  # the names of the labels
    rows: Sequence[Mapping[str, Any]] = ()  # settings of each of them alone, where a task has such
    prompts: Sequence[str] = ()  # what each was asked to show, where the model knows words

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        return self.medium.item(self.values[index])

    @property
    def words(self) -> list[str] | None:
        """The class of each, by name; None where there are no classes."""
        return (
            None if self.labels is None else [name_of(label, self.classes) for label in self.labels.tolist()]
        )

    def alone(self, index: int) -> "Samples":
        """One of them, with the settings that make it again, alone."""
        one = slice(index, index + 1)
        labels = None if self.labels is None else self.labels[one]
        part = replace(
            self,
            values=self.values[one],
            seeds=self.seeds[one],
            labels=labels,
            rows=self.rows[one],
            prompts=self.prompts[one],
        )
        if part.rows:  # which is one of several: it is not made alone
            return replace(part, settings={**self.settings, **part.rows[0]})
        label = part.words[0] if part.words else None
        settings = {**self.settings, "seed": int(part.seeds), "n": 1, "label": label}
        if part.prompts:
            settings["prompt"] = part.prompts[0]
        return replace(part, settings=settings)

    def picture(self) -> Image.Image:
        """A single picture at its own size, several as a sheet."""
        single = len(self) == 1 and self.medium.table is None
        return self[0] if single else self.sheet()

    def sheet(self, columns: int | None = None) -> Image.Image:
        """All of them in one picture: a grid, by columns with their names where all classes were wanted, or for points a
        scatter plot."""
        captions = None
        if columns is None and self.settings.get("task") == "morph" and len(self) <= 12:
            columns = len(self)
        in_turn = self.settings.get("label") == word(ALL, self.classes)
        if columns is None and self.labels is not None and in_turn:
            classes = self.labels.unique().tolist()
            if len(classes) <= 12 and len(classes) < len(self):
                columns = len(classes)
                captions = [self.classes[k] for k in classes] if self.classes else None
        texts = {"texts": self.prompts} if 0 < len(self.prompts) == len(self) <= MAX_CAPTIONED else {}
        return self.medium.sheet(self.values, self.labels, columns, captions=captions, **texts)

    def frames(self) -> list[Image.Image]:
        """The frames of clips; for pictures one frame."""
        if self.medium.play is None:
            return [self.picture()]
        pictures, alone = MEDIA["pictures"], len(self) == 1
        now = [replace(self, values=values, medium=pictures) for values in self.medium.play(self.values)]
        return [samples[0] if alone else samples.sheet() for samples in now]

    def save(self, path: str | Path) -> None:
        """Writes a single picture at its own size, the sheet of several, as a PNG that carries the settings; clips as one that
        plays (APNG). Raises ConfigError for the ending of another format."""
        first, *later = self.frames()
        plots.save_png(first, Path(path), self.settings, later)

    def _repr_png_(self) -> bytes | None:
        return self.sheet()._repr_png_()
