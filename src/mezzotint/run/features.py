"""The classifier of an autoencoder's objective: learned before the run begins, from what the run learns from, and kept beside it.

It is never the judge. `evaluate` has a residual network of other widths (`evaluate.judges.classifier`), learned with turned and
scaled pictures from another seed, and reads no file of this one: a codec that had learned to please its own judge would look better than it is.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.config import Config
from mezzotint.data.continued import Continued
from mezzotint.data.latents import CodedSource
from mezzotint.data.open import Source
from mezzotint.disk.files import read_tensors, tensors, write
from mezzotint.disk.model_file import fill
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.model.device import place
from mezzotint.nets.features import FeatureNet
from mezzotint.train.distributed import Ranks
from mezzotint.train.ema import Ema
from mezzotint.train.loop import State, train
from mezzotint.train.muon import muon
from mezzotint.train.optim import learning_rate

FILE = Path("checkpoints", "features.safetensors")  # of a run's folder
SEED = 2**41  # added to the run's: other weights, another order
STEPS, BATCH = 200, 64  # 12,800 pictures, repeats counted
PEAK_LR, SMOOTHING = 4e-3, 0.05


def fresh_features(config: Config, facts: Facts, device: torch.device) -> FeatureNet | None:
    """The classifier that `train.features` asks for, with random weights still; None where its weight is 0. Raises ConfigError
    where there are no two classes to tell apart."""
    if not config.train.features:
        return None
    if len(facts.classes) < 2:
        raise ConfigError(
            f"train.features needs pictures of at least two classes, and {config.data.name} has {len(facts.classes)}: put them into a "
            "folder for each class, or leave train.features out"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((config.train.seed + SEED) % 2**63)
        net = FeatureNet(facts.shape[0], len(facts.classes))
    place(net.requires_grad_(False).eval(), device)
    return net


def learn_features(
    net: FeatureNet,
    source: Source | Continued | CodedSource,
    seed: int,
    folder: Path,
    begun: bool,
    ranks: Ranks,
) -> None:
    """Fills a fresh classifier: of a run that has begun, from its folder; else by learning, and keeps it there. The first
    process does, and all have the same. seed: the run's; all follows from it and the data. Raises ModelError where the file
    of a run that has begun is gone or damaged."""

    def work(path: Path) -> list[Tensor]:
        if begun:
            fill(net, read_tensors(path, "restore it, or train again with --overwrite"), path)
        else:
            classify(net, source, (seed + SEED) % 2**63)
            path.parent.mkdir(exist_ok=True)
            write(path, tensors(net.state_dict(), {"seed": seed}))
        return [tensor.cpu() for tensor in net.state_dict().values()]

    (found,) = ranks.spread([folder / FILE], work)
    net.load_state_dict(dict(zip(net.state_dict(), found)))


def classify(net: FeatureNet, source: Source | Continued | CodedSource, seed: int) -> None:
    """Learns the classes of the training pictures by cross-entropy with smoothed labels, in the ordinary loop and in float32."""

    def objective(x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        assert cond.label is not None
        return F.cross_entropy(net(x0), cond.label, reduction="none", label_smoothing=SMOOTHING)

    state = State(net.requires_grad_(True), muon(net), Ema(net, 0.05))
    rate = learning_rate(PEAK_LR)
    for _ in train(objective, state, source.batches(seed, BATCH, 0, 0, 1), until=STEPS, lr=rate, seed=seed):
        pass
    net.requires_grad_(False).eval()
