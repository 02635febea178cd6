"""Words to numbers: a vocabulary from captions, and errors that name the word."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.conditions.labels import nothing
from mezzotint.conditions.text import FIRST, MAX_BYTES, START, Bytes, Words, numbers, vocabulary, words_of
from mezzotint.errors import ConfigError

CAPTIONS = ["A small red circle.", "a large blue square, left of a cross", "Größe: 3"]


def test_a_vocabulary_is_all_words_of_the_captions_in_lower_case() -> None:
    words, length = vocabulary(CAPTIONS)
    assert words == tuple(
        sorted(
            {
                ":",
                "3",
                "a",
                "blue",
                "circle",
                "cross",
                "grösse",
                "large",
                "left",
                "of",
                "red",
                "small",
                "square",
            }
        )
    )
    assert length == 9
    rows = numbers(["a RED circle.", ""], words, length)
    assert rows.dtype == torch.int64 and rows.shape == (2, 9)
    assert rows[0].tolist() == [START, *(FIRST + words.index(w) for w in ("a", "red", "circle")), *[0] * 5]
    assert rows[1].tolist() == [START, *[0] * 8]
    assert Words(words, length).fits("a RED circle.") and not Words(words, length).fits("a green circle")
    empty = nothing((), Words(words, length)).text
    assert empty is not None and empty.equal(rows[1:])


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_every_caption_can_be_asked_for_again(captions: list[str]) -> None:
    words, length = vocabulary(captions)
    rows = numbers(captions, words, length)
    for row, caption in zip(rows, captions):
        assert [words[k - FIRST] for k in row.tolist() if k >= FIRST] == words_of(caption)


def test_unknown_words_are_named_with_those_near() -> None:
    words, length = vocabulary(CAPTIONS)
    with pytest.raises(ConfigError, match=r"does not know the word 'circel'; did you mean circle\?"):
        numbers(["a red circel"], words, length)
    with pytest.raises(
        ConfigError, match="does not know the word 'xyzzy'; it knows 13, such as 3, :, a, blue"
    ):
        numbers(["xyzzy"], words, length)
    with pytest.raises(ConfigError, match="a text of 9 words is too long for the model: at most 8"):
        numbers(["a " * 9], words, length)


@given(st.lists(st.text(st.characters(codec=None), max_size=90), min_size=1, max_size=5))
def test_letter_by_letter_any_text_can_be_asked(texts: list[str]) -> None:
    language = Bytes.learn(["x" * 300])
    assert language.length == MAX_BYTES + 1
    rows = language.cond(texts).text
    assert rows is not None
    for row, text in zip(rows.tolist(), texts):
        said = bytes(k - FIRST for k in row if k >= FIRST)
        assert said == " ".join(text.casefold().split()).encode(errors="replace")[:MAX_BYTES]
        assert row[0] == START and len(row) == MAX_BYTES + 1
    lower, upper = language.cond(["Größe  ÜBER", "grösse über"]).text  # type: ignore[misc]
    assert lower.equal(upper)


def test_letters_that_are_too_many_are_refused() -> None:
    language = Bytes(9)
    assert language.fits("größe") and not language.fits("grösse über")
    assert nothing(("a",), language).text.tolist() == [[START, *[0] * 8]]  # type: ignore[union-attr]
    with pytest.raises(
        ConfigError, match=r"a text of 13 letters \(bytes\) is too long for the model: at most 8"
    ):
        language.cond(["grösse über"])
