"""Text: captions and prompts to numbers, by the vocabulary of the captions or letter by letter."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.errors import ConfigError

PADDING, START, FIRST = 0, 1, 2  # numbers of no word, of the beginning of every text, of the first word
WORD = re.compile(r"\w+|[^\w\s]")
BYTES = 256
MAX_BYTES = 256  # of a text that is read letter by letter


Prompt = str | Sequence[str] | None


def prompts_of(prompt: Prompt, seeds: Tensor, examples: Sequence[str]) -> tuple[str, ...]:
    """The prompts of samples with seeds (n,) int64 on the CPU: one text for all, several in turn, or None: the
    examples, by the seed. Raises ConfigError for an empty list."""
    if prompt is None:
        return tuple(examples[seed % len(examples)] if examples else "" for seed in seeds.tolist())
    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not texts:
        raise ConfigError("the list of prompts is empty; give one, or leave it out")
    return tuple(texts[i % len(texts)] for i in range(len(seeds)))


def words_of(text: str) -> list[str]:
    """Words in lower case, and every other sign by itself, except full stops and commas, which are dropped."""
    return [word for word in WORD.findall(text.casefold()) if word not in ".,"]


def vocabulary(captions: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """All words of captions, sorted, and the places that the longest one takes, with that of START."""
    words: set[str] = set()
    longest = 0
    for caption in captions:
        found = words_of(caption)
        words.update(found)
        longest = max(longest, len(found))
    return tuple(sorted(words)), longest + 1


def numbers(texts: Sequence[str], words: Sequence[str], length: int) -> Tensor:
    """(N, length) int64: START, the numbers of the words, PADDING. The empty text is "nothing asked".

    Raises ConfigError for a word that no caption had, naming it and what is near, and for a text that is too long.
    """
    table = {word: number for number, word in enumerate(words, FIRST)}
    rows = torch.full((len(texts), length), PADDING, dtype=torch.int64)
    rows[:, 0] = START
    for row, text in zip(rows, texts):
        found = words_of(text)
        if unknown := [word for word in found if word not in table]:
            near = difflib.get_close_matches(unknown[0], words, n=3, cutoff=0.5)
            hint = (
                f"did you mean {', '.join(near)}?"
                if near
                else f"it knows {len(words)}, such as {', '.join(words[:8])}"
            )
            raise ConfigError(f"the model does not know the word {unknown[0]!r}; {hint}")
        if len(found) >= length:
            raise ConfigError(f"a text of {len(found)} words is too long for the model: at most {length - 1}")
        row[1 : len(found) + 1] = torch.tensor([table[word] for word in found])
    return rows


class Language(Protocol):
    """From texts to conditions of networks."""

    def cond(self, texts: Sequence[str]) -> Cond:
        """A row a text, on the CPU. The empty text is "nothing asked", to the bit. Raises ConfigError for a text that cannot
        be used."""
        ...

    def fits(self, text: str) -> bool:
        """Whether a text can be used."""
        ...


@dataclass(frozen=True)
class Words:
    """By words: all that the captions had, and no others. length: places of a text, that of START among them."""

    words: tuple[str, ...]
    length: int

    @staticmethod
    def learn(captions: Iterable[str]) -> "Words":
        return Words(*vocabulary(captions))

    def cond(self, texts: Sequence[str]) -> Cond:
        return Cond(text=numbers(texts, self.words, self.length))

    def fits(self, text: str) -> bool:
        found = words_of(text)
        return len(found) < self.length and set(found) <= set(self.words)


@dataclass(frozen=True)
class Bytes:
    """Letter by letter, by the bytes of UTF-8, in lower case: any text works, if it is short enough. length: places,
    that of START among them; a byte b has the number b + FIRST. cut: texts that are too long are cut, and else refused."""

    length: int
    cut: bool = False

    @staticmethod
    def learn(captions: Iterable[str]) -> "Bytes":
        """As long as the longest caption, and at most MAX_BYTES."""
        return Bytes(min(max(len(letters(caption)) for caption in captions), MAX_BYTES) + 1, cut=True)

    def cond(self, texts: Sequence[str]) -> Cond:
        rows = torch.full((len(texts), self.length), PADDING, dtype=torch.int64)
        rows[:, 0] = START
        for row, text in zip(rows, texts):
            found = letters(text)
            if self.cut:
                found = found[: self.length - 1]
            if len(found) >= self.length:
                raise ConfigError(
                    f"a text of {len(found)} letters (bytes) is too long for the model: at most {self.length - 1}"
                )
            row[1 : len(found) + 1] = torch.tensor(list(found), dtype=torch.int64) + FIRST
        return Cond(text=rows)

    def fits(self, text: str) -> bool:
        return len(letters(text)) < self.length


def letters(text: str) -> bytes:
    """A text in lower case, spaces run together, as UTF-8; lone surrogates as question marks."""
    return " ".join(text.casefold().split()).encode(errors="replace")
