"""Captioned scenes: is the judge right, and how often do models show what they are asked?

    python benchmarks/scenes.py                                        the judge, on 10,000 fresh scenes
    python benchmarks/scenes.py RUN... [--guidance 1 2 4] [--sampler NAME] [--steps 20] [--seeds 0 1 2] [-n 2000] [--weak 800]

**The judge** looks at scenes as they were drawn; with every number of every pixel moved by up to 8 grey levels; drawn by another
renderer (Pillow, 16 times as large and averaged down); under the captions of other scenes; and with the two nouns of a relation in
each other's place. By chance is how often a scene has what another scene's caption says, told from what was drawn, without
looking at pixels: under captions of other scenes the judge must say no more.

**Models** are asked for every kind of caption: one object, each relation, two alike, three alike, captions in other words, and
pairs of colour and shape that training never showed, of each kind. Seeds are added up; intervals are Wilson's, 95 %.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import measuring
import numpy as np
import torch
from torch import Tensor

sys.path.append(str(measuring.ROOT / "tests"))  # where the second renderer lies, out of the package

from helpers_scenes import painted

from mezzotint.data.scenes import NUMBERS, Meaning, Scene, scene
from mezzotint.evaluate.metrics.scenes import Verdict, judge, shares, verdict_of
from mezzotint.evaluate.metrics.share import Share
from mezzotint.evaluate.scenes import CAPTIONS, UNSEEN_PAIRS, Asked, evaluate_scenes, table
from mezzotint.model.loading import load, with_weak

GOALS = {"fresh": 1.0, "noise of 8 levels": 0.999, "another renderer": 0.99, "relation of swapped nouns": 0.0}
SEED = 10**9 + 7  # of scenes that neither training nor evaluation has
NOISE = 8  # grey levels
POINTS = ("all", "valid", "count", "attributes", "relation")


def the_judge(n: int) -> dict[str, Share]:
    """What it says of n scenes."""
    scenes = [scene(SEED, i) for i in range(n)]
    pictures = stacked([one.pixels for one in scenes])
    captions = [one.meaning for one in scenes]
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(-NOISE, NOISE + 1, pictures.shape, generator=random)
    noisy = (pictures.int() + noise).clamp(0, 255).to(torch.uint8)
    others = captions[1:] + captions[:1]
    twos = [one for one in scenes if one.meaning.relation]
    swapped = judge(
        stacked([one.pixels for one in twos]),
        [replace(one.meaning, things=one.meaning.things[::-1]) for one in twos],
    )
    return {
        "fresh": share(judge(pictures, captions), "all"),
        "noise of 8 levels": share(judge(noisy, captions), "all"),
        "another renderer": share(judge(stacked([painted(one.placed) for one in scenes]), captions), "all"),
        "captions of other scenes": share(judge(pictures, others), "all"),
        "by chance": share([verdict_of(one.placed, said) for one, said in zip(scenes, others)], "all"),
        "relation of swapped nouns": share(swapped, "relation"),
        "attributes of swapped nouns": share(swapped, "attributes"),
    }


def stacked(pictures: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures))


def share(verdicts: Sequence[Verdict], point: str) -> Share:
    return shares(verdicts)[point]


def every_kind(n: int) -> list[Asked]:
    """n scenes by their canonical captions, a quarter as many in other words, and as many again of unseen pairs."""
    seen = [scene(CAPTIONS, i) for i in range(n)]
    few = max(8, n // 4)
    others = [one for one in (scene(CAPTIONS, i) for i in range(n, n + 4 * few)) if said_otherwise(one)][:few]
    unseen = [scene(CAPTIONS, i, unseen=True) for i in range(few)]
    return [
        *(Asked(kind_of(one.whole), str(one.whole), one.whole) for one in seen),
        *(Asked("in other words", one.caption, one.meaning) for one in others),
        *(Asked(f"{UNSEEN_PAIRS}, {one.whole.kind}", str(one.whole), one.whole) for one in unseen),
    ]


def said_otherwise(one: Scene) -> bool:
    return one.caption != str(one.whole)


def kind_of(meaning: Meaning) -> str:
    match meaning.kind:
        case "two":
            return str(meaning.relation)
        case "count":
            return f"{NUMBERS[meaning.count]} alike"
        case _:
            return "one object"


def models(
    names: Sequence[str],
    n: int,
    seeds: Sequence[int],
    ways: Sequence[dict[str, Any]],
    weak: str | None = None,
) -> Iterator[dict]:
    """A row a model and way of sampling: shares of every kind of caption, and the order in which kinds are shown."""
    asked = every_kind(n)
    for name, way in product(names, ways):
        model, hits = load(name), dict[str, dict[str, list[int]]]()
        if weak is not None:
            model = with_weak(model, name, weak)
        for seed in seeds:
            found = evaluate_scenes(model, n, seed * 10**6, captions=asked, **way)
            for kind, points in found.shares.items():
                for point, one in points.items():
                    total = hits.setdefault(kind, {}).setdefault(point, [0, 0])
                    count = asked_of(asked, kind, point)
                    total[0] += round(one.value * count)
                    total[1] += count
        summed = {kind: {p: Share.of(*c) for p, c in row.items()} for kind, row in hits.items()}
        merged = replace(found, shares=summed, n={kind: len(seeds) * found.n[kind] for kind in summed})
        print("\n".join(table([merged])[:-2]), flush=True)
        settings = model.settings(**way).model_dump()
        yield {
            "model": name,
            "step": model.header.step,
            "settings": settings,
            "weak": model.weak,
            "seeds": list(seeds),
            **merged.as_json(),
        }


def asked_of(asked: Sequence[Asked], kind: str, point: str) -> int:
    """How many captions of a kind a point of the verdict can be asked of."""
    mine = [a for a in asked if (not a.kind.startswith(UNSEEN_PAIRS) if kind == "all" else a.kind == kind)]
    return sum(one.meaning.relation is not None for one in mine) if point == "relation" else len(mine)


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("runs", nargs="*", help="runs or model files; without any, the judge is tried")
    parser.add_argument("-n", type=int, help="scenes: 10,000 for the judge, 2,000 captions for a model")
    parser.add_argument("--guidance", type=float, nargs="+", help="scales; by default the model's own")
    parser.add_argument("--sampler", nargs="+", help="by default the model's own")
    parser.add_argument("--steps", type=int, nargs="+", help="by default the model's own")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the pictures")
    parser.add_argument("--weak", help="what guidance drives away from: a step of the run, or another model")
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    if not options.runs:
        n = options.n or (100 if options.quick else 10_000)
        found = the_judge(n)
        rows = [
            (name, f"{100 * s.value:.2f} ({100 * s.low:.2f} to {100 * s.high:.2f})")
            for name, s in found.items()
        ]
        print(measuring.markdown(("scenes", f"% of {n:,}"), rows))
        measuring.keep(
            options.out,
            "scenes-judge",
            {"machine": machine, "goals": GOALS, "n": n, "shares": found},
            options.quick,
        )
        return
    grid = product(options.guidance or [None], options.sampler or [None], options.steps or [None])
    ways = [
        {key: value for key, value in zip(("guidance", "sampler", "steps"), way) if value is not None}
        for way in grid
    ]
    n = options.n or (8 if options.quick else 2000)
    rows = list(models(options.runs, n, options.seeds, ways, options.weak))
    measuring.keep(options.out, "scenes-models", {"machine": machine, "n": n, "models": rows}, options.quick)


if __name__ == "__main__":
    main()
