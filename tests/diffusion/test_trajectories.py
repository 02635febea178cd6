"""Whole trajectories against public implementations: diffusers, guided-diffusion, k-diffusion, EDM, flow_matching.

Each row of RUNS is one run of theirs said in our words: a sampler of the table SAMPLERS, a process, a grid. The states
compared are all that a network ever sees (the x of every question, Heun's predictions and churned states included) and
the end.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from helpers_golden import golden, mixture
from helpers_oracles import corrected, exact_denoiser, plain
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion import parameterization
from mezzotint.diffusion.corrections import clip
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.guidance import Guidance, cfg
from mezzotint.diffusion.parameterization import Parameterization
from mezzotint.diffusion.process import Process, flow, logsnr_of, ve, vp
from mezzotint.diffusion.routes import ancestral
from mezzotint.diffusion.sampler import AfterStep, sample, start
from mezzotint.diffusion.schedule import Table, cosine, grid, linear, lognormal, zero_terminal_snr
from mezzotint.diffusion.solvers import Ask, Interval, dpmpp_sde
from mezzotint.diffusion.table import SAMPLERS

CLEAN = torch.tensor([math.inf], dtype=torch.float64)


@dataclass(frozen=True)
class Run:
    """What makes one of their runs one of ours.

    spacing: of our own `grid` over `table` (None: the continuous grid), or "stored": the sigmas that the run recorded.
    predicts: what their model returned (None: the belief itself).
    through_clean: every step goes to clean, then up to its stop. guided: to class 1, with scale 3.
    bare: starts from sigma z, not sqrt(alpha^2 + sigma^2) z. records: the states that the run wrote down: those of
    every call, those at the start of every step after its churn, or those before it. noisy_end:
    on trailing timesteps diffusers' DDPM adds noise even to the clean end, of variance 1e-20, its floor, or beta.
    sigmas_of: another run with the same sigmas (DPM-2 stores its midpoints among them). but: so many states at the end
    are not compared: there public code lowers the order (DEIS, UniPC-3), or takes LMS to sigma 0. options: of the solver.
    tolerance: absolute; in ve times the largest number of the state. eps at the end of a cosine table divides by 5e-5.
    """

    file: str
    name: str
    sampler: str
    process: Process = vp
    spacing: str = "stored"
    table: Callable[[], Table] | None = linear
    eta: float = 0.0
    gain: float = 1.0
    churn: bool = False
    through_clean: bool = False
    predicts: Parameterization | None = None
    clip: float | None = None
    guided: bool = False
    bare: bool = False
    records: str = "calls"
    noisy_end: bool = False
    sigmas_of: str = ""
    but: int = 0
    options: Any = None
    tolerance: float = 1e-12


def diffusers(name: str, sampler: str, process: Process = vp, spacing: str = "stored", **options: Any) -> Run:
    return Run("samplers_diffusers", name, sampler, process, spacing, **options)


def guided_diffusion(name: str, sampler: str, spacing: str, **options: Any) -> Run:
    return Run("samplers_guided", name, sampler, vp, spacing, **options)


def k_diffusion(name: str, sampler: str, **options: Any) -> Run:
    return Run(
        "samplers_kdiffusion", name, sampler, ve, "karras", None, bare=True, records="steps", **options
    )


def edm(name: str, sampler: str, spacing: str = "karras", **options: Any) -> Run:
    return Run("samplers_edm", name, sampler, ve, spacing, None, bare=True, records="before churn", **options)


def _rescaled() -> Table:
    return zero_terminal_snr(linear())


RUNS = [
    diffusers("ddpm_fixedsmall", "ddpm", spacing="trailing", noisy_end=True),
    diffusers("ddpm_fixedlarge", "ddpm_large", spacing="trailing", noisy_end=True),
    diffusers("ddpm_fixedsmall_leading", "ddpm", spacing="leading"),
    diffusers("ddpm_fixedsmall_leading_v", "ddpm", spacing="leading", predicts=parameterization.v),
    diffusers("ddpm_fixedsmall_linspace", "ddpm", spacing="linspace"),
    diffusers("ddpm_fixedlarge_linspace", "ddpm_large", spacing="linspace"),
    diffusers(
        "ddpm_fixedsmall_cosine", "ddpm", spacing="trailing", table=cosine, noisy_end=True, tolerance=1e-10
    ),
    diffusers("ddpm_clip", "ddpm", spacing="trailing", clip=0.5, noisy_end=True),
    diffusers("ddim_eta0_leading", "ddim", spacing="leading"),
    diffusers("ddim_eta0_trailing", "ddim", spacing="trailing"),
    diffusers("ddim_eta05_leading", "ddim", spacing="leading", eta=0.5),
    diffusers("ddim_eta1_leading", "ddim", spacing="leading", eta=1.0),
    diffusers("ddim_eta1_trailing", "ddim", spacing="trailing", eta=1.0),
    diffusers("ddim_eta0_cosine", "ddim", spacing="trailing", table=cosine, tolerance=1e-10),
    diffusers("ddim_eta0_v_zsnr", "ddim", spacing="trailing", table=_rescaled, predicts=parameterization.v),
    diffusers("ddim_eta0_clip_rederived", "ddim", spacing="trailing", clip=0.5),
    diffusers("euler_leading", "ddim", ve, "leading"),
    diffusers("euler_trailing", "ddim", ve, "trailing"),
    diffusers("euler_linspace", "ddim", ve),
    diffusers("euler_v_linspace", "ddim", ve, predicts=parameterization.v),
    diffusers("euler_karras", "ddim", ve, "karras"),
    diffusers("euler_exponential", "ddim", ve, "logsnr"),
    diffusers("euler_ancestral", "euler_a", ve),
    diffusers("heun_linspace", "heun", ve),
    diffusers("heun_karras", "heun", ve, "karras"),
    diffusers("dpmpp_o1_eps_linspace", "ddim"),
    diffusers("dpmpp_o1_eps_karras", "ddim", spacing="karras"),
    diffusers("dpmpp_o1_v_linspace", "ddim", predicts=parameterization.v),
    diffusers("dpmpp_o1_v_karras", "ddim", spacing="karras", predicts=parameterization.v),
    diffusers("dpmpp_o2_eps_linspace", "dpmpp_2m", predicts=parameterization.eps),
    diffusers("dpmpp_o2_eps_karras", "dpmpp_2m", spacing="karras", predicts=parameterization.eps),
    diffusers("dpmpp_o2_v_linspace", "dpmpp_2m", predicts=parameterization.v),
    diffusers("dpmpp_o2_v_karras", "dpmpp_2m", spacing="karras", predicts=parameterization.v),
    diffusers("dpmpp_o2_sample_linspace", "dpmpp_2m", predicts=parameterization.x0),
    diffusers("dpmpp_o2_nolof_linspace", "dpmpp_2m"),
    diffusers("dpmpp_o2_lu", "dpmpp_2m", spacing="logsnr"),
    diffusers("dpmpp_o2_exponential", "dpmpp_2m", spacing="logsnr"),
    diffusers("dpmpp_o2_trailing", "dpmpp_2m", spacing="trailing"),
    diffusers("dpmpp_o2_leading", "dpmpp_2m"),
    diffusers("dpmpp_o2_cosine", "dpmpp_2m", table=cosine),
    diffusers("flow_euler", "ddim", flow, predicts=parameterization.velocity),
    diffusers("flow_euler_shift3", "ddim", flow, predicts=parameterization.velocity),
    diffusers("flow_euler_stochastic", "ddim", flow, through_clean=True, predicts=parameterization.velocity),
    diffusers("edm_euler", "ddim", ve, predicts=parameterization.edm, bare=True),
    diffusers("edm_dpmpp_o2", "dpmpp_2m", ve, predicts=parameterization.edm, bare=True),
    guided_diffusion("ddim_eta0", "ddim", "leading"),
    guided_diffusion("ddim_eta1", "ddim", "leading", eta=1.0),
    guided_diffusion("ddim_eta0_cosine", "ddim", "leading", table=cosine),
    guided_diffusion("ddpm_fixedsmall", "ddpm", "linspace"),
    guided_diffusion("ddpm_fixedlarge", "ddpm_large", "linspace"),
    diffusers("kdpm2_karras", "dpm2", ve, "karras"),
    diffusers("kdpm2_linspace", "dpm2", ve, sigmas_of="euler_linspace"),
    diffusers("lms_linspace", "lms", ve, but=1),
    diffusers("lms_karras", "lms", ve, "karras", but=1),
    diffusers("sde_dpmpp_o1", "euler_a", spacing="karras"),
    diffusers("sde_dpmpp_o2", "dpmpp_2m_sde", spacing="karras"),
    diffusers("edm_sde_dpmpp_o2", "dpmpp_2m_sde", ve, predicts=parameterization.edm, bare=True),
    diffusers("unipc_bh2_o1", "unipc", options={"order": 1}),
    diffusers("unipc_bh2_o2", "unipc", predicts=parameterization.eps),
    diffusers("unipc_bh2_o2_sigmamin", "unipc", but=1),
    diffusers("unipc_bh2_o2_karras", "unipc", spacing="karras"),
    diffusers("unipc_bh2_o3", "unipc_3", but=2),
    diffusers("unipc_bh2_o3_karras", "unipc_3", spacing="karras", but=2),
    diffusers("unipc_bh2_o3_sigmamin", "unipc_3", but=2),
    diffusers("deis_o1", "ddim"),
    diffusers("deis_o2", "lms", options={"order": 2, "log": True}, but=1),
    diffusers("deis_o3", "deis", but=2),
    diffusers("deis_o3_nolof", "deis"),
    k_diffusion("dpm_2", "dpm2"),
    k_diffusion("dpm_2_churn", "dpm2", churn=True, gain=1.003),
    k_diffusion("dpm_2_ancestral", "dpm2_a"),
    k_diffusion("lms_o2", "lms", options={"order": 2}, but=1),
    k_diffusion("lms_o3", "lms", options={"order": 3}, but=1),
    k_diffusion("lms_o4", "lms", but=1),
    k_diffusion("dpmpp_2s_eta0", "dpmpp_2s"),
    k_diffusion("dpmpp_sde_eta0", "dpmpp_2s"),
    k_diffusion("dpmpp_2s_ancestral", "dpmpp_2s_a"),
    k_diffusion("dpmpp_sde", "dpmpp_sde"),
    k_diffusion("dpmpp_2m_sde_midpoint_eta0", "dpmpp_2m"),
    k_diffusion("dpmpp_2m_sde_midpoint", "dpmpp_2m_sde"),
    k_diffusion("dpmpp_3m_sde_eta0", "dpmpp_3m_published"),
    k_diffusion("dpmpp_3m_sde", "dpmpp_3m_sde"),
    k_diffusion("euler", "ddim"),
    k_diffusion("heun", "heun"),
    k_diffusion("dpmpp_2m", "dpmpp_2m"),
    k_diffusion("euler_ancestral", "euler_a"),
    k_diffusion("euler_ancestral_eta05", "ddim", eta=0.5, gain=1.01),
    k_diffusion("euler_churn", "ddim", churn=True, gain=1.003),
    k_diffusion("heun_churn", "heun", churn=True, gain=1.003),
    edm("heun", "heun"),
    edm("heun_churn", "heun", churn=True, gain=1.003),
    edm("ablation_euler_edm", "ddim"),
    edm("ablation_heun_iddpm", "heun", "stored"),
    Run("samplers_flow", "fm_condot_euler", "ddim", flow, "time", None),
    Run("networks", "cfg_traj__ddim_eta0_trailing", "ddim", vp, "trailing", guided=True),
    Run("networks", "cfg_traj__dpmpp_o2_eps_karras", "dpmpp_2m", vp, "karras", guided=True),
]


# Runs that were recorded and are not compared: a pattern of their names, and the reason.
WHY_NOT = {
    r"ddpm_learnedrange": "learned variance is left out",
    r"dpmsolver_o\d|sde_dpmsolver_o2|unipc_bh2_o2_noisepred": "noise-prediction DPM-Solver and UniPC are left out",
    r"pndm_\w+|dpm_fast|dpm_adaptive": "PNDM, dpm_fast and dpm_adaptive are left out",
    r"unipc_bh1_o\d": "the bh1 variant is left out; public code returns NaN for it at its own default end",
    r"unip_bh2_o3": "UniPC without its corrector is no sampler of ours",
    r"singlestep_\w+": "alternates orders over reused answers; our dpmpp_2s asks twice a step instead",
    r"dpmpp_o2_heun_linspace|dpmpp_2m_sde_heun(_eta0)?|sde_dpmpp_o2_heun": "2M with another second-order term, same order",
    r"dpmpp_o3_(eps|v|nolof|sigmamin)_?\w*|edm_dpmpp_o3": "starts with another second step; k-diffusion's 3M is compared",
    r"sde_dpmpp_o3": "has a wrong sign, see the faults; k-diffusion's is compared",
    r"dpmpp_o2_(sigmamin_linspace|euler_final)": "lowers its order in the last step, before the clean end",
    r"ddim_eta0_linspace": "does not step to the next level, see the faults",
    r"ddim_eta0_clip": "clips x0 and keeps the old eps; the run with eps derived again is compared",
    r"ddim_eta0_leading_noalpha1": "ends at timestep 0, not at clean",
    r"ddpm_dynamic_threshold": "compared in test_guidance",
    r"euler_churn": "asks before it adds the noise, see the faults; k-diffusion's is compared",
    r"flow_heun(_shift3)?|flow_dpmpp_o2|flow_unipc_bh2_o2": "starts at pure noise, where our first step is of order one",
    r"lcm|consistency_multistep": "scales the belief at a boundary above clean, of one family of networks",
    r"ablation_(euler|heun)_(vp|ve|alpha05)(_churn)?": "steps in a time of its own, not in sigma",
    r"fm_(condot|cosine|poly3)_(midpoint|heun3|rk4)|fm_(cosine|poly3)_euler": "a classical ODE method in a time of its own",
}


def recorded_runs() -> set[tuple[str, str]]:
    """(file, run) of every trajectory that was recorded."""
    found = set()
    for file in ("diffusers", "guided", "kdiffusion", "edm", "flow"):
        for key in golden(f"samplers_{file}"):
            if match := re.match(r"(.+?)(__(short|long|nfe_\w|o\d))?__g\d+__x(_final)?$", key):
                found.add((f"samplers_{file}", match[1]))
    return found


def test_every_recorded_run_is_compared_or_excused() -> None:
    missing = {name for file, name in recorded_runs() - {(run.file, run.name) for run in RUNS}}
    excuses = {name: [p for p in WHY_NOT if re.fullmatch(p, name)] for name in missing}
    assert all(len(patterns) == 1 for patterns in excuses.values()), excuses
    assert {patterns[0] for patterns in excuses.values()} == set(WHY_NOT)


def _recorded(run: Run, arrays: dict[str, Tensor], prefix: str) -> Tensor:
    """The levels of the sigmas that a run stored; a sigma given twice in a row (Heun's two calls) is one stop."""
    if run.file == "samplers_edm":
        sigma = torch.cat(
            [golden("schedules")["edm_ablation_iddpm_sigmas"], torch.zeros(1, dtype=torch.float64)]
        )
    else:
        stored = prefix.replace(run.name, run.sigmas_of) if run.sigmas_of else prefix
        sigma = torch.unique_consecutive(arrays[f"{stored}__sigmas"])
    return logsnr_of(1 - sigma if run.process is flow else torch.ones_like(sigma), sigma)


def _churned(levels: Tensor, s_churn: float, s_min: float, s_max: float) -> Tensor:
    """EDM's churn (Karras et al. 2022, algorithm 2) as a grid: before every step up to sigma (1 + gamma), gamma >= 0."""
    sigma = (-levels[:-1] / 2).exp()
    gamma = min(s_churn / len(sigma), math.sqrt(2) - 1) * ((s_min <= sigma) & (sigma <= s_max)).double()
    return torch.cat([torch.stack([levels[:-1], levels[:-1] - 2 * gamma.log1p()], 1).flatten(), CLEAN])


def _stops(run: Run, levels: Tensor, arrays: dict[str, Tensor]) -> Tensor:
    """The grid with its intervals towards noise. Every step then has two intervals, of which one goes up."""
    if run.churn:
        return _churned(levels, *arrays["churn"][:3].tolist())
    if run.through_clean:
        return torch.stack([levels, CLEAN.expand(len(levels))], 1).flatten()[:-1]
    row = SAMPLERS[run.sampler]
    return row.stops(levels) if row.route else ancestral(levels, run.eta)


def _denoiser(run: Run, problem: str) -> Denoise:
    exact = mixture(problem, run.process)
    if run.guided:
        one = mixture(problem, run.process, 1)
        guided = cfg(
            lambda x, logsnr, c: torch.where(c.label[:, None] == 1, one(x, logsnr), exact(x, logsnr))
        )
        away = Cond(torch.tensor([3]))
        return lambda x, logsnr, _: guided(
            x, logsnr, Cond(torch.ones(len(x)).long()), Guidance(torch.full((len(x),), 3.0).double(), away)
        )
    denoise = plain(exact) if run.predicts is None else exact_denoiser(exact, run.predicts)
    return denoise if run.clip is None else corrected(denoise, clip(-run.clip, run.clip))


def _walk(run: Run, denoise: Denoise, x: Tensor, stops: Tensor, bank: Tensor) -> dict[str, Tensor]:
    """All states on the way, by what a run may have recorded; each list ends with the end."""

    row = SAMPLERS[run.sampler]
    solver = partial(row.solver, **run.options) if run.options else row.solver

    def noise(interval: int, draw: int) -> Tensor:
        if row.solver is dpmpp_sde:
            return bank[2 * interval + draw]
        assert draw == 0
        return bank[interval if row.inside else interval // 2]  # one a step, also where a step takes none

    gain = row.gain(stops) if row.gain else run.gain
    calls, steps, states, before = [], [], [x], [x]

    def seen(*interval: Any) -> Interval:
        result = yield from solver(*interval)
        before.append(result[0])
        return result

    run_steps = sample(seen, run.process, x, stops, noise, eta=row.inside, gain=gain)
    out: Ask | AfterStep | None = next(run_steps)
    while out is not None:
        if isinstance(out, AfterStep):
            states.append(out.x)
            out = next(run_steps, None)
        else:
            if len(steps) < len(states):
                steps.append(out.x)
            calls.append(out.x)
            out = run_steps.send(denoise(out.x, out.level.expand(len(out.x)), Cond()))
    end = states[-1]
    return {
        "calls": torch.stack([*calls, end]),
        "steps": torch.stack([*steps, end]),
        "before churn": torch.stack([*before, end]),  # the step to clean is `first_order`, not the solver
    }


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.file}-{run.name}")
def test_trajectory_equals_the_public_implementation(run: Run) -> None:
    arrays, problems = golden(run.file), golden("mixtures")
    compared = 0
    for prefix, problem in product((run.name, f"{run.name}__short", f"{run.name}__long"), ("g2", "g16")):
        if f"{prefix}__{problem}__x" not in arrays:
            continue
        expected = {run.records: arrays[f"{prefix}__{problem}__x"]}
        if f"{prefix}__{problem}__model_x" in arrays:
            expected["calls"] = arrays[f"{prefix}__{problem}__model_x"]
        rows = len(expected[run.records]) - 1
        count = (rows + 1) // 2 if SAMPLERS[run.sampler].calls == 2 and run.records == "calls" else rows
        levels = (
            _recorded(run, arrays, prefix)
            if run.spacing == "stored"
            else grid(run.spacing, count, run.table() if run.table else lognormal())
        )
        z, bank = problems[f"{problem}__noise"], problems[f"{problem}__step_noise"]
        x = run.process(levels[0])[1] * z if run.bare else start(run.process, levels[0], z)
        walked = _walk(run, _denoiser(run, problem), x, _stops(run, levels, arrays), bank)
        for what, states in expected.items():
            actual = walked[what][: len(states)]
            assert actual.shape == states.shape
            if run.noisy_end:
                actual[-1] += (run.process(levels[-2])[1] if run.sampler == "ddpm_large" else 1e-10) * bank[
                    count - 1
                ]
            size = states.abs().amax((1, 2), keepdim=True).clamp(min=1) if run.process is ve else 1
            error = ((actual - states) / size)[: len(states) - run.but].abs().max()
            assert error < run.tolerance, (prefix, problem, what)
        compared += 1
    assert compared
