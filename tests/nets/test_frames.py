"""The network for clips: it starts as that for pictures, and its frames look at each other."""

import pytest
import torch

from mezzotint.nets.attention import TimeAttention
from mezzotint.nets.unet import UNet

SMALL = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (2,), "classes": 3}


def networks() -> tuple[UNet, UNet]:
    """For pictures, with weights where networks start silent, and for clips with these weights."""
    torch.manual_seed(0)
    pictures, clips = UNet(1, **SMALL), UNet(1, **SMALL, frames=5)
    with torch.no_grad():
        for weight in pictures.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    missing, unexpected = clips.load_state_dict(pictures.state_dict(), strict=False)
    assert not unexpected and missing and all(".time." in name for name in missing)
    return pictures.eval(), clips.eval()


def test_it_starts_as_the_network_for_pictures() -> None:
    pictures, clips = networks()
    x, level = torch.randn(2, 1, 5, 9, 8), torch.tensor([100.0, 700.0])  # an odd side is padded
    label = torch.tensor([0, 2])
    with torch.no_grad():
        out = clips(x, level, label)
        frames = pictures(
            x.transpose(1, 2).flatten(0, 1), level.repeat_interleave(5), label.repeat_interleave(5)
        )
    assert out.transpose(1, 2).flatten(0, 1).equal(frames)


def test_frames_look_at_each_other_and_know_their_order() -> None:
    _, clips = networks()
    x, level = torch.randn(1, 1, 5, 8, 8), torch.tensor([500.0])
    with torch.no_grad():
        for weight in clips.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
        out = clips(x, level)
        other = x.clone()
        other[:, :, 4] += 1
        assert (clips(other, level)[:, :, 0] - out[:, :, 0]).abs().max() > 1e-4
        turned = clips(x.flip(2), level).flip(2)
    assert (turned - out).abs().max() > 1e-4


def test_attention_over_frames_as_written() -> None:
    torch.manual_seed(1)
    layer = TimeAttention(8, 4, 3).double()
    with torch.no_grad():
        layer.out.weight.normal_()
    x = torch.randn(6, 8, 2, 2).double()
    h = layer.norm(x).reshape(2, 3, 8, 4).permute(0, 3, 1, 2) + layer.places
    q, k, v = layer.qkv(h).reshape(2, 4, 3, 3, 2, 4).unbind(3)
    weights = torch.einsum("bpihd,bpjhd->bphij", q, k).div(2).softmax(-1)
    h = layer.out(torch.einsum("bphij,bpjhd->bpihd", weights, v).reshape(2, 4, 3, 8))
    torch.testing.assert_close(layer(x), x + h.permute(0, 2, 3, 1).reshape(x.shape))


def test_other_numbers_of_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="clips of 5 frames"):
        networks()[1](torch.randn(1, 1, 4, 8, 8), torch.tensor([1.0]))
