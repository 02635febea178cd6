"""`mezzotint serve` before it serves, and the application that other servers import."""

import os
import socket
from pathlib import Path
from typing import get_type_hints

import pytest
from starlette.testclient import TestClient

import mezzotint.serve
from mezzotint.cli import main
from mezzotint.cli.serve import serve
from mezzotint.serve.http.settings import Limits


def leave(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["serve", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture
def desk(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(runs.parent)
    for name in os.environ:
        if name.startswith("MEZZOTINT_"):
            monkeypatch.delenv(name)
    return runs.parent


def test_what_stops_it_from_starting(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases: list[tuple[int, str, tuple[object, ...]]] = [
            (3, "no run and no model file", ("nothing", "--port", 0)),
            (2, "set a token", ("tiny", "--host", "0.0.0.0")),
            (2, "16 characters", ("tiny", "--token", "short")),
            (2, "two models are called", ("tiny", "tiny", "--port", 0)),
            (2, "--log", ("tiny", "--port", 0, "--log", desk / "no" / "log")),
            (1, "another --port", ("tiny", "--port", port)),
            (2, "device", ("tiny", "--port", 0, "--device", "abacus")),
        ]
        for code, words, arguments in cases:
            assert leave(*arguments) == code, arguments
            error = capsys.readouterr().err
            assert words in error and error.count("\n") == 1


def test_without_the_extra(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert leave("tiny") == 4
    assert 'pip install "mezzotint[serve]"' in capsys.readouterr().err


def test_the_application_is_as_the_environment_says(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "MODELS": "plain,dots",
        "TOKEN": "0123456789abcdef",
        "MAX_N": "2",
        "DEVICE": "cpu",
        "LOG": str(desk / "log"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"MEZZOTINT_{name}", value)
    with TestClient(mezzotint.serve.app, base_url="http://localhost") as client:
        client.headers["Authorization"] = "Bearer 0123456789abcdef"
        assert [model["name"] for model in client.get("/v1/models").json()] == ["plain", "dots"]
        assert client.get("/generate?n=2").status_code == 200
        assert client.get("/generate?n=3").status_code == 422
        service = client.app.state.service  # type: ignore[attr-defined]
    assert not service.ready  # it was closed


def test_the_help_names_the_limits_as_they_are() -> None:
    hints = get_type_hints(serve, include_extras=True)
    for name, hint in hints.items():
        if name.startswith("max_"):
            (option,) = hint.__metadata__
            assert option.help.endswith(f"(default {getattr(Limits(), name)})"), name
