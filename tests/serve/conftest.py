"""Models and a gate for every test of serving."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_small import Gate, write_runs

from mezzotint.model.model import Model, load


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("desk") / "runs")


@pytest.fixture(scope="session")
def models(runs: Path) -> dict[str, Model]:
    return {name: load(runs / name, device="cpu") for name in ("tiny", "dots", "plain")}


@pytest.fixture
def gate(models: dict[str, Model]) -> Iterator[Gate]:
    gate = Gate(*models.values())
    yield gate
    gate.open.set()
    for handle in gate.handles:
        handle.remove()
