"""Reference numbers of public implementations in float64, kept beside the repository in ../shared/golden.

Tests that compare with them are skipped where that folder is missing.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mezzotint.diffusion.exact import Mixture
from mezzotint.diffusion.process import Process

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "golden"


@cache
def _read(name: str) -> dict[str, Tensor]:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


def golden(name: str) -> dict[str, Tensor]:
    """All arrays of one file, float64."""
    if not FOLDER.is_dir():
        pytest.skip("the reference numbers ../shared/golden are not beside this repository")
    return _read(name)


def mixture(problem: str, process: Process, component: int | None = None) -> Mixture:
    """The exact denoiser of problem g2, g4 or g16, or of one of its components alone."""
    numbers = golden("mixtures")
    chosen = slice(None) if component is None else slice(component, component + 1)
    weights, means, covariances = (
        numbers[f"{problem}__{name}"][chosen] for name in ("weights", "means", "covs")
    )
    return Mixture(process, weights / weights.sum(), means, covariances)


def close(actual: Tensor, expected: Tensor, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Equal up to |actual - expected| <= atol + rtol |expected|, shapes and dtypes included."""
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)
