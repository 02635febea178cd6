"""Scenes: a pure function of (seed, i), and captions that say what there is and nothing else."""

from collections import Counter

import numpy as np
import pytest
from helpers_scenes import painted

from mezzotint.conditions.text import numbers, words_of
from mezzotint.data.scenes import (
    BACKGROUND,
    LENGTH,
    SIDE,
    UNSEEN,
    Meaning,
    Thing,
    coverage,
    draw,
    holds,
    meaning_of,
    scene,
    vocabulary,
)

SCENES = [scene(0, i) for i in range(600)]


def test_a_scene_is_a_function_of_seed_and_number() -> None:
    again = scene(0, 77)
    assert again.caption == SCENES[77].caption and (again.pixels == SCENES[77].pixels).all()
    assert len({one.pixels.tobytes() for one in SCENES}) > 590
    assert (scene(1, 77).pixels != again.pixels).any()


def test_kinds_and_captions_come_in_their_shares() -> None:
    kinds = Counter(one.whole.kind for one in SCENES)
    assert kinds["two"] == pytest.approx(300, abs=45)
    assert kinds["one"] == pytest.approx(180, abs=40)
    assert sum(one.caption == str(one.whole) for one in SCENES) > 200
    assert len({one.caption.split()[0] for one in SCENES}) > 8


def test_captions_mean_what_they_say_and_it_is_so() -> None:
    for one in SCENES:
        assert meaning_of(one.caption) == one.meaning
        assert meaning_of(str(one.whole)) == one.whole
        if one.meaning.relation:
            assert holds(one.meaning.relation, one.placed[0], one.placed[1])
        for said, (thing, _, _) in zip(one.meaning.things, one.placed):
            assert (said.colour, said.shape) == (thing.colour, thing.shape) and said.size in (
                None,
                thing.size,
            )
    assert str(Meaning((Thing("red", "cross", "small"),), count=3)) == "three small red crosses"
    below = meaning_of("A red circle, and beneath it a small blue square.")
    assert below == Meaning((Thing("blue", "square", "small"), Thing("red", "circle", None)), "below")
    for wrong in ("", "a small circle", "a red circle and a blue square", "a dog"):
        with pytest.raises(ValueError, match="does not"):
            meaning_of(wrong)


def test_four_pairs_are_never_shown_unless_they_are_asked_for() -> None:
    shown = {(p.thing.colour, p.thing.shape) for one in SCENES for p in one.placed}
    assert not shown & set(UNSEEN) and len(shown) == 8 * 4 - 4
    for i in range(50):
        first = scene(0, i, unseen=True).placed[0].thing
        assert (first.colour, first.shape) in UNSEEN


def test_things_keep_apart_and_off_the_border() -> None:
    for one in SCENES:
        taken = np.zeros((SIDE + 1, SIDE + 1), int)
        for _, left, top in one.placed:
            side = next(p.side for p in one.placed if (p.left, p.top) == (left, top))
            assert left >= 1 <= top and left + side <= SIDE - 1 >= top + side
            taken[top : top + side + 1, left : left + side + 1] += 1  # with the gap to its right and below
        boxes = [(p.left, p.top, p.side) for p in one.placed]
        assert len(set(boxes)) == len(boxes)


def test_shapes_are_those_of_another_renderer() -> None:
    """Coverage by 4 x 4 samples, against Pillow's by 16 x 16: but for the edges, within a few grey levels."""
    for one in SCENES[:100]:
        off = np.abs(one.pixels.astype(int) - painted(one.placed))
        assert off.mean() < 1.5 and np.percentile(off, 97) < 45
    assert coverage("square", 7).min() == 1 and coverage("circle", 12).mean() == pytest.approx(
        np.pi / 4, abs=0.02
    )
    assert coverage("triangle", 12).mean() == pytest.approx(0.5, abs=0.02)
    assert coverage("cross", 12).mean() == pytest.approx(5 / 9, abs=0.02)
    with pytest.raises(ValueError, match="there is no shape 'star'"):
        coverage("star", 7)
    assert (draw(())[:, 5, 5] == BACKGROUND).all()


def test_the_vocabulary_has_all_words_of_all_captions() -> None:
    words = tuple(vocabulary())
    assert words == tuple(sorted(set(words))) and len(words) < 60
    assert numbers([one.caption for one in SCENES], words, LENGTH).shape == (600, LENGTH)
    assert max(len(words_of(one.caption)) for one in SCENES) < LENGTH
