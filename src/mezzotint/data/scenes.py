"""Captioned scenes: shapes of known colours, sizes and places, unlimited, and exactly what each caption says of them.

Picture i of a seed is a pure function of (seed, i): one shape, two with a relation between them, or two or three alike, on a
dark canvas of 32 x 32. Four pairs of colour and shape never occur in training, so that putting together what was seen apart can be
tested. `evaluate.metrics.scenes` says, by looking at the pixels alone, whether a picture shows what a caption says.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

SIDE = 32  # pixels of the canvas
BACKGROUND = (24, 24, 28)
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 210, 40),
    "purple": (150, 50, 190),
    "orange": (245, 130, 30),
    "white": (245, 245, 245),
    "pink": (245, 140, 190),
}
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = {"small": 7, "large": 12}  # pixels of a side
UNSEEN = (("purple", "triangle"), ("orange", "square"), ("green", "cross"), ("pink", "circle"))
RELATIONS = ("left of", "right of", "above", "below")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
NUMBERS = {2: "two", 3: "three"}
LENGTH = 24  # places of a caption for networks, START among them
FINE = 4  # samples of a pixel's side
MARGIN = 1  # pixels to the border, and between boxes


@dataclass(frozen=True)
class Thing:
    """A shape, as a caption speaks of it: a size that it leaves out is None."""

    colour: str
    shape: str
    size: str | None

    def __str__(self) -> str:
        """small red circle"""
        return f"{self.size} {self.colour} {self.shape}" if self.size else f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Meaning:
    """What a caption says: the things, how the first lies to the second, how many alike there are, and whether that is all."""

    things: tuple[Thing, ...]
    relation: str | None = None
    count: int = 1
    whole: bool = True

    @property
    def kind(self) -> str:
        """one, two, or count"""
        return "count" if self.count > 1 else "two" if self.relation else "one"

    def __str__(self) -> str:
        """The canonical caption."""
        if self.count > 1:
            return f"{NUMBERS[self.count]} {self.things[0]}{'es' if self.things[0].shape == 'cross' else 's'}"
        first = f"a {self.things[0]}".replace("a orange", "an orange")
        if self.relation is None:
            return first
        return f"{first} {self.relation} {f'a {self.things[1]}'.replace('a orange', 'an orange')}"


class Placed(NamedTuple):
    """A thing on the canvas. left, top: pixels of its box's corner, from the top left."""

    thing: Thing
    left: int
    top: int

    @property
    def side(self) -> int:
        assert self.thing.size is not None
        return SIZES[self.thing.size]


class Scene(NamedTuple):
    pixels: np.ndarray  # uint8 (3, 32, 32)
    caption: str
    meaning: Meaning  # what the caption says,
    placed: tuple[Placed, ...]  # what there is,
    whole: Meaning  # and all that can be said of it; as text, the canonical caption


# --- drawing ---------------------------------------------------------------------------------------------


@cache
def coverage(shape: str, side: int) -> np.ndarray:
    """The share of each pixel that a shape covers, (side, side) in [0, 1], of 4 x 4 samples."""
    at = (np.arange(side * FINE) + 0.5) / FINE / side  # in units of the side
    y, x = at[:, None], at[None]
    match shape:
        case "circle":
            inside = (x - 0.5) ** 2 + (y - 0.5) ** 2 <= 0.25
        case "square":
            inside = np.ones((len(at), len(at)), bool)
        case "triangle":
            inside = np.abs(x - 0.5) <= y / 2
        case "cross":
            inside = (np.abs(x - 0.5) <= 1 / 6) | (np.abs(y - 0.5) <= 1 / 6)
        case _:
            raise ValueError(f"there is no shape {shape!r}; the shapes are {', '.join(SHAPES)}")
    return inside.reshape(side, FINE, side, FINE).mean((1, 3))


def draw(placed: tuple[Placed, ...]) -> np.ndarray:
    """Things on the canvas: uint8 (3, 32, 32)."""
    canvas = np.broadcast_to(np.array(BACKGROUND, float)[:, None, None], (3, SIDE, SIDE)).copy()
    for thing, left, top in placed:
        assert thing.size is not None
        side = SIZES[thing.size]
        share = coverage(thing.shape, side)
        patch = canvas[:, top : top + side, left : left + side]
        patch += share * (np.array(COLOURS[thing.colour], float)[:, None, None] - patch)
    return canvas.round().astype(np.uint8)


# --- scenes ----------------------------------------------------------------------------------------------


def scene(seed: int, i: int, *, unseen: bool = False) -> Scene:
    """Scene i of a seed. unseen: its first thing is of one of the four pairs that training never shows."""
    rng = np.random.default_rng((seed, i, int(unseen)))
    draw_kind = rng.random()
    things: tuple[Thing, ...]
    relation: str | None
    while True:
        if draw_kind < 0.3:
            things, relation, count = (_thing(rng, unseen),), None, 1
        elif draw_kind < 0.8:
            first, second = _thing(rng, unseen), _thing(rng, False)
            if first.colour == second.colour:
                continue
            things, relation, count = (first, second), RELATIONS[rng.integers(4)], 1
        else:
            things, relation, count = (_thing(rng, unseen),), None, int(rng.integers(2, 4))
        placed = _place(rng, things * count, relation)
        if placed is not None:
            break
    meaning = Meaning(things, relation, count)
    caption, said = _say(rng, meaning)
    return Scene(draw(placed), caption, said, placed, meaning)


def _thing(rng: np.random.Generator, unseen: bool) -> Thing:
    size = tuple(SIZES)[rng.integers(2)]
    if unseen:
        colour, shape = UNSEEN[rng.integers(len(UNSEEN))]
        return Thing(colour, shape, size)
    while True:
        colour, shape = tuple(COLOURS)[rng.integers(len(COLOURS))], SHAPES[rng.integers(len(SHAPES))]
        if (colour, shape) not in UNSEEN:
            return Thing(colour, shape, size)


def _place(
    rng: np.random.Generator, things: tuple[Thing, ...], relation: str | None
) -> tuple[Placed, ...] | None:
    """Boxes that keep apart, and in their relation; None where a few tries did not find any."""
    for _ in range(50):
        placed = []
        for thing in things:
            assert thing.size is not None
            left, top = rng.integers(MARGIN, SIDE - MARGIN - SIZES[thing.size] + 1, 2).tolist()
            placed.append(Placed(thing, left, top))
        apart = all(_apart(a, b) for k, a in enumerate(placed) for b in placed[:k])
        if apart and (relation is None or holds(relation, placed[0], placed[1])):
            return tuple(placed)
    return None


def _apart(a: Placed, b: Placed) -> bool:
    return (
        a.left + a.side + MARGIN <= b.left
        or b.left + b.side + MARGIN <= a.left
        or a.top + a.side + MARGIN <= b.top
        or b.top + b.side + MARGIN <= a.top
    )


def holds(relation: str, a: Placed, b: Placed) -> bool:
    """Whether a relation holds between boxes: "left of" where the first's right edge lies left of the second's left edge."""
    match relation:
        case "left of":
            return a.left + a.side <= b.left
        case "right of":
            return b.left + b.side <= a.left
        case "above":
            return a.top + a.side <= b.top
        case "below":
            return b.top + b.side <= a.top
        case _:
            raise ValueError(f"there is no relation {relation!r}; the relations are {', '.join(RELATIONS)}")


# --- words -----------------------------------------------------------------------------------------------

CANONICAL = 0.4  # of the captions
SAYINGS = {  # of each relation; the first is the canonical one
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "beneath", "under", "lower than"),
}
ONE = ("{a}", "there is {a}", "a picture of {a}", "only {a}", "{a} on a dark background", "we see {a}")
TWO = (
    "{a} {r} {b}",
    "there is {a} {r} {b}",
    "a picture of {a} {r} {b}",
    "{a} is {r} {b}",
    "we see {a} {r} {b}",
    "{a} that is {r} {b}",
    "{b}, and {r} it {a}",
)
COUNT = ("{a}", "there are {a}", "a picture of {a}", "exactly {a}", "we see {a}")
HALF = ("{a} and something else", "{a} with something beside it")  # the second half left out


def _say(rng: np.random.Generator, meaning: Meaning) -> tuple[str, Meaning]:
    """A caption for a meaning, and what that caption says, which may be less."""
    if rng.random() < CANONICAL:
        return str(meaning), meaning
    things = tuple(replace(t, size=None) if rng.random() < 0.15 else t for t in meaning.things)
    meaning = replace(meaning, things=things)
    match meaning.kind:
        case "one":
            said = ONE[rng.integers(len(ONE))].format(a=_noun(things[0]))
        case "count":
            said = COUNT[rng.integers(len(COUNT))].format(a=str(meaning))
        case _ if rng.random() < 0.08:
            meaning = Meaning(things[:1], whole=False)
            said = HALF[rng.integers(len(HALF))].format(a=_noun(things[0]))
        case _:
            assert meaning.relation is not None
            sayings = SAYINGS[meaning.relation]
            relation = sayings[rng.integers(len(sayings))]
            said = TWO[rng.integers(len(TWO))].format(a=_noun(things[0]), b=_noun(things[1]), r=relation)
    if rng.random() < 0.3:
        said = said[0].upper() + said[1:]
    return (said + "." if rng.random() < 0.3 else said), meaning


def _noun(thing: Thing) -> str:
    return f"an {thing}" if str(thing)[0] in "aeiou" else f"a {thing}"


_SIZE, _COLOUR, _SHAPE = ("|".join(words) for words in (SIZES, COLOURS, SHAPES))
_THING = re.compile(rf"\b(?:(an?|two|three) )(?:({_SIZE}) )?({_COLOUR}) ({_SHAPE})(?:e?s)?\b")


def meaning_of(caption: str) -> Meaning:
    """What a caption says. Raises ValueError in one line for words that are not those of scenes."""
    text = " ".join(caption.casefold().replace(".", " ").split())
    found = list(_THING.finditer(text))
    if not 1 <= len(found) <= 2:
        raise ValueError(
            f"{caption!r} does not describe a scene; write it like 'a small red circle left of a large blue square'"
        )
    things = tuple(Thing(match[3], match[4], match[2]) for match in found)
    count = next((k for k, word in NUMBERS.items() if word == found[0][1]), 1)
    if len(found) == 1:
        return Meaning(things, None, count, whole="something" not in text)
    between = text[found[0].end() : found[1].start()]
    pairs = [(said, relation) for relation, sayings in SAYINGS.items() for said in sayings]
    relation = next(
        (r for said, r in sorted(pairs, key=lambda p: -len(p[0])) if re.search(rf"\b{said}\b", between)), None
    )
    if relation is None:
        raise ValueError(f"{caption!r} does not relate the two objects by one of {', '.join(RELATIONS)}")
    if re.search(r"\bit\b", between):  # "a, and left of it b": b is left of a
        things = things[::-1]
    return Meaning(things, relation)


def vocabulary() -> list[str]:
    """All words of all captions, in lower case, sorted."""
    texts = [*ONE, *TWO, *COUNT, *HALF, *NUMBERS.values(), *COLOURS, *SIZES, *SHAPES, "a an"]
    texts += [saying for sayings in SAYINGS.values() for saying in sayings]
    texts += [shape + ("es" if shape == "cross" else "s") for shape in SHAPES]
    words = {word for text in texts for word in re.findall(r"[a-z]+", re.sub(r"\{.\}", "", text))}
    return sorted(words)
