"""Flow maps: the identity of two hops, its limits at the ends, and that a held belief is told how far."""

import math

import pytest
import torch
from helpers_golden import close
from torch import Tensor, nn

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.denoiser import Denoiser, takes_to, time_condition
from mezzotint.diffusion.engine import Walk, alone, answer, together
from mezzotint.diffusion.exact import Gaussian, Mixture, exact_flow
from mezzotint.diffusion.flowmap import FlowMap, compose, jump, secant, share, span_condition
from mezzotint.diffusion.guidance import Guidance, cfg
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.parameterization import edm, v, velocity
from mezzotint.diffusion.process import Process, flow, ve, vp
from mezzotint.diffusion.sampler import sample, start
from mezzotint.diffusion.solvers import Ask
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.nets import MLP, UNet, UNetSimple

PROCESSES = {"vp": vp, "ve": ve, "flow": flow}
INF = math.inf


def level(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def gaussian(process: Process) -> Gaussian:
    return Gaussian(process, level(0.5, -1.0, 0.2), level(0.3, 1.0, 2.0))


class ExactMap:
    """The flow map of a Gaussian in closed form, and how far it was told that its answers are held."""

    takes_to = True

    def __init__(self, process: Process) -> None:
        self.process, self.exact, self.told = process, gaussian(process), []  # type: ignore[var-annotated]

    def __call__(self, x: Tensor, logsnr: Tensor, cond: Cond = NO_COND, *, to: Tensor) -> Tensor:
        rows = []
        for i, (s, t) in enumerate(zip(logsnr, to)):
            self.told.append((float(s), float(t)))
            one = x[i : i + 1]
            rows.append(
                secant(self.process, one, self.exact.flow(one, s, t), s, t) if t > s else self.exact(one, s)
            )
        return torch.cat(rows)


TRIPLES = [(-6.0, -1.0, 2.0), (-3.0, 0.5, INF), (-1.0, 9.0, INF), (0.0, 1e-9, 3.0), (4.0, 20.0, 40.0)]


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("levels", [*TRIPLES, (-INF, 0.0, 3.0), (-INF, -5.0, INF)])
def test_one_hop_by_the_identity_is_two_hops(name: str, levels: tuple[float, float, float]) -> None:
    process = PROCESSES[name]
    s, m, t = level(*levels)
    if name == "ve" and s == -INF:
        pytest.skip("ve has no pure noise")
    x = normal(7, 3) * process(s)[1] + 0.1
    first = gaussian(process)(x, s)  # J1 and J2 may be anything; the exact denoiser's are of a natural size
    mid = jump(process, x, first, s, m)
    second = gaussian(process)(mid, m)
    end = jump(process, mid, second, m, t)
    close(jump(process, x, compose(first, second, s, m, t), s, t), end, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_exact_flow_map_lands_where_the_flow_does_by_any_steps(name: str) -> None:
    """ddim with an exact flow map is exact with 1, 2 and 5 steps, to clean."""
    process = PROCESSES[name]
    x = start(process, level(-9)[0], normal(4, 3))
    exact = gaussian(process).flow(x, level(-9)[0], level(INF)[0])
    for grid in (level(-9, INF), level(-9, 1, INF), level(-9, -3, 0, 2, 5, INF)):
        steps = sample(SAMPLERS["ddim"].solver, process, x, grid, lambda i, draw: torch.zeros_like(x))
        *_, last = alone(ExactMap(process), steps)
        close(last.x, exact, rtol=1e-11, atol=1e-11)
    plain = sample(SAMPLERS["ddim"].solver, process, x, level(-9, 1, INF), lambda i, draw: x)
    *_, off = alone(gaussian(process), plain)
    assert (off.x - exact).abs().max() > 0.05  # the denoiser alone is not


@pytest.mark.parametrize("name", PROCESSES)
def test_the_identity_holds_along_a_curved_flow(name: str) -> None:
    """A mixture's exact flow, found numerically: the secants of both halves compose to that of the whole."""
    process = PROCESSES[name]
    exact = Mixture(
        process, level(0.3, 0.7), torch.stack([level(-1, 1), level(1, 0.5)]), torch.ones(2, 2) / 20
    )
    s, m, t = level(-4, 0.5, 3)
    x = start(process, s, normal(5, 2))
    mid = exact_flow(exact, x, s, m)
    end = exact_flow(exact, x, s, t)
    first, second = secant(process, x, mid, s, m), secant(process, mid, end, m, t)
    close(compose(first, second, s, m, t), secant(process, x, end, s, t), atol=1e-9)


def test_the_share_has_its_limits_at_every_end() -> None:
    """Pure noise, clean, and hops of no length, against the definition where it is finite; NaN nowhere."""
    places = level(-INF, -30, -2, 0, 3, 40, INF)
    s, m, t = (axis.flatten() for axis in torch.meshgrid(places, places, places, indexing="ij"))
    right = (s <= m) & (m <= t)
    s, m, t = s[right], m[right], t[right]
    w = share(s, m, t)
    assert w.isfinite().all() and ((w >= 0) & (w <= 1)).all()
    r_s, r_m, r_t = ((each / 2).exp() for each in (s, m, t))
    finite = r_t.isfinite() & (t > s)
    close(w[finite], ((r_m - r_s) / (r_t - r_s))[finite], rtol=1e-12, atol=1e-15)
    assert (w[(t == INF) & (m < INF)] == 0).all()  # all that matters of a way to clean is its last belief
    assert (w[(m == s) & (m < t)] == 0).all() and (w[(m == t) & (s < m)] == 1).all()
    close(
        share(*level(0, 1e-13, 2e-13)), level(0.5)[0], rtol=1e-3
    )  # where the plain formula has no digits left


@pytest.mark.parametrize("name", PROCESSES)
def test_jump_is_hop_and_secant_undoes_it(name: str) -> None:
    process = PROCESSES[name]
    s, t = level(-5, -1, 0, 2, -2), level(-4, 3, INF, 2, INF)
    x, belief = normal(5, 3), normal(5, 3).flip(0)
    moved = jump(process, x, belief, s, t)
    hop = Hop(process, torch.zeros((), dtype=torch.float64), lambda draw: x)
    rows = [hop(x[i : i + 1], belief[i : i + 1], s[i], t[i]) for i in (0, 1, 2, 4)]
    close(moved[[0, 1, 2, 4]], torch.cat(rows), atol=1e-12)
    assert torch.equal(moved[3], x[3])  # no step
    far = t > s
    close(secant(process, x[far], moved[far], s[far], t[far]), belief[far], atol=1e-12)
    noise = level(-INF).expand(5)
    if name != "ve":
        ended = jump(process, x, belief, noise, t)
        assert ended.isfinite().all()
        close(secant(process, x, ended, noise, t), belief, atol=1e-12)


# --- who is told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
def test_solvers_say_how_far_an_answer_is_held(name: str) -> None:
    """A flow map's answer for s -> to, held, lies on the trajectory; so every sampler stays right with an exact one, and
    those of first order are exact."""
    process, grid = flow, level(-6, -4, -3, -2, -1, 0, 1, 2, 3, 5, INF)
    row = SAMPLERS[name]
    stops, exact = row.stops(grid), ExactMap(flow)
    x = start(process, stops[0], normal(2, 3))
    noise = normal(2, 3)
    *_, last = alone(exact, row.walk(process, x, stops, lambda i, draw: noise))
    assert last.x.isfinite().all()
    assert all(t >= s for s, t in exact.told)
    first = exact.told[0]
    assert first[1] == stops[1] if row.solver.__name__ == "first_order" else first[1] <= stops[1]
    if not row.stochastic:
        tolerance = 1e-10 if row.solver.__name__ == "first_order" else 0.5
        assert (last.x - gaussian(process).flow(x, grid[0], grid[-1])).abs().max() < tolerance


def test_plain_denoisers_are_told_nothing_and_calls_are_shared() -> None:
    """Of one flow map, requests that hold their answers and requests that do not share one call."""
    x = normal(2, 3)
    told = ExactMap(flow)
    walks = {}
    for key, sampler in enumerate(("ddim", "dpmpp_2m", "heun")):
        steps = sample(SAMPLERS[sampler].solver, flow, x, level(-2, 0, 2, INF), lambda i, draw: x)
        walks[key] = Walk(steps)
    for walk in walks.values():
        list(walk.go())
    answers = answer(told, list(walks.values()))
    assert told.told == [(-2, 0), (-2, 0), (-2, -2), (-2, -2), (-2, -2), (-2, -2)]
    close(answers[1], gaussian(flow)(x, level(-2)[0]), atol=1e-12)
    assert not takes_to(gaussian(flow)) and takes_to(told)
    assert not takes_to(cfg(gaussian(flow))) and takes_to(cfg(told))
    assert Ask(x, level(0)[0]).to is None
    assert len(list(together(gaussian(flow), {1: Walk(iter(()))}))) == 0  # type: ignore[arg-type]


def test_guidance_of_a_flow_map_tells_both_branches() -> None:
    calls: list[tuple[list[float], list[float], list[int]]] = []

    def net(x: Tensor, c_noise: Tensor, label: Tensor, span: Tensor) -> Tensor:
        calls.append((c_noise.tolist(), span.tolist(), label.tolist()))
        return x * label[:, None].to(x.dtype)

    flow_map = FlowMap(net, flow, velocity)
    guidance = Guidance(level(1, 3), Cond(label=torch.tensor([2])))
    levels, to = level(0, 1), level(2, INF)
    cfg(flow_map)(normal(2, 3), levels, Cond(label=torch.tensor([0, 1])), guidance, to=to)
    spans = span_condition(levels, to)
    assert calls == [
        (
            [*time_condition(levels).tolist(), float(time_condition(levels)[1])],
            [*spans.tolist(), float(spans[1])],
            [0, 1, 2],
        )
    ]


# --- networks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("parameterization", [velocity, v, edm])
def test_a_flow_map_at_clean_is_x_itself(process: str, parameterization: object) -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 3)
    flow_map = FlowMap(lambda x, c_noise, span: net(x.float()).to(x), PROCESSES[process], parameterization)  # type: ignore[arg-type]
    x = normal(2, 3)
    assert torch.equal(flow_map(x, level(INF, INF), to=level(INF, INF)), x)
    assert flow_map(x, level(-8, 9), to=level(INF, 12)).isfinite().all()


@pytest.mark.parametrize("make", [lambda **k: MLP(2, 16, 2, 3, **k), lambda **k: UNet(1, 8, (1,), 1, classes=3, **k), lambda **k: UNetSimple(1, 8, 2, classes=3, **k)])  # fmt: skip
def test_a_copy_that_is_told_the_step_begins_as_its_teacher(make: object) -> None:
    """The new embedding starts at zero: a student that was filled with a denoiser's weights says what it says, at any step."""
    torch.manual_seed(0)
    teacher, student = make(), make(span=True)  # type: ignore[operator]
    with torch.no_grad():
        for weight in teacher.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    missing, surplus = student.load_state_dict(teacher.state_dict(), strict=False)
    assert surplus == [] and all(name.startswith("conditioning.span.") for name in missing)
    x = torch.randn(4, 2) if isinstance(teacher, MLP) else torch.randn(4, 1, 8, 8)
    label, levels = torch.tensor([0, 1, 2, 3]), level(-2, 0, 1, 3)
    plain = Denoiser(teacher, flow, velocity)
    for to in (None, levels, level(INF).expand(4)):
        told = FlowMap(student, flow, velocity)(x, levels, Cond(label=label), to=to)
        assert torch.equal(told, plain(x, levels, Cond(label=label)))
    with pytest.raises(ValueError, match="not a flow map"):
        teacher(x, torch.ones(4), label, torch.ones(4))
    with torch.no_grad():
        for weight in student.conditioning.span.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    short, far = (FlowMap(student, flow, velocity)(x, levels, Cond(label=label), to=to) for to in (levels, level(INF).expand(4)))  # fmt: skip
    assert not torch.equal(short, far)
