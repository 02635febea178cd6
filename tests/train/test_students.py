"""Objectives of students, each against a teacher that is exact: what is right has no loss, and what is learned is right."""

import math
from typing import Any

import pytest
import torch
from helpers_golden import close
from torch import Tensor, nn

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.denoiser import Denoiser
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.exact import Gaussian, Mixture
from mezzotint.diffusion.flowmap import FlowMap, flow_span, flow_time, jump, secant, span_condition
from mezzotint.diffusion.parameterization import edm, velocity, x0
from mezzotint.diffusion.process import Process, add_noise, flow, vp
from mezzotint.diffusion.sampler import sample
from mezzotint.diffusion.schedule import cosine, grid, lognormal
from mezzotint.diffusion.solvers import first_order, heun
from mezzotint.nets import MLP, UNet
from mezzotint.train.consistency import DOUBLINGS, ConsistencyLoss
from mezzotint.train.ema import Ema, Held
from mezzotint.train.flow_map import WalkLoss
from mezzotint.train.loop import State, train
from mezzotint.train.meanflow import MeanFlowLoss, times
from mezzotint.train.muon import muon
from mezzotint.train.objectives import Timed, same_dropout
from mezzotint.train.optim import learning_rate
from mezzotint.train.progressive import ProgressiveLoss

MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)
VARIANCE = torch.tensor([0.3, 1.4], dtype=torch.float64)
TIMES = grid("time", 8, lognormal())


def draws(rows: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """x0, eps (rows, 2) and u (rows,), spread over (0, 1)."""
    random = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(rows, 2, generator=random, dtype=torch.float64) for _ in range(2))
    return MEAN + VARIANCE.sqrt() * x0, eps, (torch.arange(rows, dtype=torch.float64) + 0.5) / rows


def exact(process: Process = flow) -> Gaussian:
    return Gaussian(process, MEAN, VARIANCE)


class Exact(nn.Module):
    """The mean velocity of the Gaussian's straight flow, in closed form, told 1000 tau or tau."""

    def __init__(self, unit: float = 1000.0, factor: float = 1.0) -> None:
        super().__init__()
        self.unit, self.factor = unit, nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, x: Tensor, c_noise: Tensor, span: Tensor) -> Tensor:
        tau, length = (each[:, None] / self.unit for each in (c_noise, span))
        length = length + 1e-7  # its limit, where there is no step
        r = tau - length
        kept = (((1 - r) ** 2 * VARIANCE + r**2) / ((1 - tau) ** 2 * VARIANCE + tau**2)).sqrt()
        landed = (1 - r) * MEAN + kept * (x - (1 - tau) * MEAN)
        return self.factor * (x - landed) / length


class ExactTeacher:
    """An exact flow map, as a teacher whose walk is the flow itself."""

    takes_to = True

    def __call__(self, x: Tensor, logsnr: Tensor, cond: Cond = NO_COND, *, to: Tensor) -> Tensor:
        return secant(flow, x, exact().flow(x, logsnr[0], to[0]), logsnr, to)


# --- a flow map from a teacher's walk ----------------------------------------------------------------------


def test_the_exact_flow_map_has_no_loss_on_the_walk_of_an_exact_teacher() -> None:
    x0, eps, u = draws()
    right = WalkLoss(FlowMap(Exact(), flow, velocity), ExactTeacher(), first_order, TIMES)
    assert float(right(x0, eps, u, NO_COND).detach().max()) < 1e-11
    wrong = WalkLoss(FlowMap(Exact(factor=1.1), flow, velocity), ExactTeacher(), first_order, TIMES)
    losses = wrong(x0, eps, u, NO_COND)
    assert losses.shape == (16,) and losses.dtype == torch.float32 and float(losses.min()) > 1e-4
    losses.sum().backward()
    assert wrong.student.net.factor.grad > 0  # type: ignore[union-attr, attr-defined]


def test_every_row_learns_the_hops_that_contain_its_time() -> None:
    """Of all sizes, the stretches between stops; at u near 0 the clean end, at u near 1 pure noise."""
    hops: list[list[tuple[float, float]]] = []

    class Told(FlowMap):
        def predict(
            self, x: Tensor, logsnr: Tensor, cond: Cond = NO_COND, *, to: Tensor | None = None
        ) -> Tensor:
            assert to is not None
            hops.append(
                [(round(float(a) * 8), round(float(b) * 8)) for a, b in zip(flow_time(logsnr), flow_time(to))]
            )
            return super().predict(x, logsnr, cond, to=to)

    x0, eps, _ = draws(3)
    u = torch.tensor([0.01, 0.45, 0.99], dtype=torch.float64)
    WalkLoss(Told(Exact(), flow, velocity), exact(), heun, TIMES)(x0, eps, u, NO_COND)
    assert hops == [  # in one call
        [
            *[(8, 0)] * 3,
            *[(4, 0), (4, 0), (8, 4)],
            *[(2, 0), (4, 2), (8, 6)],
            *[(1, 0), (4, 3), (8, 7)],
        ]
    ]


def test_the_walk_is_the_teachers_own_sampler() -> None:
    _, eps, _ = draws(4)
    loss = WalkLoss(FlowMap(Exact(), flow, velocity), exact(), heun, TIMES)
    states = [eps, *(s.x for s in alone(exact(), sample(heun, flow, eps, TIMES, lambda i, draw: eps)))]
    close(loss.walk(eps, NO_COND), torch.stack(states), atol=1e-12)


def energy(one: Tensor, other: Tensor) -> float:
    """The energy distance of two sets of points."""
    between = [torch.cdist(a, b).mean() for a, b in ((one, other), (one, one), (other, other))]
    return float(2 * between[0] - between[1] - between[2])


def test_a_small_network_learns_the_flow_map_of_a_mixture() -> None:
    """By 1, 2 and 4 calls within twice the energy distance to the data of its teacher's walk of 16 calls, and a floor."""
    means = torch.tensor([[-1.2, 0.0], [0.8, 0.9], [0.6, -1.1]], dtype=torch.float64)
    teacher = Mixture(
        flow, torch.ones(3, dtype=torch.float64) / 3, means, torch.full((3, 2), 0.05, dtype=torch.float64)
    )
    torch.manual_seed(0)
    net = MLP(2, 64, 2, span=True)
    student = FlowMap(net, flow, velocity)
    state = State(net, muon(net, 4e-3), Ema(net, 0.1))
    loss = WalkLoss(student, teacher, heun, grid("time", 8, lognormal()))
    batches = iter(lambda: (torch.zeros(128, 2), NO_COND), None)
    list(train(loss, state, batches, until=250, lr=learning_rate(4e-3)))  # type: ignore[arg-type]
    noise = torch.randn(1000, 2, generator=torch.Generator().manual_seed(1))
    data = means[torch.arange(1000) % 3].float() + 0.05**0.5 * noise.flip(0)

    def reached(denoise: Any, solver: Any, steps: int) -> float:
        *_, last = alone(
            denoise, sample(solver, flow, noise, grid("time", steps, lognormal()), lambda i, draw: noise)
        )
        return energy(last.x, data)

    best = reached(teacher, heun, 8)
    for calls in (1, 2, 4):
        assert reached(FlowMap(state.ema.net, flow, velocity), first_order, calls) < 2 * best + 0.02
    assert reached(teacher, first_order, 1) > 0.2  # a denoiser in one call gives the mean


# --- progressive distillation ------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [flow, vp])
def test_a_progressive_student_of_two_exact_steps_has_no_loss(process: Process) -> None:
    """It is drawn to the belief that moves as far as two steps of the teacher: both land at one place."""
    x0, eps, u = draws()
    stops = grid("time", 8, lognormal()) if process is flow else grid("trailing", 8, cosine())
    teacher = exact(process)

    def student(x: Tensor, s: Tensor, cond: Cond) -> Tensor:
        index = torch.stack([(stops == level).nonzero()[0, 0] for level in s])
        m, t = stops[index + 1], stops[index + 2]
        mid = jump(process, x, teacher(x, s), s, m)
        return secant(process, x, jump(process, mid, teacher(mid, m), m, t), s, t)

    loss = ProgressiveLoss(Student(student, process), teacher, teacher, nn.Linear(1, 1), [stops])  # type: ignore[arg-type]
    assert float(loss(x0, eps, u, NO_COND).max()) < 1e-18
    off = ProgressiveLoss(
        Student(lambda x, s, c: teacher(x, s), process), teacher, teacher, nn.Linear(1, 1), [stops]
    )  # type: ignore[arg-type]
    assert float(off(x0, eps, u, NO_COND).max()) > 1e-3


class Student:
    """A belief where a denoiser is expected."""

    def __init__(self, belief: Any, process: Process) -> None:
        self.belief, self.process, self.net = belief, process, nn.Linear(1, 1)
        self.parameterization = velocity

    def __call__(self, *arguments: Any) -> Tensor:
        return self.belief(*arguments)


def test_stages_hand_the_student_on_as_the_next_teacher() -> None:
    net = nn.Linear(2, 2).double()
    held = Ema(net, Held())
    student = Denoiser(lambda x, c_noise: net(x), flow, velocity)
    student.net = net
    calls: list[str] = []

    def named(name: str) -> Any:
        def belief(x: Tensor, s: Tensor, cond: Cond) -> Tensor:
            calls.append(name)
            return exact()(x, s)

        return belief

    loss = ProgressiveLoss(
        student, named("first"), named("last"), held.net, [grid("time", n, lognormal()) for n in (8, 4)]
    )
    assert isinstance(loss, Timed)
    before = held.net.weight.clone()
    seen = []
    for step in range(10):
        with torch.no_grad():
            net.weight += 1
        loss.at(step, 10)
        held.update(net, step + 1)
        loss(*draws(4), NO_COND)
        seen.append((loss.stage, calls[-1], round(float((held.net.weight - before).mean()))))
    assert seen == [(0, "first", 0)] * 5 + [(1, "last", 6)] * 5
    loss.at(5, 10, learns=False)  # looked at between steps: nothing moves
    assert round(float((held.net.weight - before).mean())) == 6
    rate = loss.rate(learning_rate(1.0, warmup=0.0))
    assert rate(0.0) == 1 and rate(0.499) < 1e-4 and rate(0.5) == 1  # falls to zero in every stage


# --- consistency -------------------------------------------------------------------------------------------


def consistency_function(x: Tensor, s: Tensor, cond: Cond) -> Tensor:
    return torch.cat(
        [exact().flow(x[i : i + 1], s[i], torch.tensor(math.inf).double()) for i in range(len(x))]
    )


def test_the_exact_consistency_function_is_nearly_itself_along_its_teachers_steps() -> None:
    """Ever nearer as the steps become shorter; NaN nowhere, steps that end at clean included."""
    x0, eps, u = draws()
    losses = []
    for share in (0, 3, 6):
        loss = ConsistencyLoss(Student(consistency_function, flow), exact())  # type: ignore[arg-type]
        loss.at(share, DOUBLINGS)
        losses.append(loss(x0, eps, u, NO_COND))
        assert losses[-1].isfinite().all()
    assert losses[0].mean() > 2 * losses[1].mean() > 4 * losses[2].mean()
    off = ConsistencyLoss(Student(lambda x, s, c: exact()(x, s), flow), exact())  # type: ignore[arg-type]
    off.at(6, DOUBLINGS)
    assert off(x0, eps, u, NO_COND).mean() > 5 * losses[2].mean()


def test_training_without_a_teacher_moves_by_the_same_noise() -> None:
    x0, eps, u = draws()
    seen: list[tuple[Tensor, Tensor]] = []

    def student(x: Tensor, s: Tensor, cond: Cond) -> Tensor:
        seen.append((x, s))
        return x

    ConsistencyLoss(Student(student, flow))(x0, eps, u, NO_COND)  # type: ignore[arg-type]
    (nearer, m), (x, s) = seen
    assert (m > s).all() and (m == math.inf).any()
    close(nearer, add_noise(flow, x0, eps, m))
    close(x, add_noise(flow, x0, eps, s))


def test_both_calls_drop_the_same_units() -> None:
    dropout = nn.Dropout(0.5)
    x0, eps, u = draws()
    loss = ConsistencyLoss(Student(lambda x, s, c: dropout(torch.ones_like(x)), flow))  # type: ignore[arg-type]
    torch.manual_seed(0)
    assert float(loss(x0, eps, u, NO_COND).max()) < 1e-3  # else some are 0 and others 2
    with same_dropout(x0.device) as again:
        one = dropout(x0)
        again()
        assert torch.equal(one, dropout(x0)) and not torch.equal(one, dropout(x0))


def test_a_network_that_is_not_itself_at_clean_is_refused() -> None:
    for parameterization, refused in ((x0, True), (velocity, False), (edm, False)):
        student = Denoiser(lambda x, c_noise: x, flow, parameterization)
        if refused:
            with pytest.raises(ValueError, match="at the clean end"):
                ConsistencyLoss(student)
        else:
            ConsistencyLoss(student)


# --- MeanFlow ----------------------------------------------------------------------------------------------


def test_the_exact_mean_velocity_gives_the_velocity_back() -> None:
    """V = u + (tau - r) du/dtau is E[eps - x0 | x]: so the loss is that of the exact denoiser."""
    x0, eps, _ = draws()
    u = torch.rand(16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    net = Exact(unit=1.0)
    loss = MeanFlowLoss(FlowMap(net, flow, velocity, flow_time, flow_span))
    tau, r = times(u)
    assert (tau >= r).all() and 0.2 < float((tau == r).double().mean()) < 0.8
    x = add_noise(flow, x0, eps, 2 * ((1 - tau) / tau).log())
    mean = net(x, tau, tau - r)
    compound = mean + (tau - r)[:, None] * loss._slope(x, tau, r, NO_COND, lambda: None)
    belief = exact()(x, 2 * ((1 - tau) / tau).log())
    close(compound, (x - belief) / tau[:, None], atol=1e-5)
    assert (compound - mean)[tau > r].abs().max() > 0.01
    (loss(x0, eps, u, NO_COND)).sum().backward()
    assert net.factor.grad is not None and net.factor.grad.isfinite()


def test_the_two_times_are_independent_logit_normals() -> None:
    u = (torch.arange(40_000, dtype=torch.float64) + torch.rand(40_000, dtype=torch.float64)) / 40_000
    tau, r = times(u)
    logits = torch.cat([(each / (1 - each)).log()[tau > r] for each in (tau, r)])
    assert abs(float(logits.mean()) + 0.4) < 0.03 and abs(float(logits.std()) - 1) < 0.03
    assert abs(float((tau == r).double().mean()) - 0.5) < 0.02


def test_the_derivative_goes_through_attention_of_many_positions() -> None:
    """Where PyTorch's fused kernel has no forward mode; and dropout is that of the call that is trained."""
    torch.manual_seed(0)
    net = UNet(1, 8, (1,), 1, attention=[1], dropout=0.2, span=True)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    loss = MeanFlowLoss(FlowMap(net, flow, velocity, flow_time, flow_span))
    losses = loss(
        torch.randn(4, 1, 12, 12),
        torch.randn(4, 1, 12, 12),
        torch.tensor([0.1, 0.4, 0.6, 0.9]).double(),
        NO_COND,
    )
    assert losses.isfinite().all() and (losses > 0).all()
    losses.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_spans_are_told_in_the_unit_of_the_time() -> None:
    s, t = torch.tensor([0.0, -math.inf]).double(), torch.tensor([math.inf, 0.0]).double()
    assert span_condition(s, t).tolist() == [500, 500] and flow_span(s, t).tolist() == [0.5, 0.5]
