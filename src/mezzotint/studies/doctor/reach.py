"""What this machine will reach: how much it learns from in a second, and what came of a recipe that had learned from as much."""

from collections.abc import Iterator

import torch

from mezzotint.config import Config, load
from mezzotint.data.open import Points
from mezzotint.model.device import kind_of
from mezzotint.studies.doctor.pictures import Finding
from mezzotint.studies.doctor.trial import StepCost

MINUTES = 5  # for which the quick recipes are made
TRAINING = 0.94  # of that time; the rest is for sheets, checkpoints and the held-out loss
OURS = 0.8  # share of a processor below which other work is to be heard of
# What a recipe was measured to be after so many pictures, the fewest first; where it stands in docs/. For the recipe as it is: measure
# again when it changes.
REACHED: dict[str, tuple[tuple[int, str], ...]] = {
    "mnist": (  # docs/experiments/mnist.md; of 64,000 also three seeds that learned x0, no better and no worse
        (32_000, "after 32,000 pictures most digits could be read"),
        (64_000, "after 64,000 to 80,000 pictures 98.6 to 98.9 % of samples were recognised as their class"),
        (160_000, "after 160,000 pictures 99.3 to 99.65 % of samples were recognised as their class"),
        (300_000, "after 300,000 pictures 99.5 % of samples were recognised as their class"),
    ),
}


def machine(
    config: Config, trial: StepCost, device: torch.device, dtype: torch.dtype, source: object
) -> Iterator[Finding]:
    """The machine, its pace in training, and what that comes to in five minutes."""
    steps = max(1, int(60 * MINUTES * TRAINING / trial.a_step))
    rows = config.train.batch_size
    things = "points" if isinstance(source, Points) else "pictures"
    count = torch.get_num_threads()
    threads = f", {count} thread{'s' if count > 1 else ''}" if device.type == "cpu" else ""
    text = (
        f"{kind_of(device)}{threads}, {str(dtype).removeprefix('torch.')}: {rows / trial.a_step:,.0f} {things} a second in training, so "
        f"{MINUTES} minutes are {steps:,} steps of {rows}"
    )
    if said := reached(config, steps * rows):
        text += f"; {said}"
    if trial.ours < OURS:
        text += (
            f"; other work leaves it {trial.ours:.0%} of a processor now, so that a quiet machine does more"
        )
    yield Finding("ok", "machine", text)


def reached(config: Config, pictures: int) -> str:
    """What was measured of the recipe that a configuration learns by, with so many pictures or the fewest there are figures for; "" of
    others."""
    for name, measured in REACHED.items():
        if _learns_as(config, load(name)):
            fitting = [text for count, text in measured if count <= pictures]
            return fitting[-1] if fitting else f"too few to say what comes of it: {measured[0][1]}"
    return ""


def _learns_as(config: Config, recipe: Config) -> bool:
    """Whether two differ in nothing but budget, place of the data, seed, device and what is written on the way."""
    here, there = config.train, recipe.train
    same = ("batch_size", "optimizer", "lr", "warmup", "decay", "weight_decay", "label_drop")
    return (
        config.objective == recipe.objective
        and config.data.name == recipe.data.name
        and config.data.size in (None, recipe.data.size)
        and config.network == recipe.network
        and config.diffusion == recipe.diffusion
        and all(getattr(here, key) == getattr(there, key) for key in same)
    )
