"""Pictures from a part of them: the operators and their inverses, and what the projected belief draws."""

import math
from collections.abc import Callable

import pytest
import torch
from helpers_golden import close
from helpers_oracles import corrected, plain
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.data.images import load_pictures
from mezzotint.diffusion.corrections import clip
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.exact import Empirical, Gaussian
from mezzotint.diffusion.inverse import Operator, ddnm, grey, inpainting, steered, super_resolution
from mezzotint.diffusion.process import Process, flow, ve, vp
from mezzotint.diffusion.routes import ancestral, repaint
from mezzotint.diffusion.sampler import sample, start
from mezzotint.diffusion.schedule import grid, linear
from mezzotint.diffusion.solvers import dpmpp_2m, first_order
from mezzotint.media.pictures import to_model
from mezzotint.randomness import noise

MASK = torch.rand(6, 9, generator=torch.Generator().manual_seed(0)) < 0.4
OPERATORS = {
    "inpainting": inpainting(MASK),
    "inpainting a channel": inpainting(torch.tensor([True, False, False])[:, None, None]),
    "super-resolution": super_resolution(3),
    "super-resolution by 1": super_resolution(1),
    "colour": grey(),
    "colour from the mean": grey((1 / 3, 1 / 3, 1 / 3)),
}
every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())
D = 4


def _matrix(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Tensor:
    """The matrix of a linear map of (B, *shape), from its columns."""
    basis = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    return function(basis).flatten(1).T


@every_operator
def test_the_inverse_is_that_of_moore_and_penrose(operator: Operator) -> None:
    """Their four identities, which only one matrix fulfils; the maps are linear, so that the matrices are all of them."""
    x = torch.randn(5, 3, 6, 9, dtype=torch.float64)
    y = operator.forward(x)
    a, inverse = _matrix(operator.forward, (3, 6, 9)), _matrix(operator.pinv, y.shape[1:])
    close(inverse, torch.linalg.pinv(a), atol=1e-13)
    for product in (a @ inverse, inverse @ a):
        close(product, product.T, atol=1e-14)
    close(a @ inverse @ a, a, atol=1e-14)
    close(inverse @ a @ inverse, inverse, atol=1e-13)
    close(y.flatten(1), x.flatten(1) @ a.T, atol=1e-14)
    close(operator.pinv(y).flatten(1), y.flatten(1) @ inverse.T, atol=1e-13)
    assert operator.forward(x.float()).dtype == operator.pinv(y.float()).dtype == torch.float32


def test_what_the_operators_see() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    half = super_resolution(2)
    assert half.forward(x).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert half.pinv(half.forward(x))[0, 0, 0].tolist() == [2.5, 2.5, 4.5, 4.5]
    close(
        grey().forward(torch.tensor([1.0, 0.0, -1.0])[None, :, None, None]).flatten(), torch.tensor([0.185])
    )
    white = torch.ones(1, 3, 2, 2)
    close(grey().forward(white), torch.ones(1, 1, 2, 2), atol=1e-7)  # the range of the data is kept
    with pytest.raises(ValueError, match="3 does not divide 6x8"):
        super_resolution(3).forward(torch.zeros(1, 1, 6, 8))


def _tanh(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
    return (2 * x + 0.3).tanh()


@every_operator
@pytest.mark.parametrize("process", [vp, ve, flow])
def test_pictures_agree_with_what_was_seen(operator: Operator, process: Process) -> None:
    """A x0 = y at every level and at the end, whatever the belief; what was not seen is the belief's alone."""
    y = operator.forward(torch.rand(4, 3, 6, 9, dtype=torch.float64) * 2 - 1)
    denoise, levels = corrected(_tanh, clip(), ddnm(operator, y)), grid("logsnr", 8, linear())
    x = start(process, levels[0], torch.randn(4, 3, 6, 9, dtype=torch.float64))

    def walk(x: Tensor, denoise: Denoise) -> list:
        steps = sample(first_order, process, x, ancestral(levels), lambda interval, draw: torch.randn_like(x))
        return list(alone(denoise, steps))

    states = walk(x, denoise)
    for state in states:
        close(operator.forward(state.x0), y, atol=1e-12)
    close(operator.forward(states[-1].x), y, atol=1e-12)
    single = walk(x.float(), corrected(_tanh, clip(), ddnm(operator, y.float())))[-1].x
    close(operator.forward(single), y.float(), atol=1e-6)
    level = torch.zeros(4, dtype=torch.float64)
    x0, plain_belief = denoise(x, level, NO_COND), _tanh(x, level, NO_COND).clamp(-1, 1)

    def unseen(z: Tensor) -> Tensor:
        return z - operator.pinv(operator.forward(z))

    close(unseen(x0), unseen(plain_belief), atol=1e-13)
    one_for_all = corrected(_tanh, clip(), ddnm(operator, y[:1]))(x, level, NO_COND)
    close(operator.forward(one_for_all), y[:1].expand_as(y), atol=1e-12)


def _halves(dependent: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance of four numbers; the first two, which are seen, and the others may depend on each other."""
    mean = torch.tensor([0.5, -1.0, 0.3, 0.8], dtype=torch.float64)
    covariance = torch.tensor(
        [[0.5, 0.2, 0, 0], [0.2, 0.4, 0, 0], [0, 0, 0.6, -0.3], [0, 0, -0.3, 0.5]], dtype=torch.float64
    )
    covariance[:2, 2:] = covariance[2:, :2] = dependent * torch.eye(2, dtype=torch.float64)
    return mean, covariance


SEEN = inpainting(torch.tensor([True, True, False, False]))
Y = torch.tensor([[1.5, -0.2, 0, 0]], dtype=torch.float64)


def _posterior(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the unseen half of a Gaussian, given Y."""
    gain = covariance[2:, :2] @ torch.linalg.inv(covariance[:2, :2])
    return mean[2:] + gain @ (Y[0, :2] - mean[:2]), covariance[2:, 2:] - gain @ covariance[:2, 2:]


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_exact_for_a_gaussian_of_independent_parts(process: Process) -> None:
    """The projected belief is E[x0 | x, y], that of the Gaussian of the unseen beside the known."""
    mean, covariance = _halves(0.0)
    unseen_mean, unseen_covariance = _posterior(mean, covariance)
    projected = corrected(plain(Gaussian(process, mean, covariance)), ddnm(SEEN, Y))
    exact = Gaussian(process, unseen_mean, unseen_covariance)
    x, level = torch.randn(9, D, dtype=torch.float64), torch.linspace(-5, 5, 9, dtype=torch.float64)
    x0 = projected(x, level, NO_COND)
    close(x0[:, 2:], exact(x[:, 2:], level), atol=1e-10)
    assert torch.equal(x0[:, :2], Y[:, :2].expand(9, 2))


def _drawn(denoise: Denoise, levels: Tensor, count: int) -> Tensor:
    seeds = torch.arange(count)
    x = start(vp, levels[0], noise(seeds, 0, 0, (D,)).double())
    steps = sample(
        dpmpp_2m, vp, x, levels, lambda interval, draw: noise(seeds, interval + 1, draw, (D,)).double()
    )
    *_, last = alone(denoise, steps)
    assert torch.equal(last.x[:, :2], Y[:, :2].expand(count, 2))
    return last.x[:, 2:]


def test_samples_of_independent_parts_are_those_of_the_posterior() -> None:
    """Mean and covariance of 20,000 within 4 standard errors."""
    count, (mean, covariance) = 20_000, _halves(0.0)
    drawn = _drawn(
        corrected(plain(Gaussian(vp, mean, covariance)), ddnm(SEEN, Y)), grid("logsnr", 40, linear()), count
    )
    exact_mean, exact_covariance = _posterior(mean, covariance)
    variance = exact_covariance.diagonal()
    assert ((drawn.mean(0) - exact_mean).abs() < 4 * (variance / count).sqrt()).all()
    spread = (
        variance[:, None] * variance + exact_covariance**2
    ) / count  # of a covariance of Gaussian samples
    assert ((drawn.T.cov() - exact_covariance).abs() < 4 * spread.sqrt()).all()


def test_dependent_parts_come_closer_to_the_posterior_by_going_up_again() -> None:
    """The limit that `ddnm` states: the mean goes from the prior's part of the way to the posterior's."""
    mean, covariance = _halves(0.25)
    exact_mean, _ = _posterior(mean, covariance)
    denoise, levels = (
        corrected(plain(Gaussian(vp, mean, covariance)), ddnm(SEEN, Y)),
        grid("logsnr", 40, linear()),
    )
    off = [
        (_drawn(denoise, stops, 4000).mean(0) - exact_mean).norm() / (mean[2:] - exact_mean).norm()
        for stops in (levels, repaint(levels, 5, 5))
    ]
    assert 0.3 < off[0] < 0.7 and off[1] < off[0] / 2


def test_inpainted_digits_look_right() -> None:
    """The lower three rows of digits are hidden; the set holds the originals, and the seen rows alone would tell them.

    Going up again lets the hidden part agree with the seen one, as above.
    """
    digits = load_pictures("digits")
    pictures = to_model(digits.images).double()
    chosen = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))[:60]
    originals = pictures[chosen]
    operator = inpainting((torch.arange(8) < 5)[:, None])
    denoise = corrected(Empirical(vp, pictures), ddnm(operator, operator.forward(originals)))
    seeds, shape = torch.arange(60), pictures.shape[1:]

    def found(levels: Tensor) -> tuple[float, float]:
        """Shares of pictures that are the original to the eye, and that are nearest to a digit of its class."""
        x = start(vp, levels[0], noise(seeds, 0, 0, shape)).double()
        steps = sample(
            first_order,
            vp,
            x,
            levels,
            lambda interval, draw: noise(seeds, interval + 1, draw, shape).double(),
        )
        *_, last = alone(denoise, steps)
        assert torch.equal(last.x[:, :, :5], originals[:, :, :5])
        same = (last.x - originals).flatten(1).norm(dim=1) < 0.5  # no two of the set are closer than 0.66
        nearest = torch.cdist(last.x.flatten(1), pictures.flatten(1)).argmin(1)
        right = digits.labels[nearest] == digits.labels[chosen]
        return same.double().mean().item(), right.double().mean().item()

    levels = grid("logsnr", 30, linear())
    once, again = found(levels), found(repaint(levels, 5, 10))
    assert again[0] > 0.6 and again[1] > 0.85 and again[0] > once[0] + 0.1


@pytest.mark.parametrize("process", [vp, flow])
def test_questions_that_are_moved_come_closer_to_the_posterior_than_corrections_alone(
    process: Process,
) -> None:
    """Two correlated numbers, one of them known: the mean of the other is 0.8 times it."""
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
    exact = Gaussian(process, torch.zeros(2, dtype=torch.float64), covariance)
    operator, y = inpainting(torch.tensor([True, False])), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    levels = grid("logsnr", 20, linear())
    z = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)).double()
    means = []
    for moved in (False, True):
        steps = sample(first_order, process, start(process, levels[0], z), levels, lambda i, draw: z)
        walk = steered(steps, process, operator, y) if moved else steps
        *_, last = alone(exact, walk, corrections=() if moved else [ddnm(operator, y)])
        assert last.x[:, 0].eq(1).all()
        means.append(float(last.x[:, 1].mean()))
    plain, steady = (abs(mean - 0.8) for mean in means)
    assert steady < 0.5 * plain and steady < 0.2, means
