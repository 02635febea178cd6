"""The process and the schedule of noise that a configuration names."""

from typing import assert_never

from mezzotint.config import Betas, Config, Discrete, Karras, LinearTime, Lognormal
from mezzotint.diffusion import process, schedule


def make_process(config: Config) -> process.Process:
    match config.diffusion.process:
        case "vp":
            return process.vp
        case "ve":
            return process.ve
        case "flow":
            return process.flow
        case _:
            assert_never(config.diffusion.process)


def make_schedule(config: Config) -> schedule.Schedule:
    match choice := config.diffusion.schedule:
        case Discrete():
            table = _table(choice)
            return schedule.zero_terminal_snr(table) if choice.zero_terminal_snr else table
        case Karras():
            return schedule.karras(choice.sigma_min, choice.sigma_max, choice.rho)
        case Lognormal():
            return schedule.lognormal(choice.mean, choice.std)
        case LinearTime():
            return schedule.linear_time
        case _:
            assert_never(choice)


def _table(choice: Discrete) -> schedule.Table:
    if isinstance(choice, Betas):
        curve = {
            "linear": schedule.linear,
            "scaled_linear": schedule.scaled_linear,
            "sigmoid_beta": schedule.sigmoid_beta,
        }[choice.curve]
        return curve(choice.timesteps, choice.start, choice.end)
    match choice.kind:
        case "linear":
            return schedule.linear(choice.timesteps)
        case "scaled_linear":
            return schedule.scaled_linear(choice.timesteps)
        case "quadratic":
            return schedule.quadratic(choice.timesteps)
        case "sigmoid_beta":
            return schedule.sigmoid_beta(choice.timesteps)
        case "cosine":
            return schedule.cosine(choice.timesteps)
        case "sigmoid":
            return schedule.sigmoid(choice.timesteps)
        case _:
            assert_never(choice.kind)


def spacing(config: Config) -> str:
    """The default spacing of a sampler's stops: trailing over discrete timesteps, uniform time on the flow, else Karras'."""
    if isinstance(config.diffusion.schedule, Discrete):
        return "trailing"
    return "time" if config.diffusion.process == "flow" else "karras"
