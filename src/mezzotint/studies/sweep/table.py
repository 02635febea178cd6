"""What a sweep found: the table, the charts, and which cells are best beyond noise."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from mezzotint import plots
from mezzotint.disk.files import write
from mezzotint.disk.folder import read_metrics
from mezzotint.studies.sweep.cells import Row
from mezzotint.studies.sweep.plan import Plan


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Cells of text, the first row of them the heads: a column an axis, then the numbers; the best first."""
    axes = list(dict.fromkeys(axis for row in rows for axis in row.words))
    lines = [[*axes, "Fréchet distance", "± 95 %", "class agreement", "calls (NFE)", "seconds", "failed"]]
    for row in sorted(rows, key=lambda row: math.inf if row.frechet is None else row.frechet):
        numbers = [
            "" if row.frechet is None else f"{row.frechet:.4g}",
            "" if row.frechet is None else f"{_half_width(row):.2g}",
            "" if row.agreement is None else f"{row.agreement:.1%}",
            "" if row.calls is None else str(row.calls),
            "" if row.frechet is None else f"{row.seconds:.1f}",
        ]
        lines.append([*(row.words.get(axis, "") for axis in axes), *numbers, row.failed])
    return lines


def text(rows: Sequence[Row]) -> list[str]:
    """The table as lines for a terminal."""
    cells = table(rows)
    widths = [max(len(line[k]) for line in cells) for k in range(len(cells[0]))]
    return ["  ".join(word.ljust(w) for word, w in zip(line, widths, strict=True)).rstrip() for line in cells]


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    head, *lines = [[word.replace("|", "\\|") for word in line] for line in table(rows)]
    table_lines = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in table_lines)


def verdict(rows: Sequence[Row]) -> str:
    """Which row is best, and which of the others are not worse beyond noise: their difference is smaller than the 95 %
    interval of a difference of independent draws (it leaves out how trainings of other seeds differ)."""
    judged = sorted((row for row in rows if row.frechet is not None), key=lambda row: row.frechet or 0.0)
    if not judged:
        return "nothing could be measured: every cell failed"
    best, *others = judged
    near = [row for row in others if _gap(row, best) <= math.hypot(_half_width(row), _half_width(best))]
    text = f"best: {_name(best)}, {best.frechet:.4g} ± {_half_width(best):.2g}"
    return f"{text}; within noise of it: {', '.join(map(_name, near)) if near else 'none'}"


def publish(plan: Plan, rows: Sequence[Row], out: Path) -> list[Path]:
    """Writes table.csv, table.md, quality.png and loss.png into a sweep's folder. Returns what was written."""
    file = io.StringIO()
    csv.writer(file).writerows(table(rows))
    write(out / "table.csv", file.getvalue().encode())
    write(out / "table.md", f"{markdown(rows)}\n{verdict(rows)}\n".encode())
    paths = [out / "table.csv", out / "table.md"]
    if series := _by_steps(rows):
        chart = plots.curves(
            series, xlabel="steps", ylabel="Fréchet distance (lower is better)", logx=True, logy=True
        )
        plots.save_png(chart, out / "quality.png")
        paths.append(out / "quality.png")
    losses: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for cell in plan.cells:
        metrics = [row for row in read_metrics(out / "cells" / cell.point.name) if "loss" in row]
        if metrics:
            losses[cell.point.name] = ([row["step"] for row in metrics], [row["loss"] for row in metrics])
    if losses:
        chart = plots.curves(
            losses, xlabel="step", ylabel="loss (of other targets: not comparable)", logy=True
        )
        plots.save_png(chart, out / "loss.png")
        paths.append(out / "loss.png")
    return paths


def _by_steps(rows: Sequence[Row]) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    """Distance by steps, a line for every other combination; empty where steps is no axis."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.frechet is not None and row.words.get("steps", "").isdigit():
            name = " ".join(word for axis, word in row.words.items() if axis != "steps")
            series.setdefault(name, []).append((float(row.words["steps"]), row.frechet))
    return {
        name: ([x for x, _ in sorted(pairs)], [y for _, y in sorted(pairs)]) for name, pairs in series.items()
    }


def _half_width(row: Row) -> float:
    return 0.0 if row.low is None or row.high is None else (row.high - row.low) / 2


def _gap(row: Row, best: Row) -> float:
    assert row.frechet is not None and best.frechet is not None
    return row.frechet - best.frechet


def _name(row: Row) -> str:
    return " ".join(row.words.values()) or row.cell
