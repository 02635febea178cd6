"""After training: are the samples of a run its own, or copies of what it was trained on?"""

import math
from pathlib import Path

import torch
from torch import Tensor

from mezzotint import build, plots
from mezzotint.conditions.labels import ALL
from mezzotint.data.open import PictureSource
from mezzotint.disk.files import write_json
from mezzotint.evaluate.metrics.memorization import Memorization, memorization
from mezzotint.model.device import find_device
from mezzotint.model.model import load

MAX_TRAIN_BYTES = 2**29  # of training pictures that are looked through
MAX_PAIRS = 10


def look_for_copies(folder: Path, n: int | None = None, device: str = "auto") -> Memorization | None:
    """Compares n samples of a run (256, or 64 above 32 pixels) with the pictures it was trained on and with those held
    out, pixel by pixel. Writes memorization.json and memorization.png, the likeliest copies each above its nearest
    training picture. None, and nothing written, for points, streamed sets, and where too few pictures are held out."""
    model = load(folder / "model.safetensors", device=device)
    if model.config.data.stream:
        return None
    source = build.source(model.config, find_device("cpu"))
    if not isinstance(source, PictureSource) or len(source.held) < 20 or len(source.kept) < 4:
        return None
    n = n or (64 if max(model.facts.shape[1:]) > 32 else 256)
    samples = model.sample(n, label=ALL if model.classes else None, seed=10**6).values
    count = min(len(source.kept), max(4, MAX_TRAIN_BYTES // math.prod(model.facts.shape)))
    subset = source.kept[torch.linspace(0, len(source.kept) - 1, count).round().long()]
    train, held_out = (_pictures(source, part) for part in (subset, source.held))
    memory = memorization(samples, train, held_out)
    likeliest = memory.ratios.argsort()[:MAX_PAIRS]
    pairs = torch.cat([samples[likeliest], train[memory.nearest[likeliest]]])
    plots.save_png(plots.sheet(pairs, columns=len(likeliest)), folder / "memorization.png")
    content = {
        "flagged": memory.flagged,
        "copied": memory.copied.value,
        "ratio": float(memory.ratios.median()),
        "p_value": memory.p_value,
        "n": n,
        "step": model.header.step,
    }
    write_json(folder / "memorization.json", content)
    return memory


def _pictures(source: PictureSource, index: Tensor) -> Tensor:
    """Pictures as bytes (N, C, H, W)."""
    parts = [source.pictures.batch(part, part)[0] for part in index.split(1024)]
    return torch.cat(parts)
