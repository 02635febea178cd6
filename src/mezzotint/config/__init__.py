"""The configuration of a run. Imports no torch, so that --help and a wrong key answer at once."""

from mezzotint.config.codec import KL, Codec, Coder, Taesd
from mezzotint.config.data import UNNAMED, Data
from mezzotint.config.diffusion import Betas, Diffusion, Discrete, Karras, LinearTime, Lognormal
from mezzotint.config.distil import HOPS, ObjectiveName, Teacher
from mezzotint.config.loading import change, difference, dump, load, parse, read, recipes
from mezzotint.config.network import MLP, VAE, DiT, Own, UNet, UNet2D, UNetSimple
from mezzotint.config.sample import Sample, SamplerName, SpacingName
from mezzotint.config.train import BUDGETS, Train
from mezzotint.config.tree import BAKED_IN, Config

__all__ = [
    "BAKED_IN",
    "BUDGETS",
    "HOPS",
    "KL",
    "MLP",
    "UNNAMED",
    "VAE",
    "Betas",
    "Codec",
    "Coder",
    "Config",
    "Data",
    "DiT",
    "Diffusion",
    "Discrete",
    "Karras",
    "LinearTime",
    "Lognormal",
    "ObjectiveName",
    "Own",
    "Sample",
    "SamplerName",
    "SpacingName",
    "Taesd",
    "Teacher",
    "Train",
    "UNet",
    "UNet2D",
    "UNetSimple",
    "change",
    "difference",
    "dump",
    "load",
    "parse",
    "read",
    "recipes",
]
