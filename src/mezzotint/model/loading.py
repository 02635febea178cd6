"""Opens a model: `load("runs/mnist")`, by the name of a run, a folder or a file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mezzotint import build
from mezzotint.disk.checkpoint import last_checkpoint, load_raw
from mezzotint.disk.files import read_tensors
from mezzotint.disk.model_file import Header, fill, load_codec, load_weights, read_adapter, read_header
from mezzotint.disk.names import ADAPTER, find, spoken
from mezzotint.disk.snapshots import average_of, snapshots
from mezzotint.errors import ConfigError, ModelError
from mezzotint.model.device import find_device, find_precision, place
from mezzotint.model.model import Model
from mezzotint.model.own import network_of
from mezzotint.train.lora import merged_state, with_adapter

OF_ITS_CODES = "train a model of its codes: mezzotint train latent --codec"
OF_SNAPSHOTS = " of snapshots"  # of an average that was made afterwards


def load(
    name: str | Path,
    *,
    device: str = "auto",
    weights: str = "ema",
    precision: str | None = None,
    network: Callable[[], nn.Module] | None = None,
    encoder: str | Path | None = None,
    adapter: str | Path | None = None,
) -> Model:
    """A model from a run directory, a run's name, "latest", or a model file.

    weights: "ema", the average (the model file's own); "raw", the last weights of the run's newest checkpoint; a
    length such as "0.07": the average of that length, made from the run's snapshots, or with "@800" behind it, after 800 steps; or the weights
    named in the settings of a picture.
    precision: "fp32" or "bf16"; by default as in training.
    network: for files that `Model.save` wrote with a network of your own: a function without arguments that makes it, such as
    its class. A file alone never runs code.
    encoder: the folder of the text encoder, for models that have one; by default the one used in training.
    adapter: the adapter.safetensors of a run with train.lora that started from this model; the result is that run's model, to the
    bit.
    """
    path = find(name)
    header = read_header(path)
    encoder = None if encoder is None else Path(encoder).expanduser()
    if adapter is not None:
        return _adapted(path, Path(adapter), find_device(device), weights, precision, encoder)
    where = find_device(device)
    if header.config.objective == "autoencode":
        raise ConfigError(
            f"{name} is an autoencoder, which makes no samples by itself; {OF_ITS_CODES} {name}"
        )
    net = network_of(header, path, network)
    codec = build.codec(header.config, header.facts)
    if codec.weights is not None:
        place(codec.weights, where)
        load_codec(codec.weights, path)
    if weights in ("ema", header.weights):
        load_weights(net, path, codec.weights is not None)
    elif weights == "raw":
        newest = last_checkpoint(path.parent)
        if newest is None:
            raise ModelError(
                f"{path} is a single file without checkpoints; raw weights are only in the folder of a run"
            )
        load_raw(newest, net)
        header = replace(header, weights="raw", step=int(newest.name.removeprefix("step-")))
    else:
        length, at = _length(weights, header)
        fill(net, merged_state(average_of(path.parent, length, at)), path.parent / "ema")
        earlier = "" if at is None else f"@{at}"
        step = at or max(snapshots(path.parent))
        header = replace(header, weights=f"ema {length}{OF_SNAPSHOTS}{earlier}", step=step)
    net = place(net, where).eval().requires_grad_(False)
    wanted = precision or header.config.train.precision
    dtype = find_precision(wanted, where) if header.facts.medium.half else torch.float32
    return Model(
        header,
        build.denoiser(header.config, net, dtype=dtype),
        where,
        spoken(path),
        encoder,
        codec,
    )


def weak_of(run: str, weak: str) -> tuple[str, str]:
    """The weak model of a run, as arguments of `load`: a model and its weights. weak: a step, for the run's own EMA at that step,
    or the name of another model. Raises ConfigError where the run keeps no such averages."""
    if not weak.isdecimal():
        return weak, "ema"
    words = read_header(find(run)).weights.split()
    if len(words) < 2 or words[0] != "ema" or words[1] == "decay":
        raise ConfigError(
            f"--weak {weak}: {run} keeps no EMA of its early steps (train.ema); give a model instead"
        )
    return run, f"{words[1]}@{weak}"


def with_weak(model: Model, run: str, weak: str, **opening: Any) -> Model:
    """The model of a run, guided by the weak model that `weak` names, see `weak_of`. opening: arguments of `load`."""
    name, weights = weak_of(run, weak)
    return model.by_weak(load(name, weights=weights, **opening))


def _adapted(
    path: Path,
    adapter: Path,
    where: torch.device,
    weights: str,
    precision: str | None,
    encoder: Path | None,
) -> Model:
    """The model of an adapter over its base."""
    header, small = read_adapter(adapter, path)
    if weights not in ("ema", header.weights):
        raise ConfigError(f"an adapter fits only the weights {header.weights}; leave weights out")
    net, codec = build.network(header.config, header.facts), build.codec(header.config, header.facts)
    if codec.weights is not None:
        place(codec.weights, where)
        load_codec(codec.weights, path)
    names = set(net.state_dict())
    named = {name: tensor for name, tensor in read_tensors(path).items() if name in names}
    try:
        fill(net, with_adapter(named, small), adapter)
    except KeyError as error:
        raise ModelError(f"{adapter} does not fit the network of {path}: there is no {error}") from error
    net = place(net, where).eval().requires_grad_(False)
    wanted = precision or header.config.train.precision
    dtype = find_precision(wanted, where) if header.facts.medium.half else torch.float32
    source = adapter.absolute().parent.name if adapter.name == ADAPTER else adapter.stem
    return Model(header, build.denoiser(header.config, net, dtype=dtype), where, source, encoder, codec)


def _length(weights: str, header: Header) -> tuple[float, int | None]:
    """The length of an average, and the step, where it is not the last one: "0.1@800", or as headers have it."""
    if weights.startswith("ema ") and OF_SNAPSHOTS not in weights:
        raise ModelError(f"the model file now has the weights {header.weights}, not {weights}")
    length, _, step = weights.removeprefix("ema ").replace(OF_SNAPSHOTS, "").partition("@")
    try:
        return float(length), int(step) if step else None
    except ValueError:
        raise ConfigError(
            f"weights must be ema, raw, a length such as 0.07, or such a length at a step, 0.07@800, not {weights!r}"
        ) from None
