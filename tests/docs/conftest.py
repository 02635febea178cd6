"""Runs that pages and notebooks make have short reports."""

import pytest
from helpers_workshop import first_curve_alone


@pytest.fixture(autouse=True)
def short_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    first_curve_alone(monkeypatch)
