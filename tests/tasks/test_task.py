"""Tasks: where the steps begin, what corrects them, how often they return; morphs and inversion; all against exact denoisers."""

import math
from collections import deque

import pytest
import torch
from helpers_golden import close
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion.engine import Walk, together
from mezzotint.diffusion.exact import Gaussian, Mixture
from mezzotint.diffusion.process import flow, ve, vp
from mezzotint.diffusion.routes import shrink
from mezzotint.diffusion.schedule import Schedule, cosine, karras, linear, linear_time, lognormal
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.randomness import noise
from mezzotint.tasks.colour import colour, with_brightness
from mezzotint.tasks.edit import composite, edit
from mezzotint.tasks.enlarge import enlarge, with_means
from mezzotint.tasks.generate import generate
from mezzotint.tasks.invert import Invert
from mezzotint.tasks.morph import Morph, slerp
from mezzotint.tasks.task import Kind, Task, Way

SHAPE = (1, 4, 4)
SEEDS = torch.arange(5)
PICTURE = noise(torch.tensor([9]), 0, 0, SHAPE).clamp(-1, 1)
MASK = torch.zeros(4, 4, dtype=torch.bool)
MASK[:, 2:] = True


def way(sampler: str = "ddim", steps: int = 6, **more: object) -> Way:
    return Way(flow, lognormal(), SHAPE, sampler, steps, "karras", **more)  # type: ignore[arg-type]


class Counted:
    """The exact denoiser of N(0.2, 0.09), and how many rows it was asked."""

    def __init__(self) -> None:
        self.calls = 0
        self.exact = Gaussian(flow, torch.full((16,), 0.2).double(), torch.full((16,), 0.09).double())

    def __call__(self, x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        self.calls += 1
        return self.exact(x, logsnr, cond)


def result(task: Kind, how: Way, seeds: Tensor = SEEDS, denoise: object = None) -> Tensor:
    walk = Walk(task.steps(how, seeds))
    (last,) = deque(together(denoise or Counted(), {0: walk}), maxlen=1)  # type: ignore[arg-type]
    return last[1].x0


@pytest.mark.parametrize("levels", [karras()(torch.linspace(1, 0, 9)), linear_time(torch.linspace(1, 0, 9))])
def test_a_shrunk_grid_lies_below_its_level_in_the_same_parts(levels: Tensor) -> None:
    close(shrink(levels, 1.0)[1:-1], levels[1:-1], atol=1e-12)
    half = shrink(levels, 0.5)
    close(1 / (1 + (half / 2).exp()), 0.5 / (1 + (levels / 2).exp()), atol=1e-15)
    assert (half.diff() > 0).all() and len(half) == len(levels)
    assert half[-1] == levels[-1] if levels[-1] == math.inf else half[-1] > levels[-1]
    for wrong in (0.0, 1.1):
        with pytest.raises(ValueError, match="share must be above 0 and at most 1"):
            shrink(levels, wrong)


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "heun", "ddpm", "dpmpp_2m_sde", "consistency"])
def test_strength_at_its_ends_is_the_picture_and_a_plain_sample_to_the_bit(sampler: str) -> None:
    how, counted = way(sampler), Counted()
    plain = generate(flow, lognormal(), SHAPE, SEEDS, sampler=sampler, steps=6, spacing="karras")
    (last,) = deque(together(Counted(), {0: Walk(plain)}), maxlen=1)
    assert result(edit(PICTURE, strength=1.0), how).equal(last[1].x0)
    assert result(edit(PICTURE, strength=0.0), how, denoise=counted).equal(PICTURE.expand(5, *SHAPE))
    assert counted.calls == 0


def test_strength_is_continuous_and_all_steps_lie_below_its_level() -> None:
    how, results, calls = way(steps=7), [], []
    for strength in (0.5, 0.5001, 0.501, 0.55):
        counted = Counted()
        results.append(result(edit(PICTURE, strength=strength), how, denoise=counted))
        calls.append(counted.calls)
    assert calls == [7] * 4
    steps = [(other - results[0]).abs().max().item() for other in results[1:]]
    assert 0 < steps[0] < steps[1] < steps[2] < 0.2
    far = [(result(edit(PICTURE, strength=s), how) - PICTURE).square().mean() for s in (0.05, 0.3, 0.6, 0.9)]
    assert far == sorted(far)
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="strength must be from 0 to 1"):
            edit(PICTURE, strength=wrong)


@pytest.mark.parametrize("schedule", [linear(50), cosine(40), lognormal()])
@pytest.mark.parametrize("spacing", ["karras", "logsnr", "time"])
def test_every_schedule_and_spacing_takes_a_strength(schedule: Schedule, spacing: str) -> None:
    for process in (vp, flow):
        how = Way(process, schedule, SHAPE, "dpmpp_2m", 5, spacing)
        assert result(edit(PICTURE, strength=0.3), how).isfinite().all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_is_known_stays_to_the_bit_and_each_return_is_a_step(sampler: str) -> None:
    for strength, returns in ((1.0, 1), (1.0, 3), (0.4, 2)):
        task = edit(PICTURE, MASK, strength=strength, returns=returns)
        walk = Walk(task.steps(way(sampler, 4), SEEDS))
        states = [state for _, state in together(Counted(), {0: walk})]
        assert [state.step for state in states] == list(range(1, task.count(4) + 1)), sampler
        made = states[-1].x0
        assert made[..., :2].equal(PICTURE[..., :2].expand(5, 1, 4, 2)), sampler
        assert (made[..., 2:] != PICTURE[..., 2:]).all() and made.isfinite().all()
    with pytest.raises(ValueError, match="returns must be at least 1"):
        edit(PICTURE, MASK, returns=0)


def test_fresh_noise_of_eta_and_churn_goes_with_returns() -> None:
    for name, more in (("ddim", {"eta": 0.5}), ("heun", {"churn": 3.0})):
        task = edit(PICTURE, MASK, returns=2)
        made = result(task, way(name, 5, **more))
        assert made[..., :2].equal(PICTURE[..., :2].expand(5, 1, 4, 2)) and made.isfinite().all()


def test_parts_are_the_rows_of_the_whole() -> None:
    rows = noise(SEEDS + 100, 0, 0, SHAPE)
    for task in (
        edit(PICTURE, strength=0.5),
        edit(rows, MASK, returns=2),
        enlarge(noise(SEEDS, 0, 0, (1, 2, 2)), 2),
        Task(noise=rows),
        Invert(rows, rounds=2),
    ):
        whole = result(task, way())
        assert result(task.part(1, 3), way(), SEEDS[1:3]).equal(whole[1:3])


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_results_are_those_whose_measurement_is_known(process: object) -> None:
    how = Way(process, karras(), (3, 4, 4), "dpmpp_2m", 6, "karras")  # type: ignore[arg-type]
    exact = Gaussian(process, torch.full((48,), 0.1).double(), torch.full((48,), 0.25).double())  # type: ignore[arg-type]
    small, luma = noise(torch.tensor([3]), 0, 0, (3, 2, 2)), noise(torch.tensor([4]), 0, 0, (1, 4, 4))
    for task in (enlarge(small, 2, 2), colour(luma, 2)):
        assert task.operator is not None and task.y is not None
        made = result(task, how, denoise=exact)
        close(task.operator.forward(made), task.y.expand(5, *task.y.shape[1:]), atol=1e-6)
        assert made.std(0).mean() > 0.05  # and the rest is free


# --- morphs ----------------------------------------------------------------------------------------------


def test_between_two_noises_lies_noise() -> None:
    a, b = noise(SEEDS, 0, 0, (3, 20, 20)), noise(SEEDS + 50, 0, 0, (3, 20, 20))
    ends = slerp(a, b, torch.tensor([0.0, 1.0, 0.0, 1.0, 0.5]).double())
    assert ends[0].equal(a[0]) and ends[1].equal(b[1]) and ends[2].equal(a[2])
    middle = slerp(a, b, torch.full((5,), 0.5).double())
    close(middle.flatten(1).norm(dim=1), (a.flatten(1).norm(dim=1) + b.flatten(1).norm(dim=1)) / 2, atol=0.5)
    assert middle.std() > 0.97 > 0.75 > ((a + b) / 2).std()
    # by equal angles: a quarter of the way twice is half of the way
    unit_a, unit_b = (x / x.flatten(1).norm(dim=1)[:, None, None, None] for x in (a, b))
    quarter, half = (slerp(unit_a, unit_b, torch.full((5,), w).double()) for w in (0.25, 0.5))
    close(slerp(unit_a, half, torch.full((5,), 0.5).double()), quarter, atol=1e-6)
    close(slerp(a, 2 * a, torch.full((5,), 0.5).double()), 1.5 * a, atol=1e-6)  # parallel


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "heun"])
def test_a_morph_begins_and_ends_with_plain_samples_to_the_bit(sampler: str) -> None:
    how, share = way(sampler), torch.linspace(0, 1, 5).double()
    made = result(Morph(share, 3, 7), how)
    assert made[:1].equal(result(Task(), how, torch.tensor([3])))
    assert made[-1:].equal(result(Task(), how, torch.tensor([7])))
    steps = made.diff(dim=0).flatten(1).norm(dim=1)
    assert steps.max() < 2 * steps.min()  # evenly
    assert result(Morph(share, 3, 7).part(1, 3), how, SEEDS[1:3]).equal(made[1:3])


def test_a_morph_from_class_to_class_mixes_what_is_believed_of_both() -> None:
    def denoise(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        assert cond.label is not None and len(cond.label) == len(x)
        return cond.label.float()[:, None, None, None].expand_as(x).contiguous()

    share = torch.linspace(0, 1, 5).double()
    task = Morph(share, 3, 7, asked=Cond(label=torch.full((5,), 8)))
    cond = task.cond(Cond(label=torch.full((5,), 4)))
    assert cond.label is not None and cond.label.tolist() == [4] * 5 + [8] * 5
    walk = Walk(task.steps(way(), SEEDS), cond)
    states = [state for _, state in together(denoise, {0: walk})]
    assert len(states) == 6 and states[-1].x0.shape == (5, *SHAPE)
    assert states[-1].x0[:, 0, 0, 0].tolist() == [4, 5, 6, 7, 8]


# --- inversion -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_inverted_and_sampled_again_is_the_picture(process: object) -> None:
    """Of a mixture, with an exact denoiser, in float64; naive inversion, which asks once, does not come back."""
    means = torch.tensor([[-0.5, 0.2], [0.6, -0.3]], dtype=torch.float64)
    exact = Mixture(process, torch.tensor([0.4, 0.6]).double(), means, torch.full((2, 2), 0.04).double())  # type: ignore[arg-type]
    how = Way(process, karras(0.02, 20.0), (2,), "ddim", 20, "karras")  # type: ignore[arg-type]
    things = means + 0.2 * noise(torch.arange(2), 0, 0, (2,)).double()
    errors = []
    for rounds in (1, 40):
        walk = Walk(Invert(things, rounds).steps(how, torch.arange(2)))
        (last,) = deque(together(exact, {0: walk}), maxlen=1)
        again = result(Task(noise=last[1].x), how, torch.arange(2), exact)
        errors.append(float((again - things).abs().max()))
    assert errors[1] < 1e-6 < 0.01 < errors[0], errors


# --- the last form of what was made ------------------------------------------------------------------------

bytes_of = st.integers(0, 2**31).map(lambda seed: torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(bytes_of, st.sampled_from([2, 3, 4]), st.sampled_from([0, 1, 128, 254, 255]))
def test_blocks_have_exactly_the_means_that_are_known(
    random: torch.Generator, factor: int, grey: int
) -> None:
    things = torch.randint(256, (2, 3, 4 * factor, 2 * factor), generator=random).to(torch.uint8)
    small = torch.randint(256, (3, 4, 2), generator=random).to(torch.uint8)
    small[0] = grey  # black and white blocks, too: those can be made in one way alone
    made = with_means(things, small, factor)
    blocks = made.long().unflatten(-1, (-1, factor)).unflatten(-3, (-1, factor)).sum((-3, -1))
    assert made.dtype == torch.uint8 and blocks.equal(small.long().expand(2, 3, 4, 2) * factor**2)
    assert with_means(made, small, factor).equal(made)  # what is right stays


@settings(max_examples=40, deadline=None)
@given(bytes_of)
def test_coloured_pictures_have_the_brightness_that_is_known(random: torch.Generator) -> None:
    things = torch.randint(256, (2, 3, 4, 5), generator=random).to(torch.uint8)
    wanted = torch.randint(256, (1, 4, 5), generator=random).to(torch.uint8)
    wanted[0, 0, :2] = torch.tensor([0, 255])
    made = with_brightness(things, wanted).double()
    luma = (made * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]).sum(
        1, keepdim=True
    )
    assert (luma - wanted).abs().max() <= 0.5 + 1e-9


def test_what_is_made_is_laid_into_the_picture() -> None:
    picture, things = (
        torch.full((1, 6, 6), 10, dtype=torch.uint8),
        torch.full((2, 1, 6, 6), 210, dtype=torch.uint8),
    )
    repainted = torch.zeros(6, 6, dtype=torch.bool)
    repainted[:, 2:] = True
    hard = composite(things, picture, repainted, 0)
    assert hard[0, 0, 0].tolist() == [10, 10, 210, 210, 210, 210]
    assert composite(things, picture, repainted, 3)[0, 0, 0].tolist() == [10, 10, 60, 110, 160, 210]
    assert composite(things, picture, torch.ones(6, 6, dtype=torch.bool), 3).equal(things)  # no edge
