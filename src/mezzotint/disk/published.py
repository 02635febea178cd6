"""Files of autoencoders that others have trained: which one it is, its numbers by the shapes of its weights, its weights by the
names that `nets.published` has."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mezzotint.config import KL, Coder, Taesd
from mezzotint.errors import ModelError

IN_A_FOLDER = (
    "diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "taesd_encoder.safetensors",
)
OLD_NAMES = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}  # of attention, before 2023
HALVES = re.compile(r"(.*)(encoder|decoder)(.*\.safetensors)")  # TAESD's own: two files


def place_of(path: Path) -> Path:
    """The file of an autoencoder where a folder is named. Raises ModelError."""
    if not path.is_dir():
        return path
    for name in IN_A_FOLDER:
        if (path / name).is_file():
            return path / name
    raise ModelError(f"{path} holds no autoencoder; it should have one of {', '.join(IN_A_FOLDER)}")


def read_published(path: Path) -> tuple[Coder, dict[str, Tensor]]:
    """Which autoencoder a file holds, in the words of a configuration, and its weights in float32. Raises ModelError.

    Read are diffusers' AutoencoderKL (both namings of attention) and AutoencoderTiny, and TAESD's own pair of files, either of
    which may be named.
    """
    named = _read(path)
    if "decoder.mid_block.resnets.0.conv1.weight" in named:
        weights = {_new_name(name): tensor for name, tensor in named.items()}
        return _attempt(path, lambda: (_kl(weights), _flat_attention(weights)))
    if "0.weight" in named or "1.weight" in named:
        named = _both_halves(path)
    if "encoder.layers.1.conv.0.weight" in named:
        return _attempt(path, lambda: (_taesd(named), named))
    raise ModelError(
        f"{path} is not a supported autoencoder; give a run of mezzotint train vae, or safetensors of diffusers' "
        "AutoencoderKL or AutoencoderTiny"
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return {name: tensor.float() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is damaged, missing or no safetensors file ({error}); name the file of an autoencoder, or its folder"
        ) from error


def _attempt(path: Path, read: Any) -> Any:
    try:
        return read()
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"{path} is an incomplete autoencoder: {error}") from error


def _new_name(name: str) -> str:
    for old, new in OLD_NAMES.items():
        name = re.sub(rf"(mid_block\.attentions\.0\.){old}\.(weight|bias)$", rf"\g<1>{new}.\g<2>", name)
    return name


def _flat_attention(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Attention's matrices as such; some files have them as 1x1 convolutions."""
    return {
        name: tensor[..., 0, 0] if ".attentions." in name and tensor.ndim == 4 else tensor
        for name, tensor in weights.items()
    }


def _count(weights: dict[str, Tensor], pattern: str) -> int:
    """How many numbers there are in the place of {} in names of weights."""
    numbers = {match[1] for name in weights if (match := re.match(pattern.replace("{}", r"(\d+)"), name))}
    return len(numbers)


def _kl(weights: dict[str, Tensor]) -> KL:
    levels = _count(weights, r"encoder\.down_blocks\.{}\.")
    widths = [len(weights[f"encoder.down_blocks.{i}.resnets.0.conv1.weight"]) for i in range(levels)]
    blocks = _count(weights, r"encoder\.down_blocks\.0\.resnets\.{}\.")
    latents = weights["decoder.conv_in.weight"].shape[1]
    return KL(kind="kl", latents=latents, widths=widths, blocks=blocks, quant="quant_conv.weight" in weights)


def _taesd(weights: dict[str, Tensor]) -> Taesd:
    """Its blocks stand between convolutions, one of which has a number in every size."""
    width = len(weights["encoder.layers.0.weight"])
    last = max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layers."))
    halvings = [i for i in range(1, last) if f"encoder.layers.{i}.weight" in weights]
    edges = [0, *halvings, last]
    counts = [after - before - 1 for before, after in pairwise(edges)]
    latents = len(weights[f"encoder.layers.{last}.weight"])
    return Taesd(kind="taesd", latents=latents, width=width, counts=counts)


def _both_halves(path: Path) -> dict[str, Tensor]:
    """TAESD's two files as diffusers has them in one: the decoder's first layer there has no weights, and no number here."""
    match = HALVES.fullmatch(path.name)
    if match is None:
        raise ModelError(
            f"{path} is half of an autoencoder; give the files as taesd_encoder.safetensors and taesd_decoder.safetensors"
        )
    result = {}
    for half, shift in (("encoder", 0), ("decoder", -1)):
        for name, tensor in _read(path.with_name(f"{match[1]}{half}{match[3]}")).items():
            number, _, rest = name.partition(".")
            result[f"{half}.layers.{int(number) + shift}.{rest}"] = tensor
    return result
