"""The configuration of a run. Imports no torch, so that --help and a wrong key answer at once."""

from mezzotint.config.data import Data
from mezzotint.config.diffusion import Diffusion, Discrete, Karras, LinearTime, Lognormal
from mezzotint.config.loading import difference, dump, load, parse, recipes
from mezzotint.config.network import MLP, UNet, UNetSimple
from mezzotint.config.sample import Sample, SamplerName, SpacingName
from mezzotint.config.train import BUDGETS, Train
from mezzotint.config.tree import Config

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
