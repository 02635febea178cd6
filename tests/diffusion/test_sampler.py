"""The walk over a grid, and the engine: together is alone, bitwise, whoever joins and leaves."""

import math
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers_golden import close
from helpers_oracles import elementwise
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion.engine import Walk, alone, together
from mezzotint.diffusion.exact import Gaussian
from mezzotint.diffusion.process import Process, flow, renoise, ve, vp
from mezzotint.diffusion.routes import ancestral, churn, repaint, restart
from mezzotint.diffusion.sampler import AfterStep, Steps, sample, start
from mezzotint.diffusion.schedule import cosine, grid, karras, linear, lognormal, zero_terminal_snr
from mezzotint.diffusion.solvers import Ask, dpmpp_2m, first_order, heun
from mezzotint.diffusion.table import SAMPLERS, check_noise
from mezzotint.randomness import noise

SHAPE = (3, 5)


def request(
    sampler: str, process: Process, levels: Tensor, rows: int, seed: int, *, eta: float = 0.0
) -> Steps:
    """One user's request: `rows` pictures with the seeds seed, seed + 1, ..."""
    seeds = torch.arange(seed, seed + rows)
    row = SAMPLERS[sampler]
    stops = row.stops(levels)
    x = start(process, stops[0], noise(seeds, 0, 0, SHAPE))

    def draw(interval: int, number: int) -> Tensor:
        return noise(seeds, interval + 1, number, SHAPE)

    return sample(row.solver, process, x, stops, draw, eta=eta) if eta else row.walk(process, x, stops, draw)


# (sampler, process, grid, rows, seed, eta): 12 requests that share nothing but the shape of their pictures.
REQUESTS: list[tuple[str, Process, Tensor, int, int, float]] = [
    ("ddim", vp, grid("trailing", 60, linear()), 1, 0, 0.0),
    ("ddpm", vp, grid("linspace", 25, linear()), 2, 10, 0.0),
    ("euler_a", ve, grid("karras", 17, lognormal()), 3, 20, 0.0),
    ("heun", ve, grid("karras", 9, lognormal()), 1, 30, 0.0),
    ("dpmpp_2m", vp, grid("logsnr", 12, cosine()), 4, 40, 0.0),
    ("ddim", flow, grid("time", 20, lognormal()), 2, 50, 0.0),
    ("heun", flow, grid("time", 7, lognormal()), 5, 60, 0.0),
    ("dpmpp_2m", ve, grid("karras", 15, linear()), 1, 70, 0.0),
    ("ddpm", vp, grid("trailing", 11, zero_terminal_snr(linear())), 3, 80, 0.0),
    ("ddim", vp, grid("leading", 30, linear(300)), 7, 90, 1.0),
    ("dpmpp_2m", flow, grid("logsnr", 8, lognormal()), 2, 0, 0.5),  # shares seeds with the first
    ("ddim", vp, grid("trailing", 1, linear()), 1, 100, 0.0),
]


def _states(steps: Steps) -> list[AfterStep]:
    return list(alone(elementwise, steps))


def _calls(index: int) -> int:
    """How often a request asks when it is alone."""
    steps, count = _request(index), 0
    out: Any = next(steps)
    while out is not None:
        count += isinstance(out, Ask)
        out = (
            steps.send(elementwise(out.x, out.level.expand(len(out.x)), Cond()))
            if isinstance(out, Ask)
            else next(steps, None)
        )
    return count


def _request(index: int) -> Steps:
    sampler, process, levels, rows, seed, eta = REQUESTS[index]
    return request(sampler, process, levels, rows, seed, eta=eta)


class _Counting:
    """The made-up network, counting its calls and their rows."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        assert logsnr.shape == (len(x),) and logsnr.dtype == torch.float64
        self.rows.append(len(x))
        return elementwise(x, logsnr, cond)


@pytest.fixture(scope="module")
def solo() -> list[list[AfterStep]]:
    """What every request gives alone."""
    return [_states(_request(i)) for i in range(len(REQUESTS))]


def _same(states: list[AfterStep], expected: list[AfterStep]) -> bool:
    return all(
        a.step == b.step and torch.equal(a.x, b.x) and torch.equal(a.x0, b.x0)
        for a, b in zip(states, expected)
    )


def test_together_is_alone_and_shares_every_call(solo: list[list[AfterStep]]) -> None:
    network = _Counting()
    got: dict[int, list[AfterStep]] = {i: [] for i in range(len(REQUESTS))}
    for key, state in together(network, {i: Walk(_request(i)) for i in range(len(REQUESTS))}):
        got[key].append(state)
    calls = [_calls(i) for i in range(len(REQUESTS))]
    assert len(network.rows) == max(calls) < sum(calls) / 3
    assert sum(network.rows) == sum(count * request[3] for count, request in zip(calls, REQUESTS))
    for i, expected in enumerate(solo):
        assert len(got[i]) == len(expected) and _same(got[i], expected)


@pytest.mark.parametrize("seed", range(8))
def test_joining_leaving_and_closing_harm_nobody(seed: int, solo: list[list[AfterStep]]) -> None:
    """At random states, in the middle of a round too, requests join, are removed, or have their steps closed.

    All others come out bitwise the same, and ask at every call from the one after they joined.
    """
    dice = random.Random(seed)
    network, runs = _Counting(), {0: Walk(_request(0))}
    joined, gone = {0: 0}, {}
    got: dict[int, list[AfterStep]] = {i: [] for i in range(len(REQUESTS))}
    for key, state in together(network, runs):
        assert key not in gone, "a request that has left was given a state"
        got[key].append(state)
        now = len(network.rows)
        if len(joined) < len(REQUESTS) and dice.random() < 0.3:
            new = next(i for i in range(len(REQUESTS)) if i not in joined)
            runs[new], joined[new] = Walk(_request(new)), now
        here = [i for i in runs if i not in gone and i > 0]
        if here and dice.random() < 0.04:
            out = dice.choice(here)
            gone[out] = now
            if dice.random() < 0.5:
                del runs[out]
            else:
                runs[out].steps.close()
    assert not runs and len(joined) == len(REQUESTS) and gone
    for i, expected in enumerate(solo):
        assert _same(got[i], expected) and len(got[i]) <= len(expected)
        assert i in gone or len(got[i]) == len(expected)
    last = max(joined[i] + _calls(i) for i in joined if i not in gone)
    assert last <= len(network.rows) <= max(last, max(gone.values()) + 1)


def test_a_request_removed_by_its_own_state_is_not_asked_again() -> None:
    network = _Counting()
    runs = {"a": Walk(_request(0)), "b": Walk(_request(5))}
    for key, state in together(network, runs):
        if key == "a" and state.step == 3:
            del runs["a"]
        assert key == "b" or state.step <= 3
    assert network.rows == [3, 3, 3] + [2] * 17


def test_everybody_may_leave_and_come_back() -> None:
    network, runs, seen = _Counting(), {}, []
    assert list(together(network, {})) == []
    runs[0] = Walk(_request(0))
    for key, state in together(network, runs):
        seen.append((key, state.step))
        if key == 0 and state.step == 2:
            runs.clear()
            runs[1] = Walk(_request(11))
    assert seen == [(0, 1), (0, 2), (1, 1)] and not runs and network.rows == [1, 1, 1]


def test_a_request_removed_before_its_first_question_never_starts() -> None:
    def previews(steps: Steps) -> Steps:
        yield AfterStep(torch.zeros(1, *SHAPE), torch.zeros(1, *SHAPE), 0)
        yield from steps

    runs = {"a": Walk(previews(_request(11))), "b": Walk(_request(0))}
    for key, _ in together(elementwise, runs):
        assert key == "a"
        runs.pop("b", None)


def test_a_place_that_is_free_may_be_taken_at_once() -> None:
    """A request put in the place of a finished or an unfinished one, its own or another's, is served like any other."""
    network, seen = _Counting(), []
    runs = {"a": Walk(_request(11)), "b": Walk(_request(5)), "c": Walk(_request(0))}
    for key, state in together(network, runs):
        seen.append((key, state.step))
        if len(seen) == 1:
            runs["a"] = Walk(_request(11))  # the one step of the first is done
        if key == "b" and state.step == 3:
            runs["b"], runs["c"] = Walk(_request(11)), Walk(_request(11))
    assert sorted(seen) == sorted(
        [("a", 1), ("a", 1), *[("b", n) for n in (1, 2, 3, 1)], *[("c", n) for n in (1, 2, 1)]]
    )
    assert network.rows == [4, 4, 3, 2] and not runs


def test_a_request_that_left_is_not_resumed() -> None:
    """Nor does it draw noise, or do anything else, after the state at which it was removed."""

    def steps() -> Iterator[Any]:
        yield AfterStep(torch.zeros(1, *SHAPE), torch.zeros(1, *SHAPE), 1)
        raise AssertionError("resumed")

    runs = {"a": Walk(steps())}  # type: ignore[arg-type]
    for key, _ in together(elementwise, runs):
        del runs[key]


def test_conditions_travel_with_their_rows() -> None:
    seen = []

    def network(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        seen.append((len(x), cond.label.tolist()))
        return elementwise(x, logsnr, cond)

    runs = {i: Walk(_request(i), Cond(label=torch.full((REQUESTS[i][3],), i))) for i in (2, 11, 4)}
    for _ in together(network, runs):
        pass
    assert seen[0] == (8, [2] * 3 + [11] + [4] * 4)
    assert seen[1] == (7, [2] * 3 + [4] * 4) and seen[-1] == (3, [2] * 3)


def test_answers_need_no_gradients() -> None:
    weight = torch.ones((), requires_grad=True)
    for state in alone(lambda x, logsnr, cond: weight * elementwise(x, logsnr, cond), _request(3)):
        assert not state.x.requires_grad
    assert torch.is_grad_enabled()


def test_stopping_early_closes_the_request() -> None:
    closed = []

    def steps() -> Iterator[Any]:
        try:
            yield from _request(0)
        finally:
            closed.append(True)

    for state in alone(elementwise, steps()):  # type: ignore[arg-type]
        if state.step == 2:
            break
    del state
    assert [s.step for s in alone(elementwise, _request(11))] == [1]


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_calls_and_ends(name: str) -> None:
    """Ten stops are ten steps; a two-call solver saves its second call at both ends; the last state is the last belief."""
    row = SAMPLERS[name]
    for levels, saved in ((grid("karras", 10, lognormal()), 1), (grid("time", 10, lognormal()), 2)):
        network = _Counting()
        states = list(alone(network, request(name, flow, levels, 2, 0)))
        assert [state.step for state in states] == list(range(1, 11))
        assert len(network.rows) == 10 * row.calls - saved * (row.calls - 1)
        assert torch.equal(states[-1].x, states[-1].x0)
        assert all(state.x.shape == (2, *SHAPE) and state.x.dtype == torch.float32 for state in states)


def test_noise_is_asked_for_by_interval_and_draw() -> None:
    asked = []

    def log(interval: int, draw: int) -> Tensor:
        asked.append((interval, draw))
        return torch.zeros(1, *SHAPE)

    levels = torch.tensor([-4.0, -2.0, -2.0, -3.0, 0.0, 2.0, math.inf], dtype=torch.float64)
    x = torch.ones(1, *SHAPE)
    list(alone(elementwise, sample(first_order, vp, x, levels, log)))
    assert asked == [(2, 0)]  # down, no move, up, down, down, clean
    asked.clear()
    list(alone(elementwise, sample(heun, vp, x, levels, log, eta=1.0)))
    assert asked == [
        (0, 0),
        (0, 1),
        (2, 0),
        (3, 0),
        (3, 1),
        (4, 0),
        (4, 1),
    ]  # both moves of Heun; none at the clean end


def test_an_interval_towards_noise_is_renoising_with_gain() -> None:
    """Shown with its fresh noise: as the next question is about it."""
    x, z = torch.randn(2, 1, *SHAPE)
    levels = torch.tensor([-3.0, 1.0, -1.0, math.inf], dtype=torch.float64)
    first, second = alone(elementwise, sample(first_order, ve, x, levels, lambda i, draw: z, gain=1.5))
    (down,) = alone(elementwise, sample(first_order, ve, x, levels[:2], lambda i, draw: z))
    assert torch.equal(first.x, renoise(ve, down.x, levels[1], levels[2], z, 1.5))
    assert torch.equal(second.x0, elementwise(first.x, levels[2][None], Cond()))


def test_a_grid_that_ends_on_its_way_up_ends_there() -> None:
    z, x = torch.randn(2, 1, *SHAPE)
    levels = torch.tensor([-3.0, 1.0, -1.0], dtype=torch.float64)
    (down,) = alone(elementwise, sample(first_order, ve, x, levels[:2], lambda i, draw: z))
    (up,) = alone(elementwise, sample(first_order, ve, x, levels, lambda i, draw: z))
    assert torch.equal(up.x, renoise(ve, down.x, levels[1], levels[2], z)) and up.step == 1
    assert torch.equal(up.x0, down.x0)


def _seen(
    steps: Steps, denoise: Callable[[Tensor, Tensor], Tensor]
) -> Iterator[tuple[AfterStep, Ask | None]]:
    """Every state that is shown, with the question that comes next, or None at the end."""
    out: Ask | AfterStep | None = next(steps)
    while out is not None:
        if isinstance(out, AfterStep):
            shown, out = out, next(steps, None)
            assert not isinstance(out, AfterStep), "two states in a row"
            yield shown, out
        else:
            out = steps.send(denoise(out.x, out.level))


@pytest.mark.parametrize("process", [vp, ve, flow])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_state_that_is_shown_is_the_state_that_is_asked_about(name: str, process: Process) -> None:
    """Also where fresh noise follows a step. Its spread falls along the grid, as data and level say: by 24 steps nearly so,
    but for ddpm_large, whose variance is an upper bound, and consistency, whose network should be a flow map."""
    variance, row = 0.04, SAMPLERS[name]
    bias = {"ddpm_large": 0.4, "consistency": 0.4}.get(name, 0.25)
    levels = grid("karras", 24, karras(0.02, 20.0))
    stops = row.stops(levels)
    exact = Gaussian(process, torch.zeros(2).double(), torch.full((2,), variance).double())
    draw = torch.Generator().manual_seed(0)

    def fresh(*_: int) -> Tensor:
        return torch.randn(2000, 2, generator=draw, dtype=torch.float64)

    seen = list(_seen(row.walk(process, start(process, stops[0], fresh()), stops, fresh), exact))
    assert [shown.step for shown, _ in seen] == list(range(1, 25))
    for (shown, ask), t in zip(seen, levels[1:]):
        assert (ask is None) == (t == math.inf)
        if ask is not None:
            assert ask.x is shown.x and ask.level == t
        alpha, sigma = process(t)
        spread = (variance * alpha**2 + sigma**2).sqrt()
        assert float(shown.x.std() / spread) == pytest.approx(1, rel=bias)


@pytest.mark.parametrize(
    "route",
    [
        lambda plain: churn(plain, 5.0),  # up before a step, the first one too
        lambda plain: churn(ancestral(plain), 5.0),  # up twice in a row
        lambda plain: restart(plain, 0.5, 3.0, 2),
        lambda plain: repaint(plain, 3, 2),
        lambda plain: ancestral(plain)[:-1],  # ends on its way up
        lambda plain: torch.cat(
            [plain[:3], plain[2:4], plain[3:4], plain[2:]]
        ),  # stands still, before and after
    ],
    ids=["churn", "churn twice", "restart", "repaint", "ends up", "stands"],
)
def test_every_step_is_shown_once_whatever_the_grid(route: Callable[[Tensor], Tensor]) -> None:
    stops = route(grid("karras", 8, karras(0.02, 20.0)))
    draw = torch.Generator().manual_seed(0)
    x = start(ve, stops[0], torch.randn(2, *SHAPE, generator=draw))
    steps = sample(first_order, ve, x, stops, lambda interval, number: torch.randn(2, *SHAPE, generator=draw))
    seen = list(_seen(steps, lambda x, level: elementwise(x, level[None], Cond())))
    begins = [s for s, t in pairwise(stops) if t > s]
    assert [shown.step for shown, _ in seen] == list(range(1, len(begins) + 1))
    for (shown, ask), level in zip(seen, begins[1:]):
        assert ask is not None and ask.x is shown.x and ask.level == level
    assert seen[-1][1] is None


@pytest.mark.parametrize("back", [-4.0, -2.0, -6.0])
def test_a_restart_forgets_the_path_it_left(back: float) -> None:
    """Back at or above the level where the last step began, a multistep solver starts as on a fresh path."""
    draw, clean = torch.randn(1, *SHAPE), math.inf
    down = torch.tensor([-4.0, -2.0, 0.0], dtype=torch.float64)
    again = torch.tensor([back, -1.0, 1.0, clean], dtype=torch.float64)
    x = torch.randn(1, *SHAPE)
    *_, last = alone(elementwise, sample(dpmpp_2m, vp, x, torch.cat([down, again]), lambda i, d: draw))
    *_, before = alone(elementwise, sample(dpmpp_2m, vp, x, down, lambda i, d: draw))
    up = renoise(vp, before.x, down[-1], again[0], draw)
    *_, fresh = alone(elementwise, sample(dpmpp_2m, vp, up, again, lambda i, d: draw))
    assert last.x.isfinite().all() and torch.equal(last.x, fresh.x)


def test_fresh_noise_between_two_stops_keeps_the_past() -> None:
    """Down, then up to the next stop: a multistep solver still extrapolates from the belief at the stop before."""
    z, x = torch.randn(2, 1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stops = torch.tensor([-4.0, -1.0, -2.0, 1.0], dtype=torch.float64)
    _, end = alone(elementwise, sample(dpmpp_2m, ve, x, stops, lambda interval, draw: z))
    s, _, t, clean = stops
    first = elementwise(x, s[None], Cond())
    sigma = (-stops / 2).exp()
    y = first + sigma[1] / sigma[0] * (x - first)
    y = y + (sigma[2] ** 2 - sigma[1] ** 2).sqrt() * z
    second = elementwise(y, t[None], Cond())
    belief = second + (clean - t) / (t - s) / 2 * (second - first)
    close(end.x, belief + sigma[3] / sigma[2] * (y - belief), atol=1e-13)


def test_ancestral_grids() -> None:
    levels = torch.tensor([-math.inf, -2.0, 1.0, math.inf], dtype=torch.float64)
    assert torch.equal(ancestral(levels, 0.0), levels)
    for eta in (0.3, 1.0):
        stops = ancestral(levels, eta)
        assert stops.shape == (6,) and torch.equal(stops[[0, 2, 4, 5]], levels)
        assert (stops[1] >= levels[1]) and (stops[3] > levels[2])
    assert (
        ancestral(levels, 1.0)[1] == math.inf
    )  # from pure noise DDPM's posterior mean is alpha_t x0: by way of clean
    # The variance that stays and the variance that is added make up the marginal's.
    s, t = levels[1], levels[2]
    down = ancestral(levels[1:], 1.0)[1]
    (_, sigma_s), (alpha_t, sigma_t), (alpha_d, sigma_d) = vp(s), vp(t), vp(down)
    fresh = sigma_t**2 - (alpha_t / alpha_d * sigma_d) ** 2
    beta = 1 - (vp(s)[0] / alpha_t) ** 2
    close(fresh, sigma_t**2 / sigma_s**2 * beta, rtol=1e-12)  # DDPM, eq. 7


def test_the_table_tells_the_truth() -> None:
    def calls(solver: Callable[..., Any]) -> int:
        network = _Counting()
        list(alone(network, sample(solver, vp, torch.ones(1, 2), torch.tensor([-1.0, 0.0]).double(), _none)))
        return len(network.rows)

    def _none(interval: int, draw: int) -> Tensor:
        raise AssertionError("no noise was asked for")

    silent = {
        name for name, row in SAMPLERS.items() if name != "dpmpp_sde"
    }  # which has noise inside its solver
    for name, row in SAMPLERS.items():
        if name in silent:
            assert row.calls == calls(row.solver), name
            assert row.stochastic == (row.route is not None or row.inside > 0), name
    assert SAMPLERS["dpmpp_sde"].stochastic and SAMPLERS["dpmpp_sde"].calls == 2


def test_fresh_noise_for_a_sampler_that_takes_none_is_refused() -> None:
    for name, row in SAMPLERS.items():
        check_noise(name, 0.5 * row.eta, 3.0 * row.churn)
    with pytest.raises(ValueError, match="eta is for ddim; dpmpp_2m does not take it; leave eta out"):
        check_noise("dpmpp_2m", 1.0, 0.0)
    with pytest.raises(ValueError, match="churn is for heun, euler, dpm2; ddim does not take it"):
        check_noise("ddim", 0.0, 1.0)
