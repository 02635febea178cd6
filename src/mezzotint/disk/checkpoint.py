"""What lies on disk: checkpoints to go on from, and the model file that everything else reads.

A file is written under a temporary name, synced, and renamed, so that a name always stands for a whole file. A
checkpoint is a directory renamed into place; `last.json`, written after it, is the commit point. Old ones go only then.
Every file has a checksum that is compared when it is read. No pickle anywhere.
"""

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from mezzotint.disk.files import is_broken, sealed, sync_folder, tensors, write, write_json
from mezzotint.disk.model_file import fill
from mezzotint.errors import ModelError
from mezzotint.train.loop import State
from mezzotint.train.lora import merged_state

DAMAGE = (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def save_checkpoint(
    folder: Path, state: State, extra: dict[str, Any], keep: int, keep_every: int | None = None
) -> Path:
    """Writes checkpoints/step-N under a run directory, commits it in last.json, then removes the oldest but `keep`;
    those of multiples of `keep_every` steps stay.

    extra: JSON that the run wants back (the stored budget).
    """
    parent = folder / "checkpoints"
    final = parent / f"step-{state.step:07d}"
    temporary = parent / f".step-{state.step:07d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    averages: dict[str, Tensor] = {}
    for average in state.averages:
        averages |= average.named()
    files = {
        "model.safetensors": tensors(state.net.state_dict()),
        "ema.safetensors": tensors(averages),
        "optim.safetensors": tensors(_moments(state.optimizer)),
    }
    checksums = {name: zlib.crc32(content) for name, content in files.items()}
    try:
        for name, content in files.items():
            write(temporary / name, content)
        write_json(temporary / "state.json", sealed({"step": state.step, "crc32": checksums, **extra}))
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)  # from a future that was given up for an older checkpoint
    temporary.rename(final)
    sync_folder(parent)
    write_json(parent / "last.json", {"step": state.step, "name": final.name})
    by_age = sorted(parent.glob("step-*"), key=lambda path: (_age(path) <= _age(final), _age(path)))
    for old in by_age[:-keep]:
        if not (
            keep_every and _age(old) <= _age(final) and int(old.name.removeprefix("step-")) % keep_every == 0
        ):
            shutil.rmtree(old, ignore_errors=True)
    return final


def _age(path: Path) -> tuple[int, str]:
    """Sorts checkpoints by step, those of ten million steps and more included: their names are longer."""
    return len(path.name), path.name


def checkpoints(folder: Path) -> tuple[list[Path], list[str]]:
    """The committed checkpoints of a run, newest first, and a line for whatever is odd about them."""
    parent = folder / "checkpoints"
    there = sorted(parent.glob("step-*"), key=_age, reverse=True)
    try:
        newest = parent / json.loads((parent / "last.json").read_text())["name"]
    except FileNotFoundError:
        return [], []  # nothing was committed yet
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return there, [f"{parent / 'last.json'} is damaged"]
    committed = [path for path in there if _age(path) <= _age(newest)]
    return committed, [] if newest in committed else [f"{newest} is missing"]


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run, or None where there is none yet. What is in it has not been looked at."""
    committed, _ = checkpoints(folder)
    return committed[0] if committed else None


def load_last(folder: Path, state: State) -> tuple[dict[str, Any] | None, list[str]]:
    """Fills `state` from the newest checkpoint that is whole. Returns its `extra`, or None where a run has none yet,
    and a line for every newer one that could not be used. Raises ModelError where none of those that are there can."""
    committed, odd = checkpoints(folder)
    for path in committed:
        try:
            return load_checkpoint(path, state), odd
        except ModelError as error:
            odd.append(str(error))
    if odd:
        raise ModelError(f"{odd[0]}, and no older checkpoint can be used; train again with --overwrite")
    return None, []


def load_checkpoint(path: Path, state: State) -> dict[str, Any]:
    """Fills `state` from a checkpoint and returns its `extra`. Every file's checksum is compared before anything is
    changed. Raises ModelError."""
    files = {}
    try:
        content = json.loads((path / "state.json").read_text())
        if is_broken(content) or path.name != f"step-{content['step']:07d}":
            raise ModelError(f"the checkpoint file {path / 'state.json'} is damaged: its checksum differs")
        for name, expected in content["crc32"].items():
            files[name] = (path / name).read_bytes()
            if zlib.crc32(files[name]) != expected:
                raise ModelError(f"the checkpoint file {path / name} is damaged: its checksum differs")
        weights, averages, moments = (
            load(files[f"{name}.safetensors"]) for name in ("model", "ema", "optim")
        )
    except ModelError:
        raise
    except DAMAGE as error:
        raise ModelError(f"the checkpoint {path} is damaged or incomplete ({error})") from error
    fill(state.net, weights, path)
    for average in state.averages:
        prefix = f"{average.profile}/"
        mine = {name.removeprefix(prefix): t for name, t in averages.items() if name.startswith(prefix)}
        fill(average.net, mine, path)
    _load_moments(state.optimizer, moments)
    state.step = content["step"]
    return content


def load_raw(path: Path, net: nn.Module) -> None:
    """Fills a network with the weights of a checkpoint. Raises ModelError."""
    file = path / "model.safetensors"
    fill(net, merged_state(_tensors_of(file)), file)


def read_averages(path: Path) -> dict[str, Tensor]:
    """The averages of a checkpoint, by "profile/name". Raises ModelError."""
    return _tensors_of(path / "ema.safetensors")


def _tensors_of(file: Path) -> dict[str, Tensor]:
    """The tensors of a file of a checkpoint, its checksum compared. Raises ModelError."""
    path = file.parent
    try:
        whole = file.read_bytes()
        if zlib.crc32(whole) != json.loads((path / "state.json").read_text())["crc32"][file.name]:
            raise ModelError(f"the checkpoint file {file} is damaged: its checksum differs")
        return load(whole)
    except ModelError:
        raise
    except DAMAGE as error:
        raise ModelError(f"the checkpoint {path} is damaged or incomplete ({error})") from error


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
