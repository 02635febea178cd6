"""The model file: one safetensors file that describes itself."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mezzotint import config as configuration
from mezzotint.config import Config
from mezzotint.disk.files import read_tensors, tensors, write
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.facts import Facts

FORMAT = 2  # what is written; 1, of version 0.1, does not name the medium in its facts
READABLE = (1, 2)


@dataclass(frozen=True)
class Header:
    """What a model file says of itself."""

    config: Config
    facts: Facts
    step: int
    weights: str  # which weights these are: "ema 0.05", "ema decay 0.999", "raw"


def save_model(path: Path, net: nn.Module, header: Header) -> None:
    """One self-describing file: weights and, in its header, everything needed to use them."""
    content = {
        "format": FORMAT,
        "config": header.config.model_dump(mode="json"),
        "facts": header.facts.as_json(),
        "step": header.step,
        "weights": header.weights,
    }
    write(path, tensors(net.state_dict(), content))


def read_header(path: Path) -> Header:
    """The header of a model file, without its weights. Raises ModelError in one line."""
    if not path.is_file():
        raise ModelError(f"there is no model file {path}")
    try:
        with safe_open(path, "pt") as file:
            content = json.loads((file.metadata() or {})["mezzotint"])
        if content["format"] not in READABLE:
            raise ModelError(
                f"{path} has format {content['format']}, this version reads {FORMAT} and older; upgrade mezzotint"
            )
        config = configuration.parse(content["config"])
        return Header(config, Facts.from_json(content["facts"]), content["step"], content["weights"])
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is damaged or no safetensors file ({error}); train again or copy it again"
        ) from error
    except ConfigError as error:
        raise ModelError(f"{path} was written by another version of mezzotint: {error}") from error
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} is no model file of mezzotint: its header names no model; take the model.safetensors of a run"
        ) from error


def load_weights(net: nn.Module, path: Path) -> None:
    """Fills a network from a file. Raises ModelError where the file is damaged or does not fit the network."""
    fill(net, read_tensors(path), path)


def fill(net: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Fills a network with weights that were read from a file. Raises ModelError where they do not fit it."""
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path} holds the weights of another network than its config says: {reason}"
        ) from error
