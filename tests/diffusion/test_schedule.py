"""Schedules and grids against public implementations, and their properties at every length."""

import math
from collections.abc import Callable

import pytest
import torch
from helpers_golden import close, golden
from torch import Tensor

from mezzotint.diffusion.process import flow, ve, vp
from mezzotint.diffusion.schedule import (
    LOWEST,
    Schedule,
    Table,
    cosine,
    from_betas,
    grid,
    karras,
    linear,
    linear_time,
    lognormal,
    quadratic,
    scaled_linear,
    sigmoid,
    sigmoid_beta,
    timesteps,
    zero_terminal_snr,
)

TABLES: dict[str, Callable[[], Table]] = {
    "linear_Ta": linear,
    "linear_Tb": lambda: linear(300),
    "linear_guided_Tb": lambda: linear(300, 1e-4 * 1000 / 300, 0.02 * 1000 / 300),
    "scaled_linear_Ta": scaled_linear,
    "quadratic_Ta": quadratic,
    "quadratic_Tb": lambda: quadratic(300),
    "cosine_Ta": cosine,
    "cosine_Tb": lambda: cosine(300),
    "sigmoid_lucidrains_Ta": sigmoid,
    "sigmoid_lucidrains_Tb": lambda: sigmoid(300),
    "sigmoid_lucidrains_tau07_Tb": lambda: sigmoid(300, tau=0.7),
    "sigmoid_diffusers_Ta": sigmoid_beta,
    "sigmoid_diffusers_Tb": lambda: sigmoid_beta(300),
    "zsnr_linear_Ta": lambda: zero_terminal_snr(linear()),
    "zsnr_scaled_linear_Ta": lambda: zero_terminal_snr(scaled_linear()),
}
FAMILIES = [linear, scaled_linear, quadratic, cosine, sigmoid, sigmoid_beta]
LENGTHS = [100, 300, 600, 1000]


@pytest.mark.parametrize("name", TABLES)
def test_tables_equal_public_implementations(name: str) -> None:
    numbers, table = golden("schedules"), TABLES[name]()
    kept = numbers[f"{name}__alphas_cumprod"]
    alpha, sigma = vp(table.logsnr)
    # With the terminal SNR at zero, alpha comes from a difference of square roots.
    close(alpha**2, kept, rtol=1e-10 if "zsnr" in name else 1e-12)
    close(sigma**2, 1 - kept, rtol=1e-10)
    close(table.logsnr.exp(), numbers[f"{name}__snr"], rtol=1e-10)
    if f"{name}__log_snr" in numbers:
        close(table.logsnr, numbers[f"{name}__log_snr"], rtol=1e-10, atol=1e-10)
    if name == "linear_Ta":
        close(ve(table.logsnr)[1], numbers["linear_Ta__sigma_edm"], rtol=1e-10)


def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_first_level() -> None:
    table = linear()
    rescaled = zero_terminal_snr(table)
    assert rescaled.logsnr[-1] == -math.inf
    close(rescaled.logsnr[0], table.logsnr[0], rtol=1e-9)
    close(zero_terminal_snr(rescaled).logsnr, rescaled.logsnr, rtol=1e-9)


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("family", FAMILIES)
def test_tables_of_every_length_fall_from_clean_to_noise(family: Callable[[int], Table], steps: int) -> None:
    logsnr = family(steps).logsnr
    assert logsnr.shape == (steps,) and logsnr.dtype == torch.float64
    assert logsnr.isfinite().all() and (logsnr.diff() < 0).all() and logsnr[0] > 2


def test_short_linear_tables_are_not_stretched() -> None:
    # 300 steps up to beta = 0.02 leave alpha = 0.22 of the picture: kept as it is, never scaled by 1000 / T in silence.
    assert 0.21 < vp(linear(300).logsnr[-1])[0] < 0.23


@pytest.mark.parametrize(
    "levels", [[1.0, 1.0], [1.0, 2.0], [math.nan, 1.0], [-math.inf, -math.inf], [math.inf, 0.0]]
)
def test_a_table_refuses_levels_out_of_order(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="fall strictly"):
        Table(torch.tensor(levels, dtype=torch.float64))


@pytest.mark.parametrize("name", TABLES)
def test_index_is_exact_at_the_entries_in_any_batch(name: str) -> None:
    table = TABLES[name]()
    entries = torch.arange(len(table), dtype=torch.float64)
    assert torch.equal(table.index(table.logsnr), entries)
    for i in range(0, len(table), 7):
        assert table.index(table.logsnr[i]) == i
        assert torch.equal(table.index(table.logsnr[i : i + 3]), entries[i : i + 3])


def test_index_rises_with_the_noise_between_the_entries_and_stops_at_the_ends() -> None:
    table = linear()
    between = table.index(torch.linspace(20, -20, 10_001, dtype=torch.float64))
    assert (between.diff() >= 0).all() and between[0] == 0 and between[-1] == 999
    middle = (table.logsnr[:-1] + table.logsnr[1:]) / 2
    assert (table.index(middle) - torch.arange(999)).sub(0.5).abs().max() < 0.1
    assert torch.equal(
        table.index(torch.tensor([math.inf, -math.inf], dtype=torch.float64)),
        torch.tensor([0.0, 999.0]).double(),
    )


def test_a_table_is_a_staircase_of_u() -> None:
    table = linear(10)
    u = torch.tensor([0.0, 0.05, 0.0999, 0.1001, 0.95, 1.0], dtype=torch.float64)
    assert torch.equal(table(u), table.logsnr[[0, 0, 0, 1, 9, 9]])
    counts = torch.bincount(table.index(table((torch.arange(1000) + 0.5) / 1000)).long(), minlength=10)
    assert counts.tolist() == [100] * 10


def _sigma(levels: Tensor) -> Tensor:
    """sigma / alpha, 0 where clean."""
    return (-levels / 2).exp()


def test_continuous_grids_equal_k_diffusion_and_edm() -> None:
    numbers = golden("schedules")
    steps = int(numbers["N_karras"])
    u = torch.linspace(1, 0, steps, dtype=torch.float64)
    close(_sigma(grid("karras", steps, lognormal())), numbers["karras_rho7"], rtol=1e-13)
    close(_sigma(grid("karras", steps, lognormal())), numbers["edm_t_steps"], rtol=1e-13)
    close(_sigma(grid("logsnr", steps, lognormal())), numbers["exponential"], rtol=1e-13)
    close(_sigma(karras(0.01, 50, rho=3)(u)), numbers["karras_rho3"][:-1], rtol=1e-13)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_grids_of_a_table_equal_diffusers(which: int) -> None:
    numbers = golden("schedules")
    steps, table = int(numbers["spacing_steps"][which]), linear()
    for spacing in ("leading", "trailing", "linspace"):
        expected = numbers[f"spacing__ddpm_{spacing}__n{which}"].long()
        assert torch.equal(timesteps(spacing, steps, 1000), expected)
        assert torch.equal(grid(spacing, steps, table)[:-1], table.logsnr[expected])
    close(
        _sigma(grid("karras", steps, table)),
        numbers[f"spacing__dpmsolver_karras_sigmas__n{which}"],
        rtol=1e-10,
    )
    for name in ("exponential", "lu"):
        close(
            _sigma(grid("logsnr", steps, table)),
            numbers[f"spacing__dpmsolver_{name}_sigmas__n{which}"],
            rtol=1e-10,
        )
    close(
        _sigma(grid("trailing", steps, table)),
        numbers[f"spacing__dpmsolver_trailing_sigmas__n{which}"],
        rtol=1e-10,
    )


def test_respacing_equals_guided_diffusion() -> None:
    numbers, table = golden("schedules"), linear()
    for run, spacing in ((0, "leading"), (1, "linspace")):
        expected = numbers[f"respace__{run}__timesteps"].long().flip(0)
        assert torch.equal(timesteps(spacing, len(expected), 1000), expected)
        close(
            from_betas(numbers[f"respace__{run}__betas"]).logsnr, table.logsnr[expected.flip(0)], atol=1e-10
        )


@pytest.mark.parametrize("total", [100, 300, 1000])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 13, 48, 64, 99, 100, 150, 300, 333, 600, 999, 1000])
def test_timesteps_at_counts_that_do_not_divide(steps: int, total: int) -> None:
    if steps > total:
        with pytest.raises(ValueError, match=f"1 to {total}"):
            timesteps("trailing", steps, total)
        return
    for spacing in ("leading", "trailing", "linspace"):
        visited = timesteps(spacing, steps, total)
        assert visited.dtype == torch.int64 and visited.shape == (steps,)
        assert (visited.diff() < 0).all() and visited[-1] >= 0 and visited[0] < total
    stride = total / steps
    trailing, leading = timesteps("trailing", steps, total), timesteps("leading", steps, total)
    assert (
        trailing[0] == total - 1 and ((trailing + 1) - stride * torch.arange(steps, 0, -1)).abs().max() <= 0.5
    )
    assert leading[-1] == 0 and (steps == 1 or (leading.diff() == -(total // steps)).all())
    linspace = timesteps("linspace", steps, total)
    assert linspace[0] == total - 1 and (steps == 1 or linspace[-1] == 0)
    assert (linspace.diff() + (total - 1) / max(steps - 1, 1)).abs().max() < 1 if steps > 1 else True


@pytest.mark.parametrize("table", [linear(), cosine(300), zero_terminal_snr(linear()), None])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace", "karras", "logsnr", "time"])
@pytest.mark.parametrize("steps", [1, 2, 5, 30])
def test_every_grid_falls_from_noise_to_clean(spacing: str, steps: int, table: Table | None) -> None:
    if table is None and spacing in ("leading", "trailing", "linspace"):
        with pytest.raises(ValueError, match="discrete timesteps"):
            grid(spacing, steps, lognormal())
        return
    levels = grid(spacing, steps, table or lognormal())
    assert levels.shape == (steps + 1,) and levels.dtype == torch.float64
    assert (levels.diff() > 0).all() and levels[-1] == math.inf and levels[1:-1].isfinite().all()
    if spacing in ("karras", "logsnr"):  # these spread their stops by sigma, so they need a finite end
        assert levels[0] >= LOWEST


def test_grid_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        grid("karras", 0, linear())
    with pytest.raises(ValueError, match="not one of"):
        grid("quadratic", 10, linear())
    with pytest.raises(ValueError, match="not one of"):
        timesteps("karras", 10, 1000)


def test_uniform_time_is_the_time_of_the_straight_flow() -> None:
    levels = grid("time", 20, linear_time)
    alpha, sigma = flow(levels)
    close(sigma, torch.linspace(1, 0, 21, dtype=torch.float64), atol=1e-15)
    close(alpha, torch.linspace(0, 1, 21, dtype=torch.float64), atol=1e-15)


@pytest.mark.parametrize(
    "schedule", [karras(), karras(0.01, 50, 3), lognormal(), lognormal(0.5, 2.0), linear_time, cosine()]
)
def test_a_schedule_runs_from_clean_to_noise(schedule: Schedule) -> None:
    levels = schedule(torch.linspace(0.001, 0.999, 500, dtype=torch.float64))
    assert levels.dtype == torch.float64 and (levels.diff() < 0).all()


def test_lognormal_is_edm_training_density() -> None:
    numbers = golden("networks")
    u = numbers["edmloss__quantile"]
    close(_sigma(lognormal()(u)), numbers["edmloss__edm__sigma"], rtol=1e-12)
    close(_sigma(lognormal(-0.4, 1.0)(u)), numbers["edmloss__edm_b__sigma"], rtol=1e-12)
    # In the flow process the same draw is the logit-normal time.
    close(flow(lognormal(0.2, 0.8)(u))[1], numbers["sd3__density_logit_normal"], rtol=1e-12)
