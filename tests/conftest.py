"""One thread a test process: the tests run side by side, and small tensors gain nothing from more."""

import gc
import sys
from pathlib import Path

import pytest
import torch

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
