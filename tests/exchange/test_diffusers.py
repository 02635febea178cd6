"""Schedulers of diffusers through the adapter: their measured orders, and our rows beside them."""

from typing import Any

import pytest
import torch
from numerics import SAME

from mezzotint.checking.check import check, even_grid, exact_ends, fresh_mixture, ours
from mezzotint.diffusion.process import ve
from mezzotint.exchange.diffusers import from_diffusers

diffusers = pytest.importorskip("diffusers")
FULL = {"final_sigmas_type": "sigma_min", "lower_order_final": False}


@pytest.mark.parametrize(
    ("name", "order", "options"),
    [
        ("DDIMScheduler", 1, {"clip_sample": False}),
        ("DDIMScheduler", 1, {"clip_sample": False, "prediction_type": "v_prediction"}),
        ("EulerDiscreteScheduler", 1, {}),
        ("EulerDiscreteScheduler", 1, {"prediction_type": "v_prediction"}),
        ("HeunDiscreteScheduler", 2, {}),
        ("DPMSolverMultistepScheduler", 2, FULL),
        ("DPMSolverMultistepScheduler", 2, {"prediction_type": "sample", **FULL}),
        ("UniPCMultistepScheduler", 3, FULL),
        (
            "UniPCMultistepScheduler",
            3,
            {"use_flow_sigmas": True, "prediction_type": "flow_prediction", **FULL},
        ),
        ("FlowMatchEulerDiscreteScheduler", 1, {}),
    ],
)
def test_orders_of_schedulers(name: str, order: int, options: dict[str, Any]) -> None:
    found = check(from_diffusers(getattr(diffusers, name)(**options)), order=order)
    assert found.passed, found
    assert found.name == name
    assert found.calls == tuple(n * (2 if name.startswith("Heun") else 1) for n in found.steps)


@pytest.mark.parametrize(("row", "name", "options"), SAME, ids=lambda value: str(value)[:30])
def test_our_rows_take_the_same_steps(row: str, name: str, options: dict[str, Any]) -> None:
    """To rounding; some of theirs compute in float32."""
    exact, (x, _) = fresh_mixture(ve, 3), exact_ends(3)
    denoise = lambda x, sigma: exact(x, -2 * sigma.log())  # noqa: E731
    theirs = from_diffusers(getattr(diffusers, name)(**options))(denoise, x, even_grid(12))
    assert (ours(row)(denoise, x, even_grid(12)) - theirs).abs().max() < 5e-6


def test_a_stochastic_scheduler() -> None:
    assert check(
        from_diffusers(diffusers.DDPMScheduler(clip_sample=False)), stochastic=True, steps=(320,)
    ).passed


def test_clipping_is_exposed() -> None:
    """DDIM clips x0 to [-1, 1] unless told otherwise, and the mixture is wider."""
    found = check(from_diffusers(diffusers.DDIMScheduler()), order=1)
    assert not found.passed and found.errors[-1] > 0.05


def test_the_scheduler_is_left_as_it_was() -> None:
    scheduler = diffusers.HeunDiscreteScheduler()
    before = scheduler.sigmas.clone()
    check(from_diffusers(scheduler), steps=(10,))
    assert torch.equal(scheduler.sigmas, before) and scheduler.step_index is None


def test_a_scheduler_with_levels_of_its_own() -> None:
    with pytest.raises(ValueError, match="KDPM2DiscreteScheduler computes levels"):
        check(from_diffusers(diffusers.KDPM2DiscreteScheduler()))
