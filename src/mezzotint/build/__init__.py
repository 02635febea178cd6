"""From a configuration to objects: the only factory. One `match` for every choice."""

from mezzotint.build.codecs import codec, coder
from mezzotint.build.languages import language
from mezzotint.build.losses import Lesson, denoiser, learned, nested_grid, objective, telling
from mezzotint.build.networks import network
from mezzotint.build.optimizers import optimizer
from mezzotint.build.processes import make_process, make_schedule, spacing
from mezzotint.build.sources import source
from mezzotint.build.words import described

__all__ = [
    "Lesson",
    "codec",
    "coder",
    "denoiser",
    "described",
    "language",
    "learned",
    "make_process",
    "make_schedule",
    "nested_grid",
    "network",
    "objective",
    "optimizer",
    "source",
    "spacing",
    "telling",
]
