"""Guidance against its formula and closed forms, and what it costs: rows that do not ask for it do not pay."""

import math

import pytest
import torch
from helpers_golden import close, golden, mixture
from helpers_oracles import corrected, elementwise, plain, random_mixture
from torch import Tensor, nn

from mezzotint.cond import NO_COND, Cond
from mezzotint.data.images import load_pictures
from mezzotint.diffusion import parameterization
from mezzotint.diffusion.corrections import clip, dynamic_threshold
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.engine import Walk, alone, together
from mezzotint.diffusion.exact import Empirical, Gaussian, Mixture
from mezzotint.diffusion.guidance import (
    Guidance,
    autoguidance,
    cfg,
    classifier_guidance,
    rescaled,
)
from mezzotint.diffusion.process import Process, add_noise, flow, logsnr_of, per_row, ve, vp
from mezzotint.diffusion.routes import ancestral
from mezzotint.diffusion.sampler import sample, start
from mezzotint.diffusion.schedule import grid, linear
from mezzotint.diffusion.solvers import dpmpp_2m, first_order
from mezzotint.media.pictures import to_model
from mezzotint.randomness import noise

NULL = 10
X = torch.randn(6, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LOGSNR = torch.linspace(-4, 3, 6, dtype=torch.float64)
LABEL = torch.tensor([0, 9, 3, 3, NULL, 7])


def asked(
    label: Tensor | None,
    scale: Tensor | None = None,
    interval: Tensor | None = None,
    negative: Tensor | None = None,
    rescale: Tensor | None = None,
) -> tuple[Cond, Guidance | None]:
    """What rows are asked to be, and how strongly: away from `negative`, or from nothing asked."""
    if scale is None:
        return Cond(label), None
    away = Cond(torch.tensor([NULL]) if negative is None else negative)
    return Cond(label), Guidance(scale, away, interval, rescale)


class Classes:
    """A belief that depends on the class, element by element. Counts the rows of every call."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.labels: list[list[int] | None] = []

    def __call__(self, x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        self.rows.append(len(x))
        self.labels.append(None if cond.label is None else cond.label.tolist())
        shift = (
            0.0 if cond.label is None else (cond.label + 1).to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)) / 8
        )
        return elementwise(x + shift, logsnr, cond)


def test_guidance_is_its_formula_row_by_row() -> None:
    scale = torch.tensor([1.0, 3.0, 0.0, -2.0, 5.0, 1.5], dtype=torch.float64)
    network, plain = Classes(), Classes()
    guided = cfg(network)(X, LOGSNR, *asked(LABEL, scale))
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
    ("cond", "guidance"),
    [(NO_COND, None), asked(LABEL), asked(LABEL, torch.ones(6).double())],
)
def test_guidance_that_is_off_costs_nothing(cond: Cond, guidance: Guidance | None) -> None:
    network = Classes()
    off = cfg(network)(X, LOGSNR, cond, guidance)
    assert network.rows == [6]
    assert torch.equal(off, Classes()(X, LOGSNR, cond))


def test_guidance_away_from_a_class_needs_a_class_to_guide_to() -> None:
    with pytest.raises(ValueError, match="label is set for some"):
        cfg(Classes())(X, LOGSNR, *asked(None, torch.full((6,), 3.0).double()))


def test_guidance_keeps_the_precision_of_the_pictures() -> None:
    scale = torch.full((6,), 2.0, dtype=torch.float64)
    assert cfg(Classes())(X.float(), LOGSNR, *asked(LABEL, scale)).dtype == torch.float32


def test_the_negative_condition_takes_the_place_of_none() -> None:
    """Row by row another class to guide away from; K is none, as if there were no such field."""
    scale = torch.tensor([1.0, 3.0, 0.0, -2.0, 5.0, 1.5], dtype=torch.float64)
    negative = torch.tensor([1, 2, 8, NULL, NULL, 7])
    network, plain = Classes(), Classes()
    guided = cfg(network)(X, LOGSNR, *asked(LABEL, scale, negative=negative))
    conditional, away = plain(X, LOGSNR, Cond(LABEL)), plain(X, LOGSNR, Cond(negative))
    close(guided, away + scale.reshape(-1, 1, 1) * (conditional - away), atol=1e-14)
    assert network.labels == [[*LABEL.tolist(), *negative[1:].tolist()]]
    everywhere = torch.full_like(LABEL, NULL)
    by_default = cfg(Classes())(X, LOGSNR, *asked(LABEL, scale))
    assert torch.equal(cfg(Classes())(X, LOGSNR, *asked(LABEL, scale, negative=everywhere)), by_default)


def test_outside_its_interval_guidance_is_off_and_free() -> None:
    """Kynkäänniemi et al. 2024: low < sigma / alpha <= high, each row its own."""
    sigma = torch.tensor([0.5, 1.0, 2.0, 4.0, 1.0, 1.0], dtype=torch.float64)
    interval = torch.tensor([[1, 2], [1, 2], [1, 2], [1, 2], [0, math.inf], [0.9, 1.0]], dtype=torch.float64)
    scale, level = torch.full((6,), 3.0, dtype=torch.float64), -2 * sigma.log()
    assert torch.equal((-level / 2).exp()[1:], sigma[1:])  # the bounds are met to the bit
    network = Classes()
    limited = cfg(network)(X, level, *asked(LABEL, scale, interval))
    on = torch.tensor([False, False, True, False, True, True])
    assert network.labels == [[*LABEL.tolist(), *[NULL] * 3]]
    always, off = cfg(Classes())(X, level, *asked(LABEL, scale)), Classes()(X, level, Cond(LABEL))
    assert torch.equal(limited, torch.where(on[:, None, None], always, off))
    outside = Classes()
    cfg(outside)(X, level, *asked(LABEL, scale, torch.tensor([[5.0, 6.0]]).double().expand(6, 2)))
    assert outside.rows == [6]


def _class_or_none(problem: str) -> Denoise:
    """The exact network of a mixture whose component 1 is a class; 3 is none."""
    everything, one = mixture(problem, vp), mixture(problem, vp, 1)

    def network(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        asked = (cond.label == 1).reshape(-1, *[1] * (x.ndim - 1))
        return torch.where(asked, one(x, logsnr), everything(x, logsnr))

    return network


def _golden_level() -> tuple[Tensor, Tensor, Tensor]:
    alpha, sigma = torch.tensor([0.8, 0.6], dtype=torch.float64)
    return alpha, sigma, logsnr_of(alpha, sigma)


def test_guided_predictions_equal_diffusers() -> None:
    """Guiding the belief is guiding eps: both are linear in each other."""
    numbers, (alpha, sigma, level) = golden("networks"), _golden_level()
    x = numbers["cfg__x"]
    for scale, expected in zip(numbers["cfg__scales"], numbers["cfg__eps_guided"]):
        cond = asked(torch.ones(len(x)).long(), scale.expand(len(x)), negative=torch.tensor([3]))
        x0 = cfg(_class_or_none("g16"))(x, level.expand(len(x)), *cond)
        close((x - alpha * x0) / sigma, expected, atol=1e-12)


@pytest.mark.parametrize(("share", "name"), [(0.0, "phi00"), (0.7, "phi07"), (1.0, "phi10")])
def test_rescaled_predictions_equal_diffusers(share: float, name: str) -> None:
    """Theirs rescales what the network returns, eps: by `rescaled` itself, and by `cfg` with eps' c_skip."""
    numbers, (alpha, sigma, level) = golden("networks"), _golden_level()
    x, conditional = numbers["cfg__x"], numbers["cfg__eps_cond"]
    shares = torch.full((len(x),), share, dtype=torch.float64)
    guide = cfg(_class_or_none("g16"), lambda logsnr: parameterization.eps(*vp(logsnr)).c_skip)
    for scale, guided, expected in zip(
        numbers["cfg__scales"], numbers["cfg__eps_guided"], numbers[f"cfg__rescaled_{name}"]
    ):
        close(rescaled(guided, conditional, shares), expected, atol=1e-13)
        cond = asked(torch.ones(len(x)).long(), scale.expand(len(x)), None, torch.tensor([3]), shares)
        x0 = guide(x, level.expand(len(x)), *cond)
        close((x - alpha * x0) / sigma, expected, atol=1e-11)


def test_rescaling_gives_the_belief_the_contrast_of_the_class() -> None:
    scale = torch.tensor([1.0, 3.0, 4.0, -2.0, 5.0, 1.5], dtype=torch.float64)
    share = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 0.25], dtype=torch.float64)
    guided = cfg(Classes())(X, LOGSNR, *asked(LABEL, scale))
    conditional = Classes()(X, LOGSNR, Cond(LABEL))
    actual = cfg(Classes())(X, LOGSNR, *asked(LABEL, scale, rescale=share))
    assert torch.equal(actual[0], conditional[0]) and torch.equal(
        actual[2], guided[2]
    )  # no guidance, no rescale
    contrast = [z.flatten(1).std(1) for z in (actual, conditional, guided)]
    close(contrast[0][[1, 3, 4]], contrast[1][[1, 3, 4]], atol=1e-14)
    close(contrast[0][5], 0.25 * contrast[1][5] + 0.75 * contrast[2][5], atol=1e-14)
    close(actual[1] / guided[1], (contrast[1] / contrast[2])[1].expand(3, 4), atol=1e-12)
    flat = torch.full((2, 3, 4), 0.5, dtype=torch.float64)
    assert torch.equal(rescaled(flat, 2 * flat, share[:2]), flat)
    assert torch.equal(rescaled(flat[:, :1, 0], X[:2, :1, 0], share[:2]), flat[:, :1, 0])  # one number


def _tilted(
    process: Process, x: Tensor, logsnr: Tensor, scale: float, toward: Mixture, away: Mixture
) -> Tensor:
    """The belief of the density p_toward^g / p_away^(g - 1) of noisy pictures, by Tweedie's formula and autograd."""
    x = x.clone().requires_grad_()
    log_density = scale * toward.log_prob(x, logsnr) + (1 - scale) * away.log_prob(x, logsnr)
    (score,) = torch.autograd.grad(log_density.sum(), x)
    alpha, sigma = process(logsnr)
    return ((x + per_row(sigma**2, x) * score) / per_row(alpha, x)).detach()


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_autoguidance_sharpens_the_density_and_asks_the_weak_network_for_its_rows_alone(
    process: Process,
) -> None:
    strong, weak = random_mixture(process, seed=3), random_mixture(process, seed=4)
    x, level = torch.randn(5, 2, dtype=torch.float64), torch.linspace(-3, 3, 5, dtype=torch.float64)
    scale = torch.tensor([2.0, 1.0, 0.0, 2.0, 2.0], dtype=torch.float64)
    interval = torch.tensor([[0, math.inf]] * 3 + [[0, 0.1]] + [[0, 9]], dtype=torch.float64)
    label, calls = torch.arange(5), []

    def weak_network(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        assert cond.label is not None
        calls.append(cond.label.tolist())
        return weak(x, logsnr)

    guided = autoguidance(plain(strong), weak_network)
    actual = guided(x, level, *asked(label, scale, interval))
    assert calls == [[0, 2, 4]]
    close(actual[[0, 4]], _tilted(process, x, level, 2.0, strong, weak)[[0, 4]], atol=1e-10)
    close(actual[2], weak(x, level)[2], atol=1e-13)
    assert torch.equal(actual[[1, 3]], strong(x, level)[[1, 3]])
    for free in (asked(label, torch.ones(5, dtype=torch.float64)), asked(label)):
        assert torch.equal(guided(x, level, *free), strong(x, level)) and len(calls) == 1


def _classes(process: Process) -> tuple[Mixture, list[Gaussian]]:
    """A mixture of three Gaussians in two dimensions, and each of them alone."""
    draw = torch.Generator().manual_seed(5)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    means, root = (torch.randn(3, 2, n, dtype=torch.float64, generator=draw) for n in (1, 2))
    covariances = 0.1 * root @ root.mT + 0.05 * torch.eye(2, dtype=torch.float64)
    each = [Gaussian(process, mean, covariance) for mean, covariance in zip(means[..., 0], covariances)]
    return Mixture(process, weights, means[..., 0], covariances), each


def _bayes(x: Tensor, logsnr: Tensor, cond: Cond, whole: Mixture, each: list[Mixture]) -> Tensor:
    """log p(y | x), exactly: that of component y over that of all."""
    joint = torch.stack([w.log() + one.log_prob(x, logsnr) for w, one in zip(whole.weights, each)], 1)
    return joint.log_softmax(1).gather(1, cond.label[:, None])[:, 0]


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_an_exact_classifier_makes_the_exact_conditional_belief(process: Process) -> None:
    """Scale 1 is Bayes' rule; any scale is classifier-free guidance with the exact conditional beliefs."""
    whole, each = _classes(process)
    asked_for: list[Tensor | None] = []

    def unconditional(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        asked_for.append(cond.label)
        return whole(x, logsnr)

    gradients: list[int] = []

    def log_prob(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        gradients.append(len(x))
        return _bayes(x, logsnr, cond, whole, each)

    guided = classifier_guidance(unconditional, process, log_prob)
    level = torch.linspace(-6, 6, 12, dtype=torch.float64)
    alpha, sigma = process(level)
    draw = torch.Generator().manual_seed(6)
    x = (alpha**2 + sigma**2).sqrt()[:, None] * torch.randn(12, 2, dtype=torch.float64, generator=draw)
    label = torch.arange(12) % 3
    conditional = torch.stack([each[k](x, level)[i] for i, k in enumerate(label.tolist())])
    with torch.no_grad():  # as in the engine
        close(guided(x, level, Cond(label)), conditional, atol=1e-10)
        for scale in (1.0, 0.0, 2.5, -1.0):
            cond = asked(label, torch.full((12,), scale, dtype=torch.float64))
            none = whole(x, level)
            close(guided(x, level, *cond), none + scale * (conditional - none), atol=1e-10)
        assert not guided(x, level, Cond(label)).requires_grad
    assert gradients == [12] * 5 and set(asked_for) == {None}  # scale 0 needs no classifier
    interval = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(12, 2)
    limited = guided(x, level, *asked(label, torch.full((12,), 0.0).double(), interval))
    inside = (level >= 0)[:, None]
    close(limited, torch.where(inside, whole(x, level), conditional), atol=1e-10)


@pytest.mark.parametrize("process", [vp, flow])
def test_classifier_guidance_is_finite_from_pure_noise(process: Process) -> None:
    """The cosine schedule's end and alpha = 0, where sigma^2 / alpha overflows and the gradient vanishes."""
    whole, each = _classes(process)
    guided = classifier_guidance(plain(whole), process, lambda x, l, c: _bayes(x, l, c, whole, each))
    x, level = torch.randn(3, 2, dtype=torch.float64), torch.tensor([-19.0, -74.66, -math.inf]).double()
    label = torch.tensor([2, 2, 2])
    close(guided(x, level, Cond(label)), each[2](x, level), atol=1e-3)


def test_the_classifiers_part_can_be_differentiated() -> None:
    """Likelihoods need the Jacobian of the whole belief."""
    whole, each = _classes(vp)
    guided = classifier_guidance(plain(whole), vp, lambda x, l, c: _bayes(x, l, c, whole, each))
    x, level, label = torch.randn(1, 2, dtype=torch.float64), torch.zeros(1).double(), torch.tensor([1])
    actual = torch.autograd.functional.jacobian(lambda x: guided(x, level, Cond(label)), x)
    close(actual, torch.autograd.functional.jacobian(lambda x: each[1](x, level), x), atol=1e-10)


class NoisyDigits(nn.Module):
    """A small classifier of noisy 8 x 8 pictures: (B, 1, 8, 8) at logsnr (B,) -> logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(65, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 10)
        )

    def forward(self, x: Tensor, logsnr: Tensor) -> Tensor:
        logits = self.layers(torch.cat([x.flatten(1), logsnr.to(x)[:, None] / 4], 1))
        return per_row(vp(logsnr)[0], x)[:, :, 0, 0] * logits  # by alpha: pure noise has no class


def _trained(pictures: Tensor, labels: Tensor, steps: int) -> NoisyDigits:
    """Learns the class of pictures noised to random levels, which is all that classifier guidance asks for."""
    torch.manual_seed(0)
    classifier = NoisyDigits()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=3e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        batch = torch.randint(len(pictures), (256,))
        level = 10 * torch.rand(256, dtype=torch.float64) - 6
        x = add_noise(vp, pictures[batch], torch.randn(256, *pictures.shape[1:]), level)
        optimizer.zero_grad()
        nn.functional.cross_entropy(classifier(x, level), labels[batch]).backward()
        optimizer.step()
    return classifier.eval()


def test_a_classifier_of_noisy_digits_steers_an_unconditional_model() -> None:
    """The belief is exact for the set of digits and knows no class; the classifier, trained here, makes it draw them."""
    digits = load_pictures("digits")
    pictures, labels = to_model(digits.images), digits.labels
    classifier, every_digit = _trained(pictures, labels, steps=800), Empirical(vp, pictures)

    def log_prob(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        return classifier(x, logsnr).log_softmax(1).gather(1, cond.label[:, None])[:, 0]

    def share_right(scale: float) -> float:
        """The share of 60 pictures that have the class that was asked for: that of the digit of the set they are."""
        wanted, levels = torch.arange(60) % 10, grid("logsnr", 25, linear())
        x = start(vp, levels[0], noise(torch.arange(60), 0, 0, (1, 8, 8)))
        guidance = Guidance(torch.full((60,), scale, dtype=torch.float64))
        steps = sample(dpmpp_2m, vp, x, levels, lambda interval, draw: torch.zeros(()))
        *_, last = alone(classifier_guidance(every_digit, vp, log_prob), steps, Cond(wanted), guidance)
        distance, nearest = torch.cdist(last.x.flatten(1), pictures.flatten(1)).min(1)
        assert distance.max() < 0.1
        return (labels[nearest] == wanted).double().mean().item()

    assert share_right(0.0) < 0.25  # chance
    assert share_right(4.0) > 0.95


def test_every_request_has_its_own_guidance() -> None:
    """Guided together as guided alone, bitwise; requests of scale 1 pay for no second branch."""
    levels = grid("logsnr", 6, linear())

    def request(rows: int) -> tuple:
        x = torch.randn(rows, 3, 4, generator=torch.Generator().manual_seed(rows))
        return sample(dpmpp_2m, vp, x, levels, lambda interval, draw: torch.zeros(()))

    inside = (levels[:-1] >= 0).sum().item()  # levels of sigma / alpha <= 1
    assert 0 < inside < 6
    conds = {
        n: asked(
            torch.arange(n) % NULL,
            torch.full((n,), scale, dtype=torch.float64),
            torch.tensor([[0.0, high]], dtype=torch.float64).expand(n, 2),
            torch.full((n,), negative),
            torch.full((n,), share, dtype=torch.float64),
        )
        for n, scale, high, negative, share in (
            (1, 4.0, math.inf, NULL, 0.0),
            (2, 1.0, math.inf, 3, 0.0),
            (3, 2.5, 1.0, 4, 0.7),
            (5, 0.5, math.inf, NULL, 1.0),
        )
    }
    network = Classes()
    last = dict(together(cfg(network), {n: Walk(request(n), *cond) for n, cond in conds.items()}))
    assert network.rows == [11 + 1 + 5] * (6 - inside) + [11 + 1 + 3 + 5] * inside
    for n, cond in conds.items():
        *_, expected = alone(cfg(Classes()), request(n), *cond)
        assert torch.equal(last[n].x, expected.x)


def test_requests_with_and_without_guidance_share_a_call() -> None:
    """One that has none stands there with scale 1; a label that one has and the other has not would shift to other rows."""
    (plain_cond, _), (cond, guidance) = asked(LABEL), asked(LABEL, torch.full((6,), 3.0).double())
    both = Guidance.cat([(None, 6), (guidance, 6)])
    assert both is not None and both.scale.tolist() == [1.0] * 6 + [3.0] * 6
    together_ = cfg(Classes())(
        torch.cat([X, X]), torch.cat([LOGSNR, LOGSNR]), Cond.cat([plain_cond, cond]), both
    )
    assert torch.equal(together_[:6], Classes()(X, LOGSNR, plain_cond))
    assert torch.equal(together_[6:], cfg(Classes())(X, LOGSNR, cond, guidance))
    assert Guidance.cat([(None, 6), (None, 6)]) is None
    weakly = Guidance(torch.full((2,), 2.0).double())  # of autoguidance, which drives away from no condition
    mixed = Guidance.cat([(weakly, 2), (None, 3)])
    assert mixed is not None and mixed.scale.tolist() == [2, 2, 1, 1, 1] and mixed.away == NO_COND
    for conds in ([NO_COND, cond], [cond, NO_COND]):
        with pytest.raises(ValueError, match="label is set for some requests"):
            Cond.cat(conds)


def test_clip_keeps_the_belief_in_range_and_noise_follows() -> None:
    def far(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        return 3 * x

    assert clip()(3 * X).abs().max() == 1
    assert torch.equal(clip(0.0, 0.5)(3 * X), (3 * X).clamp(0.0, 0.5))
    assert torch.equal(clip(-100, 100)(3 * X), 3 * X)
    # The step's noise is what is left of x once the clipped picture is taken away, not the network's.
    s, t = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    (alpha, sigma), (alpha_t, sigma_t) = vp(s), vp(t)
    steps = sample(dpmpp_2m, vp, X, torch.stack([s, t]), lambda interval, draw: X)
    (state,) = alone(far, steps, corrections=[clip()])
    x0 = (3 * X).clamp(-1, 1)
    close(state.x, alpha_t * x0 + sigma_t * (X - alpha * x0) / sigma, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "ratio", "largest"),
    [
        ("ratio0995__max10", 0.995, 1.0),
        ("ratio0995__max15", 0.995, 1.5),
        ("ratio09__max30", 0.9, 3.0),
        ("ratio05__max100", 0.5, 10.0),
    ],
)
def test_thresholded_pictures_equal_diffusers(name: str, ratio: float, largest: float) -> None:
    numbers = golden("networks")
    x0 = numbers["dynthr__x"]
    actual = dynamic_threshold(ratio, largest)(x0)
    close(actual, numbers[f"dynthr__{name}"], atol=1e-14)
    assert actual.abs().max() <= 1


def test_thresholds_without_a_limit_and_below_the_range() -> None:
    """s is at least 1, so that no picture is blown up, and as large as the picture needs."""
    far, faint = 50 * torch.ones(1, 2, 5), torch.linspace(-0.3, 0.4, 10).reshape(1, 2, 5)
    assert torch.equal(dynamic_threshold(0.5)(torch.cat([far, faint])), torch.cat([far / 50, faint]))


@pytest.mark.parametrize(("run", "problem"), [("short", "g2"), ("short", "g16"), ("long", "g2")])
def test_a_thresholded_run_equals_diffusers(run: str, problem: str) -> None:
    """DDPM on trailing timesteps; eps follows the thresholded picture."""
    expected = golden("samplers_diffusers")[f"ddpm_dynamic_threshold__{run}__{problem}__x"]
    numbers, levels = golden("mixtures"), grid("trailing", len(expected) - 1, linear())
    z, bank = numbers[f"{problem}__noise"], numbers[f"{problem}__step_noise"]
    asked: list[Tensor] = []
    belief = corrected(plain(mixture(problem, vp)), dynamic_threshold(0.6, 1.3))

    def spy(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        asked.append(x)
        return belief(x, logsnr, cond)

    steps = sample(first_order, vp, z, ancestral(levels), lambda interval, draw: bank[interval // 2])
    *_, last = alone(spy, steps)
    floor = 1e-10 * bank[len(levels) - 2]  # theirs adds noise of this size even to the clean end
    close(torch.stack([*asked, last.x + floor]), expected, atol=1e-12)
