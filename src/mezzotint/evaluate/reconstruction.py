"""How much of a picture is left in its code? An autoencoder's reconstructions of held-out pictures, beside those of trivial
codecs of the same rate."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint.disk.files import write_json
from mezzotint.disk.model_file import read_header
from mezzotint.disk.names import find
from mezzotint.errors import ModelError
from mezzotint.evaluate.judges.features import Extractor, extract
from mezzotint.evaluate.metrics.frechet import Moments, Z, frechet_distance
from mezzotint.evaluate.metrics.numbers import Number
from mezzotint.evaluate.reference import SILENT, Progress, Reference, open_judge, open_reference
from mezzotint.evaluate.table import format_number
from mezzotint.evaluate.trivial import bicubic, dct
from mezzotint.model.autoencoder import Autoencoder, load_autoencoder, psnr
from mezzotint.model.device import find_device


@dataclass(frozen=True)
class Reconstructed:
    """numbers: by the name of a codec, the autoencoder's first, then those of its rate. rate: numbers in a code, of so many in a
    picture. judge, reference: as of `Evaluation`; the Fréchet distance is that of the reconstructions to their originals, which is 0
    where nothing is lost, and the least that a diffusion model of the codes can be expected to have."""

    source: str
    n: int
    rate: int
    of: int
    judge: str
    reference: str
    numbers: dict[str, tuple[Number, ...]]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        content = {key: value for key, value in asdict(self).items() if key != "numbers"}
        numbers: dict[str, Any] = {}
        for name, row in self.numbers.items():
            for number in row:
                key = number.name if name == self.source else f"{number.name}, {name}"
                numbers[key] = {k: v for k, v in asdict(number).items() if k != "name"}
        return {**content, "numbers": numbers}


def evaluate_autoencoder(
    source: str,
    *,
    n: int | None = None,
    extractor: str = "auto",
    device: str = "auto",
    progress: Progress = SILENT,
) -> Reconstructed:
    """Measures the autoencoder of a run or a file on n pictures, or all, of the part of its data that it has not learned from. Of a
    run, evaluation.json is written. Raises ConfigError, ModelError or DataError."""
    autoencoder = load_autoencoder(source, device)
    channels, height, width = autoencoder.facts.shape
    reference = open_reference(autoencoder.header.config.data, (height, width), channels)
    judge = open_judge(extractor, reference, find_device(device), progress)
    found = judge_autoencoder(autoencoder, reference, judge, n, progress)
    folder = find(source).parent
    if (folder / "config.yaml").is_file():
        with suppress(OSError):  # somebody else's run
            write_json(folder / "evaluation.json", found.as_json())
    return found


def judge_autoencoder(
    autoencoder: Autoencoder,
    reference: Reference,
    judge: Extractor,
    n: int | None = None,
    progress: Progress = SILENT,
) -> Reconstructed:
    """The numbers of an autoencoder and of trivial codecs on given pictures."""
    began, total = time.perf_counter(), len(reference.images)
    count = total if n is None else min(n, total)
    originals = reference.images[torch.arange(count) * total // count]
    progress("coding and decoding", 0, 1)
    made = {
        autoencoder.source: autoencoder.reconstruct(originals),
        "bicubic down and up": bicubic(originals, autoencoder.rate),
        "DCT": dct(originals, autoencoder.rate, reference.train),
    }
    progress("coding and decoding", 1, 1)
    features = extract(judge, originals, progress=lambda done, of: progress("features", done, of)).pool
    real = Moments.of(features)

    def row(pictures: Tensor) -> tuple[Number, ...]:
        each = psnr(pictures, originals)
        error = float(each.std()) / count**0.5 if count > 1 else 0.0
        mean = float(each.mean())
        distance = frechet_distance(Moments.of(extract(judge, pictures).pool), real)
        return (
            Number("psnr", mean, mean - Z * error, mean + Z * error, better="higher"),
            Number("frechet distance of reconstructions", distance, real=0.0),
        )

    return Reconstructed(
        autoencoder.source,
        count,
        autoencoder.rate,
        originals[0].numel(),
        str(judge),
        reference.words,
        {name: row(pictures) for name, pictures in made.items()},
        time.perf_counter() - began,
    )


def table(found: Sequence[Reconstructed]) -> list[str]:
    """Lines of text: for every autoencoder a row each for it and the trivial codecs of its rate."""
    lines: list[str] = []
    for one in found:
        cells = [["", "PSNR, dB ↑", "Fréchet distance of reconstructions ↓"]]
        cells += [[name, *map(format_number, row)] for name, row in one.numbers.items()]
        widths = [max(len(row[k]) for row in cells) for k in range(3)]
        lines += [
            f"{one.source}: {one.rate:,} numbers for a picture of {one.of:,}; n = {one.n:,}",
            f"reference: {one.reference}",
            f"features (the judge): {one.judge}",
            "",
            *("  ".join(word.ljust(w) for word, w in zip(row, widths)).rstrip() for row in cells),
            "",
            f"measured in {one.seconds:.0f} s",
            "",
        ]
    return lines[:-1]


def is_autoencoder(source: str) -> bool:
    """Whether a source of `mezzotint evaluate` is the autoencoder of a run or a file."""
    if Path(source).suffix == ".npz":
        return False
    try:
        return read_header(find(source)).config.objective == "autoencode"
    except ModelError:
        return False
