"""The table of samplers: a solver, its grid, its noise, and what each is good for."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from mezzotint.diffusion import solvers
from mezzotint.diffusion.process import Process
from mezzotint.diffusion.routes import ancestral, fixed_large, through_clean
from mezzotint.diffusion.sampler import Noise, Steps, sample
from mezzotint.diffusion.solvers import Solver


class Sampler(NamedTuple):
    """One row of the table of samplers. shown: in the short list."""

    solver: Solver
    order: int  # of the global error, for smooth denoisers; the weak order 1 where stochastic
    calls: int  # network calls a step
    stochastic: bool
    when: str
    paper: str
    shown: bool = False
    route: Callable[[Tensor], Tensor] | None = None  # how its grid differs from the plain one
    inside: float = 0.0  # eta of the noise inside its steps: the SDE solvers
    gain: Callable[[Tensor], Tensor] | None = None  # of the fresh noise, by interval of the grid
    eta: bool = False  # whether it takes eta, the share of fresh noise,
    churn: bool = False  # or churn, EDM's S_churn

    def stops(self, levels: Tensor) -> Tensor:
        """This sampler's own way over a plain grid of levels."""
        return self.route(levels) if self.route else levels

    def walk(self, process: Process, x: Tensor, stops: Tensor, noise: Noise) -> Steps:
        """`sample` with this row's solver and noise. x: (B, *D) at stops[0]."""
        gain = self.gain(stops) if self.gain else 1.0
        return sample(self.solver, process, x, stops, noise, eta=self.inside, gain=gain)


def check_noise(sampler: str, eta: float, churn: float) -> None:
    """Raises ValueError where a sampler is given fresh noise of a kind that it does not take."""
    for name, amount in (("eta", eta), ("churn", churn)):
        if amount and not getattr(SAMPLERS[sampler], name):
            takers = [row for row in SAMPLERS if getattr(SAMPLERS[row], name)]
            raise ValueError(
                f"{name} is for {', '.join(takers)}; {sampler} does not take it; leave {name} out"
            )


SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(
        solvers.first_order,
        1,
        1,
        True,
        "the original; good with hundreds of steps",
        "Ho et al. 2020",
        shown=True,
        route=ancestral,
    ),
    "ddpm_large": Sampler(
        solvers.first_order,
        1,
        1,
        True,
        "ddpm with the larger of its two variances, beta_t",
        "Ho et al. 2020, section 3.2",
        shown=True,
        route=ancestral,
        gain=fixed_large,
    ),
    "ddim": Sampler(
        solvers.first_order,
        1,
        1,
        False,
        "simple and robust; eta adds noise",
        "Song et al. 2021",
        shown=True,
        eta=True,
    ),
    "euler_a": Sampler(
        solvers.first_order,
        1,
        1,
        True,
        "lively pictures in 20 to 50 steps",
        "k-diffusion; Karras et al. 2022",
        shown=True,
        route=ancestral,
    ),
    "heun": Sampler(
        solvers.heun,
        2,
        2,
        False,
        "accurate; churn adds noise",
        "Karras et al. 2022, algorithm 2",
        shown=True,
        churn=True,
    ),
    "dpmpp_2m": Sampler(
        solvers.dpmpp_2m,
        2,
        1,
        False,
        "the best for few steps: 10 to 25",
        "Lu et al. 2022b, algorithm 2",
        shown=True,
    ),
    "dpmpp_2m_sde": Sampler(
        solvers.dpmpp_2m,
        1,
        1,
        True,
        "like dpmpp_2m, with noise; 20 to 50 steps",
        "Lu et al. 2022b, appendix",
        shown=True,
        inside=1.0,
    ),
    "unipc": Sampler(solvers.unipc, 3, 1, False, "accurate from 8 steps on", "Zhao et al. 2023", shown=True),
    "consistency": Sampler(
        solvers.first_order,
        1,
        1,
        True,
        "1 to 4 steps, for consistency models",
        "Song et al. 2023, algorithm 1",
        shown=True,
        route=through_clean,
    ),
    "euler": Sampler(
        solvers.first_order, 1, 1, False, "ddim by its other name", "Karras et al. 2022", churn=True
    ),
    "dpm2": Sampler(
        solvers.dpm2, 2, 2, False, "the midpoint rule", "Lu et al. 2022a, algorithm 4", churn=True
    ),
    "dpm2_a": Sampler(solvers.dpm2, 1, 2, True, "dpm2 with fresh noise", "k-diffusion", route=ancestral),
    "dpmpp_2s": Sampler(
        solvers.dpmpp_2s, 2, 2, False, "strong guidance in few steps", "Lu et al. 2022b, algorithm 1"
    ),
    "dpmpp_2s_a": Sampler(
        solvers.dpmpp_2s, 1, 2, True, "dpmpp_2s with fresh noise", "k-diffusion", route=ancestral
    ),
    "dpmpp_sde": Sampler(
        solvers.dpmpp_sde, 1, 2, True, "dpmpp_2s with noise inside its steps", "k-diffusion"
    ),
    "dpmpp_3m": Sampler(
        solvers.dpmpp_3m, 3, 1, False, "25 steps and more", "Lu et al. 2022b; corrected to order three"
    ),
    "dpmpp_3m_published": Sampler(
        solvers.dpmpp_3m_published, 2, 1, False, "to compare with public code", "Lu et al. 2022b"
    ),
    "dpmpp_3m_sde": Sampler(
        solvers.dpmpp_3m_published,
        1,
        1,
        True,
        "like dpmpp_2m_sde; 30 steps and more",
        "k-diffusion",
        inside=1.0,
    ),
    "unipc_3": Sampler(
        solvers.unipc_3, 4, 1, False, "unipc with a predictor of order three", "Zhao et al. 2023"
    ),
    "lms": Sampler(solvers.lms, 4, 1, False, "classical; 30 steps and more", "k-diffusion; Liu et al. 2022"),
    "deis": Sampler(solvers.deis, 3, 1, False, "like lms, for fewer steps", "Zhang & Chen 2023"),
    "heun_flow": Sampler(
        solvers.heun_flow, 2, 2, False, "heun in the time of the flow", "Lipman et al. 2023"
    ),
}
