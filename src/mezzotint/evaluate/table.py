"""Evaluations as lines of text."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mezzotint.evaluate.metrics.numbers import Number
from mezzotint.model.by_weak import told

if TYPE_CHECKING:
    from mezzotint.evaluate.evaluation import Evaluation

ARROWS = {"lower": "↓", "higher": "↑", "": ""}


def table(evaluations: "Sequence[Evaluation]") -> list[str]:
    """Lines of text: a row for every number, a column for real pictures and one for every source."""
    first = evaluations[0]
    names = list(dict.fromkeys(number.name for one in evaluations for number in one.numbers))
    cells = [["", "", "real", *[one.source for one in evaluations]]]
    for name in names:
        numbers = [
            next((number for number in one.numbers if number.name == name), None) for one in evaluations
        ]
        known = next(number for number in numbers if number is not None)
        real = "" if known.real is None else f"{known.real:.3g}"
        cells.append([name, ARROWS[known.better], real, *map(format_number, numbers)])
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    lines = [
        f"reference: {first.reference}",
        f"features (the judge): {first.judge};  n = {first.n:,};  with 95 % intervals",
        "",
    ]
    lines += ["  ".join(word.ljust(w) for word, w in zip(row, widths)).rstrip() for row in cells]
    lines += [f"\n{one.source} copies its training pictures" for one in evaluations if one.copying]
    lines += [
        f"\n{one.source} was sampled {told(weak)}"
        for one in evaluations
        if (weak := one.settings.get("weak"))
    ]
    seconds = "  ".join(f"{one.source} {one.seconds:.0f} s" for one in evaluations)
    return [*lines, "", f"sampled and measured in {seconds}"]


def format_number(number: "Number | None") -> str:
    """A value and its interval, to two digits of that."""
    if number is None:
        return "-"
    if number.low is None or number.high is None:
        return f"{number.value:.4g}"
    half = (number.high - number.low) / 2
    digits = min(max(1 - math.floor(math.log10(half)), 0), 6) if half > 0 else 4
    return f"{number.value:.{digits}f} ({number.low:.{digits}f} to {number.high:.{digits}f})"
