"""Published autoencoders: files as diffusers writes them, against its own classes on random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mezzotint.build import coder
from mezzotint.config import KL, Taesd
from mezzotint.disk.published import OLD_NAMES, place_of, read_published
from mezzotint.errors import ModelError

diffusers = pytest.importorskip("diffusers", reason="diffusers is the truth here, and is not installed")


def random_kl(**options: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"block_out_channels": (32, 64, 64), "layers_per_block": 1, **options}
    levels = len(sizes["block_out_channels"])
    blocks = {
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
    }
    return diffusers.AutoencoderKL(**sizes, **blocks).eval()


def compare(path: Path, theirs: Any, mean: Any, size: tuple[int, int] = (32, 48)) -> None:
    words, weights = read_published(path)
    ours = coder(words, 3).eval()
    ours.load_state_dict(weights)
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        z = mean(theirs.encode(x))
        again = theirs.decode(z).sample
        assert z.shape[-2:] == (size[0] // ours.factor, size[1] // ours.factor)
        assert (ours.encode(x) - z).abs().max() < 1e-5 and (ours.decode(z) - again).abs().max() < 1e-5


@pytest.mark.parametrize(
    "options", [{}, {"layers_per_block": 2, "block_out_channels": (32, 32)}, {"latent_channels": 16}]
)
def test_stable_diffusions(options: dict[str, Any], tmp_path: Path) -> None:
    theirs = random_kl(**options)
    theirs.save_pretrained(tmp_path)
    path = place_of(tmp_path)
    compare(path, theirs, lambda found: found.latent_dist.mean)
    words, _ = read_published(path)
    assert isinstance(words, KL) and words.latents == options.get("latent_channels", 4) and words.quant


def test_without_convolutions_about_the_code(tmp_path: Path) -> None:
    theirs = random_kl(use_quant_conv=False, use_post_quant_conv=False)
    theirs.save_pretrained(tmp_path)
    compare(place_of(tmp_path), theirs, lambda found: found.latent_dist.mean)


@pytest.mark.parametrize("convolutions", [False, True])
def test_the_older_names_of_attention(convolutions: bool, tmp_path: Path) -> None:
    theirs = random_kl()
    named: dict[str, Tensor] = {}
    for name, tensor in theirs.state_dict().items():
        for old, new in OLD_NAMES.items():
            name = name.replace(f".{new}.", f".{old}.") if ".attentions." in name else name
        flat = convolutions and ".attentions." in name and tensor.ndim == 2
        named[name] = (tensor[..., None, None] if flat else tensor).contiguous()
    assert any(".query." in name for name in named) and not any(".to_q." in name for name in named)
    save_file(named, tmp_path / "old.safetensors")
    compare(tmp_path / "old.safetensors", theirs, lambda found: found.latent_dist.mean)


def test_the_tiny_one_in_one_file_and_in_two(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderTiny().eval()
    theirs.save_pretrained(tmp_path / "one")
    compare(place_of(tmp_path / "one"), theirs, lambda found: found.latents)
    assert read_published(place_of(tmp_path / "one"))[0] == Taesd(kind="taesd")
    halves: dict[str, dict[str, Tensor]] = {"encoder": {}, "decoder": {}}
    for name, tensor in theirs.state_dict().items():
        half, _, number, rest = name.split(".", 3)
        halves[half][f"{int(number) + (half == 'decoder')}.{rest}"] = tensor  # behind a clamp
    for half, named in halves.items():
        save_file(named, tmp_path / f"taesd_{half}.safetensors")
    compare(place_of(tmp_path), theirs, lambda found: found.latents)
    compare(tmp_path / "taesd_decoder.safetensors", theirs, lambda found: found.latents)


def test_what_is_no_autoencoder_is_said(tmp_path: Path) -> None:
    whole = random_kl().state_dict()
    for named, reason in (
        ({"a": torch.zeros(1)}, "is not a supported autoencoder"),
        ({"0.weight": torch.zeros(1)}, "is half of an autoencoder"),
        ({k: t for k, t in whole.items() if k != "decoder.conv_in.weight"}, "is an incomplete autoencoder"),
    ):
        save_file(named, tmp_path / "odd.safetensors")
        with pytest.raises(ModelError, match=reason):
            read_published(tmp_path / "odd.safetensors")
    (tmp_path / "odd.safetensors").write_bytes(b"none")
    with pytest.raises(ModelError, match="damaged"):
        read_published(tmp_path / "odd.safetensors")
    with pytest.raises(ModelError, match="holds no autoencoder"):
        place_of(tmp_path)
