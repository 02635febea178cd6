"""Runs for the page to show."""

from pathlib import Path

import pytest
from helpers_small import write_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("desk") / "runs")
