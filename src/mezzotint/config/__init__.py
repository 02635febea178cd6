"""The configuration of a run. Imports no torch, so that --help and a wrong key answer at once."""

from mezzotint.config.data import UNNAMED, Data
from mezzotint.config.diffusion import Diffusion, Discrete, Karras, LinearTime, Lognormal
from mezzotint.config.loading import difference, dump, load, parse, recipes
from mezzotint.config.network import MLP, Own, UNet, UNetSimple
from mezzotint.config.sample import Sample, SamplerName, SpacingName
from mezzotint.config.train import BUDGETS, Train
from mezzotint.config.tree import Config

__all__ = [
    "BUDGETS",
    "MLP",
    "UNNAMED",
    "Config",
    "Data",
    "Diffusion",
    "Discrete",
    "Karras",
    "LinearTime",
    "Lognormal",
    "Own",
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
