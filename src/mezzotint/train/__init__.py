"""Training: the loop, averages of weights, the optimiser, the order of the data, several processes."""

from mezzotint.train.ema import Decay, Ema
from mezzotint.train.loop import Progress, State, held_out_loss, train
from mezzotint.train.muon import muon
from mezzotint.train.optim import adamw, learning_rate

__all__ = ["Decay", "Ema", "Progress", "State", "adamw", "held_out_loss", "learning_rate", "muon", "train"]
