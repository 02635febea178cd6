"""Guidance against its formula, and what it costs: rows that do not ask for it do not pay."""

import pytest
import torch
from golden import close, golden, mixture
from oracles import elementwise
from torch import Tensor

from mezzotint.diffusion.denoiser import NO_COND, Cond
from mezzotint.diffusion.guidance import cfg, clip
from mezzotint.diffusion.process import vp
from mezzotint.diffusion.sampler import Run, alone, sample, together
from mezzotint.diffusion.schedule import grid, linear
from mezzotint.diffusion.solvers import dpmpp_2m

NULL = 10
X = torch.randn(6, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LOGSNR = torch.linspace(-4, 3, 6, dtype=torch.float64)
LABEL = torch.tensor([0, 9, 3, 3, NULL, 7])


class Classes:
    """A belief that depends on the class, element by element. Counts the rows of every call."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.labels: list[list[int] | None] = []

    def __call__(self, x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        assert cond.guidance is None, "networks never see the scale"
        self.rows.append(len(x))
        self.labels.append(None if cond.label is None else cond.label.tolist())
        shift = (
            0.0 if cond.label is None else (cond.label + 1).to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)) / 8
        )
        return elementwise(x + shift, logsnr, cond)


def test_guidance_is_its_formula_row_by_row() -> None:
    scale = torch.tensor([1.0, 3.0, 0.0, -2.0, 5.0, 1.5], dtype=torch.float64)
    network, plain = Classes(), Classes()
    guided = cfg(network, NULL)(X, LOGSNR, Cond(LABEL, scale))
    conditional = plain(X, LOGSNR, Cond(LABEL))
    none = plain(X, LOGSNR, Cond(torch.full_like(LABEL, NULL)))
    g = scale.reshape(-1, 1, 1)
    close(guided, none + g * (conditional - none), atol=1e-14)
    assert torch.equal(guided[0], conditional[0])  # off: the class alone, to the bit
    close(guided[2], none[2])  # 0: as if no class were asked for
    assert torch.equal(guided[4], none[4])  # nothing to guide towards
    # One call; the five rows with a scale other than 1 come twice, the second time with the null label K.
    assert network.rows == [6 + 5] and network.labels == [[*LABEL.tolist(), *[NULL] * 5]]


@pytest.mark.parametrize(
    "cond",
    [NO_COND, Cond(LABEL), Cond(LABEL, torch.ones(6).double()), Cond(None, 3 * torch.ones(6).double())],
)
def test_guidance_that_is_off_costs_nothing(cond: Cond) -> None:
    network = Classes()
    off = cfg(network, NULL)(X, LOGSNR, cond)
    assert network.rows == [6]
    assert torch.equal(off, Classes()(X, LOGSNR, Cond(cond.label)))


def test_guidance_keeps_the_precision_of_the_pictures() -> None:
    scale = torch.full((6,), 2.0, dtype=torch.float64)
    assert cfg(Classes(), NULL)(X.float(), LOGSNR, Cond(LABEL, scale)).dtype == torch.float32


def test_guided_predictions_equal_diffusers() -> None:
    """Guiding the belief is guiding eps: both are linear in each other."""
    numbers = golden("networks")
    x, scales = numbers["cfg__x"], numbers["cfg__scales"]
    level = torch.tensor(2 * torch.tensor(0.8 / 0.6).double().log().item(), dtype=torch.float64)
    everything, one = mixture("g16", vp), mixture("g16", vp, 1)

    def network(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        return torch.where((cond.label == 1).reshape(-1, 1, 1, 1), one(x, logsnr), everything(x, logsnr))

    for scale, expected in zip(scales, numbers["cfg__eps_guided"]):
        cond = Cond(torch.ones(len(x)).long(), scale.expand(len(x)))
        x0 = cfg(network, 3)(x, level.expand(len(x)), cond)
        close((x - 0.8 * x0) / 0.6, expected, atol=1e-7)


def test_every_request_has_its_own_scale() -> None:
    """Guided together as guided alone, bitwise; requests of scale 1 pay for no second branch."""
    levels = grid("logsnr", 6, linear())

    def request(rows: int) -> tuple:
        x = torch.randn(rows, 3, 4, generator=torch.Generator().manual_seed(rows))
        return sample(dpmpp_2m, vp, x, levels, lambda interval, draw: torch.zeros(()))

    conds = {
        n: Cond(torch.arange(n) % NULL, torch.full((n,), scale, dtype=torch.float64))
        for n, scale in ((1, 4.0), (2, 1.0), (5, 0.5))
    }
    network = Classes()
    last = dict(together(cfg(network, NULL), {n: Run(request(n), cond) for n, cond in conds.items()}))
    assert network.rows == [1 + 2 + 5 + 1 + 5] * 6
    for n, cond in conds.items():
        *_, expected = alone(cfg(Classes(), NULL), request(n), cond)
        assert torch.equal(last[n].x, expected.x)


def test_clip_keeps_the_belief_in_range_and_noise_follows() -> None:
    def far(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        return 3 * x

    assert clip(far)(X, LOGSNR, NO_COND).abs().max() == 1
    assert torch.equal(clip(far, 0.0, 0.5)(X, LOGSNR, NO_COND), (3 * X).clamp(0.0, 0.5))
    inside = clip(far, -100, 100)(X, LOGSNR, NO_COND)
    assert torch.equal(inside, 3 * X)
    # The step's noise is what is left of x once the clipped picture is taken away, not the network's.
    s, t = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    (alpha, sigma), (alpha_t, sigma_t) = vp(s), vp(t)
    (state,) = alone(clip(far), sample(dpmpp_2m, vp, X, torch.stack([s, t]), lambda interval, draw: X))
    x0 = (3 * X).clamp(-1, 1)
    close(state.x, alpha_t * x0 + sigma_t * (X - alpha * x0) / sigma, atol=1e-14)
