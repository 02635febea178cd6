"""Nobody waits over two seconds without being told what for, and nobody is told what is over by then."""

import time

import pytest

from mezzotint.cli import output
from mezzotint.cli.output import Patience


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(output, "PATIENCE_SECONDS", 0.1)
    return []


def test_what_takes_long_is_said_once(said: list[str]) -> None:
    with Patience(said.append).during("writing the report"):
        time.sleep(0.5)
        assert said == ["writing the report ..."]
    time.sleep(0.2)
    assert said == ["writing the report ..."]


def test_what_is_over_is_not_said(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PATIENCE_SECONDS", 0.5)
    patience = Patience(said.append)
    patience.busy("one")
    patience.busy("two")
    patience.done()
    with pytest.raises(RuntimeError), patience.during("three"):
        raise RuntimeError
    time.sleep(0.8)
    assert said == []
