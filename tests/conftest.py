"""One thread a test process: the tests run side by side, and small tensors gain nothing from more."""

import sys
from pathlib import Path

import torch

torch.set_num_threads(1)
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))  # its programs are tested, too
