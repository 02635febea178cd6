"""Models and a gate for every test of serving."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from small import CLASSES, FLOW, UNET, Gate, write_run

from mezzotint.build import Facts
from mezzotint.model import Model, load


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("desk") / "runs"
    write_run(runs / "tiny", Facts((1, 8, 8), CLASSES), network=UNET)
    write_run(runs / "dots", Facts((2,), ("a", "b")), network={"kind": "mlp", "width": 8}, diffusion=FLOW)
    write_run(runs / "plain", Facts((3, 6, 10), ()), network=UNET)
    return runs


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
