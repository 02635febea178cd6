"""The things of one run, put together from its configuration: data, network, averages, loss, budget."""

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from mezzotint import build
from mezzotint.cond import Batch
from mezzotint.conditions.labels import nothing
from mezzotint.config import Config
from mezzotint.data.batches import check_ranks
from mezzotint.disk.model_file import Header
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.model.autoencoder import Autoencoder
from mezzotint.model.device import find_device, find_precision, place
from mezzotint.model.model import Model
from mezzotint.run.budget import fixed_steps
from mezzotint.run.latents import open_source
from mezzotint.run.start import open_origin, take_over
from mezzotint.run.teacher import belief, open_teacher
from mezzotint.train.distributed import Ranks
from mezzotint.train.ema import Decay, Ema, Held
from mezzotint.train.loop import Progress, State, held_out_loss, train
from mezzotint.train.objectives import Objective
from mezzotint.train.optim import learning_rate
from mezzotint.train.progressive import ProgressiveLoss

TRACKED = (0.05, 0.10)  # two lengths give all others afterwards (Karras et al. 2024, "EDM2")


def fresh_network(config: Config, facts: Facts, device: torch.device) -> nn.Module:
    """A network with random weights, those of the run's seed, on its device."""
    torch.manual_seed(config.train.seed)
    return place(build.network(config, facts), device)


def precision_of(config: Config, facts: Facts, device: torch.device) -> torch.dtype:
    """The precision of the network in training; students, which learn from small differences, have float32."""
    if config.objective not in ("denoise", "autoencode"):
        return torch.float32
    return find_precision(config.train.precision, device) if facts.medium.half else torch.float32


def compiles(config: Config, device: torch.device) -> bool:
    """Whether training compiles the network. Not an autoencoder, whose codes have another size in every second step."""
    if config.objective == "autoencode":
        return False
    return device.type == "cuda" if config.train.compile is None else config.train.compile


class Parts:
    """What training needs, in one process of `ranks`."""

    def __init__(self, config: Config, folder: Path, ranks: Ranks) -> None:
        self.config, self.folder = config, folder
        check_ranks(config.train.batch_size, ranks.count)
        self.device = find_device(config.train.device)
        self.source = open_source(config, self.device, ranks)
        self.facts = self.source.facts
        self.dtype = precision_of(config, self.facts, self.device)
        self.teacher = open_teacher(config, self.device)
        self.origin = open_origin(config, self.facts, self.device)
        self.state, self.objective, self.ranks = self._state(ranks)
        # The network itself, without what compilation and several processes wrap around it: for diagnosis.
        self.plain = self._objective(self.state.net, self.state)
        self.averaged = self._objective(self.state.ema.net, self.state)
        header = Header(config, self.facts, 0, f"ema {self.state.ema.profile}")
        self.model = self._model(header)
        self.validation = self.source.held_out(config.train.batch_size)

    def _state(self, ranks: Ranks) -> tuple[State, Objective, Ranks]:
        """A network with random weights, or those of its teacher or origin, and all that follows it."""
        train = self.config.train
        net = fresh_network(self.config, self.facts, self.device)
        if self.teacher is not None:
            take_over(
                net, self.teacher
            )  # a student may be another network, and begins with random weights then
        if self.origin is not None and not take_over(net, self.origin):
            raise ConfigError(
                f"{self.origin.source} cannot begin this run: it is another network; take its keys, network.kind="
                f"{self.origin.config.network.kind} and so on, which mezzotint info {self.origin.source} shows"
            )
        if train.ema_decay is None:
            ema = Ema(net, train.ema)
            lengths = [max(TRACKED, key=lambda length: abs(length - train.ema))]
        else:
            ema, lengths = Ema(net, Decay(train.ema_decay)), list(TRACKED)
        optimizer = build.optimizer(self.config, net)
        followers = [Ema(net, length) for length in lengths]
        if self.config.objective == "progressive":
            followers.append(Ema(net, Held()))
        state = State(net, optimizer, ema, tracked_emas=tuple(followers))
        ranks = replace(ranks)
        return state, self._objective(ranks.wrap(net), state, compiles(self.config, self.device)), ranks

    def _objective(self, net: nn.Module, state: State, compile: bool = False) -> Objective:
        return build.learned(self.config, net, self._lesson(state), dtype=self.dtype, compile=compile)

    def _model(self, header: Header) -> Model | Autoencoder:
        """What the average is by now, for sheets and files."""
        net = self.state.ema.net
        if self.config.objective == "autoencode":
            return Autoencoder(header, net, self.device, self.folder.name)
        bound = build.denoiser(self.config, net, dtype=self.dtype)
        return Model(header, bound, self.device, self.folder.name, codec=self.source.codec)

    def _lesson(self, state: State) -> build.Lesson | None:
        """What a student learns from; of the averages, the last is the student of the stage before, if it has stages."""
        if self.teacher is None:
            return None
        return build.Lesson(belief(self.teacher, self.config), state.averages[-1].net)

    def describe(self) -> str:
        parameters = sum(p.numel() for p in self.state.net.parameters())
        classes = f", {len(self.facts.classes)} classes" if self.facts.classes else ""
        before = f"; a student of {self.teacher.source}" if self.teacher else ""
        before += f"; begins as {self.origin.source}" if self.origin else ""
        processes = f"; {self.ranks.count} processes" if self.ranks.count > 1 else ""
        return (
            f"{self.config.data.name}: {self.facts}{classes}, {self.source.count}; {self.config.network.kind} "
            f"{parameters / 1e6:.2f}M parameters; {self.device.type} {str(self.dtype).removeprefix('torch.')}{processes}{before}"
        )

    @torch.no_grad()
    def rehearse(self) -> float:
        """The loss of a few examples and one step of sampling: what does not fit together must be said now, not when
        the first batch or the first sheet is due. Returns the loss."""
        few = self.source.preview(min(8, self.config.train.batch_size))
        loss = held_out_loss(self.averaged, [few]).loss
        if isinstance(self.model, Model):
            next(self.model.stream(1))
        else:
            self.model.psnr([few])
        self._rehearse_batch_norm(few)
        return loss

    def _rehearse_batch_norm(self, few: Batch) -> None:
        """Raises ConfigError where a batch norm will be given one value a channel, with which there is no variance."""
        train = self.config.train
        smallest = train.batch_size // self.ranks.count // train.accumulate  # rows of a call in training
        if smallest > 1 or not any(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.state.net.modules()
        ):
            return
        one = Batch(few.x0[:1], few.cond.map(lambda column: column[:1]))
        try:
            held_out_loss(self._objective(copy.deepcopy(self.state.net).train(), self.state), [one])
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(
                "a batch norm has nothing to compare one value with: a call in training has one picture, and the deepest "
                "level one pixel; use network.norm=group, or a larger train.batch_size"
            ) from error

    @property
    def steps_an_epoch(self) -> float:
        return self.source.total / self.config.train.batch_size

    def fixed_budget(self) -> int | None:
        """Steps of a budget in steps, images or epochs; of 20 epochs where none is given; None for minutes."""
        return fixed_steps(self.config.train, self.source.total)

    def measured_budget(self, began: float) -> int:
        """Steps that fit into the minutes asked for, from a trial on a second network that is thrown away."""
        state, objective, ranks = self._state(self.ranks)
        budget = 60 * (self.config.train.minutes or 0)
        marks = [time.perf_counter()]
        for progress in self.steps(10**9, trial=(state, objective, ranks)):
            float(progress.loss)  # waits for the device
            marks.append(time.perf_counter())
            if ranks.tell(len(marks) > 10 and marks[-1] - marks[3] > 0.02 * budget):
                break
        # Leaving out the first steps, which warm up caches, threads and compilation; the median, since a busy moment
        # now must not cut the whole run short.
        a_step = statistics.median(after - before for before, after in pairwise(marks[3:]))
        left = budget - (time.perf_counter() - began)
        # the rest is for sheets, checkpoints and the held-out loss
        return int(ranks.tell(max(1, int(0.94 * left / a_step))))

    def batches(self, step: int) -> Iterator[Batch]:
        """This process's rows of the batches from optimiser step `step` on."""
        train = self.config.train
        return self.source.batches(train.seed, train.batch_size, step, self.ranks.rank, self.ranks.count)

    def steps(
        self,
        until: int,
        slower: float = 1.0,
        trial: tuple[State, Objective, Ranks] | None = None,
    ) -> Iterator[Progress]:
        """Training from where the state stands. slower: a factor on the learning rate."""
        config = self.config.train
        state, objective, ranks = trial or (self.state, self.objective, self.ranks)
        rate: Callable[[float], float] = learning_rate(config.lr * slower, config.warmup, config.decay)
        language = None if isinstance(self.model, Autoencoder) else self.model.language
        if isinstance(objective, ProgressiveLoss):
            rate = objective.rate(rate)
        return train(
            objective,
            state,
            self.batches(state.step),
            until=until,
            lr=rate,
            seed=config.seed,
            clip=config.clip,
            accumulate=config.accumulate,
            drop=config.label_drop,
            null=nothing(self.facts.classes, language),
            ranks=ranks,
        )
