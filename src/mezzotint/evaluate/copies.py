"""After training: are the samples of a run new, or copies of training pictures?"""

import json
import math
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from mezzotint import build, plots
from mezzotint.conditions.labels import ALL, Label
from mezzotint.data.open import PictureSource, Source
from mezzotint.disk.files import write_json
from mezzotint.disk.model_file import read_header
from mezzotint.evaluate.metrics.memorization import (
    CALIBRATION_PICTURES,
    Memorization,
    among_few,
    memorization,
)
from mezzotint.evaluate.metrics.neighbours import nearest
from mezzotint.model.cost import network_calls, seconds_a_call
from mezzotint.model.device import find_device
from mezzotint.model.loading import load
from mezzotint.model.model import Model

MAX_TRAIN_BYTES = 2**29  # of training pictures that are looked through
MAX_PAIRS = 10
USUAL_SAMPLES, USUAL_LARGE_SAMPLES = 256, 64  # the latter above LARGE_PIXELS
LARGE_PIXELS = 32
MIN_HELD_OUT = 20  # with fewer, the few pictures of a training that began with another model are compared with each other
MIN_SAMPLES = 64  # fewer tell too little
TIMED_PICTURES, TIMED_SAMPLES = 512, 8  # that are read and compared, and that are made, for an estimate


def look_for_copies(folder: Path, n: int | None = None, device: str = "auto") -> Memorization | None:
    """Compares n samples of a run (256, or 64 above 32 pixels) with the pictures it was trained on and with those held
    out, pixel by pixel. Writes memorization.json and memorization.png, the likeliest copies each above its nearest
    training picture. None, and nothing written, for points, streamed sets, and where too few pictures are held out."""
    check = CopyCheck.of(folder, device=device)
    return None if check is None else check.look(n or check.usual)


def is_checked(folder: Path) -> bool:
    """Whether the present model of a run was checked before."""
    try:
        step = json.loads((folder / "memorization.json").read_text(encoding="utf-8"))["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(step == read_header(folder / "model.safetensors").step)


@dataclass(frozen=True)
class CopyCheck:
    """A check for copies in a run, and its cost."""

    folder: Path
    model: Model
    source: PictureSource
    numbers: Tensor  # of the training pictures that are looked through, (N,) int64

    @staticmethod
    def of(folder: Path, source: Source | None = None, device: str = "auto") -> "CopyCheck | None":
        """Of a run directory. source: its data where they are open already. None where copies cannot be looked for: of
        points, streamed sets, models that enlarge what they are given, and where too few pictures are held out."""
        if read_header(folder / "model.safetensors").config.objective == "autoencode":
            return None
        model = load(folder / "model.safetensors", device=device)
        if model.config.data.stream or model.config.data.enlarge:
            return None
        pixels = model.config.model_copy(update={"codec": None})
        source = source or build.source(pixels, find_device("cpu"))
        if not isinstance(source, PictureSource) or len(source.kept) < 4:
            return None
        if len(source.held) < MIN_HELD_OUT and model.config.origin is None:
            return None
        count = min(len(source.kept), max(4, MAX_TRAIN_BYTES // math.prod(model.facts.shape)))
        spread = torch.linspace(0, len(source.kept) - 1, count).round().long()
        return CopyCheck(folder, model, source, source.kept[spread])

    @property
    def usual(self) -> int:
        """The default number of samples."""
        return USUAL_LARGE_SAMPLES if max(self.model.facts.shape[1:]) > LARGE_PIXELS else USUAL_SAMPLES

    def affordable(self, seconds: float) -> int:
        """The number of samples that can be compared in about so many seconds; 0 where there is no time for any."""
        if seconds <= 0 or seconds <= self._fixed_seconds:  # an estimate takes time, too
            return 0
        return int((seconds - self._fixed_seconds) / self._seconds_a_sample)

    def seconds(self, n: int) -> float:
        """The approximate time of a check of n samples."""
        return self._fixed_seconds + n * self._seconds_a_sample

    @cached_property
    def _seconds_a_sample(self) -> float:
        calls = network_calls(self.model, self.model.settings())
        return calls * seconds_a_call(self.model, TIMED_SAMPLES) + self._trial[1]

    @cached_property
    def _fixed_seconds(self) -> float:
        """Of reading pictures, and of comparing real ones among each other, by which the threshold is found."""
        read, compared = self._trial
        parts = (len(self.numbers), len(self.source.held))
        return read * sum(parts) + compared * sum(min(CALIBRATION_PICTURES, part) for part in parts)

    @cached_property
    def _trial(self) -> tuple[float, float]:
        """Seconds of reading one picture, and of finding the neighbours of one, by a trial on some."""
        began = time.perf_counter()
        some = _pictures(self.source, self.numbers[:TIMED_PICTURES])
        read = time.perf_counter()
        nearest(some, some, 1)
        compared = (time.perf_counter() - read) * len(self.numbers) / len(some)
        return (read - began) / len(some), compared / len(some)

    def forget(self) -> None:
        """Removes the result of an earlier check, where the model has changed since."""
        if not is_checked(self.folder):
            for name in ("memorization.json", "memorization.png"):
                (self.folder / name).unlink(missing_ok=True)

    def _label(self) -> Label:
        """Every class that there are training pictures of, in turn; a model that began with another one knows more."""
        facts = self.source.facts
        if not self.model.classes or not facts.classes or facts.classes == self.model.classes:
            return ALL if self.model.classes else None
        return [name for k, name in enumerate(facts.classes) if k not in facts.empty]

    def _prompts(self, n: int) -> list[str] | None:
        """Captions of training pictures, of which copies are likeliest; None for models that know no words."""
        captions = self.source.pictures.captions
        if self.model.language is None or captions is None:
            return None
        spread = torch.linspace(0, len(self.numbers) - 1, min(n, len(self.numbers))).round().long()
        return [captions[i] for i in self.numbers[spread].tolist()]

    def look(self, n: int) -> Memorization:
        """Compares n samples; writes memorization.json and memorization.png, see `look_for_copies`."""
        model, source = self.model, self.source
        train, held_out = (_pictures(source, part) for part in (self.numbers, source.held))
        samples = model.sample(n, label=self._label(), seed=10**6, prompt=self._prompts(n)).values
        few = len(held_out) < MIN_HELD_OUT
        memory = among_few(samples, train) if few else memorization(samples, train, held_out)
        likeliest = memory.ratios.argsort()[:MAX_PAIRS]
        pairs = torch.cat([samples[likeliest], train[memory.nearest[likeliest]]])
        plots.save_png(plots.sheet(pairs, columns=len(likeliest)), self.folder / "memorization.png")
        content = {
            "flagged": memory.flagged,
            "copied": memory.copied.value,
            "ratio": float(memory.ratios.median()),
            "p_value": memory.p_value,
            "n": n,
            "step": model.header.step,
        }
        write_json(self.folder / "memorization.json", content)
        return memory


def _pictures(source: PictureSource, index: Tensor) -> Tensor:
    """Pictures as bytes (N, C, H, W), on the CPU."""
    where = source.pictures.images.device if isinstance(source.pictures.images, Tensor) else index.device
    parts = [source.pictures.batch(part, part)[0].cpu() for part in index.to(where).split(1024)]
    return torch.cat(parts)
