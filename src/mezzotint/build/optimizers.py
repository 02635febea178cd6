"""The optimiser that a configuration names."""

from typing import assert_never

import torch
from torch import nn

from mezzotint.config import Config
from mezzotint.train.muon import muon
from mezzotint.train.optim import adamw


def optimizer(config: Config, net: nn.Module) -> torch.optim.Optimizer:
    """What moves the weights of a network that lies on its device."""
    match config.train.optimizer:
        case "adamw":
            return adamw(net, config.train.lr, config.train.weight_decay)
        case "muon":
            return muon(net, config.train.lr, config.train.weight_decay)
        case _:
            assert_never(config.train.optimizer)
