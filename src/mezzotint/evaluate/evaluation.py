"""Evaluation: samples of models, or pictures in files, against real ones, with comparable numbers.

A number depends on how many pictures it was made of, on the network whose features it compares, on how they were resized, and on
the real pictures they were compared with. All four are kept beside it, and tables of unequal ones are refused.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from mezzotint import build
from mezzotint import config as configuration
from mezzotint.config import UNNAMED, Data
from mezzotint.data import toy
from mezzotint.data.known import KNOWN
from mezzotint.disk.model_file import read_header
from mezzotint.disk.names import find
from mezzotint.errors import ConfigError, ModelError
from mezzotint.evaluate import bits
from mezzotint.evaluate.judges.features import Extractor, extract, seen
from mezzotint.evaluate.metrics.memorization import Memorization, memorization
from mezzotint.evaluate.metrics.numbers import FEATURE_METRICS, Number, compare
from mezzotint.evaluate.points import point_numbers
from mezzotint.evaluate.reference import (
    SHARED,
    SILENT,
    Progress,
    Reference,
    given_pictures,
    open_judge,
    open_reference,
)
from mezzotint.evaluate.sample_set import SampleSet, by_name, read_samples, sample_set_of, samples_against
from mezzotint.evaluate.table import table
from mezzotint.model.device import find_device
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.train.distributed import ALONE, Ranks

METRICS = (*FEATURE_METRICS, "memorization", "vlb", "ode")
DEFAULT_METRICS = (*FEATURE_METRICS, "memorization")
MAX_PIXEL_VALUES = 64 * 64 * 3  # of a picture compared pixel by pixel; larger ones are compared by features


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one source of pictures, and all that they depend on.

    n: how many pictures. judge: name, hash of the weights and resize of the extractor. reference: which real pictures;
    data: their hash. settings: what the samples were made with. seconds: for samples and numbers, not for what is kept.
    copying: the verdict on memorization, where it was asked for.
    samples, copies: the pictures and their check for copies, for a report; not in the JSON.
    """

    source: str
    n: int
    judge: str
    reference: str
    data: str
    numbers: tuple[Number, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    copying: bool | None = None
    samples: SampleSet | None = field(default=None, repr=False, compare=False)
    copies: Memorization | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, name: str) -> Number:
        """The number of a name. Raises KeyError."""
        return {number.name: number for number in self.numbers}[name]

    def __str__(self) -> str:
        """The table that the command line prints."""
        return "\n".join(table([self]))

    def as_json(self) -> dict[str, Any]:
        row = {key: getattr(self, key) for key in ("source", "n", "judge", "reference", "data")}
        numbers = {
            number.name: {k: v for k, v in asdict(number).items() if k != "name"} for number in self.numbers
        }
        return {
            **row,
            "numbers": numbers,
            "settings": dict(self.settings),
            "seconds": round(self.seconds, 1),
            "copying": self.copying,
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Evaluation":
        """The inverse of `as_json`. Raises ModelError where it is something else."""
        try:
            numbers = tuple(Number(name, **values) for name, values in content["numbers"].items())
            return Evaluation(**{**content, "numbers": numbers})
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                "this JSON is not an evaluation; give a file of mezzotint evaluate --json"
            ) from error


def refuse_unequal(evaluations: Sequence[Evaluation]) -> None:
    """Raises ConfigError for evaluations whose numbers cannot be compared."""
    first = evaluations[0]
    for other in evaluations[1:]:
        for what, words in (
            ("n", "n"),
            ("judge", "the network of the features"),
            ("data", "the reference's hash"),
        ):
            if getattr(first, what) != getattr(other, what):
                raise ConfigError(
                    f"{first.source} and {other.source} cannot be compared: {words} is {getattr(first, what)} and "
                    f"{getattr(other, what)}; evaluate both again, in one command"
                )


def evaluate(
    sources: Sequence[str | Model],
    *,
    n: int = 2000,
    seed: int = 0,
    extractor: str = "auto",
    data: str | Tensor | None = None,
    metrics: Collection[str] = DEFAULT_METRICS,
    device: str = "auto",
    encoder: str | Path | None = None,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
    **settings: Any,
) -> list[Evaluation]:
    """Evaluates models, runs, model files, folders and npz files of pictures (or points) on equal terms.

    n: pictures of each; conditional models make all classes in turn. seed: of the first picture.
    extractor: see `open_judge`. data: the real ones: a known set's name, a path that is read in place of what the runs
    learned from, or pictures uint8 (M, C, H, W), of which it is unknown whether any were kept out of training: copies are
    not searched. metrics: of METRICS. encoder: as of `load`. progress: called with (what, done, of so many) as work goes
    on. ranks: processes that all call this; samples and what the judge sees of them are spread over them, the numbers are the same
    to the bit and in all of them. The check for copies is the first one's alone, and so are the pictures of it. settings: of sampling, as of `Model.sample`, for
    all models; their own defaults otherwise.

    Raises ConfigError, ModelError or DataError in one line, RunError where processes have different pictures or judges.
    """
    if wrong := [name for name in metrics if name not in METRICS]:
        raise ConfigError(f"{wrong[0]} is not a metric; choose from {', '.join(METRICS)}")
    if n < 10:
        raise ConfigError(f"-n {n} is too few for these metrics; the default is 2000")
    place = find_device(device)
    opened = [_Source(source, encoder) for source in dict.fromkeys(sources)]
    students = [one for one in opened if one.header and one.header.config.teacher is not None]
    if students and {"vlb", "ode"} & set(metrics):
        raise ConfigError(
            "vlb and ode are bounds of a denoiser, and a student has none; leave out the student or these metrics"
        )
    latents = [one for one in opened if one.header and one.header.config.codec is not None]
    if latents and {"vlb", "ode"} & set(metrics):
        raise ConfigError(
            f"vlb and ode are bits of pixels, and {latents[0].name} is a model of codes, which have no bits/dim to compare"
        )
    if isinstance(data, Tensor):
        reference = given_pictures(data)
    else:
        data_config = _data(opened, data)
        if data_config.name in toy.TOYS:
            return [
                _evaluate_points(source, data_config.name, n, seed, device, progress, ranks, settings)
                for source in opened
            ]
        shapes = [source.header.facts.shape for source in opened if source.header]
        shape = next((one for one in shapes if len(one) != 1), None)
        if shape is None and data_config.size is None and data_config.name not in KNOWN:
            shape = next((one for source in opened if (one := _npz_shape(source.name))), None)
        size, channels = ((shape[1], shape[2]), shape[0]) if shape else (None, None)
        reference = open_reference(data_config, size, channels)
    judge = ranks.in_turn(lambda: open_judge(extractor, reference, place, progress))
    ranks.equal(f"{judge}, {reference.version}", f"the real pictures or the judge; {SHARED}")
    evaluations = []
    for source in opened:
        samples = _open_samples(source, reference, n, seed, device, progress, ranks, settings)
        wants_bits = source.header and {"vlb", "ode"} & set(metrics)
        model = source.model(device, "fp32") if wants_bits else None
        evaluations.append(judge_samples(samples, judge, reference, metrics, model, progress, ranks))
    return evaluations


class _Source:
    """What is to be evaluated. header: of a model, or None where it is pictures alone."""

    def __init__(self, source: str | Model, encoder: str | Path | None = None) -> None:
        self.encoder = encoder
        self.given = source if isinstance(source, Model) else None
        self.name = source.source if isinstance(source, Model) else source
        self.path = None if isinstance(source, Model) else model_file(source)
        self.header = source.header if isinstance(source, Model) else None
        if self.path is not None:
            self.header = read_header(self.path)

    def model(self, device: str, precision: str | None = None) -> Model:
        """precision: "fp32", or None as in training."""
        if self.given is None:
            assert self.path is not None
            return load(self.path, device=device, precision=precision, encoder=self.encoder)
        if precision is None:
            return self.given
        plain = build.denoiser(self.given.config, self.given.net)
        model = Model(self.given.header, plain, self.given.device, self.given.source, codec=self.given.codec)
        model.language = self.given.language  # which knows where its encoder lies
        return model


def judge_samples(
    samples: SampleSet,
    judge: Extractor,
    reference: Reference,
    metrics: Collection[str] = DEFAULT_METRICS,
    model: Model | None = None,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """The numbers of given samples, in all processes. model: in float32, for bits/dim of real pictures under it. ranks:
    see `evaluate`."""
    real = ranks.in_turn(lambda: reference.features(judge, progress))
    began = time.perf_counter()
    features = seen(judge, samples.values, ranks.spread, progress=partial(progress, "features"))
    labels = samples.labels if judge.labels else None
    copies = None
    if "memorization" in metrics and len(reference.unseen) >= 20 and ranks.first:
        progress("looking for copies", 0, 1)
        copies = _copies(samples.values, features.pool, judge, reference)
        samples = replace(samples, nearest=reference.train[copies.nearest])
        progress("looking for copies", 1, 1)

    def compared() -> tuple[list[dict[str, Any]], bool | None]:
        numbers = list(compare(features, real, labels, reference.labels, metrics))
        if copies is not None:
            numbers.append(Number("copies", *copies.copied, copies.chance.value))
            numbers.append(Number("nearest in training set", *copies.nearer, copies.expected))
        return [asdict(number) for number in numbers], None if copies is None else copies.flagged

    found, copying = ranks.once(compared)
    numbers = [Number(**words) for words in found]
    for name, measure in (("vlb", bits.vlb), ("ode", bits.ode)):
        if model and name in metrics:
            labels = by_name(reference.labels, reference.classes, model.classes)
            numbers.append(measure(model, reference.images, labels, progress, ranks))
    seconds = samples.seconds + time.perf_counter() - began
    return Evaluation(
        samples.name,
        len(samples.values),
        str(judge),
        reference.words,
        reference.version,
        tuple(numbers),
        samples.settings,
        seconds,
        copying,
        samples,
        copies,
    )


def quality(
    model: Model, extractor: Extractor, reference: Reference, n: int = 1000, seed: int = 0, **settings: Any
) -> dict[str, float]:
    """A few numbers at low cost, for a search or during training.

    Samples n pictures of all classes in turn with the model's defaults, changed by `settings`, and gives by name the
    Fréchet distance, its extrapolation where n allows it, and class agreement where there are classes. The reference's
    features are kept.
    """
    samples = samples_against(model, reference, n, seed, **settings)
    labels = samples.labels if extractor.labels else None
    features = extract(extractor, samples.values)
    numbers = compare(features, reference.features(extractor), labels, None, ("frechet", "agreement"))
    return {number.name: number.value for number in numbers}


def _copies(images: Tensor, pool: Tensor, judge: Extractor, reference: Reference) -> Memorization:
    """Copies among the samples, pixel by pixel, or where pictures are large by their features."""
    if images[0].numel() <= MAX_PIXEL_VALUES:
        return memorization(images, reference.train, reference.unseen)
    return memorization(pool, extract(judge, reference.train).pool, extract(judge, reference.unseen).pool)


def model_file(source: str) -> Path | None:
    """The model file that a source stands for, or None where it is pictures."""
    path = Path(source)
    if path.suffix == ".npz":
        return None
    try:
        return find(source)
    except ModelError:
        if path.is_dir() and not (path / "config.yaml").is_file():
            return None
        raise


def _data(sources: Sequence[_Source], data: str | None) -> Data:
    """Which data set all sources are measured against."""
    configs = [source.header.config for source in sources if source.header]
    first = configs[0].data if configs else None
    if data is not None:
        if data in KNOWN or data in toy.TOYS:
            return configuration.parse({"data": {"name": data}}).data
        if first is not None and first.name != UNNAMED:
            return first.model_copy(update={"path": Path(data).expanduser().absolute()})
        return configuration.parse({"data": {"name": "folder", "path": data}}).data
    if first is None:
        raise ConfigError(
            f"{sources[0].name} is no model; to measure pictures in it, give real ones to compare with: --data NAME or --data PATH"
        )
    if first.name == UNNAMED:
        raise ConfigError(
            f"{sources[0].name} does not name its data, since it was trained in Python or imported: give real ones to compare with, "
            "data=NAME or PATH (--data on the command line), or a tensor of pictures"
        )
    for other in configs[1:]:
        for key in ("name", "size", "channels", "only", "limit", "holdout", "split", "column", "path"):
            if key == "path" and _same_place(other.data.path, first.path):
                continue
            if getattr(other.data, key) != getattr(first, key):
                raise ConfigError(
                    f"these models learned from different data (data.{key} is {getattr(first, key)} and "
                    f"{getattr(other.data, key)}); evaluate them one by one, or add --data"
                )
    return first


def _same_place(one: Path | None, other: Path | None) -> bool:
    """Whether two paths, relative or absolute, lead to the same place."""
    return (
        one is not None and other is not None and one.expanduser().resolve() == other.expanduser().resolve()
    )


def _npz_shape(source: str) -> tuple[int, ...] | None:
    return tuple(read_samples(source).values.shape[1:]) if source.endswith(".npz") else None


def _open_samples(
    source: _Source,
    reference: Reference,
    n: int,
    seed: int,
    device: str,
    progress: Progress,
    ranks: Ranks,
    settings: Mapping[str, Any],
) -> SampleSet:
    shape, path = tuple(reference.images.shape[1:]), source.path
    if source.header is None:
        samples = read_samples(source.name, shape, reference.classes).first(n)
    else:
        model = source.model(device)
        if model.facts.shape != shape:
            raise ConfigError(
                f"{source.name} makes {model.facts.shape} and the reference is {shape}; evaluate models of one size together"
            )
        folder = path.parent if path and (path.parent / "config.yaml").is_file() else None
        samples = samples_against(model, reference, n, seed, progress, ranks, **settings)
        samples = replace(samples, folder=folder)
    if tuple(samples.values.shape[1:]) != shape:
        raise ConfigError(
            f"the pictures of {source.name} are {tuple(samples.values.shape[1:])} and the real ones {shape}; resize them to one size"
        )
    return samples


def _evaluate_points(
    source: _Source,
    name: str,
    n: int,
    seed: int,
    device: str,
    progress: Progress,
    ranks: Ranks,
    settings: Mapping[str, Any],
) -> Evaluation:
    if source.header is None:
        samples = read_samples(source.name).first(n)
    else:
        samples = sample_set_of(source.model(device), n, seed, progress, ranks, **settings)
    if samples.values.ndim != 2:
        raise ConfigError(f"{source.name} holds pictures, and {name} is a set of points; give another --data")
    began = time.perf_counter()
    found = ranks.once(lambda: [asdict(number) for number in point_numbers(samples.values, name)])
    numbers = tuple(Number(**words) for words in found)
    seconds = samples.seconds + time.perf_counter() - began
    words = f"the density of {name}, and {n:,} fresh points"
    return Evaluation(
        source.name, n, "none: points", words, name, numbers, samples.settings, seconds, samples=samples
    )
