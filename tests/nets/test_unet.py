from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets import UNet, UNetSimple
from mezzotint.nets.attention import Attention, linear_attention
from mezzotint.nets.parts import group_norm, pad_to_multiple


@pytest.mark.parametrize(("height", "width"), [(3, 5), (9, 8)])  # few positions and many
def test_full_attention_is_a_softmax_over_positions(height: int, width: int) -> None:
    layer = Attention(12, head_channels=4, linear=False).double()
    nn.init.normal_(layer.out.weight)
    x = torch.randn(2, 12, height, width, dtype=torch.float64)
    # (B, heads, head_channels, positions)
    q, k, v = layer.qkv(layer.norm(x)).reshape(2, 3, 3, 4, -1).unbind(1)
    weights = torch.einsum("bhdi,bhdj->bhij", q, k).div(4**0.5).exp()
    weights = weights / weights.sum(-1, keepdim=True)
    h = torch.einsum("bhij,bhdj->bhdi", weights, v).reshape(x.shape)
    torch.testing.assert_close(layer(x), x + layer.out(h), rtol=1e-12, atol=1e-12)


def test_linear_attention_is_the_same_sum_over_pairs_of_positions() -> None:
    q, k, v = torch.randn(3, 2, 3, 7, 4, dtype=torch.float64)
    weights = torch.empty(2, 3, 7, 7, dtype=torch.float64)
    for i in range(7):
        for j in range(7):
            feature = q[..., i, :].exp() / q[..., i, :].exp().sum(-1, keepdim=True)
            position = k[..., j, :].exp() / k.exp().sum(-2)
            weights[..., i, j] = (feature * position).sum(-1)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 7, dtype=torch.float64))
    torch.testing.assert_close(linear_attention(q, k, v), weights @ v, rtol=1e-12, atol=1e-12)


def test_attention_is_linear_on_request() -> None:
    net = UNet(1, 8, (1, 1), 1, attention=(1, 2), linear_attention=True)
    layers = [module for module in net.modules() if isinstance(module, Attention)]
    assert len(layers) == 7 and all(layer.linear for layer in layers)


@pytest.mark.parametrize("linear", [False, True])
def test_attention_moves_with_its_positions(linear: bool) -> None:
    layer = Attention(8, head_channels=4, linear=linear).double()
    nn.init.normal_(layer.out.weight)
    x = torch.randn(1, 8, 4, 6, dtype=torch.float64)
    shuffle = torch.randperm(24)
    moved = layer(x.flatten(2)[..., shuffle].unflatten(2, (4, 6)))
    torch.testing.assert_close(moved.flatten(2), layer(x).flatten(2)[..., shuffle], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("patch", "attention", "levels"), [(1, (1, 4), [0, 2]), (2, (4,), [1]), (2, (2, 8), [0, 2])]
)
def test_attention_acts_at_the_factors_asked(
    patch: int, attention: tuple[int, ...], levels: list[int]
) -> None:
    net = UNet(1, 8, (1, 2, 2), 1, attention=attention, patch=patch)
    sizes: set[tuple[int, ...]] = set()
    for module in net.modules():
        if isinstance(module, Attention):
            module.register_forward_hook(lambda _, args, out: sizes.add(tuple(out.shape[2:])))
    net(torch.zeros(1, 1, 16, 32), torch.zeros(1))
    assert sizes == {(16 // factor, 32 // factor) for factor in attention}
    for i, (down, up) in enumerate(zip(net.down, reversed(net.up))):
        assert all(
            isinstance(stage.attention, Attention) == (i in levels) for stage in [*down.stages, *up.stages]
        )
    assert isinstance(net.middle[0].attention, Attention) == (2 in levels)


def test_moves_with_the_picture() -> None:
    """Away from the border, a shift of the input by the multiple is the same shift of the output."""
    x = torch.zeros(1, 1, 128, 128, dtype=torch.float64)
    x[..., 56:72, 56:72] = torch.randn(16, 16, dtype=torch.float64)
    for net in (UNetSimple(1, 8, 2).double(), UNet(1, 8, (1, 2), 1).double()):
        for module in net.modules():
            if isinstance(module, nn.GroupNorm):
                module.forward = lambda x: x  # its statistics see the whole picture, its border too
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.1)
        c_noise = torch.zeros(1, dtype=torch.float64)
        out, moved = net(x, c_noise), net(x.roll((2, 4), (2, 3)), c_noise)
        torch.testing.assert_close(moved[..., 52:76, 52:76], out.roll((2, 4), (2, 3))[..., 52:76, 52:76])
        assert (moved - out)[..., 52:76, 52:76].abs().max() > 1e-3


@pytest.mark.parametrize(
    "net", [UNetSimple(1, 8, 2), UNetSimple(1, 8, 2, down="stride"), UNet(1, 8, (1, 2), 1)]
)
def test_detail_passes_by_the_skips(net: nn.Module) -> None:
    """With the way through the lower level cut, one pixel still reaches its own place in the output."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.1)
    nn.init.zeros_((net.grow[0] if isinstance(net, UNetSimple) else net.up[0].leave[1]).weight)
    x = torch.randn(1, 1, 8, 8, requires_grad=True)
    net(x, torch.zeros(1))[0, 0, 4, 5].backward()
    assert x.grad is not None and x.grad[0, 0, 4, 5].abs() > 1e-4


def test_batch_norm_alone_mixes_a_batch_and_only_in_training() -> None:
    x, c_noise = torch.randn(4, 1, 8, 8), torch.ones(4)
    for norm, mixes in (("batch", True), ("group", False)):
        net = UNetSimple(1, 8, 2, norm=norm)
        nn.init.normal_(net.leave.weight)
        assert torch.allclose(net(x, c_noise)[:2], net(x[:2], c_noise[:2]), atol=1e-5) != mixes
        net.eval()
        assert torch.allclose(net(x, c_noise)[:2], net(x[:2], c_noise[:2]), atol=1e-5)


@pytest.mark.parametrize("down", ["pool", "stride"])
@pytest.mark.parametrize("levels", [2, 3, 4, 5])
def test_simple_levels_double_the_channels_and_halve_the_picture(
    levels: int, down: Literal["pool", "stride"]
) -> None:
    net = UNetSimple(1, 4, levels, down=down)
    shapes: list[tuple[int, ...]] = []
    for block in net.encoder:
        block.register_forward_hook(lambda _, args, out: shapes.append(tuple(out.shape[1:])))
    net(torch.zeros(1, 1, 32, 16), torch.zeros(1))
    assert shapes == [(4 * 2**i, 32 // 2**i, 16 // 2**i) for i in range(1, levels)]
    assert sum(isinstance(module, nn.MaxPool2d) for module in net.modules()) == (levels - 1) * (
        down == "pool"
    )


def test_patch_folds_squares_of_pixels_into_channels() -> None:
    net = UNet(3, 8, (1, 2), 1, patch=2)
    whole = UNet(12, 8, (1, 2), 1)
    nn.init.normal_(net.up[-1].leave[2].weight)
    whole.load_state_dict(dict(zip(whole.state_dict(), net.state_dict().values())))
    x = torch.randn(2, 3, 8, 8)
    folded = x.reshape(2, 3, 4, 2, 4, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, 12, 4, 4)
    out = whole(folded, torch.ones(2)).reshape(2, 3, 2, 2, 4, 4).permute(0, 1, 4, 2, 5, 3).reshape(2, 3, 8, 8)
    torch.testing.assert_close(net(x, torch.ones(2)), out)


def test_adaptive_group_norm() -> None:
    block = UNet(1, 8, (1,), 1).middle[0].block.double()
    nn.init.normal_(block.conv2.weight)
    x, emb = torch.randn(2, 8, 4, 4, dtype=torch.float64), torch.randn(2, 32, dtype=torch.float64)
    h = block.norm2(block.conv1(F.silu(block.norm1(x))))
    scale, shift = block.modulate(emb)[:, :8, None, None], block.modulate(emb)[:, 8:, None, None]
    torch.testing.assert_close(block(x, emb), x + block.conv2(F.silu(h + scale * h + shift)))


def test_dropout_acts_in_training_only() -> None:
    net = UNet(1, 8, (1,), 1, dropout=0.5)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.1)
    x, c_noise = torch.randn(2, 1, 8, 8), torch.zeros(2)
    assert not torch.equal(net(x, c_noise), net(x, c_noise))
    net.eval()
    assert torch.equal(net(x, c_noise), net(x, c_noise))


def test_group_norm_divides_any_number_of_channels() -> None:
    for channels in range(1, 300):
        groups = group_norm(channels).num_groups  # torch refuses a number that does not divide
        assert groups <= 32 and channels // groups >= min(4, channels)
    assert [group_norm(channels).num_groups for channels in (32, 64, 128, 512)] == [8, 16, 32, 32]


def test_pictures_are_padded_to_what_the_levels_need_and_no_further() -> None:
    assert [
        UNet(1, 8, (1,) * levels, 1, patch=patch).multiple for levels, patch in ((1, 1), (3, 1), (2, 2))
    ] == [1, 4, 4]
    assert [UNetSimple(1, 4, levels).multiple for levels in (2, 5)] == [2, 16]
    x = torch.randn(1, 1, 8, 12)
    assert pad_to_multiple(x, 4)[0] is x
    padded, top, left = pad_to_multiple(x, 5)
    assert padded.shape == (1, 1, 10, 15) and torch.equal(padded[..., top : top + 8, left : left + 12], x)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"attention at \[8\].*\[1, 2, 4\]"):
        UNet(1, attention=(8,))
    with pytest.raises(ValueError, match="24 channels: head_channels=16"):
        UNet(1, 24, attention=(1,), head_channels=16)
    with pytest.raises(ValueError, match="levels"):
        UNetSimple(1, levels=6)


def test_sizes_from_half_a_million_to_fifty_million_parameters() -> None:
    with torch.device("meta"):
        nets = {
            471_780: UNet(1, 32, (1, 1), 2, attention=(4,), patch=2, classes=10),  # 28x28 grey, on a CPU
            3_071_756: UNet(3, 64, (1, 2), 1, attention=(4,), patch=2, classes=10),  # CIFAR-10, on a CPU
            52_475_907: UNet(3, 128, (1, 2, 2, 2), 3, attention=(2, 4)),  # CIFAR-10, as large as ADM's
            2_052_323: UNetSimple(3, 32, 4),  # 64x64
            5_494_028: UNet(3, 64, (1, 1, 2, 2), 1, attention=(8, 16), patch=2),  # 64x64
        }
    for parameters, net in nets.items():
        assert sum(parameter.numel() for parameter in net.parameters()) == parameters


def test_recomputing_changes_memory_and_nothing_else() -> None:
    """Activation checkpointing: the same output and gradients to the bit, fewer activations kept for the way back."""

    def kept(recompute: bool) -> tuple[Tensor, list[Tensor], int]:
        torch.manual_seed(0)
        net = UNet(1, width=8, multipliers=(1, 2), blocks=2, attention=(2,), dropout=0.2, recompute=recompute)
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.05 * torch.randn_like(p))
        sizes: list[int] = []

        def pack(t: Tensor) -> Tensor:
            sizes.append(t.numel())
            return t

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            out = net(torch.linspace(-1, 1, 4 * 64).view(4, 1, 8, 8), torch.arange(4.0))
        saved = sum(sizes)
        out.square().mean().backward()
        return out.detach(), [p.grad for p in net.parameters() if p.grad is not None], saved

    (out, gradients, many), (again, same, few) = kept(False), kept(True)
    assert torch.equal(out, again) and few < many / 3
    assert len(gradients) == len(same) and all(torch.equal(a, b) for a, b in zip(gradients, same))
