"""The model file: one safetensors file that describes itself."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from mezzotint import config as configuration
from mezzotint.config import Config
from mezzotint.disk.files import Layout, digest, is_broken, read_layout, read_tensors, tensors, write
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.facts import Facts

FORMAT = 2  # what is written; 1, of version 0.1, does not name the medium in its facts
READABLE = (1, 2)
MAX_LEVELS = 100  # entries of a list in a network's configuration


@dataclass(frozen=True)
class Header:
    """What a model file says of itself."""

    config: Config
    facts: Facts
    step: int
    weights: str  # which weights these are: "ema 0.05", "ema decay 0.999", "raw"


CODEC = "codec."  # before the names of what a codec has learned


def save_model(path: Path, net: nn.Module, header: Header, codec: nn.Module | None = None) -> None:
    """One self-describing file: weights, those of the codec among them, and, in its header, everything needed to use them."""
    write(path, tensors({**net.state_dict(), **_of_codec(codec)}, _content(header)))


def _content(header: Header) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "config": header.config.model_dump(mode="json"),
        "facts": header.facts.as_json(),
        "step": header.step,
        "weights": header.weights,
    }


def save_adapter(path: Path, small: dict[str, Tensor], header: Header) -> None:
    """What a model has beside the one that it began with (see `train.lora`), in a file of its own. header: of the whole model."""
    assert header.config.origin is not None
    write(path, tensors(small, {**_content(header), "adapter": header.config.origin.digest}))


def read_adapter(path: Path, base: Path) -> tuple[Header, dict[str, Tensor]]:
    """The header of a model whose adapter a file holds, and the tensors of the adapter. base: the file of the model that it belongs to.
    Raises ModelError where it is no adapter, or that of another one."""
    header = read_header(path, adapter=True)
    if header.config.origin is None or header.config.origin.digest != digest(base):
        began = "" if header.config.origin is None else f", {header.config.origin.file.name} as it was then"
        raise ModelError(
            f"{path} is not an adapter of {base}; give the model that it was trained from{began}"
        )
    return header, read_tensors(path)


def _of_codec(codec: nn.Module | None) -> dict[str, Tensor]:
    return {} if codec is None else {f"{CODEC}{name}": tensor for name, tensor in codec.state_dict().items()}


def read_header(path: Path, adapter: bool = False) -> Header:
    """The header of a model file, without its weights. adapter: of one that `save_adapter` wrote. Raises ModelError in one line."""
    if not path.is_file():
        what = "adapter.safetensors" if adapter else "model.safetensors"
        raise ModelError(f"there is no file {path}; name the {what} of a run")
    try:
        metadata, layout = read_layout(path)
        content = json.loads(metadata["mezzotint"])
        if content["format"] not in READABLE:
            raise ModelError(
                f"{path} has format {content['format']}, this version reads {FORMAT} and older; upgrade mezzotint"
            )
        check_header(content, layout, path)
        if ("adapter" in content) != adapter:
            raise ModelError(
                f"{path} is no adapter; take the adapter.safetensors of a run with train.lora"
                if adapter
                else f"{path} is an adapter; give its base, and it beside: mezzotint sample BASE --adapter {path}"
            )
        config = configuration.parse(content["config"])
        return Header(config, Facts.from_json(content["facts"]), content["step"], content["weights"])
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is damaged or no safetensors file ({error}); train again or copy it again"
        ) from error
    except ConfigError as error:
        raise ModelError(f"{path} was written by another version of mezzotint: {_line(error)}") from error
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a model file of mezzotint: its header has no model; give the model.safetensors of a run"
        ) from error


class _Facts(BaseModel):
    shape: Annotated[
        list[Annotated[int, Field(strict=True, ge=1, le=4096)]], Field(min_length=1, max_length=4)
    ]
    classes: Annotated[list[Annotated[str, Field(strict=True)]], Field(max_length=100_000)]
    kind: Annotated[str, Field(strict=True)] = ""
    empty: list[Annotated[int, Field(strict=True, ge=0)]] = []
    words: Annotated[
        list[Annotated[str, Field(strict=True, max_length=1000)]], Field(max_length=100_000)
    ] = []
    length: Annotated[int, Field(strict=True, ge=0, le=4096)] = 0
    examples: Annotated[
        list[Annotated[str, Field(strict=True, max_length=4096)]], Field(max_length=1000)
    ] = []
    reading: Literal["words", "bytes", "encoder"] = "words"
    digest: Annotated[str, Field(strict=True, pattern="^[0-9a-f]{0,64}$")] = ""
    width: Annotated[int, Field(strict=True, ge=0, le=65536)] = 0


class _Header(BaseModel):
    """What every header of any format has, with its bounds."""

    format: Annotated[int, Field(strict=True)]
    config: dict[str, Any]
    facts: _Facts
    step: Annotated[int, Field(strict=True, ge=0, le=10**15)]
    weights: Annotated[str, Field(strict=True, max_length=100)]
    crc32: Annotated[int | None, Field(strict=True)] = None


def check_header(content: dict[str, Any], layout: Layout, path: Path) -> None:
    """Raises ModelError where a header is not what was written, or holds values of another kind."""
    if is_broken(content, layout):
        raise ModelError(
            f"{path} is damaged: the checksum of its header differs; copy it again or train again"
        )
    try:
        _Header.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(
            f"{path} is not a model file of mezzotint ({place}: {first['msg']}); give the model.safetensors of a run"
        ) from error
    network = content["config"].get("network")
    for key, value in network.items() if isinstance(network, dict) else ():
        if isinstance(value, list) and len(value) > MAX_LEVELS:
            raise ModelError(
                f"{path} is not a model file of mezzotint: network.{key} has {len(value):,} entries"
            )


def check_network(path: Path, build: Callable[[], tuple[nn.Module, nn.Module | None]]) -> None:
    """Holds what a header says of its network, and of its codec, against the tensors of the file, before it costs time or memory: `build`
    is called with tensors that have shapes alone, and ends where it asks for more of them than there are. Raises
    ModelError."""
    _, layout = read_layout(path)
    thread, count = threading.get_ident(), 0

    def counted(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += threading.get_ident() == thread  # others may be building theirs
        if count > len(layout):
            raise ModelError(f"its config has more than the {len(layout)} tensors that are there")

    hook = register_module_parameter_registration_hook(counted)
    try:
        with torch.device("meta"):
            net, codec = build()
            expected = {**net.state_dict(), **_of_codec(codec)}
            shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
        there = {name: shape for name, (_, shape) in layout.items()}
        unequal = [name for name in sorted({*shapes, *there}) if shapes.get(name) != there.get(name)]
        if unequal:
            here, config = there.get(unequal[0], "missing"), shapes.get(unequal[0], "nothing")
            raise ModelError(f"{unequal[0]} is {here}, by its config {config}; {len(unequal)} tensors differ")
    except Exception as error:  # of whatever kind the numbers of a header provoke
        raise ModelError(
            f"{path} holds the weights of another network than its config says: {_line(error)}"
        ) from error
    finally:
        hook.remove()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def load_weights(net: nn.Module, path: Path, coded: bool = False) -> None:
    """Fills a network from a file. coded: whether weights of a codec lie beside its own. Raises ModelError where the file is damaged
    or does not fit the network."""
    named = read_tensors(path)
    fill(net, {name: t for name, t in named.items() if not (coded and name.startswith(CODEC))}, path)


def load_codec(codec: nn.Module, path: Path) -> None:
    """Fills what a codec has learned from the file of a model. Raises ModelError, as `load_weights` does."""
    named = read_tensors(path)
    fill(codec, {name.removeprefix(CODEC): t for name, t in named.items() if name.startswith(CODEC)}, path)


def fill(net: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Fills a network with weights that were read from a file. Raises ModelError where they do not fit it, or are not
    finite."""
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise ModelError(
                f"{path} holds weights that are not finite ({name}); train again or copy it again"
            )
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"{path} holds the weights of another network than its config says: {_line(error)}"
        ) from error
