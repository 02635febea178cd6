"""Pictures of an autoencoder in training: held-out ones, each beside what is read back from its code."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from mezzotint import plots
from mezzotint.media.codec import Bytes
from mezzotint.model.autoencoder import Autoencoder
from mezzotint.model.model import Model
from mezzotint.run.allowance import Allowance
from mezzotint.run.sheets import Sheets
from mezzotint.train.distributed import Ranks

if TYPE_CHECKING:
    from mezzotint.run.parts import Parts

PAIRS = 32
COLUMNS = 8  # of a sheet: four pairs


class Reconstructions:
    """The sheets of one run in its directory. They cost little: a row of originals is a call of the network.

    originals: uint8 (N, C, H, W), the same at every step.
    """

    def __init__(
        self, model: Autoencoder, originals: Tensor, folder: Path, ranks: Ranks, allowance: Allowance
    ) -> None:
        self.model, self.folder, self.ranks, self.allowance = model, folder / "samples", ranks, allowance
        self.originals = originals[:PAIRS]

    def sheet(self, step: int, *, last: bool) -> Image.Image | None:
        """samples/step-N.png: pairs of an original and its reconstruction. Returns it in the first process; None elsewhere."""
        if not self.ranks.first:
            return None
        picture = self._pairs()
        self.folder.mkdir(exist_ok=True)
        plots.save_png(
            picture, self.folder / f"step-{step:07d}.png", {"run": self.model.source, "step": step}
        )
        return picture

    def watch(self, step: int, *, last: bool) -> None:
        """samples/watch.png and, at the end, samples/watch.gif, as of samples."""
        if not self.ranks.first:
            return
        frames = self.folder / "watch"
        frames.mkdir(parents=True, exist_ok=True)
        picture = self._pairs()
        plots.save_png(picture, frames / f"{step:07d}.png")
        plots.save_png(picture, self.folder / "watch.png", {"run": self.model.source, "step": step})
        if last:
            plots.gif([plots.read_png(f) for f in sorted(frames.glob("*.png"))], self.folder / "watch.gif")

    def words(self) -> str | None:
        return None

    def _pairs(self) -> Image.Image:
        with self.allowance.spending():
            again = self.model.reconstruct(self.originals)
            pairs = torch.stack([self.originals.cpu(), again], 1).flatten(0, 1)
            return plots.sheet(pairs, columns=min(COLUMNS, len(pairs)))


def originals(x0: Tensor) -> Tensor:
    """Pictures in [-1, 1] as bytes."""
    return Bytes().decode(x0)


def sheets_of(run: "Parts", allowance: Allowance) -> Sheets | Reconstructions:
    """What shows how a run goes: samples, or what an autoencoder reads back."""
    if isinstance(run.model, Model):
        return Sheets(run.model, run.folder, run.ranks, allowance, run.small())
    shown = run.validation[0] if run.validation else run.source.preview(run.config.train.batch_size)
    return Reconstructions(run.model, originals(shown.x0), run.folder, run.ranks, allowance)
