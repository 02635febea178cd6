"""Text: people's words to numbers, by a vocabulary that was learnt from captions."""

import difflib
import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mezzotint.errors import ConfigError

PADDING, START, FIRST = 0, 1, 2  # numbers of no word, of the beginning of every text, of the first word
WORD = re.compile(r"\w+|[^\w\s]")


Prompt = str | Sequence[str] | None


def prompts_of(prompt: Prompt, seeds: Tensor, examples: Sequence[str]) -> tuple[str, ...]:
    """What things of seeds (n,) int64 on the CPU are asked to show: one text for all, or several in turn, or None: the
    examples, by the seed. Raises ConfigError for an empty list."""
    if prompt is None:
        return tuple(examples[seed % len(examples)] if examples else "" for seed in seeds.tolist())
    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not texts:
        raise ConfigError("the list of prompts is empty; give one, or leave it out")
    return tuple(texts[i % len(texts)] for i in range(len(seeds)))


def words_of(text: str) -> list[str]:
    """Words in lower case, and each other sign by itself, but for full stops and commas: they say nothing."""
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
            raise ConfigError(f"the model knows no word {unknown[0]!r}; {hint}")
        if len(found) >= length:
            raise ConfigError(f"a text of {len(found)} words is too long for the model: at most {length - 1}")
        row[1 : len(found) + 1] = torch.tensor([table[word] for word in found])
    return rows
