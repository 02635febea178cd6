"""Faults found in public code, each with the smallest program that shows it against an exact solution."""

from typing import NamedTuple


class Fault(NamedTuple):
    """title: what is wrong, in a line. why: the reason. program: prints what it measures; needs diffusers."""

    title: str
    why: str
    program: str


_DDIM = """
import torch
from diffusers import DDIMScheduler
from mezzotint.diffusion.exact import exact_flow
from mezzotint.diffusion.process import vp
from mezzotint.checking.check import fresh_mixture

exact, z = fresh_mixture(vp, 0), torch.randn(64, 2, generator=torch.Generator().manual_seed(0)).double()
for steps in (100, 200, 400, 600):
    ddim, x = DDIMScheduler(timestep_spacing="linspace", clip_sample=False), z
    ddim.set_timesteps(steps)
    levels = torch.logit(ddim.alphas_cumprod.double())
    for t in ddim.timesteps:
        alpha, sigma = vp(levels[t])
        x = ddim.step((x - alpha * exact(x, levels[t])) / sigma, t, x).prev_sample
    truth = exact_flow(exact, z, levels[-1], torch.tensor(torch.inf).double())
    print(f"{steps:5} steps: error {(x - truth).square().mean().sqrt():.4f}")
"""

_THIRD = """
from diffusers import DPMSolverMultistepScheduler
from mezzotint.exchange.diffusers import from_diffusers
from mezzotint.checking.check import check

third = DPMSolverMultistepScheduler(solver_order=3, final_sigmas_type="sigma_min", lower_order_final=False)
print("theirs  ", check(from_diffusers(third), order=3).verdict)
print("mended  ", check("dpmpp_3m").verdict)
"""

_SIGN = """
import inspect, textwrap
from diffusers import DPMSolverMultistepScheduler
from diffusers.schedulers import scheduling_dpmsolver_multistep as module
from mezzotint.exchange.diffusers import from_diffusers
from mezzotint.checking.check import check

def measure(name, order, scheduler=DPMSolverMultistepScheduler):
    ends = dict(final_sigmas_type="sigma_min", lower_order_final=False)
    theirs = scheduler(solver_order=order, algorithm_type="sde-dpmsolver++", **ends)
    result = check(from_diffusers(theirs), stochastic=True, steps=(20, 40, 80))
    print(f"{name:26} 20, 40, 80 steps:", *(f"{error:4.1f}" for error in result.errors), "standard errors")

measure("order 2", 2)
measure("order 3", 3)
step = DPMSolverMultistepScheduler.multistep_dpm_solver_third_order_update
source = textwrap.dedent(inspect.getsource(step)).replace("(2.0 * h) ** 2 - 0.5)", "(2.0 * h) ** 2 + 0.5)")
exec(source, vars(module) | {"__builtins__": __builtins__}, mended := {})
measure("order 3, the sign changed", 3, type("Mended", (DPMSolverMultistepScheduler,), mended))
"""

_CHURN = """
import torch
from diffusers import EulerDiscreteScheduler

# The data is one picture, 0: x is all noise, eps = x / sigma is exact, and every step should end with noise of sigma.
torch.manual_seed(0)
euler = EulerDiscreteScheduler(use_karras_sigmas=True)
euler.set_timesteps(8)
theirs = edm = euler.sigmas[0] * torch.randn(100_000)
for t, s, after in zip(euler.timesteps, euler.sigmas, euler.sigmas[1:]):
    euler.scale_model_input(theirs, t)
    theirs = euler.step(theirs / s, t, theirs, s_churn=2.0).prev_sample
    hat = s * (1 + 2 / 8)
    edm = edm + (hat**2 - s**2).sqrt() * torch.randn(100_000)
    edm = edm + edm / hat * (after - hat)
    print(f"sigma {after:8.4f}: noise in diffusers {theirs.std():8.4f}, in EDM's algorithm {edm.std():8.4f}")
"""

_BH1 = """
import torch
from diffusers import UniPCMultistepScheduler

unipc, x = UniPCMultistepScheduler(solver_type="bh1"), torch.randn(4, 2)
unipc.set_timesteps(10)
for t in unipc.timesteps:
    x = unipc.step(torch.zeros_like(x), t, x).prev_sample
print(x)
"""

_SHIFT = """
from diffusers import FlowMatchEulerDiscreteScheduler

for shift in (1.0, 3.0):
    flow = FlowMatchEulerDiscreteScheduler(shift=shift)
    flow.set_timesteps(1000)
    low = 1 / 1000  # of 1000 training times
    print(f"shift {shift:g}: smallest sigma {flow.sigmas[-2]:.6f}, shifted once {shift * low / (1 + (shift - 1) * low):.6f}")
"""

FAULTS = (
    Fault(
        "DDIM in diffusers gets worse with more steps",
        "`DDIMScheduler.step` goes from timestep t to t - T // N, whatever the next timestep is. Where the spacing is "
        "not exactly T // N (linspace; trailing, if N does not divide T), every step removes less noise than the next "
        "one takes for granted.",
        _DDIM,
    ),
    Fault(
        "Third-order DPM-Solver++ is of order two",
        "The published third-order update (diffusers' `solver_order=3`, k-diffusion's 3M) multiplies half of the second "
        "derivative of x0 by the coefficient that belongs to all of it. Here it is kept as `dpmpp_3m_published`; "
        "with the term doubled, `dpmpp_3m` is of order three.",
        _THIRD,
    ),
    Fault(
        "A sign in diffusers' third-order SDE-DPM-Solver++",
        "With H = 2h, the coefficient of D2 is (1 - exp(-H) - H) / H^2 - 1/2 there, which tends to -1 for short steps; "
        "with + 1/2 it tends to 0, as it must. The third order then draws from a worse distribution than the second.",
        _SIGN,
    ),
    Fault(
        "Churn in diffusers asks the network before it adds the noise",
        "`EulerDiscreteScheduler.step(s_churn=...)` raises x to sigma_hat inside the step, after the network was asked at "
        "sigma; EDM's algorithm 2 asks at sigma_hat. The step cannot remove noise that the answer has not seen, and "
        "that of the last step stays in the picture.",
        _CHURN,
    ),
    Fault(
        "UniPC with `bh1` ends in NaN in diffusers",
        "B(h) = h is infinite in a step to sigma 0, which is the default end.",
        _BH1,
    ),
    Fault(
        "The shift of diffusers' FlowMatchEuler is applied twice",
        "The constructor shifts the ends of the schedule, and `set_timesteps` shifts the grid between them again. "
        "With shift 3 the last step, to clean, starts from three times the noise that it should.",
        _SHIFT,
    ),
)
