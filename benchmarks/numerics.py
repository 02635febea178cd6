"""The page `docs/numerics.md` and its pictures, from measurements: `python benchmarks/numerics.py [FOLDER]`.

What needs diffusers is left out where it is not installed; agreement with recorded runs of other implementations is
read from FOLDER/agreement.json, where that is (tests/helpers_agreement.py writes it).
"""

import contextlib
import io
import json
import sys
import warnings
from importlib import import_module, metadata
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from faults import FAULTS
from torch import Tensor

from mezzotint import plots
from mezzotint.checking.check import (
    MAX_STANDARD_ERRORS,
    Check,
    check,
    even_grid,
    exact_ends,
    fresh_mixture,
    ours,
)
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.exact import Mixture
from mezzotint.diffusion.inverse import ddnm, inpainting
from mezzotint.diffusion.process import Process, flow, ve, vp
from mezzotint.diffusion.schedule import linear_time
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.exchange.diffusers import from_diffusers
from mezzotint.tasks.task import Task, Way

RETURNS = (1, 2, 4, 8, 16)
PROCESSES: dict[str, Process] = {"vp": vp, "ve": ve, "flow": flow}
_FULL = {"final_sigmas_type": "sigma_min", "lower_order_final": False}
SAME: list[tuple[str, str, dict[str, Any]]] = [  # our row, their scheduler, its options
    ("ddim", "DDIMScheduler", {"clip_sample": False}),
    ("euler", "EulerDiscreteScheduler", {}),
    ("euler", "FlowMatchEulerDiscreteScheduler", {}),
    ("heun", "HeunDiscreteScheduler", {}),
    ("heun_flow", "FlowMatchHeunDiscreteScheduler", {}),
    ("dpmpp_2m", "DPMSolverMultistepScheduler", {**_FULL}),
    ("dpmpp_3m_published", "DPMSolverMultistepScheduler", {"solver_order": 3, **_FULL}),
    ("unipc", "UniPCMultistepScheduler", {**_FULL}),
    ("unipc_3", "UniPCMultistepScheduler", {"solver_order": 3, **_FULL}),
    ("lms", "LMSDiscreteScheduler", {}),
]


def page(folder: Path) -> str:
    """The whole page in Markdown; its pictures are written to FOLDER/pictures."""
    sections = [_INTRODUCTION, orders(folder), statistics(), inverse()]
    recorded = folder / "agreement.json"
    if recorded.is_file():
        sections.append(agreement(json.loads(recorded.read_text(encoding="utf-8"))))
    with contextlib.suppress(metadata.PackageNotFoundError):
        version = metadata.version("diffusers")
        sections += [same_as_diffusers(version), faults(version)]
    return "\n\n".join(sections) + "\n"


_INTRODUCTION = """# Numerics

`python benchmarks/numerics.py` measured everything on this page and wrote it. The truth is the exact
denoiser of a mixture of Gaussians and its exact flow, solved to about 1e-13. Any sampler can be measured
this way, also yours: `mezzotint.check(sampler)`, with `sampler(denoise, x, sigmas) -> x`."""


def orders(folder: Path) -> str:
    """Declared and measured orders in every process, and the errors as pictures."""
    lines, checks_by_name = [], {}
    for name, row in SAMPLERS.items():
        if row.stochastic:
            continue
        checks = [check(name, process=process) for process in PROCESSES.values()]
        checks_by_name[name] = checks[0]
        measured = " | ".join(f"{c.order:.2f}" + " (!)" * (not c.passed) for c in checks)
        lines.append(f"| `{name}` | {row.calls} | {row.order} | {measured} | {checks[0].errors[1]:.1e} |")
    for in_list in (True, False):
        picture = _errors({name: c for name, c in checks_by_name.items() if SAMPLERS[name].shown is in_list})
        plots.save_png(picture, folder / "pictures" / f"errors_{'shown' if in_list else 'more'}.png")
    return "\n".join(
        [
            "## Order of the samplers\n",
            "The order p: the error falls like N^-p in the number N of steps. Slope over N = 80, 160, 320, on "
            "grids uniform in logsnr with finite ends and an exact start-up. The error is the root mean square "
            "distance from the exact end, in the unit of the data, at N = 20 on vp. The processes share one flow in "
            "x / alpha and logsnr, so equal numbers are expected.\n",
            "| sampler | calls a step | declared | vp | ve | flow | error at 20 steps |",
            "|---|---|---|---|---|---|---|",
            *lines,
            "\n![Errors of the samplers shown first](pictures/errors_shown.png)\n",
            "![Errors of the other samplers](pictures/errors_more.png)",
        ]
    )


def _errors(checks: dict[str, Check]) -> Any:
    return plots.curves(
        {name: (c.calls, c.errors) for name, c in checks.items()},
        xlabel="network calls",
        ylabel="error, root mean square",
        title="Distance from the exact flow, vp",
        logx=True,
        logy=True,
    )


def statistics() -> str:
    """Stochastic samplers: how far their samples of a Gaussian are from it."""
    lines = []
    for name, row in SAMPLERS.items():
        if row.stochastic:
            try:
                errors = [
                    check(name, process=process, steps=(320,)).errors[0] for process in PROCESSES.values()
                ]
            except ValueError:  # consistency: no sampler of a denoiser
                continue
            lines.append(
                f"| `{name}` | {row.calls} | " + " | ".join(f"{error:.1f}" for error in errors) + " |"
            )
    return "\n".join(
        [
            "## Stochastic samplers\n",
            "The largest deviation of mean and covariance of 20,000 samples of a Gaussian after 320 steps, in standard "
            f"errors; {MAX_STANDARD_ERRORS:g} are allowed.\n",
            "| sampler | calls a step | vp | ve | flow |",
            "|---|---|---|---|---|",
            *lines,
        ]
    )


SEEN = torch.tensor([True, True, False, False])
SEEN_NUMBERS = torch.tensor([0.7, -0.6], dtype=torch.float64)


def inverse_data(components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and covariances of four correlated numbers: a Gaussian, or a mixture of two."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    covariance = root @ root.T / 4 + 0.1 * torch.eye(4, dtype=torch.float64)
    if components == 1:
        mean = 0.5 * torch.randn(4, generator=generator, dtype=torch.float64)
        return torch.ones(1, dtype=torch.float64), mean[None], covariance[None]
    means = torch.tensor([[0.6], [-0.6]], dtype=torch.float64).expand(2, 4)
    other = covariance.flip(0).flip(1)
    return torch.full((2,), 0.5, dtype=torch.float64), means, 0.3 * torch.stack([covariance, other])


def posterior(weights: Tensor, means: Tensor, covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the last two of the numbers, given the first two."""
    seen, rest = SEEN.nonzero()[:, 0], (~SEEN).nonzero()[:, 0]
    log, centres, spreads = [], [], []
    for weight, mean, covariance in zip(weights, means, covariances):
        inner = covariance[seen][:, seen]
        gain = covariance[rest][:, seen] @ torch.linalg.inv(inner)
        normal = torch.distributions.MultivariateNormal(mean[seen], inner)
        log.append(weight.log() + normal.log_prob(SEEN_NUMBERS))
        centres.append(mean[rest] + gain @ (SEEN_NUMBERS - mean[seen]))
        spreads.append(covariance[rest][:, rest] - gain @ covariance[seen][:, rest])
    share, centre, spread = torch.stack(log).softmax(0), torch.stack(centres), torch.stack(spreads)
    mean = share @ centre
    return mean, (share[:, None, None] * (spread + centre[:, :, None] * centre[:, None])).sum(0) - mean[
        :, None
    ] * mean


def inverse_errors(
    process: Process,
    components: int,
    sampler: str,
    returns: int,
    *,
    told: bool = True,
    n: int = 1000,
    steps: int = 20,
) -> tuple[float, float]:
    """How far mean and covariance of inpainted numbers are from the exact ones. told: `steered`, else `ddnm` alone."""
    data = inverse_data(components)
    y = torch.zeros(1, 4, dtype=torch.float64)
    y[:, SEEN] = SEEN_NUMBERS
    operator = inpainting(SEEN)
    task = Task(operator=operator if told else None, y=y if told else None, returns=returns)
    way = Way(process, linear_time, (4,), sampler, steps, "logsnr")
    corrections = () if told else (ddnm(operator, y),)
    *_, last = alone(Mixture(process, *data), task.steps(way, torch.arange(n)), corrections=corrections)
    rest = last.x[:, ~SEEN].double()
    mean, covariance = posterior(*data)
    return float((rest.mean(0) - mean).norm()), float((rest.T.cov() - covariance).norm())


def inverse() -> str:
    """What is known of a picture, and the rest: against exact posteriors."""
    lines = []
    for components, name in ((1, "Gaussian"), (2, "mixture")):
        mean, covariance = posterior(*inverse_data(components))
        lines.append(
            f"| **{name}** (norms {mean.norm():.2f} and {covariance.norm():.2f}) | | |" + " |" * len(RETURNS)
        )
        for process, sampler, told in (
            ("vp", "ddim", False), ("vp", "ddim", True), ("vp", "ddpm", True), ("flow", "dpmpp_2m", False), ("flow", "dpmpp_2m", True),
        ):  # fmt: skip
            errors = [
                inverse_errors(PROCESSES[process], components, sampler, times, told=told) for times in RETURNS
            ]
            cells = " | ".join(f"{mean:.2f}, {covariance:.2f}" for mean, covariance in errors)
            lines.append(f"| {process} | `{sampler}` | `{'steered' if told else 'ddnm'}` | {cells} |")
    return "\n".join(
        [
            "## Inpainting against the exact posterior\n",
            "Four correlated numbers, of which two are known; the exact denoiser; 20 steps, uniform in logsnr; 1,000 "
            "samples. Distance of their mean and of their covariance (Frobenius) from those of p(unknown | "
            "known), by the repetitions of each stretch of steps. `ddnm` only replaces the belief "
            "by the known part; `steered` also moves the network's inputs, without further calls.\n",
            "| process | sampler | method | " + " | ".join(f"{times} times" for times in RETURNS) + " |",
            "|---|---|---|" + "---|" * len(RETURNS),
            *lines,
        ]
    )


def agreement(rows: list[dict[str, Any]]) -> str:
    """Recorded runs of public implementations; a row: implementation, run, and sampler and difference, or why_not."""
    lines = []
    others = [row for row in rows if "why_not" in row]
    rows = [row for row in rows if "why_not" not in row]
    for implementation, group in groupby(rows, key=lambda row: row["implementation"]):
        runs = list(group)
        largest = max(runs, key=lambda row: row["difference"])
        lines.append(f"| {implementation} | {len(runs)} | {largest['difference']:.0e} | {largest['run']} |")
    each = [
        f"| {row['implementation']} | {row['run']} | `{row['sampler']}` | {row['difference']:.0e} |"
        for row in rows
    ]
    return "\n".join(
        [
            "## Agreement with public implementations\n",
            "Largest absolute difference of any state of a whole trajectory from the recorded one, in float64, with the "
            "same noise; in ve relative to the largest number of the state, where that exceeds 1.\n",
            "| implementation | runs | largest difference | in run |",
            "|---|---|---|---|",
            *lines,
            "\n<details><summary>Every run</summary>\n",
            "| implementation | run | sampler | largest difference |",
            "|---|---|---|---|",
            *each,
            "\n</details>\n",
            "<details><summary>Recorded runs that are not compared, and why</summary>\n",
            "| implementation | run | why not |",
            "|---|---|---|",
            *(f"| {row['implementation']} | {row['run']} | {row['why_not']} |" for row in others),
            "\n</details>",
        ]
    )


def same_as_diffusers(version: str) -> str:
    """Our rows against the installed diffusers, through the adapter, on the same 20 steps."""
    schedulers, (x, _), sigmas, exact = (
        import_module("diffusers"),
        exact_ends(0),
        even_grid(20),
        fresh_mixture(ve, 0),
    )

    def denoise(x: Any, sigma: Any) -> Any:
        return exact(x, -2 * sigma.log())

    lines = []
    for name, theirs, options in SAME:
        end = from_diffusers(getattr(schedulers, theirs)(**options))(denoise, x, sigmas)
        difference = float((ours(name)(denoise, x, sigmas) - end).abs().max())
        arguments = ", ".join(f"{key}={value!r}" for key, value in options.items())
        lines.append(f"| `{name}` | `{theirs}({arguments})` | {difference:.0e} |")
    return "\n".join(
        [
            f"## The same steps in diffusers {version}\n",
            "Their update rules on our levels, through `from_diffusers`: largest difference at the end of one grid. "
            "Their Euler computes in float32.\n",
            "| sampler | scheduler | largest difference |",
            "|---|---|---|",
            *lines,
        ]
    )


def faults(version: str) -> str:
    """Every fault with its program and the program's output."""
    parts = [
        "## Faults found in public code\n",
        f"Measured with diffusers {version}; each program is complete, with its output below it.",
    ]
    for fault in FAULTS:
        parts.append(
            f"\n### {fault.title}\n\n{fault.why}\n\n```python{fault.program}```\n\n```text\n{printed(fault.program)}```"
        )
    return "\n".join(parts)


def printed(program: str) -> str:
    """Runs a program of this package's and returns what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        exec(compile(program, "<fault>", "exec"), {"__name__": "fault"})
    return out.getvalue()


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "numerics.md").write_text(page(folder), encoding="utf-8")
    print(f"wrote {folder / 'numerics.md'}")


if __name__ == "__main__":
    main()
