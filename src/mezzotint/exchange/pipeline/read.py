"""A folder of diffusers with a UNet2DModel, read as a mezzotint model: its configuration and weights."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mezzotint import build
from mezzotint.config import UNNAMED, parse
from mezzotint.disk.model_file import Header, fill, save_model
from mezzotint.disk.published import OLD_NAMES
from mezzotint.errors import ConfigError, ModelError
from mezzotint.exchange.pipeline.fields import Fields
from mezzotint.exchange.pipeline.scheduler import read_scheduler
from mezzotint.exchange.pipeline.unet import CLASS, read_unet
from mezzotint.media.facts import Facts

INDEX, CONFIG, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
PATTERNS = [
    INDEX,
    *(f"{place}{name}" for place in ("", "unet/", "scheduler/") for name in (CONFIG, SCHEDULER, WEIGHTS)),
]
PIPELINES = ("DDPMPipeline", "DDIMPipeline")
OLD_NAME = re.compile(rf"(attentions\.\d+\.)({'|'.join(OLD_NAMES)})\.(weight|bias)$")
OTHERS = {  # what has no counterpart as a whole, or needs none
    "AutoencoderKL": "is an autoencoder, which needs no import: mezzotint train latent --codec {folder}",
    "AutoencoderTiny": "is an autoencoder, which needs no import: mezzotint train latent --codec {folder}",
    "DiTTransformer2DModel": "is a transformer of other parts than network.kind dit: its norms (norm_type ada_norm_zero, LayerNorm) have a "
    "mean, its layers activation_fn gelu-approximate and no gate, its positions are added and not turned; it cannot be read",
    "UNet2DConditionModel": "reads texts by cross-attention, which no network here has; it cannot be read",
}


def read_pipeline(folder: Path) -> tuple[Header, nn.Module]:
    """The model of a folder as `DDPMPipeline` or `DDIMPipeline` writes it, or as a UNet2DModel alone with its scheduler_config.json
    beside it. No code in it is run, and diffusers is not needed. Raises ModelError in one line, naming the field that cannot be read."""
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}; give one with a {INDEX}, or owner/name of the hub")
    labels = _index(folder)
    place = folder / "unet" if (folder / "unet").is_dir() else folder
    _check_class(place)
    network, shape, rows = read_unet(Fields(place / CONFIG))
    facts = Facts(shape, _classes(labels, rows, folder))
    inner = folder / "scheduler" / SCHEDULER
    known = Fields(inner if inner.is_file() else folder / SCHEDULER)
    try:
        config = parse(
            {
                "data": {"name": UNNAMED},
                "network": network,
                "train": {"precision": "fp32"},
                **read_scheduler(known),
            }
        )
    except ConfigError as error:
        raise ModelError(f"{folder} describes a model that mezzotint does not have: {error}") from error
    try:
        with torch.device("meta"):
            build.network(config, facts)
    except (ValueError, ZeroDivisionError) as error:
        raise ModelError(f"{place / CONFIG} describes no network: {error}") from error
    weights = _weights(place)
    with torch.device("meta"):
        expected = {
            name: tuple(tensor.shape) for name, tensor in build.network(config, facts).state_dict().items()
        }
    there = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wrong := [name for name in sorted({*expected, *there}) if expected.get(name) != there.get(name)]:
        raise ModelError(
            f"{place / WEIGHTS}: {wrong[0]} is {there.get(wrong[0], 'missing')}, by {CONFIG} {expected.get(wrong[0], 'nothing')}; "
            f"{len(wrong)} tensors differ; copy the folder again"
        )
    net = build.network(config, facts)
    fill(net, weights, place / WEIGHTS)
    return Header(config, facts, 0, "given"), net.eval().requires_grad_(False)


def _index(folder: Path) -> dict[str, Any] | None:
    """The names of classes that a model_index.json says, by number. Raises ModelError for parts other than a U-Net and a scheduler."""
    if not (folder / INDEX).is_file():
        return None
    fields = Fields(folder / INDEX)
    fields.only("_class_name", *PIPELINES)
    labels: dict[str, Any] | None = fields.take("id2label", (dict, type(None)), None)
    fields.only("unet", ["diffusers", CLASS])
    fields.take("scheduler", list)  # whose own file says its class, too
    fields.finish()
    return labels


def _check_class(place: Path) -> None:
    """Raises ModelError in its own words for a class that is often met and is no UNet2DModel."""
    name = Fields(place / CONFIG).left.get("_class_name")
    if isinstance(name, str) and name in OTHERS:
        raise ModelError(f"{place}: {name} {OTHERS[name].format(folder=place)}")


def _classes(labels: dict[str, Any] | None, rows: int | None, folder: Path) -> tuple[str, ...]:
    """Names of the classes of a table of rows, of which the last is no class. Raises ModelError where nothing says them."""
    if rows is None:
        return ()
    wanted = [str(number) for number in range(rows - 1)]
    if (
        labels is None
        or sorted(labels) != sorted(wanted)
        or not all(isinstance(name, str) for name in labels.values())
    ):
        raise ModelError(
            f"{folder}: num_class_embeds {rows} is not enough, since nothing names the class of each row; "
            f'write "id2label": {{"0": NAME, ..., "{rows - 2}": NAME}} into {INDEX}, where the last row is no class'
        )
    return tuple(labels[number] for number in wanted)


def _weights(place: Path) -> dict[str, Tensor]:
    """By the names of today, in float32. Raises ModelError."""
    path = place / WEIGHTS
    if not path.is_file():
        others = sorted(file.name for file in place.glob("diffusion_pytorch_model*"))
        there = (
            f"; {others[0]} cannot be read: save the model again, in one file of safetensors"
            if others
            else ""
        )
        raise ModelError(f"there is no file {path}{there}")
    try:
        named = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}); copy it again") from error
    return {OLD_NAME.sub(_new_name, name): tensor.float() for name, tensor in named.items()}


def _new_name(match: re.Match[str]) -> str:
    return f"{match[1]}{OLD_NAMES[match[2]]}.{match[3]}"


def import_pipeline(folder: Path, path: Path) -> Header:
    """Reads a folder and writes it as a model file, whole or not at all. Raises ModelError."""
    header, net = read_pipeline(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, net, header)
    return header
