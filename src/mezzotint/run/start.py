"""Where a training begins: with random weights, a teacher's, or those of any model whose network does the same."""

import difflib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from mezzotint import build
from mezzotint import config as configuration
from mezzotint.config import Config
from mezzotint.disk.files import digest, read_tensors
from mezzotint.disk.model_file import CODEC, Header, read_header
from mezzotint.disk.names import find, spoken
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.facts import Facts
from mezzotint.model.model import Model
from mezzotint.run.inherit import LEAST, Inheritance, inherit

GROUPS = ("network", "diffusion", "sample")  # of a configuration, that go with weights


def origin(name: str | Path) -> dict[str, str]:
    """What a configuration keeps of the run or model file that it begins with. Raises ModelError where there is none."""
    path = find(name)
    return {"file": str(path.absolute()), "digest": digest(path)}


def beginning(
    source: str, overrides: list[str] | tuple[str, ...] = (), *, name: str | Path, **changes: Any
) -> Config:
    """The configuration of a training that begins with the model `name`: of a recipe or YAML file, as `config.load` reads it, but
    network, process and sampling are that model's, and so is the size of the pictures, where a recipe says one. A recipe that was
    made for that network keeps its own process and sampling: `bouncing` has more noise than `mnist`, whose network it has.

    What a YAML file of one's own says stays as it is said there. Overrides and changes come last, as always.
    Raises ConfigError or ModelError.
    """
    path = find(name)
    base, facts = (header := read_header(path)).config, header.facts
    written = base.model_dump(mode="json")
    groups = {key: written[key] for key in GROUPS}
    if base.teacher is not None:  # a student is sampled as a denoiser no longer is
        groups["sample"] = base.teacher.sample.model_dump(mode="json")
    if base.codec is not None:
        groups["codec"] = {"file": str(path.absolute())}  # which holds it
    tree = configuration.read(source)
    if source in configuration.recipes() and not Path(source).is_file():
        made_for_it = configuration.load(source).network == base.network and base.teacher is None
        tree = {**groups, **tree} if made_for_it else {**tree, **groups}
        if "size" in (tree.get("data") or {}) and len(facts.shape) > 2:
            tree["data"] = {**tree["data"], "size": list(facts.shape[-2:])}
    else:
        tree = {**groups, **tree}
    kept = {f"origin__{key}": value for key, value in origin(path).items()}
    config = configuration.change(tree, overrides, **{**changes, **kept})
    data = config.data
    if facts.classes and data.name == "folder" and data.labels is None and _is_one_class(data.path):
        config = config.model_copy(update={"data": data.model_copy(update={"labels": True})})
    return config


def _is_one_class(path: Path | None) -> bool:
    """Whether a folder holds one folder of pictures and nothing beside it: a class, where a model has others."""
    if path is None or not path.is_dir():
        return False
    there = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    return len(there) == 1 and there[0].is_dir() and any(entry.is_file() for entry in there[0].iterdir())


def check_same(path: Path, key: str, what: str, whose: str) -> None:
    """Raises ModelError where a file that must be the one of a digest is gone or another one."""
    if not path.is_file():
        raise ModelError(f"the {what} {path} is missing; restore it, or give its place: {what}.file=FILE")
    if digest(path) != key:
        raise ModelError(f"{path} is not the {what} that {whose}; restore that one, or --overwrite the run")


class Origin(NamedTuple):
    """The model that a training begins with, as it lies in its file: what it is called, what it says of itself, its weights, and
    what its codec has learned."""

    path: Path
    source: str
    header: Header
    weights: dict[str, Tensor]
    codec: dict[str, Tensor]

    def begin(self, net: nn.Module, facts: Facts) -> Inheritance:
        """Fills the network of a run of these facts. Raises ConfigError where it is another network."""
        found = inherit(net, self.weights, facts, self.header.facts, self.source)
        if found.share < LEAST:
            raise ConfigError(
                f"{self.source} cannot be the start of this run: its network differs, and only {found.share:.0%} of the weights fit; use its keys, network.kind={self.header.config.network.kind} and so on, which mezzotint info {self.source} shows"
            )
        return found


def open_origin(config: Config, facts: Facts) -> Origin | None:
    """The model whose weights a training on a set of these facts begins with; None where they are random. Raises ConfigError where its
    weights mean something else than this configuration would have them mean, ModelError where it is gone or another one."""
    if config.origin is None:
        return None
    path = config.origin.file
    check_same(path, config.origin.digest, "origin", "this run started from")
    header, named = read_header(path), read_tensors(path)
    weights = {name: tensor for name, tensor in named.items() if not name.startswith(CODEC)}
    codec = {name.removeprefix(CODEC): tensor for name, tensor in named.items() if name.startswith(CODEC)}
    if header.config.codec is None:
        weights, codec = named, {}
    origin = Origin(path, spoken(path), header, weights, codec)
    _check(config, facts, origin)
    return origin


def _check(config: Config, facts: Facts, origin: Origin) -> None:
    """Raises ConfigError where weights mean something else here than there."""
    base, before = origin.header.config, origin.header.facts
    pairs: list[tuple[str, object, object]] = [
        ("things", _things(facts), _things(before)),
        ("data.enlarge", config.data.enlarge, base.data.enlarge),
        ("autoencoder", _coder(config), _coder(base)),
        ("learns to be an autoencoder", config.objective == "autoencode", base.objective == "autoencode"),
    ]
    if config.objective != "autoencode" and base.objective != "autoencode":
        pairs += [
            (f"diffusion.{key}", getattr(config.diffusion, key), getattr(base.diffusion, key))
            for key in ("process", "parameterization")
        ]
        pairs.append(("words for the noise level", build.telling(config), build.telling(base)))
        if base.diffusion.parameterization == "edm":
            pairs.append(("sigma_data", config.diffusion.sigma_data, base.diffusion.sigma_data))
    if facts.length and before.length:
        mine, theirs = ((f.reading, f.digest, f.width, f.width and f.length) for f in (facts, before))
        pairs.append(("texts", mine, theirs))
    for key, here, there in pairs:
        if here != there:
            raise ConfigError(
                f"{origin.source} cannot be the start of this run: its {key} are {_short(there)}, and those here {_short(here)}"
            )
    if before.width and not facts.length:
        raise ConfigError(
            f"{origin.source} was trained with a text encoder; set data.captions and data.encoder"
        )


def _things(facts: Facts) -> str:
    """Pictures may begin clips, whose networks begin as those of pictures do; their sizes may differ."""
    return "pictures" if facts.kind == "clips" else facts.kind


def _coder(config: Config) -> str | None:
    return None if config.codec is None else config.codec.digest


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def take_over(net: nn.Module, model: Model) -> bool:
    """Fills a network with a model's weights, but for what it has beside; False where it is another network."""
    mine, theirs = net.state_dict(), model.net.state_dict()
    if any(name not in mine or mine[name].shape != tensor.shape for name, tensor in theirs.items()):
        return False
    net.load_state_dict(theirs, strict=False)
    return True


def freeze(net: nn.Module, patterns: list[str]) -> int:
    """Weights whose names match a pattern (of a shell: * ? [...]) stay as they are, and so do the statistics of batch norms whose
    weights do. Returns how many numbers stay. Raises ConfigError for a pattern that matches nothing, naming near ones, and where
    nothing would be left to learn."""
    names = [name for name, _ in net.named_parameters()]
    for pattern in patterns:
        if any(fnmatchcase(name, pattern) for name in names):
            continue
        parts = {
            ".".join(name.split(".")[:k]) + ".*" for name in names for k in range(1, name.count(".") + 1)
        }
        near = difflib.get_close_matches(pattern, [*names, *sorted(parts)], 3, 0.4)
        hint = (
            f"near are {', '.join(near)}"
            if near
            else f"there are {', '.join(sorted({n.split('.')[0] + '.*' for n in names}))}"
        )
        raise ConfigError(f"no parameter has a name like {pattern!r}; {hint}")
    for name, weight in net.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            weight.requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.weight.requires_grad:
            module.momentum = 0.0
    frozen = sum(weight.numel() for weight in net.parameters() if not weight.requires_grad)
    if not any(weight.requires_grad for weight in net.parameters()):
        raise ConfigError("all parameters are frozen, so nothing would be trained; freeze fewer")
    return frozen
