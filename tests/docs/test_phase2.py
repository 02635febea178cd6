"""Phase 2 of the guide: its exercises' answers, and the truths that its text states."""

from pathlib import Path

import pytest
import torch
from helpers_modules import module_of
from torch import Tensor, nn

from mezzotint import Denoiser, Empirical
from mezzotint.data import load_pictures, to_model
from mezzotint.diffusion import parameterization
from mezzotint.diffusion.process import ve, vp
from mezzotint.nets import UNet
from mezzotint.nets.embed import sinusoidal
from mezzotint.nets.unet import ResidualBlock

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"


solutions = module_of(GUIDE / "solutions" / "phase2.py")


def test_2_1_counted_on_paper_and_by_code() -> None:
    paper, counted, multiplications = solutions.exercise_2_1()
    assert paper == counted == 295_936
    assert multiplications == 58_720_256


def test_2_1_multiplications_are_those_that_are_done() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    block = ResidualBlock(64, 128, emb=256, dropout=0.0)
    with FlopCounterMode(display=False) as counter:
        block(torch.zeros(1, 64, 16, 16), torch.zeros(1, 256))
    assert counter.get_total_flops() == 2 * (solutions.exercise_2_1()[2] + 256 * 256)  # and the modulation


def test_2_2_fresh_beliefs_are_perfect_for_some_data() -> None:
    for name, difference in solutions.exercise_2_2().items():
        assert difference < (1e-4 if name == "eps" else 1e-9), name


def test_2_3_an_embedding_of_small_times_is_poor() -> None:
    unscaled, scaled = solutions.exercise_2_3()
    assert unscaled == 2
    assert scaled == 36


def test_2_4_batch_norm_mixes_rows() -> None:
    found = solutions.exercise_2_4()
    assert found["batch"] > 0.3
    assert found["group"] < 1e-5


def test_2_5_receptive_fields() -> None:
    assert solutions.exercise_2_5() == {2: 18, 3: 44}


def test_2_6_the_linear_denoiser_as_a_network() -> None:
    difference, beliefs = solutions.exercise_2_6()
    assert difference < 1e-3
    x0 = to_model(load_pictures("digits").batch(torch.arange(8))[0])
    assert (beliefs - x0).square().mean().sqrt() == pytest.approx(
        0.384, abs=0.01
    )  # where the noise beside x0 is 1


# --- the text -----------------------------------------------------------------------------------------------


def test_a_network_must_be_told_the_level() -> None:
    """Not told, its best answer is one function: the mean of the right ones over levels, far from each."""
    figures = module_of(GUIDE / "figures" / "phase2.py")
    exact = Empirical(vp, torch.tensor([[-1.0], [1.0]]))
    x = torch.linspace(-2, 2, 41)[:, None]
    told = figures.train_on_points(figures.time_condition, 250)
    untold = figures.train_on_points(torch.zeros_like, 250)

    def away(denoiser: Denoiser) -> Tensor:
        levels = torch.tensor([2.0, -3.0], dtype=torch.float64)
        with torch.no_grad():
            return torch.stack(
                [(denoiser(x, one.expand(41)) - exact(x, one)).square().mean().sqrt() for one in levels]
            )

    assert (away(told) < 0.2).all()
    assert (away(untold) > 0.25).all()


def test_neighbouring_levels_differ_only_where_time_is_scaled() -> None:
    t = torch.tensor([0.5, 0.51], dtype=torch.float64)
    unscaled, scaled = sinusoidal(t, 64), sinusoidal(1000 * t, 64)
    assert (unscaled[0] - unscaled[1]).norm() < 0.02
    assert (scaled[0] - scaled[1]).norm() > 4


def test_c_in_makes_inputs_of_variance_one() -> None:
    """For data of variance 1 (edm: its own), in every process."""
    logsnr = torch.linspace(-8, 8, 9, dtype=torch.float64)
    for process in (vp, ve):
        alpha, sigma = process(logsnr)
        for kind, variance in (
            (parameterization.eps, 1.0),
            (parameterization.v, 1.0),
            (parameterization.edm, 0.25),
        ):
            spread = kind(alpha, sigma).c_in ** 2 * (alpha**2 * variance + sigma**2)
            torch.testing.assert_close(spread, torch.ones_like(spread))


@pytest.mark.parametrize("part", ["parameters", "work"])
def test_parameters_are_deep_and_work_is_everywhere(part: str) -> None:
    """As the table of the page says; four fifths of the parameters are at 8 x 8."""
    net = UNet(channels=3, width=32, multipliers=(1, 2, 4), blocks=1, attention=(4,))
    levels = [["down.0", "up.2"], ["down.1", "up.1"], ["down.2", "middle.0", "middle.1", "up.0"]]
    if part == "parameters":
        counts = [
            sum(p.numel() for name in names for p in net.get_submodule(name).parameters()) for names in levels
        ]
        assert counts[2] / sum(counts) == pytest.approx(0.8, abs=0.03)
    else:
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 3, 32, 32), torch.zeros(1))
        flops = {name: sum(each.values()) for name, each in counter.get_flop_counts().items()}
        counts = [sum(flops[f"UNet.{name}"] for name in names) for names in levels]
        assert max(counts) < 2 * min(counts)


def test_convolutions_see_2n_plus_1() -> None:
    net = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1) for _ in range(6)])
    x = torch.randn(1, 1, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[0, 0, 16, 16], x)
    assert gradient[0, 0].any(0).sum() == 13
