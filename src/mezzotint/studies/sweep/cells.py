"""A grid of experiments: every point of the training axes is trained once, sampled at every point of the sampling axes,
and judged by one judge against one reference.

A sweep's folder holds cells/NAME (ordinary runs), sheets/NAME.png, and sweep.json: the identity of the sweep, and every row.
The file is written after every row, so that a sweep that was stopped or killed resumes there.

Each of several processes trains its own cells, so that a cell does not depend on their number. Its rows go to
sweep-RANK.json, which the first process takes into sweep.json at the end; what a killed one has left there counts as well.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mezzotint import plots
from mezzotint.conditions.labels import ALL
from mezzotint.data import DataError
from mezzotint.disk.files import write
from mezzotint.errors import ConfigError, ModelError, RunError
from mezzotint.evaluate.judges.features import Extractor, extract
from mezzotint.evaluate.metrics.numbers import Number, compare
from mezzotint.evaluate.reference import SHARED, SILENT, Progress, Reference, open_judge, open_reference
from mezzotint.evaluate.sample_set import samples_against
from mezzotint.model.cost import network_calls
from mezzotint.model.device import find_device
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.run.events import Done, Tick
from mezzotint.run.fit import fit
from mezzotint.studies.sweep.plan import Cell, Plan, Point
from mezzotint.train.distributed import ALONE, Ranks

FAILURES = (ConfigError, ModelError, RunError, DataError)


@dataclass(frozen=True)
class Row:
    """What one cell got at one point of the sampling axes; or why there is nothing.

    low, high: 95 % interval of the Fréchet distance over draws of pictures, for one training.
    """

    cell: str
    point: str
    words: Mapping[str, str] = field(default_factory=dict)
    frechet: float | None = None
    low: float | None = None
    high: float | None = None
    agreement: float | None = None
    calls: int | None = None
    seconds: float = 0.0
    failed: str = ""


class Update(NamedTuple):
    """A new row, or a line on the progress. left: seconds, where they can be estimated."""

    text: str
    row: Row | None = None
    left: float | None = None


def sweep(
    plan: Plan,
    out: str | Path,
    *,
    extractor: str = "auto",
    device: str = "auto",
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
) -> Iterator[Update]:
    """Trains, samples and judges all cells of the plan that are not in the folder yet; yields lines and rows.

    extractor: see `open_judge`. stop: asked after every step and row; True saves and ends. What fails is a row with its
    reason, tried again by the next call. ranks: processes that all call this, in one folder; each yields what it does itself.
    Raises ConfigError where the folder holds another sweep, or DataError.
    """
    out = Path(out)
    reference = open_reference(plan.base.data)
    judge = ranks.in_turn(lambda: open_judge(extractor, reference, find_device(device), progress))
    identity = plan.identity() | {
        "judge": str(judge),
        "reference": reference.words,
        "data": reference.version,
    }
    ranks.equal(json.dumps(identity), f"the pictures or the judge; {SHARED}")
    found = ranks.once(lambda: [asdict(row) for row in _comparable_rows(out, identity) if not row.failed])
    rows = {(row.cell, row.point): row for row in (Row(**one) for one in found)}
    cells = ranks.share([cell for cell in plan.cells if not _is_complete(plan, cell, rows)])
    file = "sweep.json" if ranks.first else f"sweep-{ranks.rank}.json"

    def row_of(model: Model, point: Point, cell: Cell) -> Row:
        return _judge(model, judge, reference, plan.n, cell, point, progress)

    for update in _work(plan, cells, rows, out, device, stop, progress, row_of):
        if update.row is not None:
            rows[update.row.cell, update.row.point] = update.row
            _write(out / file, identity, list(rows.values()))
        yield update
    ranks.once(lambda: None)
    ranks.once(lambda: _gather(plan, out, identity))


def _work(
    plan: Plan,
    cells: Sequence[Cell],
    rows: Mapping[tuple[str, str], Row],
    out: Path,
    device: str,
    stop: Callable[[], bool],
    progress: Progress,
    row_of: Callable[[Model, Point, Cell], Row],
) -> Iterator[Update]:
    """Trains cells, and has what is not among the rows judged."""
    left = _TimeLeft(sum(cell.config is not None for cell in cells))
    for cell in cells:
        name = cell.point.name
        due = [point for point in plan.points if (name, point.name) not in rows]
        began = time.perf_counter()
        failed, model = cell.failed, None
        if cell.config is not None:
            yield Update(f"training {name}", left=left.seconds())
            try:
                for event in fit(cell.config, out / "cells" / name, stop=stop, ranks=ALONE):
                    match event:
                        case Tick(step, until, _, _):
                            progress(f"training {name}", step, until)
                        case Done(finished=False):
                            yield Update(f"saved {name} at step {event.step:,}; the same command resumes")
                            return
                model = load(out / "cells" / name, device=device)
                _sheet(model, out / "sheets" / f"{name}.png")
            except FAILURES as error:
                failed = _one_line(error)
        for point in due:
            if stop():
                yield Update(f"stopped before {name} {point.name}; the same command resumes")
                return
            if model is None:
                row = Row(name, point.name, {**cell.point.words, **point.words}, failed=failed)
            else:
                row = row_of(model, point, cell)
            yield Update(describe(row), row, left.seconds())
        if cell.config is not None:
            left.done(time.perf_counter() - began)


def _judge(
    model: Model,
    judge: Extractor,
    reference: Reference,
    n: int,
    cell: Cell,
    point: Point,
    progress: Progress,
) -> Row:
    """Samples and numbers; all points share their seeds, so that they differ in nothing else."""
    words = {**cell.point.words, **point.words}
    try:
        samples = samples_against(model, reference, n, 0, progress, **point.values)
    except FAILURES as error:
        return Row(cell.point.name, point.name, words, failed=_one_line(error))
    labels = samples.labels if judge.labels else None
    features = extract(judge, samples.values)
    numbers: dict[str, Number] = {
        number.name: number
        for number in compare(features, reference.features(judge), labels, None, ("frechet", "agreement"))
    }
    distance, agreement = numbers["frechet distance"], numbers.get("class agreement")
    share = None if agreement is None else agreement.value
    calls = network_calls(model, model.settings(**point.values))
    return Row(
        cell.point.name,
        point.name,
        words,
        distance.value,
        distance.low,
        distance.high,
        share,
        calls,
        round(samples.seconds, 2),
    )


def _sheet(model: Model, path: Path) -> None:
    """Pictures of a cell by the recipe's own way of sampling, with the settings that made them inside."""
    classes = len(model.classes)
    columns = classes if 0 < classes <= 10 else 8
    samples = model.sample(8 * columns, label=ALL if classes else None, seed=0)
    plots.save_png(samples.sheet(columns), path, samples.settings)


def describe(row: Row) -> str:
    """A row as one line."""
    words = " ".join(row.words.values())
    if row.failed or row.frechet is None:
        return f"{words}: failed: {row.failed}"
    half = "" if row.low is None or row.high is None else f" ± {(row.high - row.low) / 2:.2g}"
    agreement = "" if row.agreement is None else f", agreement {row.agreement:.1%}"
    return f"{words}: distance {row.frechet:.4g}{half}{agreement}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _is_complete(plan: Plan, cell: Cell, rows: Mapping[tuple[str, str], Row]) -> bool:
    return all((cell.point.name, point.name) in rows for point in plan.points)


class _TimeLeft:
    """The time left, from the cells that were done in this call."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.took: list[float] = []
        self.began = time.perf_counter()

    def done(self, seconds: float) -> None:
        self.took.append(seconds)
        self.began = time.perf_counter()

    def seconds(self) -> float | None:
        if not self.took:
            return None
        each = sum(self.took) / len(self.took)
        return max(each * (self.cells - len(self.took)) - (time.perf_counter() - self.began), 0.0)


def read_rows(out: str | Path) -> list[Row]:
    """All rows in a sweep's folder so far; none where it has not begun."""
    path = Path(out) / "sweep.json"
    return (
        [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]] if path.is_file() else []
    )


def _comparable_rows(out: Path, identity: Mapping[str, Any]) -> list[Row]:
    """The rows in a sweep's folder, those of other processes included. Raises ConfigError where they would not compare with what
    is asked now."""
    return [row for path in (out / "sweep.json", *_others(out)) for row in _rows_of(path, identity)]


def _others(out: Path) -> list[Path]:
    """Files of rows that were not taken into sweep.json yet."""
    return sorted(path for path in out.glob("sweep-*.json") if path.stem[6:].isdigit())


def _gather(plan: Plan, out: Path, identity: Mapping[str, Any]) -> None:
    """Takes the rows of other processes into sweep.json, in the order of the plan."""
    others = _others(out)
    if not others:
        return
    there: dict[tuple[str, str], Row] = {}
    for row in sorted(_comparable_rows(out, identity), key=lambda row: not row.failed):  # the last one counts
        there[row.cell, row.point] = row
    planned = [(cell.point.name, point.name) for cell in plan.cells for point in plan.points]
    order = {key: place for place, key in enumerate(planned)}
    keys = sorted(there, key=lambda key: order.get(key, len(order)))
    _write(out / "sweep.json", identity, [there[key] for key in keys])
    for path in others:
        path.unlink(missing_ok=True)


def _rows_of(path: Path, identity: Mapping[str, Any]) -> list[Row]:
    out = path.parent
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows, old = [Row(**row) for row in content["rows"]], content["asked"]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(f"{path} is damaged; choose another --out, or remove it") from error
    new = json.loads(json.dumps(identity))
    for key, words in (("n", "n"), ("judge", "the classifier"), ("data", "the reference's hash")):
        if old[key] != new[key]:
            raise ConfigError(
                f"{out} holds a sweep with {words} {old[key]}, not {new[key]}; choose another --out"
            )
    for key in ("cells", "points"):
        for name in old[key].keys() & new[key].keys():
            if old[key][name] != new[key][name]:
                raise ConfigError(f"{out} holds another {name} of an earlier sweep; choose another --out")
    return rows


def _write(path: Path, identity: Mapping[str, Any], rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"asked": identity, "rows": [asdict(row) for row in rows]}
    write(path, json.dumps(content, indent=1).encode())
