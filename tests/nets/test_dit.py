"""The transformer: against the published block, and what holds for any size and any number of axes."""

import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets.dit import Block, DiT, Enter, Leave, Places, SwiGLU, angles, rotate
from mezzotint.nets.text import START


def lively(net: nn.Module) -> nn.Module:
    """With weights where networks start silent."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return net.double().eval()


class Published(nn.Module):
    """The block of Peebles & Xie 2023, section 3.2 and figure 3, on PyTorch's own attention: layer norms without weights,
    modulated; one matrix of 6 width for shifts, scales and gates, behind a SiLU; an MLP four times as wide with a GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        six = self.modulation(F.silu(c)).reshape(len(x), 6, 1, -1)
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = (six[:, i] for i in range(6))

        def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
            mean, variance = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
            return (x - mean) / (variance + 1e-6).sqrt() * (1 + scale) + shift

        h = modulated(x, shift_msa, scale_msa)
        x = x + gate_msa * self.attention(h, h, h, need_weights=False)[0]
        h = self.outer(F.gelu(self.inner(modulated(x, shift_mlp, scale_mlp)), approximate="tanh"))
        return x + gate_mlp * h


def test_the_published_block_on_the_same_weights() -> None:
    """Norm, queries' and keys' size, places and MLP are of later work and have tests of their own; with the published ones in
    their place, what is left must be the published block: modulation, heads, scale, gates and skips."""
    published, ours = lively(Published(24, 3)), Block(24, 3).double()
    ours.norm1 = ours.norm2 = nn.LayerNorm(24, eps=1e-6, elementwise_affine=False)
    ours.attention.norm_q = ours.attention.norm_k = nn.Identity()
    ours.mlp = nn.Sequential(published.inner, nn.GELU(approximate="tanh"), published.outer)
    ours.attention.qkv.load_state_dict(
        {"weight": published.attention.in_proj_weight, "bias": published.attention.in_proj_bias}
    )
    ours.attention.out.load_state_dict(published.attention.out_proj.state_dict())
    ours.double()
    x, c = torch.randn(2, 10, 24).double(), torch.randn(2, 24).double()
    no_places = Places(torch.ones(3, 10, 4).double(), torch.zeros(3, 10, 4).double())
    six = published.modulation(F.silu(c)).unflatten(1, (6, 24))
    table = torch.randn(
        6, 24
    ).double()  # the part of a block that is shared, and the part that is its own, add up
    with torch.no_grad():
        ours.table.copy_(table)
    torch.testing.assert_close(ours(x, six - table, no_places), published(x, c), rtol=0, atol=1e-6)
    assert (ours(x, six, no_places) - published(x, c)).abs().max() > 0.1


def test_swiglu_and_the_norms_of_queries_and_keys() -> None:
    mlp = lively(SwiGLU(12))
    x = torch.randn(5, 12).double()
    w1, w2 = mlp.inner.weight.chunk(2)
    b1, b2 = mlp.inner.bias.chunk(2)
    a = x @ w1.T + b1
    by_hand = (a / (1 + (-a).exp()) * (x @ w2.T + b2)) @ mlp.outer.weight.T + mlp.outer.bias
    torch.testing.assert_close(mlp(x), by_hand)
    attention = lively(Block(16, 2)).attention
    q = torch.randn(3, 8).double()
    expected = q / (q.square().mean(-1, keepdim=True) + 1e-6).sqrt() * attention.norm_q.weight
    torch.testing.assert_close(attention.norm_q(q), expected)


def test_attention_looks_at_what_is_there() -> None:
    attention = lively(Block(16, 2)).attention
    x = torch.randn(1, 6, 16).double()
    there = torch.tensor([[True, True, False, True, False, True]])
    turn = torch.randn(2, 6, 4).double()
    out = attention(x, Places(turn.cos(), turn.sin(), there))
    few, kept = x[:, there[0]], turn[:, there[0]]
    torch.testing.assert_close(out[:, there[0]], attention(few, Places(kept.cos(), kept.sin())))


def test_products_of_turned_vectors_know_differences_of_places_alone() -> None:
    turn = angles((4, 6), 2, 8, torch.device("cpu")).double()
    q, k = torch.randn(2, 1, 2, 1, 8).double()
    at = lambda x: rotate(x.expand(1, 2, 24, 8), turn.cos(), turn.sin())  # noqa: E731
    products = (at(q) @ at(k).mT).view(2, 4, 6, 4, 6)  # heads, place of q, place of k
    torch.testing.assert_close(products[:, 0, 1, 2, 3], products[:, 1, 2, 3, 4], rtol=1e-5, atol=1e-5)
    assert (products[:, 0, 1, 2, 3] - products[:, 0, 1, 1, 3]).abs().min() > 1e-4
    torch.testing.assert_close(at(q).norm(dim=-1), q.norm(dim=-1).expand(1, 2, 24))


def test_places_carry_over_to_other_sizes() -> None:
    """The middle of a patch has the same angles in a grid of three times as many."""
    small, large = (angles((n, n), 2, 16, torch.device("cpu")).view(2, n, n, 8) for n in (4, 12))
    torch.testing.assert_close(large[:, 1::3, 1::3], small, rtol=1e-5, atol=1e-5)
    frequencies = (small[:, 0, 3, :] - small[:, 0, 0, :])[
        :, 4:
    ] / 1.5  # along the second axis, coordinates -0.75 to 0.75
    assert frequencies.unique().numel() == 8  # each head has its own
    assert 0.499 * math.pi < frequencies.min() and frequencies.max() < 4.001 * math.pi
    odd = angles((2, 3, 4), 2, 10, torch.device("cpu"))  # five pairs for three axes: two of them do not turn
    assert odd.shape == (2, 24, 5) and not odd[..., 3:].any()


def test_attention_says_the_same_about_a_smooth_thing_at_another_size() -> None:
    """Where a patch of the small grid lies, one of the large grid does, and its average over all others is the same
    integral, taken over finer steps. By numbers of patches in the place of coordinates it would be another one."""
    attention = lively(Block(16, 2)).attention

    def at(n: int, extent: float = 1.0) -> Tensor:
        middles = (torch.arange(n) + 0.5) * 2 / n - 1
        x = torch.sin(
            torch.cartesian_prod(middles, middles).double() @ torch.linspace(-2, 2, 32).double().view(2, 16)
        )
        turn = extent * angles((n, n), 2, 8, torch.device("cpu")).double()
        return attention(x[None], Places(turn.cos(), turn.sin()))[0].view(n, n, 16)

    small, large, stretched = at(12), at(36)[1::3, 1::3], at(36, extent=3.0)[1::3, 1::3]
    off = (large - small).norm() / (small - small.mean((0, 1))).norm()
    wrong = (stretched - small).norm() / (small - small.mean((0, 1))).norm()
    assert off < 0.1 and wrong > 1


@pytest.mark.parametrize("shape", [(3, 7), (2, 8, 12), (1, 4, 8, 6), (3, 5, 9, 7)])
def test_rows_pictures_and_clips_are_one_case(shape: tuple[int, ...]) -> None:
    axes = len(shape) - 1
    net = DiT(shape[0], 24, 2, head_channels=12, patch=(2, 4, 4)[-axes:], axes=axes, classes=2)
    x, level, label = (
        torch.randn(3, *shape).double(),
        torch.tensor([1.0, 200.0, 900.0]).double(),
        torch.tensor([0, 2, 1]),
    )
    assert torch.equal(net(x.float(), level.float(), label), torch.zeros(3, *shape))
    lively(net)
    out = net(x, level, label)
    assert out.shape == x.shape and out.isfinite().all()
    for i in range(3):
        torch.testing.assert_close(
            net(x[i : i + 1], level[i : i + 1], label[i : i + 1]), out[i : i + 1], rtol=0, atol=1e-6
        )
    moved = net(x.flip(-1), level, label)
    assert (moved.flip(-1) - out).abs().max() > 1e-4  # it knows left from right


PATCHES = [(3,), (2, 4), (1, 4, 2)]


@pytest.mark.parametrize("patch", PATCHES)
def test_patches_in_the_order_of_the_axes_see_half_a_patch_of_their_neighbours(
    patch: tuple[int, ...],
) -> None:
    enter = Enter(3, 8, patch)
    grid = tuple(i + 3 for i in range(len(patch)))
    x = torch.randn(2, 3, *(n * p for n, p in zip(grid, patch)))
    tokens = enter(x)
    assert tokens.shape == (2, math.prod(grid), 8)
    corner = (slice(None), slice(None), *(slice(p + p // 2, 2 * p) for p in patch))  # of patch 1, 1, ...
    x[corner] += 1
    moved = (enter(x) - tokens).abs().amax((0, 2)).view(grid) > 1e-6
    seen = torch.zeros(grid, dtype=torch.bool)
    seen[tuple(slice(1, 3) if p > 1 else slice(1, 2) for p in patch)] = True
    assert torch.equal(moved, seen)


@pytest.mark.parametrize("patch", PATCHES)
def test_what_patches_say_fades_into_their_neighbours_and_adds_up(patch: tuple[int, ...]) -> None:
    leave = Leave(4, 2, patch)
    grid = tuple(i + 3 for i in range(len(patch)))
    h = torch.ones(1, math.prod(grid), 4)
    assert torch.equal(leave(h, grid), torch.zeros(1, 2, *(n * p for n, p in zip(grid, patch))))
    with torch.no_grad():
        leave.weight[:] = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(-1, 1, *[1] * len(patch))
        leave.bias[:] = torch.tensor([1.0, 2.0])
    said = leave(h, grid)  # all say the same: no border is seen, at the ends either
    torch.testing.assert_close(said, torch.tensor([2.0, 3.0]).view(1, 2, *[1] * len(patch)).expand_as(said))
    one = torch.zeros(1, *grid, 4)
    one[(0, *[1] * len(grid))] = 1
    alone = leave(one.flatten(1, -2), grid)[0, 0] - 1
    for axis, p in enumerate(patch):
        line = alone.movedim(axis, 0).reshape(alone.shape[axis], -1).amax(1)
        assert line[: p - p // 2].abs().max() == 0 == line[2 * p + p // 2 :].abs().max()
        rise = line[p - p // 2 : p + p // 2]
        assert (rise.diff() > 0).all() and (p == 1 or rise[0] < 0.2 * rise[-1])


def test_text_is_tokens_of_which_padding_says_nothing() -> None:
    net = lively(DiT(3, 24, 2, head_channels=12, patch=4, classes=2, words=8, length=6))
    texts = torch.tensor([[START, 5, 3, 4, 0, 0], [START, 4, 3, 5, 0, 0], [START, 0, 0, 0, 0, 0]])
    x, level = torch.randn(1, 3, 8, 8).double().expand(3, 3, 8, 8), torch.full((3,), 500.0).double()
    out = net(x, level, text=texts)
    assert out.isfinite().all()  # also of the text that is padding alone
    assert (out[0] - out[1]).abs().max() > 1e-6 < (out[0] - out[2]).abs().max()
    torch.testing.assert_close(net(x, level)[2], out[2], rtol=0, atol=1e-12)  # none is the empty text
    with torch.no_grad():
        net.encoder.table[0] = 10 * torch.randn(96)  # of padding
    torch.testing.assert_close(net(x, level, text=texts), out, rtol=0, atol=1e-9)
    torch.testing.assert_close(net(x[:1], level[:1], text=texts[:1]), out[:1], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="takes no words"):
        DiT(3, 16, 1, head_channels=8)(x.float(), level.float(), text=texts)


def test_the_length_of_a_step_starts_at_nothing_and_reaches_the_output() -> None:
    net = DiT(1, 16, 1, head_channels=8, span=True)
    x, level = torch.randn(1, 1, 8, 8).double(), torch.ones(1).double()
    lively(net)
    assert torch.equal(net(x, level), net(x, level, span=torch.zeros(1).double()))
    assert (net(x, level) - net(x, level, span=torch.ones(1).double())).abs().max() > 1e-6
    with pytest.raises(ValueError, match="not a flow map"):
        DiT(1, 16, 1, head_channels=8)(x.float(), level.float(), span=torch.ones(1))


def test_recomputing_changes_memory_and_nothing_else() -> None:
    def kept(recompute: bool) -> tuple[Tensor, dict[str, Tensor], int]:
        torch.manual_seed(0)
        net = DiT(1, 16, 6, head_channels=8, patch=2, words=8, length=4, recompute=recompute)
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
        sizes: list[int] = []

        def pack(t: Tensor) -> Tensor:
            sizes.append(t.numel())
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            text = torch.tensor([[1, 2 + i, 4, 0] for i in range(4)])
            out = net(torch.linspace(-1, 1, 4 * 64).view(4, 1, 8, 8), torch.arange(4.0), text=text)
        (out.square().mean() + net.sketched(torch.ones(4, 1, 8, 8), text=text).mean()).backward()
        return out.detach(), {n: p.grad for n, p in net.named_parameters() if p.grad is not None}, sum(sizes)

    (out, gradients, many), (again, same, few) = kept(False), kept(True)
    assert torch.equal(out, again) and few < many / 1.8
    assert (
        len(gradients) == len(same) == len([*DiT(1, 16, 6, words=8, length=4, head_channels=8).parameters()])
    )
    assert all(torch.equal(gradients[name], same[name]) and same[name].any() for name in same)


def test_forward_mode_differentiates_it() -> None:
    """As the objective `meanflow` needs it, in the time."""
    net = lively(DiT(1, 16, 2, head_channels=8, patch=2, span=True))
    x, time = torch.randn(2, 1, 8, 8).double(), torch.tensor([0.3, 0.6]).double()
    slope = torch.func.jvp(lambda t: net(x, t), (time,), (torch.ones(2).double(),))[1]
    by_differences = (net(x, time + 1e-6) - net(x, time - 1e-6)) / 2e-6
    torch.testing.assert_close(slope, by_differences, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_compiled_it_says_the_same() -> None:
    net = DiT(1, 16, 1, head_channels=8, patch=4, classes=2)
    lively(net).float()
    x, level, label = torch.randn(2, 1, 8, 8), torch.tensor([1.0, 500.0]), torch.tensor([0, 2])
    torch.testing.assert_close(
        torch.compile(net)(x, level, label), net(x, level, label), rtol=1e-4, atol=1e-5
    )


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="head_channels=32 must be even and divide the width 48"):
        DiT(1, 48)
    with pytest.raises(ValueError, match="does not fit 3 axes"):
        DiT(1, 32, patch=(4, 4), axes=3)
