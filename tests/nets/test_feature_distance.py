"""The distance of features against its closed form in cosines."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.nets.features import WIDTHS, FeatureNet


@pytest.fixture(scope="module")
def net() -> FeatureNet:
    torch.manual_seed(0)
    return FeatureNet(3, 5).requires_grad_(False).eval()


def pictures(*size: int) -> Tensor:
    return torch.rand(4, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (32, 32)])
def test_it_is_twice_one_minus_the_cosine_at_every_depth(net: FeatureNet, size: tuple[int, int]) -> None:
    """Squared distances of unit vectors are that; and nothing between a picture and itself."""
    x = pictures(*size)
    other = (x + 0.3 * x.flip(0)).clamp(-1, 1)
    expected = torch.zeros(4)
    for k, (a, b) in enumerate(zip(net.depths(x), net.depths(other))):
        assert a.shape == (4, WIDTHS[k], *(-(-side // 2**k) for side in size))
        seen = torch.minimum(a.norm(dim=1), b.norm(dim=1)) > 0.1
        assert seen.all(), "so that the closed form holds"
        expected += (2 - 2 * F.cosine_similarity(a, b, dim=1)).mean((1, 2))
    assert torch.allclose(net.distance(x, other), expected, atol=1e-5) and expected.min() > 0.01
    assert net.distance(x, x).abs().max() == 0
    assert net(x).shape == (4, 5)


def test_the_gradient_is_of_the_first_picture_and_finite_where_nothing_is_seen(net: FeatureNet) -> None:
    x = torch.cat([pictures(8, 8), torch.zeros(1, 3, 8, 8)]).requires_grad_()
    target = pictures(8, 8)[[1, 0, 3, 2, 0]].requires_grad_()
    net.distance(x, target).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad[:4].abs().flatten(1).max(1)[0].min() > 0
    assert target.grad is None
    step = x.detach() - 0.5 * x.grad
    assert (net.distance(step, target.detach()) < net.distance(x.detach(), target.detach()))[:4].all()
