"""The things of one run, put together from its configuration: data, network, averages, loss, budget."""

import copy
import statistics
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from mezzotint import build
from mezzotint.cond import Batch, Cond
from mezzotint.conditions.image import smaller
from mezzotint.conditions.labels import nothing
from mezzotint.config import Config
from mezzotint.data.batches import check_ranks
from mezzotint.data.continued import Continued, joined
from mezzotint.data.latents import CodedSource
from mezzotint.data.open import Source, fingerprint
from mezzotint.disk.model_file import Header
from mezzotint.errors import ConfigError
from mezzotint.media.codec import Latents
from mezzotint.media.facts import Facts
from mezzotint.model.autoencoder import Autoencoder
from mezzotint.model.device import find_device, find_precision, place
from mezzotint.model.model import Model
from mezzotint.run.budget import Plan, fixed_steps
from mezzotint.run.features import fresh_features, learn_features
from mezzotint.run.latents import open_source
from mezzotint.run.replay import replayed
from mezzotint.run.start import Origin, freeze, open_origin, take_over
from mezzotint.run.teacher import belief, open_teacher
from mezzotint.train.distributed import Ranks
from mezzotint.train.ema import Decay, Ema, Held
from mezzotint.train.loop import Progress, State, held_out_loss, train
from mezzotint.train.lora import adapt
from mezzotint.train.objectives import Objective, core
from mezzotint.train.optim import learning_rate
from mezzotint.train.progressive import ProgressiveLoss

PAYS = 0.25  # share of a network's numbers below which LoRA saves anything worth having
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
        self.data = open_source(config, self.device, ranks)
        self.origin = open_origin(config, self.data.facts)
        self.source = self.data if self.origin is None else self._continued(self.origin, ranks)
        self.facts = self.source.facts
        self.inherited: list[str] = []  # lines on what the network has of its origin,
        self.other: list[str] = []  # and names of weights that are not of it
        self.dtype = precision_of(config, self.facts, self.device)
        self.teacher = open_teacher(config, self.device)
        self._check_teacher()
        self.features = fresh_features(config, self.facts, self.device)
        self.state, self.objective, self.ranks = self._state(ranks)
        # The network itself, without what compilation and several processes wrap around it: for diagnosis.
        self.plain = self._objective(self.state.net, self.state)
        self.averaged = self._objective(self.state.ema.net, self.state)
        header = Header(config, self.facts, 0, f"ema {self.state.ema.profile}")
        self.model = self._model(header)
        self.validation = self.source.held_out(config.train.batch_size)

    def _check_teacher(self) -> None:
        """Raises ConfigError where labels mean something else to a student's teacher: it has learned from other sets, too."""
        if self.teacher is not None and self.teacher.classes != self.facts.classes:
            raise ConfigError(
                f"{self.teacher.source} has other classes than {self.config.data.name}; distil a model of this set"
            )

    def _continued(self, origin: Origin, ranks: Ranks) -> Continued | Source | CodedSource:
        """The data in the words of the model that the training begins with, that model's own samples among it if wanted."""
        before, share = origin.header.facts, self.config.train.replay
        if origin.codec:
            assert isinstance(self.data.codec, Latents)
            self.data.codec.load_state_dict(origin.codec)  # its means and deviations are those of the weights
        facts = joined(before, self.data.facts, share > 0)
        if not share and facts == self.data.facts:
            return self.data
        language = build.language(self.config, facts, self.device)
        silent = Cond() if language is None else language.cond([""])
        replay = None
        if share:
            replay = replayed(origin, facts, self.data.codec, share, self.device, ranks)
        return Continued(self.data, facts, silent, replay)

    @property
    def pictures(self) -> Source:
        """What the run learns from, before it is coded, in its own words and without anybody's samples."""
        return self.data.pictures if isinstance(self.data, CodedSource) else self.data

    def fingerprint(self) -> int:
        """A checksum of all that is learned from."""
        total = fingerprint(self.pictures)
        if isinstance(self.source, Continued) and self.source.replay is not None:
            total = zlib.crc32(self.source.replay.x0.cpu().contiguous().numpy().data, total)
        return total

    def _state(self, ranks: Ranks) -> tuple[State, Objective, Ranks]:
        """A network with random weights, or those of its teacher or origin, and all that follows it. Fills `inherited`."""
        train = self.config.train
        net = fresh_network(self.config, self.facts, self.device)
        if self.teacher is not None:
            take_over(
                net, self.teacher
            )  # a student may be another network, and begins with random weights then
        if self.origin is not None:
            begun = self.origin.begin(net, self.facts)
            self.inherited, self.other = begun.lines, begun.other
        if train.freeze:
            freeze(net, train.freeze)
        if train.lora:
            self._adapt(net, train.lora)
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

    def _adapt(self, net: nn.Module, rank: int) -> None:
        """Makes what is learnt of low rank. Raises ConfigError where that makes no sense."""
        kind = self.config.network.kind
        if kind in ("mlp", "vae"):
            what = "an autoencoder" if kind == "vae" else "a network for points"
            raise ConfigError(
                f"LoRA saves nothing on {what}, which is small compared with its inputs; leave train.lora out"
            )
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
            raise ConfigError(
                "the statistics of a batch norm change with the data, and LoRA trains only its own parameters; leave train.lora out, or start from a model with network.norm=group"
            )
        size = sum(p.numel() for p in net.parameters()) / 1e6
        share = adapt(net, rank, self.other)
        if share >= PAYS:
            raise ConfigError(
                f"LoRA of rank {rank} would train {share:.0%} as many parameters as this network of {size:.2f}M has, and save nothing; leave "
                "train.lora out, or use a lower rank"
            )

    def _objective(self, net: nn.Module, state: State, compile: bool = False) -> Objective:
        lesson, features = self._lesson(state), self.features
        return build.learned(self.config, net, lesson, dtype=self.dtype, compile=compile, features=features)

    def learn_features(self, begun: bool) -> None:
        """Makes of the random features of an autoencoder's objective those of this run. begun: whether it has a checkpoint."""
        if self.features is not None:
            learn_features(self.features, self.source, self.config.train.seed, self.folder, begun, self.ranks)

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
        parameters = sum(p.numel() for p in self.state.ema.net.parameters())
        learnt = sum(p.numel() for p in self.state.net.parameters() if p.requires_grad)
        learning = "" if learnt == parameters else f", {learnt:,} of them learning"
        classes = f", {len(self.facts.classes)} classes" if self.facts.classes else ""
        before = f"; a student of {self.teacher.source}" if self.teacher else ""
        before += f"; begins as {self.origin.source}" if self.origin else ""
        processes = f"; {self.ranks.count} processes" if self.ranks.count > 1 else ""
        return (
            f"{self.config.data.name}: {self.facts}{classes}, {self.source.count}; {self.config.network.kind} "
            f"{parameters / 1e6:.2f}M parameters{learning}; {self.device.type} {str(self.dtype).removeprefix('torch.')}{processes}{before}"
        )

    def small(self, count: int = 64) -> torch.Tensor | None:
        """Pictures for a model that enlarges them to show what it can, held-out ones where there are: (N, C, h, w) uint8; None
        for other models."""
        factor = self.config.data.enlarge
        if not factor:
            return None
        batch = self.validation[0] if self.validation else self.source.preview(count)
        return self.model.codec.decode(smaller(batch.x0[:count], factor)).cpu()

    @torch.no_grad()
    def rehearse(self) -> float:
        """The loss of a few examples and one step of sampling: what does not fit together must be said now, not when
        the first batch or the first sheet is due. Returns the loss."""
        few = self.source.preview(min(8, self.config.train.batch_size))
        loss = held_out_loss(self.averaged, [few]).loss
        if isinstance(self.model, Model):
            next(self.model.stream(1, image=self.model.blank))
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
                "a batch norm needs several values: here a training call has one picture, and the deepest level one pixel; use network.norm=group, or a larger train.batch_size"
            ) from error

    @property
    def notes(self) -> list[str]:
        """Lines on what was guessed about data, and on what was and was not taken from another model."""
        said = [f"from {self.origin.source}: {line}" for line in self.inherited] if self.origin else []
        return [*self.source.notes, *said]

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
        plan: Plan | None = None,
    ) -> Iterator[Progress]:
        """Training from where the state stands. slower: a factor on the learning rate. plan: that ends at `until`, where the clock was looked
        at on the way."""
        config = self.config.train
        state, objective, ranks = trial or (self.state, self.objective, self.ranks)
        rate: Callable[[float], float] = learning_rate(config.lr * slower, config.warmup, config.decay)
        language = None if isinstance(self.model, Autoencoder) else self.model.language
        if isinstance(inside := core(objective), ProgressiveLoss):
            rate = inside.rate(rate)
        if plan is not None:
            rate = plan.rate(rate)
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
