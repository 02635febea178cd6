"""The autoencoder: its sizes, its shortcuts, the range of its codes."""

import pytest
import torch
from torch import nn

from mezzotint.nets.vae import VAE, Down, Up


@pytest.mark.parametrize(("factor", "size"), [(4, (8, 12)), (8, (16, 8)), (2, (6, 2))])
def test_codes_are_smaller_by_the_factor(factor: int, size: tuple[int, int]) -> None:
    net = VAE(3, factor=factor, latents=5, width=8)
    x = torch.randn(2, 3, *size)
    code = net.encode(x)
    assert code.shape == (2, 5, size[0] // factor, size[1] // factor)
    assert net.decode(code).shape == x.shape
    made, mean, log_variance = net(x, torch.zeros_like(code))
    assert torch.equal(mean, code) and log_variance.shape == code.shape
    assert torch.equal(made, net.decode(code)), "without noise it is the mean that is decoded"
    assert not torch.equal(made, net(x, torch.ones_like(code))[0])


@pytest.mark.parametrize("factor", [4, 8])
def test_it_is_small(factor: int) -> None:
    with torch.device("meta"):
        net = VAE(3, factor=factor)
    for part in (net.encoder, net.decoder):
        assert 0.6e6 < sum(p.numel() for p in part.parameters()) < 2e6


def test_shortcuts_keep_what_is_there() -> None:
    """Without what convolutions add, sizes change as pixels are sorted: exactly, where channels are as many as before."""
    down, up = Down(4, 16), Up(16, 4)
    for conv in (down.conv, up.conv):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    x = torch.randn(2, 4, 6, 8)
    assert torch.equal(up(down(x)), x)
    narrow, wide = Down(4, 8), Up(8, 4)
    for conv in (narrow.conv, wide.conv):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    means = wide(narrow(x)).unflatten(-1, (-1, 2)).mean(-1)
    assert torch.allclose(means, x.unflatten(-1, (-1, 2)).mean(-1), atol=1e-6), "means of neighbours"


def test_codes_are_taken_within_three() -> None:
    net = VAE(1, width=8)
    far = torch.tensor([3.0, -3.0, 30.0, 300.0])[:, None, None, None].expand(4, 4, 2, 2)
    assert torch.allclose(net.decode(far)[2], net.decode(far)[3])
    assert torch.allclose(net.decode(0.01 * far[:1]), net.decoder(0.01 * far[:1]), atol=1e-4)


def test_what_cannot_be_built_is_refused() -> None:
    for wrong in ({"factor": 3}, {"width": 10}):
        with pytest.raises(ValueError, match="must be 2, 4, 8 or 16"):
            VAE(3, **wrong)
