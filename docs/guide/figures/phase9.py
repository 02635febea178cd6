"""Draws the pictures of phase 9: `python docs/guide/figures/phase9.py`. Every seed is fixed."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from mezzotint import load, plots
from mezzotint.conditions.text import words_of
from mezzotint.data.scenes import MARGIN, SIDE, SIZES, Meaning, Placed, draw, holds, meaning_of
from mezzotint.diffusion.process import add_noise
from mezzotint.media.pictures import to_uint8
from mezzotint.model.model import Model
from mezzotint.nets.attention import Attention
from mezzotint.nets.unet import UNet
from mezzotint.plots.style import INK

HERE = Path(__file__).parent
PROMPTS = (
    "a large red circle left of a large blue square",
    "a large blue square left of a large red circle",
    "a small white cross above a large yellow triangle",
    "two large green circles",
    "a small pink square",
)


def order(model: Model) -> None:
    """The same seeds, asked for different things."""
    rows = [model.sample(8, prompt=prompt, seed=0).values for prompt in PROMPTS]
    save(plots.sheet(torch.cat(rows), columns=8, row_labels=PROMPTS, scale=2), "order")


def scene_of(meaning: Meaning, random: np.random.Generator) -> Tensor:
    """A scene drawn for a meaning whose sizes are said: uint8 (3, 32, 32), things at random places that fit it."""
    while True:
        placed = []
        for thing in meaning.things * meaning.count:
            side = SIZES[str(thing.size)]
            left, top = random.integers(MARGIN, SIDE - MARGIN - side + 1, 2).tolist()
            placed.append(Placed(thing, left, top))
        boxes = [(p.left, p.top, p.side + MARGIN) for p in placed]
        apart = all(
            a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or a[1] + a[2] <= b[1] or b[1] + b[2] <= a[1]
            for i, a in enumerate(boxes)
            for b in boxes[:i]
        )
        if apart and (meaning.relation is None or holds(meaning.relation, placed[0], placed[1])):
            return torch.from_numpy(draw(tuple(placed)))


def sketches(model: Model) -> None:
    """What the text means to the network before any noise, beside the truth."""
    prompts = PROMPTS[:4]
    random = np.random.default_rng(0)
    net = model.net
    assert isinstance(net, UNet) and net.encoder is not None and net.sketch is not None
    with torch.no_grad():
        vectors, there = net.encoder(model.language.cond(prompts).text)
        drawn = to_uint8(net.sketch(vectors, there))
    tiles = []
    for sketch, prompt in zip(drawn, prompts):
        scenes = torch.stack([scene_of(meaning_of(prompt), random) for _ in range(400)])
        mean = F.adaptive_avg_pool2d(scenes.float().mean(0), 4).round().to(torch.uint8)
        tiles += [blocks(sketch), blocks(mean), *model.sample(4, prompt=prompt, seed=0).values]
    captions = ["sketch", "exact mean", *["sample"] * 4]
    save(plots.sheet(torch.stack(tiles), columns=6, captions=captions, row_labels=prompts, scale=2), "sketch")


def blocks(cells: Tensor) -> Tensor:
    """(C, 4, 4) as a picture of 32 x 32."""
    return cells.repeat_interleave(8, 1).repeat_interleave(8, 2)


def look(model: Model) -> None:
    """How much positions look at each word, mean of heads and layers, where noise and picture are equal."""
    net, rows = model.net, []
    for prompt in PROMPTS[:3]:
        picture = model.sample(1, prompt=prompt, seed=0).values
        x0 = picture.float() / 127.5 - 1
        eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
        level = torch.zeros(1, dtype=torch.float64)
        x = add_noise(model.process, x0, eps, level)
        maps: list[Tensor] = []

        def record(module: Attention, arguments: tuple[Any, ...], maps: list[Tensor] = maps) -> None:
            x, text = arguments
            if text is None or module.words is None:
                return
            q, k, _ = (
                module.qkv(module.norm(x)).flatten(2).unflatten(1, (3, -1, module.head_channels)).mT.unbind(1)
            )
            more = (
                module.words(text.vectors)
                .unflatten(-1, (2, -1, module.head_channels))[:, :, 0]
                .transpose(1, 2)
            )
            scores = q @ torch.cat([k, more], -2).mT * q.shape[-1] ** -0.5
            seen = torch.cat([text.there.new_ones(1, q.shape[-2]), text.there], 1)
            weights = scores.masked_fill(~seen[:, None, None], -torch.inf).softmax(-1)
            side = x.shape[-1]
            seen_words = weights[0, :, :, q.shape[-2] :].mean(0).T.unflatten(1, (side, side))
            maps.append(F.interpolate(seen_words[None], (32, 32), mode="bilinear")[0])

        hooks = [m.register_forward_pre_hook(record) for m in net.modules() if isinstance(m, Attention)]
        with torch.no_grad():
            answer = to_uint8(model.denoiser(x, level, model.language.cond([prompt])))[0]
        for hook in hooks:
            hook.remove()
        mean = torch.stack(maps).mean(0)
        rows.append((prompt, answer, mean))
    save(drawn_maps(rows), "look")


def drawn_maps(rows: list[tuple[str, Tensor, Tensor]]) -> Image.Image:
    """A row a caption: the answer, then a map for each word, each on a scale of its own."""
    scale, gap, top = 2, 4, 18
    side = 32 * scale
    columns = 1 + max(len(words_of(prompt)) for prompt, _, _ in rows)
    paper = Image.new("RGB", (columns * (side + gap) + gap, len(rows) * (side + top + gap) + gap), "white")
    pen = ImageDraw.Draw(paper)
    for row, (prompt, answer, maps) in enumerate(rows):
        y = gap + row * (side + top + gap) + top
        tiles = [("answer", answer)]
        for place, word in enumerate(words_of(prompt), 1):
            weights = maps[place]
            grey = (255 * (weights - weights.min()) / (weights.max() - weights.min())).round().to(torch.uint8)
            tiles.append((word, grey.expand(3, -1, -1)))
        for column, (name, tile) in enumerate(tiles):
            x = gap + column * (side + gap)
            image = plots.picture(tile).resize((side, side), Image.Resampling.NEAREST)
            paper.paste(image.convert("RGB"), (x, y))
            pen.text((x + side / 2, y - 9), name, INK, anchor="mm")
    return paper


def save(image: Any, name: str) -> None:
    path = HERE / f"9-{name}.png"
    image.quantize(64).save(path, optimize=True) if image.width > 1000 else image.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB, {image.size}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    scenes = load("scenes", precision="fp32")
    look(scenes)
    sketches(scenes)
    order(scenes)
