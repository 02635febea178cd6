"""Draws the pictures of phase 10: `python docs/guide/figures/phase10.py`. Every seed is fixed."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint import load, plots
from mezzotint.diffusion.corrections import clip
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.inverse import ddnm, inpainting
from mezzotint.model.model import Model
from mezzotint.tasks.task import Task, Way

HERE = Path(__file__).parent
STRENGTHS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def strength(mnist: Model, scenes: Model) -> None:
    """A digit asked to be another, and a scene asked to have other colours, by rising strength."""
    four = mnist.sample(1, label=4, seed=3).values[0]
    digit = torch.cat([mnist.edit(four, strength=s, label=9, seed=5).values for s in STRENGTHS])
    prompt = "a large {} circle left of a large {} square"
    scene = scenes.sample(1, prompt=prompt.format("red", "blue"), seed=0).values[0]
    recoloured = prompt.format("yellow", "green")
    edited = torch.cat([scenes.edit(scene, strength=s, prompt=recoloured, seed=5).values for s in STRENGTHS])
    digit = torch.nn.functional.pad(digit, (2, 2, 2, 2)).expand(-1, 3, -1, -1)
    captions = [f"{s:g}" for s in STRENGTHS]
    save(
        plots.sheet(torch.cat([digit, edited]), columns=len(STRENGTHS), captions=captions, scale=2),
        "strength",
    )


def halves(model: Model) -> None:
    """Right halves of digits, by DDNM alone, and by `edit`."""
    left = torch.zeros(28, 28, dtype=torch.bool)
    left[:, :14] = True
    settings, seeds = model.settings(), torch.arange(4)
    tiles = []
    for label, seed in ((3, 43), (5, 45), (2, 42)):
        picture = model.sample(1, label=label, seed=seed).values[0]
        seen, mask = torch.where(left, picture, 110), (~left).byte() * 255
        y = torch.where(left, model.codec.encode(picture[None]), 0.0)
        way = Way(model.process, model.schedule, (1, 28, 28), settings.sampler, settings.steps, "time")
        none = model.edits.edit(picture, mask, n=4).cond
        known = [clip(), ddnm(inpainting(left), y)]
        *_, last = alone(model.denoiser, Task().steps(way, seeds), none, corrections=known)
        edited = model.edit(picture, mask, n=4).values
        tiles += [picture, seen, *model.codec.decode(last.x), *edited]
    captions = ["truth", "seen", *["ddnm"] * 4, *["edit"] * 4]
    save(plots.sheet(torch.stack(tiles), columns=10, captions=captions, scale=2), "halves")


def noises(model: Model) -> None:
    """Digits, and what their own noise is under the class of another."""
    originals = model.sample(10, label=4, seed=20).values
    rows: list[list[Tensor]] = [[], []]
    for picture in originals:
        found = model.invert(picture, label=4)
        for row, label in zip(rows, (4, 9)):
            row.append(model.answer(model.edits.from_noise(found, label=label)).values[0])
    labels = ["picture", "its noise as 4", "its noise as 9"]
    values = torch.cat([originals, *(torch.stack(row) for row in rows)])
    save(plots.sheet(values, columns=10, row_labels=labels, scale=2), "noise")


def morph(model: Model) -> None:
    """From one seed to another, of one class and of two."""
    rows = [model.morph(3, 7, 11, label=label).values for label in (("3", "8"), ("4", "9"), ("2", "2"))]
    labels = ["3 to 8", "4 to 9", "2 to 2"]
    save(plots.sheet(torch.cat(rows), columns=11, row_labels=labels, scale=2), "morph")


def save(image: Any, name: str) -> None:
    path = HERE / f"10-{name}.png"
    image.quantize(64).save(path, optimize=True) if image.width > 1000 else image.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB, {image.size}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    digits = load("mnist", precision="fp32")
    strength(digits, load("scenes", precision="fp32"))
    halves(digits)
    noises(digits)
    morph(digits)
