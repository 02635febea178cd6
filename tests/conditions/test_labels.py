"""Classes in people's words: whatever they are called, there is a word for each, and no word is confused with another."""

import json
import shlex

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.conditions.labels import ALL, NONE, Label, conditions, in_words, name_of, split, word
from mezzotint.errors import ConfigError
from mezzotint.tasks.generate import seeds_from

ODD = [
    "all",
    "none",
    "(all)",
    "((none))",
    "0",
    "1",
    "2",
    "٣",
    "-1",
    "a",
    "b",
    "a,b",
    " a",
    "",
    "'",
    '"',
    "\\",
    "\\x07",
]
ODD += [
    "\x07",
    "\\x07\x07",
    "\x07\\x07",
    "\x00",
    "\ud800",
    "\\ud800",
    "é",
    "e\u0301",
    "猫",
    "\u202e",
    "a\nb",
    "--class",
]
NAMES = st.sampled_from(ODD) | st.text(st.characters(codec=None), max_size=5)
CLASSES = st.lists(NAMES, min_size=2, max_size=8, unique=True)


# The last class has nothing to train on.
def numbers(label: Label, classes: list[str], n: int = 5) -> list[int]:
    labels = conditions(label, classes, seeds_from(3, n, torch.device("cpu")), (len(classes) - 1,)).label
    assert labels is not None
    return labels.tolist()


@given(classes=CLASSES, data=st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_written_asks_for_the_same_classes(classes: list[str], data: st.DataObject) -> None:
    one = st.sampled_from(classes) | st.integers(0, len(classes) - 1)
    label = data.draw(st.sampled_from([None, ALL, NONE]) | one | st.lists(one, min_size=1, max_size=4))
    written = in_words(label, classes, 5)
    assert numbers(written, classes) == numbers(label, classes)
    assert numbers(json.loads(json.dumps(written)), classes) == numbers(label, classes)
    options = [] if written is None else [written] if isinstance(written, str) else written
    there = shlex.split(shlex.join(options))
    assert numbers(split(there, classes), classes) == numbers(label, classes)
    assert in_words(written, classes, 5) == written, "the same words for the same things"


@given(classes=CLASSES)
@settings(max_examples=100, deadline=None)
def test_every_class_has_a_word_of_its_own(classes: list[str]) -> None:
    words = [name_of(number, classes) for number in range(len(classes) + 1)]
    assert len({*words, word(ALL, classes)}) == len(classes) + 2
    assert [numbers(each, classes, 1) for each in words] == [[number] for number in range(len(classes) + 1)]


def test_a_name_wins_over_a_word_and_code_cannot_mean_it() -> None:
    classes = ["cat", "all", "none", "empty"]
    assert numbers("all", classes) == [1] * 5 and numbers("none", classes) == [2] * 5
    assert numbers(ALL, classes) == numbers("(all)", classes) == [0, 1, 2, 0, 1]
    assert numbers(NONE, classes) == numbers("(none)", classes) == [4] * 5
    assert in_words(ALL, classes, 5) == "(all)" and in_words(ALL, ["cat"], 5) == "all"
    for words in ("(all)", "(none)"):
        with pytest.raises(ConfigError, match="there is no class"):
            numbers(words, ["cat", "dog"])


def test_a_name_is_taken_as_it_is_printed() -> None:
    assert name_of(0, ["bell\x07", "cat"]) == "bell\\x07"
    assert numbers("bell\\x07", ["bell\x07", "cat"], 1) == [0]
    assert numbers("bell\\x07", ["bell\x07", "bell\\x07"], 1) == [1], "unless it is another's name"


@pytest.mark.parametrize(
    ("texts", "label"),
    [
        (None, None),
        ([], None),
        ("a", "a"),
        (["a"], "a"),
        ("a, c", ["a", "c"]),
        ("a,b", "a,b"),
        (["a", "b"], ["a", "b"]),
        (["a,b", "c"], ["a,b", "c"]),
        ("x\\x07,", "x\\x07,"),
        ("", ""),
    ],
)
def test_commas_make_a_list_but_in_a_name(texts: str | list[str] | None, label: object) -> None:
    assert split(texts, ["a", "b", "c", "a,b", "x\x07,"]) == label


def test_a_number_may_be_long() -> None:
    with pytest.raises(ConfigError, match="there is no class"):
        numbers("9" * 5000, ["cat"])


def test_a_tensor_is_a_list_of_numbers() -> None:
    classes = ["cat", "dog", "cow"]
    assert numbers(torch.tensor([2, 0]), classes) == numbers([2, 0], classes)
    assert numbers(torch.tensor(1), classes) == numbers(1, classes)
    assert in_words(torch.tensor([2, 0]), classes, 5) == ["cow", "cat"]
    with pytest.raises(ConfigError, match="there is no class '3'"):
        numbers(torch.tensor([3]), classes)
