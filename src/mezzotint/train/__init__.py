"""Training: the loop, the average of weights, the optimiser, the order of the data."""

from mezzotint.train.ema import Ema
from mezzotint.train.loop import Progress, State, held_out_loss, train
from mezzotint.train.optim import adamw, learning_rate

__all__ = ["Ema", "Progress", "State", "adamw", "held_out_loss", "learning_rate", "train"]
