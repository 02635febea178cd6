"""What an autoencoder minimises, against closed forms and a codec that is equivariant by itself."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.cond import NO_COND
from mezzotint.diffusion.loss import stratified
from mezzotint.train.autoencode import KL, AutoencodeLoss, difference, pyramid, transform


class Plain(nn.Module):
    """Codes are pictures, of factor 1, with moments that are given."""

    def __init__(self, mean: float = 0.0, log_variance: float = 0.0, gain: float = 1.0) -> None:
        super().__init__()
        self.mean, self.log_variance = mean, log_variance
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x: Tensor, eps: Tensor, change: Any) -> tuple[Tensor, Tensor, Tensor]:
        assert eps.shape == x.shape
        full = torch.full_like(x, self.mean), torch.full_like(x, self.log_variance)
        return change(self.gain * x), *full


def batch(n: int = 6, size: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    x = torch.rand(n, 3, size, size, generator=random) * 2 - 1
    return x, torch.randn(x.shape, generator=random), torch.linspace(0.01, 0.99, n, dtype=torch.float64)


@pytest.mark.parametrize("first", [0.1, 0.2, 0.3, 0.4, 0.5, 0.7])
def test_an_equivariant_codec_has_no_error(first: float) -> None:
    """Whatever is done to its codes is what is done to the pictures, so that nothing is left but the divergence: none of standard
    normal codes, and its closed form of others."""
    x, eps, u = batch()
    u[0] = (3 + first + 0.01) * 2**-20
    assert AutoencodeLoss(Plain(), 1, 3)(x, eps, u, NO_COND).abs().max() < 1e-6
    mean, log_variance = 0.7, math.log(0.25)
    found = AutoencodeLoss(Plain(mean, log_variance), 1, 3)(x, eps, u, NO_COND)
    divergence = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, 0.5), torch.distributions.Normal(0.0, 1.0)
    )
    assert torch.allclose(found, KL * divergence.expand(len(x)), rtol=1e-4)
    loss = AutoencodeLoss(Plain(gain=0.9), 1, 3)
    loss(x, eps, u, NO_COND).mean().backward()
    gain = next(loss.net.parameters())
    assert gain.grad is not None and gain.grad < 0, "towards 1"


def test_half_of_the_steps_change_codes_and_every_change_has_its_turn() -> None:
    """Of batches as training draws them, whichever rows of one are asked about together."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 8, 8, generator=random)
    same, turned, heights = 0, [0] * 4, set()
    for _ in range(600):
        u = stratified(torch.rand(32, dtype=torch.float64, generator=random))[3::4]
        codes, pictures = transform(u, (8, 8), 4)
        changed = codes(x)
        again = transform(torch.cat([u[:1], 1 - u[1:]]), (8, 8), 4)[0](x)
        assert torch.equal(changed, again), "the first row decides"
        large = pictures(x.repeat_interleave(4, -1).repeat_interleave(4, -2))
        both = torch.stack([F.avg_pool2d(large, 4).flatten(), changed.flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.7, "pictures are changed as codes are"
        if torch.equal(changed, x):
            same += 1
            continue
        heights.add(changed.shape[-2])
        small = F.interpolate(x, changed.shape[-2:], mode="bilinear", antialias=True)
        turned[[torch.equal(small.rot90(k, (-2, -1)), changed) for k in range(4)].index(True)] += 1
    assert 240 < same < 360 and min(turned) > 40 and heights == set(range(2, 9))


def test_a_pyramid_is_the_picture_in_parts() -> None:
    for size in ((16, 16), (5, 7), (3, 9), (1, 1)):
        x = torch.randn(2, 3, *size)
        *bands, y = pyramid(x)
        for band in reversed(bands):
            y = band + F.interpolate(y, band.shape[-2:], mode="bilinear")
        assert torch.allclose(y, x, atol=1e-6)
    flat = pyramid(torch.full((1, 1, 16, 16), 0.3))
    assert [tuple(band.shape[-2:]) for band in flat] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert all(band.abs().max() < 1e-6 for band in flat[:-1]), "what is even is in the rest alone"


def test_an_error_that_many_pixels_share_is_dearer() -> None:
    """A shift of brightness of as much as a checkerboard in absolute values is one of all levels, not of the finest alone."""
    x = torch.zeros(1, 1, 32, 32)
    shift = x + 0.1
    checkers = 0.1 * (1 - 2 * ((torch.arange(32)[:, None] + torch.arange(32)) % 2).float())[None, None]
    no_gradients = [float(pyramid(error)[-1].abs().mean()) for error in (shift, checkers)]
    assert no_gradients[0] == pytest.approx(0.1, rel=1e-4) and no_gradients[1] < 0.01
    assert float(difference(shift, x)) == pytest.approx(0.1 + 0.1, rel=1e-4), "its pixels and the rest"
    assert float(difference(checkers, x)) > 0.1 + 2 * 0.19, "its pixels, its gradients of 0.2, the first band"
