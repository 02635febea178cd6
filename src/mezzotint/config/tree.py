"""The configuration: one tree, which is the YAML of a run, the key=value overrides, and the header of a model file.

Imports no torch, so that --help and a wrong key answer at once.
"""

from mezzotint.config.base import Tree
from mezzotint.config.data import Data
from mezzotint.config.diffusion import Diffusion
from mezzotint.config.network import Network, UNet
from mezzotint.config.sample import Sample
from mezzotint.config.train import Train


class Config(Tree):
    data: Data = Data()
    network: Network = UNet()
    diffusion: Diffusion = Diffusion()
    train: Train = Train()
    sample: Sample = Sample()
