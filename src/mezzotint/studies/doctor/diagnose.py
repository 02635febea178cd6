"""What will go wrong?  `diagnose` looks at a configuration, its data and a short trial before hours are spent on them.

    for finding in diagnose(config):
        print(finding.level, finding.title, finding.text)

Nothing is written. Pictures are looked at in `pictures`, what is measured in `trial`; here are the scale of the
data, the noise levels, the network and the budget.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint import build
from mezzotint.config import Config, Discrete, DiT, Karras, UNet, UNet2D, UNetSimple
from mezzotint.data.clips import ClipSource
from mezzotint.data.drawn import Drawn
from mezzotint.data.known import KNOWN
from mezzotint.data.latents import CodedSource
from mezzotint.data.open import Points, Source
from mezzotint.diffusion.schedule import Table, grid
from mezzotint.media.facts import Facts
from mezzotint.model.device import find_device
from mezzotint.run.budget import FEW_STEPS, fixed_steps
from mezzotint.run.latents import completed, open_source
from mezzotint.run.parts import precision_of
from mezzotint.studies.doctor.pictures import Finding, examine
from mezzotint.studies.doctor.reach import machine
from mezzotint.studies.doctor.trial import by_heart, measure, memory, memory_of, precision, speed


def diagnose(config: Config, *, quick: bool = False) -> Iterator[Finding]:
    """Everything the doctor finds, check by check; measured ones last.

    quick: leave out what has to be measured by training steps. Raises what `train` would: ConfigError, DataError,
    MissingExtra, ValueError.
    """
    device, config = find_device(config.train.device), completed(config)
    source = open_source(config, device)
    yield from seen(config, source.preview(512).x0, source.facts)
    shown = source.pictures if isinstance(source, CodedSource) else source
    if not isinstance(shown, Points | Drawn | ClipSource):
        yield from examine(shown, config.data)
    if config.objective != "autoencode":  # which knows no noise
        yield from levels(config)
    yield from network(config, source.facts)
    yield from conditioning(config, source.facts)
    yield from precision(config, device)
    if quick:
        yield from budget(config, source, planned_steps(config, source.total, None))
        return
    trial = measure(config, source, device)
    steps = planned_steps(config, source.total, trial.a_step)
    yield from budget(config, source, steps)
    yield from machine(config, trial, device, precision_of(config, source.facts, device), source)
    yield from speed(trial, steps, config)
    yield from memory(trial, memory_of(device), config)
    yield by_heart(config, source, device)


def seen(config: Config, x0: Tensor, facts: Facts) -> Iterator[Finding]:
    """Range, mean and spread of what the network sees, x0 (N, *D), augmented."""
    bounded = build.codec(config, facts).bounded
    if not x0.isfinite().all():
        yield Finding(
            "error",
            "range",
            "the data holds NaN or infinite values",
            "remove them: mezzotint show data shows what the network sees",
            anchor="nan-or-infinite-loss",
        )
        return
    low, high, mean, std = float(x0.min()), float(x0.max()), float(x0.mean()), float(x0.std())
    kind = str(x0.dtype).removeprefix("torch.")
    text = f"{kind} from {low:.2f} to {high:.2f}, mean {mean:.2f}, standard deviation {std:.2f}"
    look = "look at them with mezzotint show data; files whose values end far below 255 must be scaled first"
    if bounded and (low < -1.001 or high > 1.001):
        remedy = "pictures must come as uint8, or as floats in [-1, 1]"
        yield Finding("error", "range", f"{text}: outside of [-1, 1]", remedy, anchor="wrong-colours")
    elif bounded and high - low < 1:
        yield Finding(
            "warning",
            "range",
            f"{text}: less than half of the range is used",
            look,
            anchor="grey-or-washed-out-pictures",
        )
    elif not bounded and not 0.3 < std < 3:
        remedy = "scale them to a standard deviation of about 1, the scale of the noise"
        yield Finding("warning", "range", text, remedy, anchor="the-loss-does-not-fall")
    else:
        yield Finding("ok", "range", text)
    told = config.diffusion.sigma_data
    if "edm" in (config.diffusion.parameterization, config.diffusion.weight):
        text = f"the data has {std:.2f}, diffusion.sigma_data says {told:g}"
        if abs(std / told - 1) > 0.3:
            remedy = f"set diffusion.sigma_data={std:.2g}, so that input and target have variance 1"
            yield Finding("warning", "sigma of the data", text, remedy, anchor="blurry-samples")
        else:
            yield Finding("ok", "sigma of the data", text)


def levels(config: Config) -> Iterator[Finding]:
    """Where sampling starts, and how coarse the timesteps are."""
    schedule, process = build.make_schedule(config), build.make_process(config)
    spacing = config.sample.spacing or build.spacing(config)
    start = grid(spacing, config.sample.steps, schedule)[0]
    if isinstance(config.diffusion.schedule, Discrete | Karras):  # the others have no last level
        start = torch.maximum(start, schedule(torch.ones((), dtype=torch.float64)))
    alpha, sigma = process(start)
    left = float(alpha / (alpha**2 + sigma**2).sqrt())
    text = f"alpha {left:.3g}"
    if left > 0.02:
        text += f": {left:.0%} of the picture is left, yet samples start from pure noise"
        yield Finding("warning", "noisiest level", text, _nearer_noise(config), anchor="wrong-colours")
    else:
        yield Finding("ok", "noisiest level", text)
    if isinstance(schedule, Table):
        kept = (1 / (1 + (-schedule.logsnr).exp())).double()
        betas = 1 - kept[1:] / kept[:-1]
        share = float((betas > 0.5).double().mean())
        if share > 0.05:
            text = f"{share:.0%} of the {len(schedule)} timesteps lose more than half of the signal (alpha^2) of the timestep before"
            remedy = "raise diffusion.schedule.timesteps (sample.steps sets the cost of sampling, not this)"
            yield Finding("warning", "timesteps", text, remedy, anchor="noise-remains")


def _nearer_noise(config: Config) -> str:
    chosen = config.diffusion.schedule
    if not isinstance(chosen, Discrete):
        return "raise diffusion.schedule.sigma_max"
    if config.sample.spacing == "leading":
        return "set sample.spacing=trailing, which begins at the last timestep"
    if config.diffusion.parameterization == "eps":
        more = ", or 1,000 timesteps" if chosen.timesteps < 1000 else ""
        return f"set diffusion.schedule.zero_terminal_snr=true diffusion.parameterization=v{more}"
    return "set diffusion.schedule.zero_terminal_snr=true"


def network(config: Config, facts: Facts) -> Iterator[Finding]:
    """Patches, padding and attention against the size of the pictures."""
    chosen, fine = config.network, True
    match chosen:
        case UNet():
            multiple, key = chosen.patch * 2 ** (len(chosen.multipliers) - 1), "network.multipliers"
        case UNetSimple():
            multiple, key = 2 ** (chosen.levels - 1), "network.levels"
        case UNet2D():
            multiple, key = 2 ** (len(chosen.widths) - 1), "network.widths"
        case DiT():
            multiple, key = max(chosen.sides(len(facts.shape) - 1)[-2:]), ""
        case _:
            return
    with torch.device("meta"):
        channels, *frames, height, width = build.codec(config, facts).shape(facts.shape)
    high, wide = (math.ceil(side / multiple) * multiple for side in (height, width))
    if (waste := 1 - height * width / (high * wide)) > 0.25:
        fine = False
        text = f"{height}x{width} is padded to {high}x{wide}, a multiple of {multiple}: {waste:.0%} of the computing is wasted"
        remedy = "set data.size to a multiple" + (f", or fewer levels ({key})" if key else "")
        remedy += " or a smaller network.patch" if getattr(chosen, "patch", 1) != 1 else ""
        yield Finding("warning", "network", text, remedy, anchor="slow")
    if isinstance(chosen, DiT):
        sides = chosen.sides(len(facts.shape) - 1)
        tokens = math.prod(math.ceil(side / p) for side, p in zip((*frames, high, wide), sides))
        if tokens > 1024:
            fine = False
            text = f"{tokens:,} patches attend to each other in every block"
            remedy = f"set network.patch={2 * multiple}, a quarter as many"
            yield Finding("warning", "attention", text, remedy, anchor="slow")
        numbers = math.prod(sides) * facts.shape[0]
        if numbers > chosen.width / 2 and config.diffusion.parameterization != "x0":
            fine = False
            text = (
                f"the noise of the {numbers} numbers of a patch does not pass through tokens of {chosen.width}: "
                f"{config.diffusion.parameterization} stays grainy for long"
            )
            remedy = "set diffusion.parameterization=x0 diffusion.weight=jit, or a smaller network.patch"
            yield Finding("warning", "patches", text, remedy, anchor="noise-remains")
    elif isinstance(chosen, UNet):
        for factor in sorted(chosen.attention):
            positions = math.ceil(high / factor) * math.ceil(wide / factor)
            if positions > 4096 and not chosen.linear_attention:
                fine = False
                text = f"attention at factor {factor} compares {positions:,} positions with each other"
                remedy = "set network.linear_attention=true"
                remedy += f", or attend at {2 * factor} (network.attention)" if factor < multiple else ""
                yield Finding("warning", "attention", text, remedy, anchor="slow")
        if chosen.patch >= 4 and config.diffusion.parameterization != "x0":
            fine = False
            text = (
                f"with network.patch={chosen.patch} the noise of {chosen.patch**2 * channels} numbers has to pass "
                f"through {chosen.width} channels: {config.diffusion.parameterization} stays grainy for long"
            )
            weight = "" if config.diffusion.weight == "min_snr" else " diffusion.weight=min_snr"
            remedy = f"set diffusion.parameterization=x0{weight}, or a smaller network.patch"
            yield Finding("warning", "patches", text, remedy, anchor="noise-remains")
    elif (
        isinstance(chosen, UNetSimple)
        and chosen.norm == "batch"
        and (rows := config.train.batch_size // config.train.accumulate) < 16
    ):
        fine = False
        text = f"batch norm over {rows} pictures at a time is unsteady"
        yield Finding("warning", "network", text, "set network.norm=group", anchor="the-loss-does-not-fall")
    if fine:
        what = "patches" if isinstance(chosen, DiT) else "deepest level"
        yield Finding("ok", "network", f"{chosen.kind}, {what} {high // multiple}x{wide // multiple}")


def conditioning(config: Config, facts: Facts) -> Iterator[Finding]:
    """Guidance without what it needs."""
    if config.sample.guidance == 1:
        return
    told = f"sample.guidance={config.sample.guidance:g}"
    if not (facts.classes or facts.length):
        text, remedy = f"{told}, but there are no classes or captions for guidance", "set sample.guidance=1"
    elif config.train.label_drop == 0:
        text = f"{told} needs the model without a class, which train.label_drop=0 never trains"
        remedy = "set train.label_drop=0.1"
    else:
        yield Finding("ok", "guidance", f"{told}, train.label_drop={config.train.label_drop:g}")
        return
    yield Finding("warning", "guidance", text, remedy, anchor="samples-ignore-the-class")


def planned_steps(config: Config, total: int, a_step: float | None) -> int | None:
    """Steps that the budget buys. a_step: seconds, for a budget in minutes; None where that was not measured."""
    if config.train.minutes is not None:
        return None if a_step is None else max(1, int(60 * config.train.minutes / a_step))
    return fixed_steps(config.train, total)


def budget(config: Config, source: Source | CodedSource, steps: int | None) -> Iterator[Finding]:
    """Batch size, steps, epochs and the average of weights (EMA)."""
    train, total = config.train, source.total
    finite = not isinstance(source, Points)
    if finite and train.batch_size > total:
        text = f"a batch of {train.batch_size} is larger than the set of {total:,} pictures"
        remedy = f"set train.batch_size={max(1, total // 4)}"
        yield Finding("warning", "batch size", text, remedy, anchor="copies-of-the-training-set")
    if steps is None:
        text = f"{train.minutes:g} minutes; the number of steps was not measured"
        yield Finding("ok", "budget", text)
        return
    epochs = steps * train.batch_size / total
    text = f"{steps:,} steps" + (
        f", each of {total:,} pictures about {epochs:,.{0 if epochs >= 10 else 1}f} times" if finite else ""
    )
    fine, memorized = True, finite and epochs > max(total / 4, 1)
    if steps < FEW_STEPS:
        fine = False
        remedy = f"train longer (train.steps={2 * FEW_STEPS} or more)"
        if train.batch_size > 1 and train.steps is None and train.minutes is None:
            remedy += ", or with a smaller train.batch_size"
        if memorized:
            remedy = f"add pictures, and {remedy}"
        yield Finding("warning", "budget", f"{text}: too few to learn much", remedy, anchor="blurry-samples")
    if memorized:
        fine = False
        keys = {
            "data.crop=4": not config.data.crop and config.codec is None,
            "network.dropout=0.1": getattr(config.network, "dropout", 1.0) < 0.1,
            "data.flip=true where mirrored pictures fit the set": config.data.flip is None
            and config.data.name not in KNOWN,
        }
        unused = ", ".join(key for key, free in keys.items() if free)
        remedy = "add pictures" + ("" if steps < FEW_STEPS else ", train for fewer steps")
        remedy += f", or set {unused}" if unused else ""
        yield Finding(
            "warning",
            "memorization",
            f"{text}: pictures seen so often are memorized",
            remedy,
            anchor="copies-of-the-training-set",
        )
    key, reach = f"train.ema={train.ema:g}", train.ema * steps
    if (
        train.ema_decay is not None
    ):  # its warm-up keeps it from reaching back further than a tenth of the steps
        key, reach = f"train.ema_decay={train.ema_decay:g}", min(1 / (1 - train.ema_decay), steps / 10)
    if reach < 10:
        fine = False
        text = f"{key} averages over {reach:.0f} of {steps:,} steps, next to nothing"
        remedy = "train longer, 100 steps at least" if steps < 100 else "set train.ema=0.1"
        if train.ema_decay is not None and steps >= 100:
            remedy = "leave train.ema_decay out, or raise it: 0.99 averages over 100 steps"
        yield Finding("warning", "EMA", text, remedy, anchor="noise-remains")
    elif train.ema > 0.2 and train.ema_decay is None:
        fine = False
        text = f"train.ema={train.ema:g} keeps weights from the very beginning in the average"
        yield Finding("warning", "EMA", text, "set train.ema=0.1", anchor="blurry-samples")
    if fine:
        yield Finding("ok", "budget", text)
