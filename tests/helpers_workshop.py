"""What the tests of the command line share: tiny configurations, a call in this process, and odd files."""

import json
import struct
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from mezzotint.cli import main
from mezzotint.studies.report import curves

SECONDS = 300  # that anything may take on a busy machine
# one sheet, one checkpoint and one held-out loss, at the end: what takes the time of a tiny run
FAST = tuple(f"train.{what}_every=100%" for what in ("sample", "checkpoint", "validate", "snapshot"))
DIGITS = (
    "network.width=8",
    "network.multipliers=[1]",
    "--batch-size",
    "32",
    "--precision",
    "fp32",
    "sample.steps=4",
    *FAST,
)
POINTS = ("network.width=16", "network.depth=1", "--batch-size", "64", "sample.steps=3", *FAST)


class Answer(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Answer]


def leave(*words: object) -> int:
    """Calls the command line; returns the exit code."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return left.value.code


def first_curve_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In reports: each curve takes a tenth of a second, and tests/studies/report looks at them all."""
    draw = curves.draw_curves
    monkeypatch.setattr(curves, "draw_curves", lambda rows, config: islice(draw(rows, config), 1))


def odd_models(store: Path, model: bytes) -> None:
    length = struct.unpack("<Q", model[:8])[0]
    header = json.loads(model[8 : 8 + length])["__metadata__"]["mezzotint"]
    unsealed = {key: value for key, value in json.loads(header).items() if key != "seal"}  # as 0.1 wrote it
    header = json.dumps(unsealed)
    weights = {"a": torch.zeros(2)}
    whole = json.loads(header)
    contents = {
        "whole": model,
        "truncated": model[:-100],
        "empty": b"",
        "garbage": bytes(range(256)) * 4,
        "foreign": save(weights),
        "strange": save(weights, {"mezzotint": "[]"}),
        "future": save(weights, {"mezzotint": '{"format": 9}'}),
        "renamed-key": save(weights, {"mezzotint": header.replace('"batch_size"', '"batch_sizes"')}),
        "other-shape": save(
            weights, {"mezzotint": json.dumps({k: v for k, v in whole.items() if k != "crc32"})}
        ),
        "other-facts": save(
            weights, {"mezzotint": json.dumps({**whole, "facts": {"shape": 3, "classes": []}})}
        ),
    }
    for name, content in contents.items():
        (store / f"{name}.safetensors").write_bytes(content)


def odd_data(store: Path) -> None:
    for name in ("none", "texts", "few"):
        (store / name).mkdir()
    (store / "texts" / "a.png").write_text("not a picture")
    for k in range(6):
        pixels = np.random.default_rng(k).integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(store / "few" / f"{k}.png")
    (store / "few" / "bad.png").write_text("not a picture")
    for name in ("photo.jpg", "photo.BMP"):
        Image.fromarray(pixels).save(store / name)
    (store / "half.jpg").write_bytes((store / "photo.jpg").read_bytes()[:-100])
    (store / "empty.npz").touch()
    (store / "bad.parquet").write_bytes(b"PAR1 rubbish PAR1")
    (store / "a-file").write_text("in the way")
    (store / "tabs.yaml").write_text("train:\n\tlr: 3")
    (store / "list.yaml").write_text("[1, 2]")
    (store / "typo.yaml").write_text("data: {name: digits}\ntrain: {batchsize: 3}")
    (store / "two.yaml").write_text("train: {steps: 3, epochs: 1}")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
