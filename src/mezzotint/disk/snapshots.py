"""Snapshots of the averages during training, and the average of any length that is made from them afterwards."""

import re
from pathlib import Path

import torch
from torch import Tensor

from mezzotint.disk.files import read_tensors, tensors, write
from mezzotint.errors import ModelError
from mezzotint.train.ema import Power
from mezzotint.train.loop import State
from mezzotint.train.posthoc import coefficients

REMEDY = "delete it to do without"


def save_snapshot(folder: Path, state: State) -> None:
    """Writes ema/step-N.safetensors: every power-function average in half precision, buffers as they are."""
    (folder / "ema").mkdir(exist_ok=True)
    named: dict[str, Tensor] = {}
    for average in state.averages:
        if isinstance(average.profile, Power):
            buffers = {f"{average.profile}/{name}" for name, _ in average.net.named_buffers()}
            for name, tensor in average.named().items():
                named[name] = tensor if name in buffers else tensor.half()
    write(folder / "ema" / f"step-{state.step:07d}.safetensors", tensors(named, {"step": state.step}))


def snapshots(folder: Path) -> dict[int, Path]:
    """The snapshots of a run by step."""
    found = {}
    for path in (folder / "ema").glob("step-*.safetensors"):
        if match := re.fullmatch(r"step-(\d+)\.safetensors", path.name):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def cut_snapshots(folder: Path, step: int) -> None:
    """Forgets snapshots beyond the checkpoint that a run goes on from."""
    for number, path in snapshots(folder).items():
        if number > step:
            path.unlink()


def snapshots_until(folder: Path, step: int) -> dict[int, Path]:
    """The snapshots that an average at a step is made from, by step. Raises ModelError where there is none of that step."""
    there = snapshots(folder)
    if step not in there:
        kept = ", ".join(map(str, there)) or "none at all; use a run that has some (ema/step-*)"
        raise ModelError(f"{folder} has no snapshot of step {step:,}; it has {kept}")
    return {number: path for number, path in there.items() if number <= step}


def average_of(folder: Path, length: float, step: int | None = None) -> dict[str, Tensor]:
    """The weights of the average of `length`, 0 < length < 0.28, at `step` (the last snapshot's unless given), made
    from the snapshots of a run up to there: name -> tensor in float32 (Karras et al. 2024, "EDM2", section 3.2).

    Raises ModelError where the run has no snapshots.
    """
    found = snapshots(folder) if step is None else snapshots_until(folder, step)
    if not found:
        raise ModelError(
            f"{folder} has no snapshots of the EMA (ema/step-*); use --weights ema or raw, or a run that has them"
        )
    if not 0 < length < 0.28:
        raise ModelError(f"an EMA length is a share of training between 0 and 0.28, not {length:g}")
    end = step or max(found)
    newest = read_tensors(found[max(found)], REMEDY)
    lengths = sorted({name.partition("/")[0] for name in newest}, key=float)
    pairs = [(number, each) for number in found for each in lengths]
    shares = coefficients([n for n, _ in pairs], [float(each) for _, each in pairs], end, length)
    share_of = dict(zip(pairs, shares.tolist()))

    names = [name.partition("/")[2] for name in newest if name.startswith(f"{lengths[0]}/")]
    mixed = {name: newest[f"{lengths[0]}/{name}"] for name in names}
    averaged = [
        name for name in names if mixed[name].dtype == torch.float16
    ]  # buffers keep their own precision
    totals = {name: torch.zeros(mixed[name].shape, dtype=torch.float64) for name in averaged}
    for number, path in found.items():  # one file in memory at a time
        named = read_tensors(path, REMEDY)
        for each in lengths:
            for name in averaged:
                totals[name] += share_of[number, each] * named[f"{each}/{name}"].double()
    return mixed | {name: total.float() for name, total in totals.items()}
