"""The plan of a sweep: a YAML file, read and checked before anything is trained."""

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mezzotint import config as configuration
from mezzotint.config import BUDGETS, Config
from mezzotint.errors import ConfigError

KEYS = ("base", "data", "train", "sample", "budget", "seeds", "n")


class Point(NamedTuple):
    """One value of every axis. words: the value's name by axis; values: what it sets."""

    words: dict[str, str]
    values: dict[str, Any]

    @property
    def name(self) -> str:
        return re.sub(r"[^\w.+=-]+", "_", "-".join(self.words.values())) or "base"


class Cell(NamedTuple):
    """A model to train. config: None where this combination is impossible, for the reason in `failed`."""

    point: Point
    config: Config | None
    failed: str = ""


@dataclass(frozen=True)
class Plan:
    """A checked sweep: what is trained, how each is sampled, and of how many pictures numbers are made."""

    base: Config
    cells: tuple[Cell, ...]
    points: tuple[Point, ...]
    n: int

    def identity(self) -> dict[str, Any]:
        """All that must be the same for rows to stand in one table, as plain data."""
        return {
            "n": self.n,
            "cells": {c.point.name: c.config.model_dump(mode="json") for c in self.cells if c.config},
            "points": {point.name: point.values for point in self.points},
        }


def bundled() -> dict[str, Path]:
    """The sweeps that come with the package, by name."""
    folder = Path(str(resources.files("mezzotint") / "sweeps"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_plan(source: str) -> Plan:
    """The sweep of a YAML file or of a bundled name, every configuration of it checked.

    A value of an axis that is impossible with all values of the others is a mistake, and refused; a combination that is
    impossible is a cell that fails. Raises ConfigError in one line.
    """
    tree = _read(source)
    base, seeds, n = str(tree.get("base", "")), tree.get("seeds", [0]), tree.get("n", 1000)
    if not base:
        raise ConfigError(f"{source}: add the recipe to start from, base: RECIPE")
    if not isinstance(n, int) or n < 10:
        raise ConfigError(f"{source}: n, the number of pictures per row, must be at least 10, not {n!r}")
    if not isinstance(seeds, list) or not seeds or len({*map(str, seeds)}) < len(seeds):
        raise ConfigError(f"{source}: seeds is a list of different whole numbers, not {seeds!r}")
    fixed: dict[str, Any] = {}
    if tree.get("data") is not None:
        fixed["data.path"] = tree["data"]
    budget = tree.get("budget") or {}
    if not isinstance(budget, dict) or len(budget) > 1 or not set(budget) <= set(BUDGETS):
        raise ConfigError(f"{source}: budget is one of {', '.join(BUDGETS)}, such as {{images: 80000}}")
    fixed |= {f"train.{key}": value for key, value in budget.items()}
    axes = _axes(source, "train", tree.get("train"))
    if len(seeds) > 1:
        axes["seed"] = [Point({"seed": f"seed{one}"}, {"train.seed": one}) for one in seeds]
    else:
        fixed["train.seed"] = seeds[0]
    start = _load(base, fixed)
    cells = [_cell(base, fixed, point) for point in _grid(axes)]
    _refuse_mistakes(axes, [(cell.point, cell.failed) for cell in cells])
    settings = _axes(source, "sample", tree.get("sample"))
    points = list(_grid(settings))
    _refuse_mistakes(settings, [(point, _reason_against(start, point)) for point in points])
    for names in ([c.point.name for c in cells], [p.name for p in points]):
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(f"{source}: {twice[0]} appears twice; give the values different names")
    return Plan(start, tuple(cells), tuple(points), n)


def _read(source: str) -> dict[str, Any]:
    path, known = Path(source), bundled()
    if not path.is_file():
        if source not in known:
            close = difflib.get_close_matches(source, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"bundled ones: {', '.join(known)}"
            raise ConfigError(f"there is no sweep or file {source!r}; {hint}")
        path = known[source]
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold keys such as base, train and sample")
    for key in tree:
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, 1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(KEYS)}"
            raise ConfigError(f"{path}: unknown key {key}; {hint}")
    return tree


def _axes(source: str, kind: str, tree: Any) -> dict[str, list[Point]]:
    """The axes under `train` or `sample`: a list of plain values of the key that names the axis, or of groups of keys."""
    if not isinstance(tree or {}, dict):
        raise ConfigError(f"{source}: {kind} holds axes, such as steps: [5, 10], not {tree!r}")
    axes: dict[str, list[Point]] = {}
    for axis, values in (tree or {}).items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{source}: {kind}.{axis} is a list of values, not {values!r}")
        axes[str(axis)] = []
        for value in values:
            if isinstance(value, dict):
                keys = {str(key): one for key, one in value.items() if key != "name"}
                name = str(value.get("name", ",".join(f"{key}={one}" for key, one in keys.items())))
            else:
                keys, name = {str(axis): value}, str(value)
            axes[str(axis)].append(Point({str(axis): name}, keys))
    return axes


def _grid(axes: Mapping[str, list[Point]]) -> Iterator[Point]:
    for combination in itertools.product(*axes.values()):
        words = {axis: word for one in combination for axis, word in one.words.items()}
        yield Point(words, {key: value for one in combination for key, value in one.values.items()})


def _load(base: str, values: Mapping[str, Any]) -> Config:
    return configuration.load(base, [f"{key}={yaml.safe_dump(value)}" for key, value in values.items()])


def _cell(base: str, fixed: Mapping[str, Any], point: Point) -> Cell:
    try:
        return Cell(point, _load(base, {**fixed, **point.values}))
    except ConfigError as error:
        return Cell(point, None, str(error))


def _reason_against(base: Config, point: Point) -> str:
    """Why settings of sampling are impossible, or "". What belongs to the recipe's own sampler alone is put aside."""
    try:
        configuration.parse(
            {"sample": {**base.sample.model_dump(), "eta": 0.0, "churn": 0.0, **point.values}}
        )
    except ConfigError as error:
        return str(error)
    return ""


def _refuse_mistakes(axes: Mapping[str, list[Point]], results: list[tuple[Point, str]]) -> None:
    """Raises ConfigError for a value with which nothing is possible."""
    for axis, values in axes.items():
        for value in values:
            word = value.words[axis]
            reasons = [failed for point, failed in results if point.words[axis] == word]
            if all(reasons):
                raise ConfigError(f"{axis} {word}: {reasons[0]}")
