"""Low-rank adaptation against its definition."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mezzotint.train.lora import LowRank, adapt, adapter, merged, merged_state, with_adapter


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 16, 3, stride=2, padding=1, bias=False),
        nn.Flatten(), nn.Linear(16 * 16, 24), nn.Linear(24, 24),
    )  # fmt: skip


def moved(net: nn.Module) -> nn.Module:
    """As after training: B is no longer zero."""
    for part in net.modules():
        if isinstance(part, LowRank):
            with torch.no_grad():
                part.up.normal_()
    return net


def test_it_begins_as_it_was_and_learns_little() -> None:
    net, x = small(), torch.randn(2, 3, 8, 8)
    before, names = net(x), set(net.state_dict())
    share = adapt(net, 2, ["5.bias"])
    assert torch.equal(net(x), before)
    learnt = {name for name, weight in net.named_parameters() if weight.requires_grad}
    assert learnt == {f"{k}.{part}" for k in (0, 2, 4, 5) for part in ("down", "up")} | {"5.layer.bias"}
    total = sum(weight.numel() for weight in small().parameters())
    assert share == pytest.approx(sum(w.numel() for w in net.parameters() if w.requires_grad) / total)
    assert set(merged(net).state_dict()) == names == set(merged_state(net.state_dict()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_added_is_b_a_and_merging_changes_no_bit(dtype: torch.dtype) -> None:
    plain, x = small(), torch.randn(2, 3, 8, 8)
    net = copy.deepcopy(plain)
    adapt(net, 2, [])
    moved(net)
    last = net[5]
    assert isinstance(last, LowRank) and isinstance(plain[5], nn.Linear)
    h = torch.randn(4, 24)
    assert torch.allclose(last(h), plain[5](h) + h @ last.down.T @ last.up.T, atol=1e-4)
    first = net[0]
    assert isinstance(first, LowRank)
    unfolded = F.unfold(x, 3, padding=1)  # the patches, as columns
    more = (first.up @ first.down @ unfolded).view(2, 16, 8, 8)
    assert torch.allclose(first(x), plain[0](x) + more, atol=1e-4)

    whole = merged(net)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        assert torch.equal(whole(x), net(x))
    assert isinstance(net[0], LowRank)  # merging is of a copy
    state, copied = merged_state(net.state_dict()), merged(net).state_dict()
    assert all(torch.equal(state[name], copied[name]) for name in copied)
    fresh = small()
    fresh.load_state_dict(with_adapter(plain.state_dict(), adapter(net, [])))
    assert all(torch.equal(fresh.state_dict()[name], copied[name]) for name in copied)


def test_it_is_small_and_leaves_what_was_frozen() -> None:
    net = small()
    net[4].requires_grad_(False)
    adapt(net, 1, [])
    assert isinstance(net[4], nn.Linear) and isinstance(net[5], LowRank)
    numbers = sum(tensor.numel() for tensor in adapter(net, []).values())
    assert numbers == (16 + 27) + (16 + 144) + (24 + 24)
