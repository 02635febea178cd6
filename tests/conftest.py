"""One thread a test process: the tests run side by side, and small tensors gain nothing from more."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from mezzotint import plots
from mezzotint.run import fit

torch.set_num_threads(1)
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))  # its programs are tested, too
gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Half a million objects are made while the tests and all that they import come in, and none of them is garbage: the collector, which
    would look through them again and again, took a quarter of that time. It begins now, with what comes after them."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def curves() -> Iterator[None]:
    """A run's loss curve is blank: to draw it takes a fifth of a training of ten steps. What may be seen in one, tests/plots looks at, and
    tests/run/test_fit.py at that of a run."""
    blank = {**vars(plots), "loss_curve": lambda rows: Image.new("RGB", (8, 8))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "plots", SimpleNamespace(**blank))
        yield
