"""Vectors of a frozen encoder, which networks look at: what is not there has no effect, and no text is the empty text."""

import pytest
import torch

from mezzotint.nets.context import Context
from mezzotint.nets.unet import UNet


def lively(net: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return net.double().eval()


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 2 + [False] * 4, [False] * 6])
    return torch.randn(3, 6, 5).double() * mask[..., None], mask


def test_what_is_not_there_has_no_effect() -> None:
    net, (context, mask) = lively(Context(5, 6, 8)), rows()
    vectors, there = net(context, mask, 3)
    assert vectors.shape == (3, 7, 8) and there.tolist() == [[True, *row] for row in mask.tolist()]
    shorter, _ = net(context[1:2, :2], mask[1:2, :2], 1)
    torch.testing.assert_close(shorter, vectors[1:2, :3])  # padding counts in no mean
    noise = context + 9 * torch.randn_like(context) * ~mask[..., None]
    other, _ = net(noise, mask, 3)
    assert other[there].equal(vectors[there])
    assert net(None, None, 3)[0].equal(net(torch.zeros_like(context), torch.zeros_like(mask), 3)[0])


def test_a_network_looks_at_context() -> None:
    net, (context, mask) = lively(UNet(3, 8, (1, 2), 1, attention=(1, 2), context=5, length=6)), rows()
    x, level = torch.randn(1, 3, 8, 8).double().expand(3, 3, 8, 8), torch.full((3,), 500.0).double()
    out = net(x, level, context=context, context_mask=mask)
    assert (out[0] - out[1]).abs().max() > 1e-6 < (out[0] - out[2]).abs().max()
    nothing = net(x, level, context=torch.zeros_like(context), context_mask=torch.zeros_like(mask))
    assert net(x, level).equal(nothing)
    alone = net(x[:1], level[:1], context=context[:1], context_mask=mask[:1])
    torch.testing.assert_close(alone, out[:1], rtol=0, atol=1e-12)
    swapped = context[:1, [1, 0, 2, 3, 4, 5]]  # places are the encoder's to tell: here none are
    torch.testing.assert_close(net(x[:1], level[:1], context=swapped, context_mask=mask[:1]), out[:1])
    beside = net.sketched(x, context=context, context_mask=mask)
    (out.square().sum() + beside.sum()).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.parameters())
    with pytest.raises(ValueError, match="takes no context"):
        UNet(3, 8, (1,), 1)(x.float(), level.float(), context=context, context_mask=mask)
