"""What lies on disk: checkpoints to go on from, and the model file that everything else reads.

A file is written under a temporary name, synced, and renamed, so that a name always stands for a whole file. A
checkpoint is a directory renamed into place; `last.json`, written after it, is the commit point. No pickle anywhere.
"""

import json
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mezzotint import config as configuration
from mezzotint.build import Facts
from mezzotint.config import Config
from mezzotint.errors import ConfigError, ModelError
from mezzotint.train.loop import State

FORMAT = 1


def write(path: Path, content: bytes) -> None:
    """Writes a whole file or none: temporary name, sync, rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, content: Any) -> None:
    write(path, (json.dumps(content, indent=1) + "\n").encode())


def _tensors(named: dict[str, Tensor], header: dict[str, Any] | None = None) -> bytes:
    """Safetensors bytes; the header is one JSON string under one key, since several keys have no fixed order."""
    ready = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in named.items()}
    return save(ready, None if header is None else {"mezzotint": json.dumps(header)})


@dataclass(frozen=True)
class Header:
    """What a model file says of itself."""

    config: Config
    facts: Facts
    step: int
    weights: str  # which weights these are: "ema 0.05", "raw"


def save_model(path: Path, net: nn.Module, header: Header) -> None:
    """One self-describing file: weights and, in its header, everything needed to use them."""
    content = {
        "format": FORMAT,
        "config": header.config.model_dump(mode="json"),
        "facts": header.facts.as_json(),
        "step": header.step,
        "weights": header.weights,
    }
    write(path, _tensors(net.state_dict(), content))


def read_header(path: Path) -> Header:
    """The header of a model file, without its weights. Raises ModelError in one line."""
    if not path.is_file():
        raise ModelError(f"there is no model file {path}")
    try:
        with safe_open(path, "pt") as file:
            content = json.loads((file.metadata() or {})["mezzotint"])
        if content["format"] != FORMAT:
            raise ModelError(
                f"{path} has format {content['format']}, this version reads {FORMAT}; upgrade mezzotint"
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
    """Fills a network from a file. Raises ModelError where the file does not fit it."""
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged or missing ({error})") from error
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path} holds the weights of another network than its config says: {reason}"
        ) from error


def save_checkpoint(folder: Path, state: State, extra: dict[str, Any], keep: int) -> Path:
    """Writes checkpoints/step-N under a run directory, commits it in last.json, then removes the oldest but `keep`.

    extra: JSON that the run wants back (the stored budget).
    """
    parent = folder / "checkpoints"
    final = parent / f"step-{state.step:07d}"
    temporary = parent / f".step-{state.step:07d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files = {
        "model.safetensors": _tensors(state.net.state_dict()),
        "ema.safetensors": _tensors(state.ema.net.state_dict()),
        "optim.safetensors": _tensors(_moments(state.optimizer)),
    }
    for name, content in files.items():
        write(temporary / name, content)
    checksums = {name: zlib.crc32(content) for name, content in files.items()}
    write_json(temporary / "state.json", {"step": state.step, "crc32": checksums, **extra})
    shutil.rmtree(final, ignore_errors=True)  # from a future that was given up for an older checkpoint
    temporary.rename(final)
    write_json(parent / "last.json", {"step": state.step, "name": final.name})
    by_age = sorted(parent.glob("step-*"), key=lambda path: (_number(path) <= _number(final), _number(path)))
    for old in by_age[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _number(path: Path) -> tuple[int, str]:
    """Sorts checkpoints by step, those of ten million steps and more included: their names are longer."""
    return len(path.name), path.name


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run, an older one where that was deleted by hand, or None where there is none yet."""
    commit = folder / "checkpoints" / "last.json"
    if not commit.is_file():
        return None
    try:
        newest = commit.parent / json.loads(commit.read_text())["name"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ModelError(
            f'{commit} is damaged; write into it the name of a folder beside it, as in {{"name": "step-0001000"}}'
        ) from error
    there = [path for path in commit.parent.glob("step-*") if _number(path) <= _number(newest)]
    if not there:
        raise ModelError(
            f"{newest} is missing, and no older checkpoint is there; train again with --overwrite"
        )
    return max(there, key=_number)


def load_checkpoint(path: Path, state: State) -> dict[str, Any]:
    """Fills `state` from a checkpoint and returns its `extra`. Every file's checksum is compared."""
    try:
        content = json.loads((path / "state.json").read_text())
        for name, expected in content["crc32"].items():
            if zlib.crc32((path / name).read_bytes()) != expected:
                raise ModelError(
                    f"{path / name} is damaged: its checksum differs; delete {path.name} to go on from an older one"
                )
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ModelError(
            f"the checkpoint {path} is damaged or incomplete ({error}); delete it to go on from an older one"
        ) from error
    load_weights(state.net, path / "model.safetensors")
    load_weights(state.ema.net, path / "ema.safetensors")
    _load_moments(state.optimizer, load_file(path / "optim.safetensors"))
    state.step = content["step"]
    return content


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors by "parameter number.name"."""
    states = optimizer.state_dict()["state"]
    return {f"{number}.{name}": tensor for number, entry in states.items() for name, tensor in entry.items()}


def _load_moments(optimizer: torch.optim.Optimizer, named: dict[str, Tensor]) -> None:
    states: dict[int, dict[str, Tensor]] = {}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, tensor in named.items():
        number, name = key.split(".")
        if (
            name != "step"
        ):  # a moment must lie in memory as its weight does, or the fused kernel mixes them up
            tensor = torch.empty_like(parameters[int(number)]).copy_(tensor)
        states.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
