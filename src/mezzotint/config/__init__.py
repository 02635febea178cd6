"""The configuration of a run. Imports no torch, so that --help and a wrong key answer at once."""

from mezzotint.config.loading import difference, dump, load, parse, recipes
from mezzotint.config.tree import (
    BUDGETS,
    MLP,
    Config,
    Data,
    Diffusion,
    Discrete,
    Karras,
    LinearTime,
    Lognormal,
    Sample,
    SamplerName,
    SpacingName,
    Train,
    UNet,
    UNetSimple,
)

__all__ = [
    "BUDGETS",
    "MLP",
    "Config",
    "Data",
    "Diffusion",
    "Discrete",
    "Karras",
    "LinearTime",
    "Lognormal",
    "Sample",
    "SamplerName",
    "SpacingName",
    "Train",
    "UNet",
    "UNetSimple",
    "difference",
    "dump",
    "load",
    "parse",
    "recipes",
]
