"""Do pictures follow their prompts? Scenes by their captions, judged exactly, by kind of caption."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from mezzotint.data.scenes import Meaning, scene
from mezzotint.errors import ConfigError
from mezzotint.evaluate.metrics.scenes import judge, shares
from mezzotint.evaluate.metrics.share import Share
from mezzotint.evaluate.reference import SILENT, Progress
from mezzotint.model.model import Model
from mezzotint.model.spread import things
from mezzotint.train.distributed import ALONE, Ranks

CAPTIONS = 2 * 10**9  # the seed of the captions asked for, which no training has
KINDS = {"one": "one object", "two": "two objects", "count": "two or three alike"}
UNSEEN_PAIRS = "unseen pairs"
UNSEEN_SHARE = 4  # one in so many more has a pair of colour and shape that training never shows
POINTS = ("all", "valid", "count", "attributes", "relation")


@dataclass(frozen=True)
class Scored:
    """shares: for each kind of caption, each point of the verdict that applies to it; n: captions of each kind."""

    source: str
    shares: dict[str, dict[str, Share]]
    n: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        shares = {
            kind: {name: list(share) for name, share in row.items()} for kind, row in self.shares.items()
        }
        return {"source": self.source, "n": self.n, "shares": shares}


class Asked(NamedTuple):
    kind: str  # of caption
    prompt: str
    meaning: Meaning


def usual(n: int) -> list[Asked]:
    """n scenes by their canonical captions, and a quarter as many of unseen pairs."""
    seen = [scene(CAPTIONS, i).whole for i in range(n)]
    unseen = [scene(CAPTIONS, i, unseen=True).whole for i in range(max(1, n // UNSEEN_SHARE))]
    return [
        *(Asked(KINDS[meaning.kind], str(meaning), meaning) for meaning in seen),
        *(Asked(UNSEEN_PAIRS, str(meaning), meaning) for meaning in unseen),
    ]


def evaluate_scenes(
    model: Model,
    n: int = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
    captions: Sequence[Asked] | None = None,
    ranks: Ranks = ALONE,
    **settings: Any,
) -> Scored:
    """Asks a model for scenes and judges its pictures. captions: the prompts, by default `usual(n)`; those of unseen pairs
    do not count among "all".

    ranks: that share the sampling. settings: as of `Model.sample`. Raises ConfigError for a model that makes no scenes.
    """
    if model.config.data.name != "scenes":
        raise ConfigError(f"{model.source} was not trained on scenes, so its pictures cannot be scored")
    asked = usual(n) if captions is None else captions
    prompts = [one.prompt for one in asked]
    request = model.request(len(prompts), prompt=prompts, seed=seed, **settings)
    made = things(model, request, ranks, watch=partial(progress, "sampling"))
    verdicts = judge(made, [one.meaning for one in asked])
    kinds = [one.kind for one in asked]
    rows = {kind: [v for v, k in zip(verdicts, kinds) if k == kind] for kind in dict.fromkeys(kinds)}
    rows = {"all": [v for v, k in zip(verdicts, kinds) if not k.startswith(UNSEEN_PAIRS)], **rows}
    found = {kind: shares(some) for kind, some in rows.items() if some}
    return Scored(model.source, found, {kind: len(some) for kind, some in rows.items()})


def table(scored: Sequence[Scored]) -> list[str]:
    """Lines of text: for every model a row a kind of caption, a column a point of the verdict, in percent with 95 % intervals."""
    lines = []
    for one in scored:
        cells = [[one.source, "n", *POINTS]]
        for kind, row in one.shares.items():
            cells.append([kind, f"{one.n[kind]:,}", *(_percent(row.get(point)) for point in POINTS)])
        widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
        lines += ["  ".join(word.ljust(w) for word, w in zip(row, widths)).rstrip() for row in cells]
    return [
        *lines,
        "",
        "in %, with 95 % intervals; judged by pixels alone: mezzotint.evaluate.metrics.scenes",
    ]


def _percent(share: Share | None) -> str:
    return (
        "" if share is None else f"{100 * share.value:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"
    )
