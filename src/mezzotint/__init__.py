"""Mezzotint: train a diffusion model on your own pictures, sample it, measure it, and read every step.

import mezzotint
model = mezzotint.load("runs/mnist")
model.sample(64, label=7, seed=0).save("sevens.png")
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_WHERE = {
    "load": "model.loading",
    "Model": "model.model",
    "DenoisingLoss": "diffusion.loss",
    "Denoiser": "diffusion.denoiser",
    "Batch": "cond",
    "Cond": "cond",
    "Gaussian": "diffusion.exact",
    "Mixture": "diffusion.exact",
    "Empirical": "diffusion.exact",
    "exact_flow": "diffusion.exact",
    "check": "checking.check",
    "from_diffusers": "exchange.diffusers",
}
__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: `mezzotint --help` needs none of them, nor torch."""
    if name not in _WHERE:
        raise AttributeError(f"module 'mezzotint' has no attribute {name!r}; it has {', '.join(_WHERE)}")
    return getattr(import_module(f"mezzotint.{_WHERE[name]}"), name)
