"""From a configuration to objects: the only factory. One `match` for every choice."""

from mezzotint.build.codecs import codec
from mezzotint.build.losses import denoiser, objective
from mezzotint.build.networks import network
from mezzotint.build.optimizers import optimizer
from mezzotint.build.processes import make_process, make_schedule, spacing
from mezzotint.build.sources import source
from mezzotint.build.words import described

__all__ = [
    "codec",
    "denoiser",
    "described",
    "make_process",
    "make_schedule",
    "network",
    "objective",
    "optimizer",
    "source",
    "spacing",
]
