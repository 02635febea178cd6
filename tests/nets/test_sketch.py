"""The sketch of a text is the mean of what it means, and is learnt beside the objective, not by it."""

import torch
from torch import Tensor, nn

from mezzotint.cond import Cond
from mezzotint.nets.dit import DiT
from mezzotint.nets.sketch import SIDE, Sketch
from mezzotint.nets.text import WIDTH, TextEncoder
from mezzotint.nets.unet import UNet
from mezzotint.train.sketching import WEIGHT, Sketched

ORDERS = torch.tensor([[1, 2, 3, 0], [1, 3, 2, 0], [1, 2, 0, 0], [1, 0, 0, 0]])


def test_it_learns_the_mean_of_what_a_text_means_and_the_order_of_its_words() -> None:
    """ "a b" and "b a" are opposite halves; "a" is either, so grey; no text is anything."""
    torch.manual_seed(0)
    encoder, sketch = TextEncoder(4, 4), Sketch(1, WIDTH, 8)
    left = torch.cat([torch.ones(8, 4), -torch.ones(8, 4)], 1)[None]
    means = torch.stack([left, -left, 0 * left, 0 * left])
    optimizer = torch.optim.Adam([*encoder.parameters(), *sketch.parameters()], 2e-3)
    for _ in range(80):
        coin = torch.randint(2, (64, 1, 1, 1)) * 2 - 1.0
        text = torch.randint(4, (64,))
        x0 = torch.where((text < 2)[:, None, None, None], means[text], coin * left)
        optimizer.zero_grad()
        sketch.loss(x0, *encoder(ORDERS[text])).mean().backward()
        optimizer.step()
    drawn = sketch(*encoder(ORDERS))
    assert drawn.shape == (4, 1, SIDE, SIDE)
    assert (drawn - nn.functional.adaptive_avg_pool2d(means, SIDE)).abs().max() < 0.35


def networks() -> list[tuple[nn.Module, tuple[int, ...]]]:
    torch.manual_seed(0)
    nets: list[tuple[nn.Module, tuple[int, ...]]] = [
        (UNet(2, 8, (1, 2), 1, patch=2, attention=(4,), words=4, length=4), (4, 2, 10, 6)),
        (UNet(2, 8, (1,), 1, attention=(1,), words=4, length=4, frames=3), (4, 2, 3, 4, 4)),
        (DiT(2, 16, 1, head_channels=8, patch=2, words=4, length=4), (4, 2, 9, 6)),
        (DiT(2, 16, 1, head_channels=8, patch=(1, 2, 2), axes=3, words=4, length=4), (4, 2, 3, 4, 4)),
    ]
    for net, _ in nets:
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    return nets


def test_networks_are_given_it_and_do_not_change_it() -> None:
    for net, shape in networks():
        x, told = torch.randn(shape), torch.rand(4) * 1000
        out = net(x, told, text=ORDERS)
        out.square().sum().backward()
        learnt = {name for name, weight in net.sketch.named_parameters() if weight.grad is not None}  # type: ignore[union-attr]
        assert learnt == {"join.weight", "join.bias"}
        with torch.no_grad():
            net.sketch.leave.bias.add_(1)  # type: ignore[union-attr]
            assert (net(x, told, text=ORDERS) - out).abs().max() > 1e-3


def test_the_number_is_the_objectives_and_the_gradient_that_of_both() -> None:
    for net, shape in networks():

        def objective(x0: Tensor, eps: Tensor, u: Tensor, cond: Cond, net: nn.Module = net) -> Tensor:
            return net(x0, u.float(), **cond.inputs()).square().flatten(1).mean(1)

        x0, u, cond = torch.randn(shape), torch.rand(4, dtype=torch.float64), Cond(text=ORDERS)
        with torch.no_grad():
            alone = objective(x0, x0, u, cond)
        both = Sketched(objective, net)(x0, x0, u, cond)
        assert torch.equal(both, alone)
        both.sum().backward()
        found = {name: weight.grad for name, weight in net.named_parameters()}
        net.zero_grad()
        (objective(x0, x0, u, cond) + WEIGHT * net.sketched(x0, text=ORDERS)).sum().backward()  # type: ignore[operator]
        for name, weight in net.named_parameters():
            torch.testing.assert_close(found[name], weight.grad, rtol=1e-4, atol=1e-5)
