"""What every network must hold to, whatever is inside it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mezzotint.nets import MLP, DiT, UNet, UNet2D, UNetSimple

SIMPLE = {
    "simple": lambda classes: UNetSimple(1, width=8, levels=3, classes=classes),
    "simple-stride": lambda classes: UNetSimple(1, width=8, levels=2, down="stride", classes=classes),
    "simple-batch": lambda classes: UNetSimple(1, width=8, levels=3, norm="batch", classes=classes),
}
FULL = {
    "full": lambda classes: UNet(1, width=8, multipliers=(1, 2), blocks=1, classes=classes),
    "full-attention": lambda classes: UNet(
        1, 8, (1, 2, 2), 1, attention=(2, 4), head_channels=8, classes=classes
    ),
    "full-linear": lambda classes: UNet(
        1, 8, (1, 2), 1, attention=(1, 2), linear_attention=True, classes=classes
    ),
    "full-patch": lambda classes: UNet(1, 8, (1, 2), 1, attention=(4,), patch=2, classes=classes),
}
PUBLISHED = {
    "unet2d": lambda classes: UNet2D(
        1, (8, 16), 1, (2,), (1,), head_channels=4, groups=4, middle_groups=2, classes=classes
    ),
    "unet2d-scale": lambda classes: UNet2D(
        1, (8, 8), 1, groups=2, middle_groups=None, modulation="scale_shift", padding=0, classes=classes
    ),
}
TRANSFORMER = {"dit": lambda classes: DiT(1, 16, 2, head_channels=8, patch=4, classes=classes)}
PICTURES = SIMPLE | FULL | PUBLISHED | TRANSFORMER
EVERY = PICTURES | {"mlp": lambda classes: MLP(2, width=16, depth=2, classes=classes)}

Make = Callable[[int], nn.Module]


def cases(table: dict[str, Make]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", table.values(), ids=table.keys())


def awake(net: nn.Module) -> nn.Module:
    """The network with random numbers where it starts with zeros (or with ones, in its norms)."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.std(correction=0) == 0:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return net


def inputs(net: nn.Module, rows: int = 3, size: tuple[int, int] = (9, 12)) -> tuple[Tensor, Tensor]:
    shape = (2,) if isinstance(net, MLP) else (1, *size)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, *shape, generator=generator, dtype=torch.float64)
    return x, torch.linspace(-1, 30, rows, dtype=torch.float64)


@cases(EVERY)
def test_starts_at_zero(make: Make) -> None:
    net = make(3)
    x, c_noise = (tensor.float() for tensor in inputs(net))
    assert torch.equal(net(x, c_noise, torch.tensor([0, 1, 3])), torch.zeros_like(x))


@cases(EVERY)
def test_level_and_class_reach_the_output_and_null_is_no_label(make: Make) -> None:
    net = awake(make(3).double().eval())
    x, c_noise = inputs(net, rows=1)
    out = net(x, c_noise, torch.tensor([0]))
    assert out.shape == x.shape and out.dtype == x.dtype
    for other in (
        net(x, c_noise + 1, torch.tensor([0])),
        net(x, c_noise, torch.tensor([1])),
        net(x, c_noise),
    ):
        assert (other - out).abs().max() > 1e-6
    assert torch.equal(net(x, c_noise), net(x, c_noise, torch.tensor([3])))


@cases(EVERY)
def test_unconditional_refuses_a_label(make: Make) -> None:
    net = make(0)
    x, c_noise = (tensor.float() for tensor in inputs(net))
    assert net(x, c_noise).shape == x.shape
    with pytest.raises(ValueError, match="no classes"):
        net(x, c_noise, torch.tensor([0, 0, 0]))


@cases(EVERY)
def test_a_row_alone_is_the_row_in_its_batch(make: Make) -> None:
    net = awake(make(3).double().eval())
    x, c_noise = inputs(net, rows=4)
    label = torch.tensor([0, 3, 1, 1])
    batch = net(x, c_noise, label)
    for i in range(4):
        row = slice(i, i + 1)
        torch.testing.assert_close(net(x[row], c_noise[row], label[row]), batch[row], rtol=1e-12, atol=1e-12)


@cases(PICTURES)
def test_other_sizes_equal_a_picture_padded_by_hand(make: Make) -> None:
    net = awake(make(0).double().eval())
    x, c_noise = inputs(net, size=(10, 13))
    rows, columns = -10 % net.multiple, -13 % net.multiple
    top, left = rows // 2, columns // 2
    # The reflection written out: index -1 is 1, index n is n - 2.
    mirror = lambda n, before, after: [n - 1 - abs(n - 1 - abs(i)) for i in range(-before, n + after)]  # noqa: E731
    by_hand = x[:, :, mirror(10, top, rows - top)][:, :, :, mirror(13, left, columns - left)]
    expected = net(by_hand, c_noise)[:, :, top : top + 10, left : left + 13]
    torch.testing.assert_close(net(x, c_noise), expected, rtol=1e-12, atol=1e-12)


@cases(PICTURES)
def test_every_size_works(make: Make) -> None:
    net = awake(make(0).eval())
    c_noise = torch.ones(1)
    with torch.no_grad():
        for height in (1, 5, 6, 7, 16, 29, 34):
            for width in (1, 5, 8, 30, height):
                x = torch.randn(1, 1, height, width)
                out = net(x, c_noise)
                assert out.shape == x.shape and out.isfinite().all()


@cases(EVERY)
def test_backward_repeats_bit_for_bit(make: Make) -> None:
    net = awake(make(3))
    x, c_noise = (tensor.float() for tensor in inputs(net, rows=16))
    label = torch.arange(16) % 4

    def gradients() -> list[Tensor]:
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            out = net(x, c_noise, label)
        out.float().square().mean().backward()
        return [parameter.grad.clone() for parameter in net.parameters()]

    first, second = gradients(), gradients()
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    assert all(g.isfinite().all() and g.any() for g in first)  # and every parameter takes part


@cases(EVERY)
def test_autocast_is_close_to_float32(make: Make) -> None:
    net = awake(make(3).eval())
    x, c_noise = (tensor.float() for tensor in inputs(net))
    exact = net(x, c_noise)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(x, c_noise)
    assert half.dtype == torch.bfloat16
    assert (half - exact).norm() < 0.05 * exact.norm()


@cases(EVERY)
def test_gradients_are_those_of_finite_differences(make: Make) -> None:
    net = awake(make(2).double().eval())
    x, c_noise = inputs(net, rows=2, size=(5, 6))
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: net(x, c_noise, torch.tensor([0, 2])), x, fast_mode=True)


@cases({name: EVERY[name] for name in ("mlp", "simple", "full-attention", "full-patch", "dit")})
def test_compiles_without_a_graph_break(make: Make) -> None:
    net = awake(make(3).eval())
    x, c_noise = (tensor.float() for tensor in inputs(net))
    label = torch.tensor([0, 3, 1])
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, c_noise, label), net(x, c_noise, label))


@cases(EVERY)
def test_learns_one_batch_by_heart(make: Make) -> None:
    net = make(4)
    x, c_noise = (tensor.float() for tensor in inputs(net, rows=4, size=(8, 8)))
    target = torch.randn(x.shape)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = (net(x, c_noise, torch.arange(4)) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < losses[0] / 10:
            return
    pytest.fail(f"from {losses[0]:.3f} to {losses[-1]:.3f}")
