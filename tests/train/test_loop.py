"""The training loop: one step is one step however it is computed, and everything random is a function of (seed, step)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mezzotint.cond import NO_COND, Batch, Cond
from mezzotint.data.toy import points
from mezzotint.diffusion.denoiser import Denoiser
from mezzotint.diffusion.loss import DenoisingLoss
from mezzotint.diffusion.parameterization import velocity
from mezzotint.diffusion.process import flow
from mezzotint.diffusion.schedule import lognormal
from mezzotint.nets.mlp import MLP
from mezzotint.train import Ema, Progress, State, adamw, held_out_loss, train
from mezzotint.train.loop import draw

CLASSES = 2


@dataclass
class Recorder:
    """An objective that remembers what it was asked."""

    objective: DenoisingLoss
    calls: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = field(default_factory=list)

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond = NO_COND) -> Tensor:
        self.calls.append((x0, eps, u, cond.label))
        return self.objective(x0, eps, u, cond)


def parts(dtype: torch.dtype = torch.float32, length: float = 0.1) -> tuple[State, Recorder]:
    """A small network with its state and objective, the same at every call."""
    torch.manual_seed(0)
    net = MLP(width=16, depth=1, classes=CLASSES).to(dtype)
    with torch.no_grad():
        for p in net.parameters():  # the last layer would start at zero
            p.add_(0.1 * torch.randn_like(p))
    objective = DenoisingLoss(Denoiser(net, flow, velocity), lognormal(0.0, 1.0))
    return State(net, adamw(net, 1e-2), Ema(net, length)), Recorder(objective)


def batches(size: int = 32, start: int = 0, dtype: torch.dtype = torch.float32) -> Iterator[Batch]:
    for step in count(start):
        x0, label = points("moons", size, (0, step))
        yield Batch(x0.to(dtype), Cond(label=label))


def steps(state: State, objective: Any, until: int, **options: Any) -> list[Progress]:
    options = {"lr": lambda share: 1e-2, **options}
    dtype = next(state.net.parameters()).dtype
    given = batches(start=state.step, dtype=dtype)
    return list(train(objective, state, given, until=until, **options))


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


# --- one step --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("accumulate", [2, 5])
def test_a_batch_in_parts_is_the_whole_batch(dtype: torch.dtype, tolerance: float, accumulate: int) -> None:
    """5 does not divide 32: the parts are of unequal sizes, and still every picture counts the same."""
    (whole, one), (split, many) = parts(dtype), parts(dtype)
    a = steps(whole, one, 20)
    b = steps(split, many, 20, accumulate=accumulate)
    assert len(many.calls) == accumulate * 20
    assert (weights(whole.net) - weights(split.net)).abs().max() < tolerance
    assert (weights(whole.ema.net) - weights(split.ema.net)).abs().max() < tolerance
    for p, q in zip(a, b):
        assert float(p.loss) == pytest.approx(float(q.loss), rel=1e-5)
        assert float(p.grad_norm) == pytest.approx(float(q.grad_norm), rel=max(1e-4, tolerance))


def test_every_part_has_pictures_of_all_levels() -> None:
    """Levels are stratified along the batch: consecutive rows would give a batch norm one band of levels each."""
    state, objective = parts()
    steps(state, objective, 1, accumulate=4)
    for _, _, u, _ in objective.calls:
        assert len(u) == 8
        assert u.min() < 0.2 and u.max() > 0.8


def test_everything_counts_optimiser_steps() -> None:
    state, objective = parts()
    rates: list[float] = []

    def lr(share: float) -> float:
        rates.append(share)
        return 1e-3 * share

    done = steps(state, objective, 8, accumulate=4, lr=lr)
    assert [p.step for p in done] == list(range(1, 9)) and state.step == 8
    assert rates == [(i + 0.5) / 8 for i in range(8)]
    assert [p.lr for p in done] == [1e-3 * share for share in rates]
    assert all(group["lr"] == done[-1].lr for group in state.optimizer.param_groups)
    assert {int(entry["step"]) for entry in state.optimizer.state.values()} == {8}


def test_it_yields_after_the_optimiser_and_the_average() -> None:
    state, objective = parts()
    start = weights(state.net)
    running = train(objective, state, batches(), until=3, lr=lambda share: 1e-2)
    next(running)
    assert not torch.equal(weights(state.net), start)
    assert torch.equal(weights(state.ema.net), weights(state.net))  # the first update is a copy
    assert all(p.grad is None for p in state.net.parameters())
    next(running)
    first, now, average = start, weights(state.net), weights(state.ema.net)
    assert not torch.equal(average, now) and not torch.equal(average, first)


def test_it_takes_no_batch_more_than_it_needs() -> None:
    state, objective = parts()
    given = batches()
    list(train(objective, state, given, until=3, lr=lambda share: 1e-2))
    x0, _ = next(given)
    assert torch.equal(x0, points("moons", 32, (0, 3))[0])
    assert steps(state, objective, 3) == []  # nothing left to do


def test_data_that_ends_ends_the_training() -> None:
    state, objective = parts()
    few = [next(batches(start=i)) for i in range(2)]
    assert [p.step for p in train(objective, state, few, until=10, lr=lambda share: 1e-2)] == [1, 2]


@pytest.mark.parametrize("clip", [0.5, 1e-3, None, 1e6])
def test_the_gradient_is_clipped_to_a_norm(clip: float | None) -> None:
    """With plain gradient descent at rate 1 the weights move by the clipped gradient."""

    def moved(clip: float | None) -> tuple[Tensor, Progress]:
        state, objective = parts(torch.float64)
        state.optimizer = torch.optim.SGD(state.net.parameters(), lr=1.0)
        before = weights(state.net)
        (progress,) = steps(state, objective, 1, clip=clip, lr=lambda share: 1.0)
        return before - weights(state.net), progress

    whole, _ = moved(None)
    step, progress = moved(clip)
    norm = float(whole.norm())
    assert norm > 0.5  # so that the first two do clip
    assert float(progress.grad_norm) == pytest.approx(norm)  # what is told is the norm before
    expected = whole * min(1.0, (clip or float("inf")) / norm)
    torch.testing.assert_close(step, expected, rtol=1e-4, atol=1e-12)


def test_frozen_weights_stay() -> None:
    state, objective = parts()
    state.net.enter.requires_grad_(False)
    before = state.net.enter.weight.clone()
    steps(state, objective, 3)
    assert torch.equal(state.net.enter.weight, before)


# --- what is random --------------------------------------------------------------------------------------


def test_noise_and_levels_are_functions_of_seed_and_step() -> None:
    state, whole = parts()
    steps(state, whole, 6, seed=11)
    state, late = parts()
    state.step = 4
    steps(state, late, 6, seed=11)
    for (x0, eps, u, label), again in zip(whole.calls[4:], late.calls):
        assert torch.equal(x0, again[0]) and torch.equal(eps, again[1]) and torch.equal(u, again[2])
        assert label is not None and torch.equal(label, again[3])
    state, other = parts()
    steps(state, other, 6, seed=12)
    drawn = [calls.calls[i] for calls in (whole, other) for i in range(6)]
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert not (a[1] == b[1]).any() and not (a[2] == b[2]).any()


def test_noise_is_normal_and_levels_are_uniform() -> None:
    n, rounds = 256, 40
    drawn = [draw(3, step, torch.zeros(n, 4)) for step in range(rounds)]
    eps, u = torch.stack([d[0] for d in drawn]).double(), torch.stack([d[1] for d in drawn])
    assert abs(float(eps.mean())) < 4 / eps.numel() ** 0.5
    assert abs(float(eps.var()) - 1) < 4 * (2 / eps.numel()) ** 0.5
    assert u.dtype == torch.float64 and u.min() > 0 and u.max() < 1
    strata = torch.arange(n, dtype=torch.float64) / n
    assert ((u >= strata) & (u <= strata + 1 / n)).all()  # one in every n-th part of (0, 1)
    inside = (u - strata) * n
    assert abs(float(inside.mean()) - 0.5) < 4 * (1 / 12 / inside.numel()) ** 0.5


def test_labels_are_dropped_at_the_rate_asked_and_become_none() -> None:
    n, rate = 20_000, 0.15
    label = torch.arange(n) % CLASSES
    null = Cond(label=torch.tensor([CLASSES]))
    given = draw(0, 5, torch.zeros(n, 2), Cond(label=label), rate, null)[2].label
    assert given is not None
    dropped = given == CLASSES
    assert abs(float(dropped.double().mean()) - rate) < 4 * (rate * (1 - rate) / n) ** 0.5
    assert torch.equal(given[~dropped], label[~dropped])  # the others are untouched
    again = draw(0, 6, torch.zeros(n, 2), Cond(label=label), rate, null)[2].label
    assert again is not None and not torch.equal(again == CLASSES, dropped)
    third = n // 3  # whatever the row, since rows are levels
    assert abs(float(dropped[:third].double().mean() - dropped[-third:].double().mean())) < 0.03


def test_labels_are_dropped_only_in_training() -> None:
    state, objective = parts()
    steps(state, objective, 30, drop=0.5, null=Cond(label=torch.tensor([CLASSES])))
    seen = torch.cat([label for *_, label in objective.calls if label is not None])
    assert 0.4 < float((seen == CLASSES).double().mean()) < 0.6
    objective.calls.clear()
    steps(state, objective, 33)
    held_out_loss(objective, [next(batches(start=i)) for i in range(3)])
    assert len(objective.calls) == 6
    assert all(int(label.max()) < CLASSES for *_, label in objective.calls if label is not None)


def test_dropout_is_a_function_of_seed_and_step() -> None:
    seen: list[list[Tensor]] = []
    for start, seed in ((0, 1), (2, 1), (0, 2)):
        state, objective = parts()
        masks: list[Tensor] = []

        def spy(x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
            masks.append(torch.nn.functional.dropout(torch.ones(64), 0.5))  # noqa: B023
            return objective(x0, eps, u, cond)  # noqa: B023

        state.step = start
        torch.manual_seed(start)  # whatever was drawn before
        steps(state, spy, 4, seed=seed)
        seen.append(masks)
    whole, late, other = seen
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], late))
    assert not any(torch.equal(a, b) for a, b in zip(whole, other))
    assert not torch.equal(whole[0], whole[1])


# --- the held-out loss -----------------------------------------------------------------------------------


def test_the_held_out_loss_is_the_mean_over_pictures_and_always_the_same() -> None:
    state, objective = parts(torch.float64)
    state.net.eval()
    given = [next(batches(32, dtype=torch.float64)), next(batches(8, start=1, dtype=torch.float64))]
    loss = held_out_loss(objective, given).loss
    each = []
    for step, (x0, cond) in enumerate(given):
        eps, u, _ = draw(0, step, x0)
        each.append(objective(x0, eps, u, cond).detach())
    assert loss == pytest.approx(float(torch.cat(each).mean()), rel=1e-12)  # not the mean of two means
    torch.rand(5)
    assert held_out_loss(objective, given).loss == loss
    assert all(p.grad is None for p in state.net.parameters())


def test_training_lowers_the_loss_towards_its_floor() -> None:
    state, objective = parts()
    given = [next(batches(256, start=10_000 + i)) for i in range(4)]
    before = held_out_loss(objective, given).loss
    for _ in train(objective, state, batches(256), until=300, lr=lambda share: 1e-2 * (1 - share)):
        pass
    after = held_out_loss(objective, given).loss
    assert after < 0.75 * before
