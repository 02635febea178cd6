"""Networks that know words: their places count, padding does not, and no text is a text like any other."""

import pytest
import torch
from torch import nn

from mezzotint.nets.attention import Attention, Words
from mezzotint.nets.parts import Coordinates
from mezzotint.nets.text import PADDING, START, TextEncoder
from mezzotint.nets.unet import UNet

TEXTS = torch.tensor([[START, 5, 3, 4, 0, 0], [START, 4, 3, 5, 0, 0], [START, 0, 0, 0, 0, 0]])


def lively(net: nn.Module) -> nn.Module:
    """With weights where networks start silent."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return net.double().eval()


def test_words_have_places_and_padding_says_nothing() -> None:
    encode = lively(TextEncoder(8, 6, width=16))
    vectors, there = encode(TEXTS)
    assert there.tolist() == [[True] * 4 + [False] * 2] * 2 + [[True] + [False] * 5]
    assert (vectors[0, 0] - vectors[1, 0]).abs().max() > 1e-3  # "a left of b" is not "b left of a"
    assert vectors[0, 1:3].equal(
        encode(torch.tensor([[START, 5, 3, 6, 7, 0]]))[0][0, 1:3]
    )  # of what comes after
    before = encode(TEXTS[:1])[0][:, :4]
    with torch.no_grad():
        encode.table[PADDING] += 10.0
    torch.testing.assert_close(encode(TEXTS[:1])[0][:, :4], before, rtol=0, atol=1e-12)


def test_order_is_what_places_and_looking_back_tell() -> None:
    """One layer without places, asked by its last word, holds a bag of words; with places, or two layers, it does not."""
    texts = torch.tensor([[START, 5, 3, 4, 6], [START, 3, 5, 4, 6]])
    for layers, places, alike in ((1, False, True), (1, True, False), (2, False, False)):
        encode = lively(TextEncoder(8, 5, width=16, layers=layers))
        if not places:
            with torch.no_grad():
                encode.places.zero_()
        first, second = encode(texts)[0][:, 0]
        assert ((first - second).abs().max() < 1e-12) == alike, (layers, places)


def test_coordinates() -> None:
    """They tell every position from every other, at any size; rows and columns the same way."""
    for height, width in ((4, 4), (3, 7), (1, 5), (64, 64)):
        found = Coordinates.features(height, width, torch.device("cpu"))[0]
        assert found.shape == (16, height, width)
        flat = found.flatten(1).T
        distance = torch.cdist(flat, flat) + 9 * torch.eye(len(flat))
        assert len(flat) == 1 or distance.min() > 0.01
    square = Coordinates.features(6, 6, torch.device("cpu"))[0]
    torch.testing.assert_close(square[:8], square[8:].mT)
    torch.testing.assert_close(square[0, :, 0], torch.sin(torch.linspace(-1, 1, 6) * torch.pi / 2))


@pytest.mark.parametrize("side", [4, 9])  # few positions, and many, which go through the fused kernel
def test_attention_to_words_is_a_softmax_over_positions_and_words(side: int) -> None:
    layer = lively(Attention(12, head_channels=4, linear=False, text_width=5))
    x, vectors = torch.randn(2, 12, side, side).double(), torch.randn(2, 3, 5).double()
    there = torch.tensor([[True, True, False], [True, False, False]])
    q, k, v = (
        layer.qkv(layer.norm(x)).reshape(2, 3, 3, 4, -1).unbind(1)
    )  # (B, heads, head_channels, positions)
    more_k, more_v = layer.words(vectors).reshape(2, 3, 2, 3, 4).permute(2, 0, 3, 4, 1)
    k, v = torch.cat([k, more_k], -1), torch.cat([v, more_v], -1)
    weights = torch.einsum("bhdi,bhdj->bhij", q, k).div(4**0.5).exp()
    weights[..., -3:] *= there[:, None, None]
    weights = weights / weights.sum(-1, keepdim=True)
    h = torch.einsum("bhij,bhdj->bhdi", weights, v).reshape(x.shape)
    torch.testing.assert_close(layer(x, Words(vectors, there)), x + layer.out(h), rtol=1e-10, atol=1e-10)


def test_a_network_with_words() -> None:
    net = lively(UNet(3, 8, (1, 2), 1, attention=(1, 2), words=8, length=6))
    x, level = torch.randn(1, 3, 8, 8).double().expand(3, 3, 8, 8), torch.full((3,), 500.0).double()
    out = net(x, level, text=TEXTS)
    assert out.isfinite().all() and (out[0] - out[1]).abs().max() > 1e-6 < (out[0] - out[2]).abs().max()
    assert net(x, level)[2].equal(net(x, level, text=TEXTS[2:].expand(3, 6))[2])  # none is the empty text
    alone = net(x[:1], level[:1], text=TEXTS[:1])
    torch.testing.assert_close(alone, out[:1], rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="takes no words"):
        UNet(3, 8, (1,), 1)(x.float(), level.float(), text=TEXTS)
    with pytest.raises(ValueError, match="linear attention cannot attend to words"):
        UNet(3, 8, (1,), 1, attention=(1,), linear_attention=True, words=8, length=6)


def test_every_weight_of_words_is_learnt_and_recomputing_changes_nothing() -> None:
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        net = UNet(3, 8, (1, 2), 1, attention=(1, 2), words=8, length=6, recompute=recompute)
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        x = torch.ones(3, 3, 8, 8)
        (net(x, torch.ones(3), text=TEXTS).square().sum() + net.sketched(x, text=TEXTS).sum()).backward()
        found = {name: weight.grad for name, weight in net.named_parameters()}
        assert all(grad is not None and grad.abs().sum() > 0 for grad in found.values()), found.keys()
        gradients.append(found)
    for name, grad in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], grad)
