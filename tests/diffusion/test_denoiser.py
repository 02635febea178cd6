"""From network to belief: one trajectory whichever parameterization says it, the ends, precision, and one place that calls."""

import warnings
from functools import partial
from typing import Any

import pytest
import torch
from helpers_golden import close
from helpers_oracles import exact_denoiser, plain, random_mixture
from torch import Tensor, nn

from mezzotint.cond import Cond
from mezzotint.diffusion import parameterization as p
from mezzotint.diffusion.denoiser import Denoise, Denoiser
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.process import Process, flow, ve, vp
from mezzotint.diffusion.sampler import start
from mezzotint.diffusion.schedule import grid, linear, lognormal, zero_terminal_snr
from mezzotint.diffusion.table import SAMPLERS

PARAMETERIZATIONS = [p.eps, p.x0, p.v, p.velocity, p.edm, partial(p.edm, sigma_data=1.1)]
PROCESSES = [vp, ve, flow]
NOISE = torch.randn(64, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(11))


def _run(
    denoise: Denoise, process: Process, sampler: str, levels: Tensor, dtype: torch.dtype = torch.float64
) -> Tensor:
    """The states after every step."""
    stops = SAMPLERS[sampler].stops(levels)
    x = start(process, stops[0], NOISE[-1].to(dtype))
    steps = SAMPLERS[sampler].walk(process, x, stops, lambda i, draw: NOISE[i + 20 * draw].to(dtype))
    return torch.stack([state.x for state in alone(denoise, steps)])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("process", PROCESSES)
def test_one_trajectory_in_every_parameterization(process: Process, sampler: str) -> None:
    exact = random_mixture(process, seed=1)
    levels = grid("logsnr", 7, linear())  # more than any of them remembers
    expected = _run(plain(exact), process, sampler, levels)
    size = expected.abs().amax((1, 2), keepdim=True).clamp(min=1)  # ve starts at 157
    for parameterization in PARAMETERIZATIONS:
        actual = _run(exact_denoiser(exact, parameterization), process, sampler, levels)
        close(actual / size, expected / size, atol=1e-10)
        single = _run(exact_denoiser(exact, parameterization), process, sampler, levels, torch.float32)
        assert single.dtype == torch.float32
        close(
            single.double() / size, expected / size, atol=3e-5 if sampler == "consistency" else 1e-5
        )  # whose steps each start anew from noise


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("process", [vp, flow])
def test_from_pure_noise_to_clean(process: Process, sampler: str) -> None:
    """Level -inf to +inf: finite everywhere, and the same in every parameterization that says something there."""
    exact = random_mixture(process, seed=2)
    end = torch.tensor([-74.66], dtype=torch.float64)  # of the continuous cosine schedule, in float64
    table = grid("trailing", 7, zero_terminal_snr(linear()))
    for levels in (table, grid("time", 7, lognormal()), torch.cat([end, table[1:]])):
        assert levels[0] < -20
        expected = _run(plain(exact), process, sampler, levels)
        assert expected.isfinite().all()
        for parameterization in (p.x0, p.v, p.velocity, p.edm):
            close(
                _run(exact_denoiser(exact, parameterization), process, sampler, levels), expected, atol=1e-10
            )
        with pytest.raises(ValueError, match="eps prediction says nothing"):
            _run(exact_denoiser(exact, p.eps), process, sampler, levels)


def test_eps_is_refused_where_alpha_is_close_to_zero() -> None:
    def belief(process: Process, level: float) -> Tensor:
        net = Denoiser(_Spy(), process, p.eps)
        return net(torch.ones(2, 3), torch.tensor([0.0, level], dtype=torch.float64))

    for process in (vp, flow):
        assert belief(process, -19.9).isfinite().all()
        with pytest.raises(ValueError, match="v, x0 or velocity"):
            belief(process, -20.1)
    assert belief(ve, -40.0).isfinite().all()  # alpha is 1 there


class _Spy(nn.Module):
    """Remembers what it was called with; answers with a half of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor, dict[str, Any]]] = []

    def forward(self, x: Tensor, told: Tensor, **inputs: Any) -> Tensor:
        self.calls.append((x, told, inputs))
        return x / 2


def test_the_network_is_told_its_scaled_input_the_timestep_and_the_label() -> None:
    table, spy = linear(), _Spy()
    denoise = Denoiser(spy, ve, p.eps, table.index)
    x, label = torch.randn(3, 1, 4, 4), torch.tensor([2, 0, 5])
    logsnr = table.logsnr[[999, 500, 0]]
    x0 = denoise(x, logsnr, Cond(label=label))
    ((scaled, told, inputs),) = spy.calls
    sigma = ve(logsnr)[1].float().reshape(3, 1, 1, 1)
    close(scaled, x / (1 + sigma**2).sqrt(), rtol=1e-6)
    assert told.dtype == torch.float32 and told.tolist() == [999, 500, 0]
    assert list(inputs) == ["label"] and torch.equal(inputs["label"], label)
    close(x0, x - sigma * scaled / 2, rtol=1e-5, atol=1e-5)
    denoise(x, logsnr)
    assert spy.calls[-1][2] == {}


def test_the_network_works_in_its_precision_and_everything_else_in_that_of_x() -> None:
    net = _Linear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        half = Denoiser(net, flow, p.velocity, dtype=torch.bfloat16)
        x, logsnr = torch.randn(4, 8), torch.linspace(-3, 3, 4, dtype=torch.float64)
        low, high = half(x, logsnr), Denoiser(net, flow, p.velocity)(x, logsnr)
    assert low.dtype == high.dtype == torch.float32
    assert net.seen == [torch.bfloat16, torch.float32]
    assert 0 < (low - high).abs().max() < 0.05


class _Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.seen = nn.Linear(8, 8), list[torch.dtype]()

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        y = self.linear(x)
        self.seen.append(y.dtype)
        return y


@pytest.mark.parametrize(("rows", "padded"), [(1, 1), (2, 2), (3, 4), (5, 8), (8, 8), (9, 16)])
def test_compiled_networks_see_few_batch_shapes(
    rows: int, padded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda net: net)
    spy = _Spy()
    denoise = Denoiser(spy, vp, p.v, compile=True)
    x, logsnr = torch.randn(rows, 3), torch.linspace(-2, 2, rows, dtype=torch.float64)
    cond = Cond(label=torch.arange(rows))
    with torch.no_grad():
        out = denoise(x, logsnr, cond)
    assert len(spy.calls[0][0]) == len(spy.calls[0][1]) == len(spy.calls[0][2]["label"]) == padded
    assert torch.equal(out, Denoiser(_Spy(), vp, p.v)(x, logsnr, cond))
    denoise(x, logsnr, cond)  # with gradients, as in training, nothing is padded
    assert len(spy.calls[1][0]) == rows


def test_a_row_does_not_depend_on_its_batch() -> None:
    """Bitwise, with a network that works element by element: coefficients and timesteps round alike in every batch."""
    table = linear()

    class Net(nn.Module):
        def forward(self, x: Tensor, told: Tensor) -> Tensor:
            return (x * told[:, None] / 1000).tanh()

    x, logsnr = torch.randn(37, 5), torch.linspace(-9, 9, 37, dtype=torch.float64)
    for process in PROCESSES:
        for parameterization in PARAMETERIZATIONS:
            denoise = Denoiser(Net(), process, parameterization, table.index)
            together = denoise(x, logsnr)
            for i in (0, 3, 17, 36):
                assert torch.equal(denoise(x[i : i + 1], logsnr[i : i + 1])[0], together[i])


def test_conditions_are_stacked_and_mapped_row_by_row() -> None:
    a, b = Cond(label=torch.tensor([1, 2])), Cond(label=torch.tensor([5]))
    both = Cond.cat(iter([a, b]))
    assert both.label is not None and both.label.tolist() == [1, 2, 5]
    last = both.map(lambda field: field[-1:])
    assert last.label is not None and last.label.tolist() == [5]
    assert both.inputs().keys() == {"label"}
    three = b.expand(3)
    assert three.label is not None and three.label.tolist() == [5, 5, 5]
    mixed = both.where(torch.tensor([False, True, True]), Cond(label=torch.tensor([9])))
    assert mixed.label is not None and mixed.label.tolist() == [1, 9, 9]
    assert Cond().where(torch.tensor([True]), Cond(label=torch.tensor([9]))) == Cond()
    with pytest.raises(ValueError, match="label is set here but not in the condition that replaces it"):
        b.where(torch.tensor([True]), Cond())
    assert Cond.cat([Cond(), Cond()]) == Cond() == Cond().map(lambda field: field * 2)


def test_one_level_may_serve_all_rows() -> None:
    from mezzotint.nets import MLP

    net = MLP(width=8, depth=1)
    for weight in net.parameters():
        nn.init.normal_(weight)
    denoiser, x, level = Denoiser(net, flow, p.velocity), torch.randn(3, 2), torch.tensor(0.5).double()
    assert torch.equal(denoiser(x, level), denoiser(x, level.expand(3)))
