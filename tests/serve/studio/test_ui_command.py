"""`mezzotint ui`: the server with the page, for whoever sits at this machine."""

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from helpers_forked import popen

from mezzotint.cli import main
from mezzotint.serve.http import server
from mezzotint.serve.http.settings import Settings


def leave(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["ui", *map(str, words)])
    return int(left.value.code or 0)


def test_the_command(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given: list[tuple[Settings, str, int]] = []
    monkeypatch.chdir(runs.parent)
    monkeypatch.delenv("MEZZOTINT_TOKEN", raising=False)
    monkeypatch.setattr(
        server, "serve", lambda settings, host, port, ready: given.append((settings, host, port))
    )
    assert leave("tiny", "--port", 8600, "--allow-host", "pictures.example.org") == 0
    settings, host, port = given[0]
    assert (host, port) == ("127.0.0.1", 8600) and settings.hosts == ("pictures.example.org",)
    assert settings.models == ("runs/tiny/model.safetensors",) and settings.runs == Path("runs")
    assert leave() == 0
    assert [Path(file).stem for file in given[1][0].models] == [
        "mnist",
        "mnist_fast",
        "digits",
        "flowers",
        "moons",
        "scenes",
    ]
    (runs / "mnist").mkdir()
    (runs / "mnist" / "model.safetensors").touch()  # a run wins over a bundled model of its name
    assert leave() == 0
    assert [Path(file).stem for file in given[2][0].models] == [
        "mnist_fast",
        "digits",
        "flowers",
        "moons",
        "scenes",
    ]
    (runs / "mnist" / "model.safetensors").unlink()
    (runs / "mnist").rmdir()
    assert leave("--host", "0.0.0.0", "--token", "short") == 2
    assert leave("nothing") == 3
    capsys.readouterr()


def test_other_machines_need_a_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MEZZOTINT_TOKEN", raising=False)
    assert leave("digits", "--host", "0.0.0.0") == 2
    assert "set a token" in capsys.readouterr().err


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert leave() == 4
    assert 'pip install "mezzotint[serve]"' in capsys.readouterr().err


def test_it_lives_and_ends(runs: Path) -> None:
    """The page and its parts come without a token, what it asks for only with one."""
    words = ("ui", "tiny", "--port", 0, "--device", "cpu", "--token", "0123456789abcdef")
    with popen(*words, cwd=runs.parent, stdout=subprocess.PIPE, text=True) as page:
        try:
            assert page.stdout is not None
            said = page.stdout.readline()
            address = said.removeprefix("mezzotint: the page is at ").partition("/studio; Ctrl-C ends it")[0]
            for part in ("studio", "studio/app.js", "studio/studio.css"):
                with urllib.request.urlopen(f"{address}/{part}", timeout=20) as answer:
                    assert "script-src 'self'" in answer.headers["content-security-policy"]
                    assert answer.headers["content-type"].startswith("text/")
            for part in ("v1/runs", "v1/models"):
                with pytest.raises(urllib.error.HTTPError, match="401"):
                    urllib.request.urlopen(f"{address}/{part}", timeout=20)
            asked = urllib.request.Request(
                f"{address}/v1/runs", headers={"Authorization": "Bearer 0123456789abcdef"}
            )
            with urllib.request.urlopen(asked, timeout=20) as answer:
                assert isinstance(json.load(answer), list)
            page.send_signal(signal.SIGTERM)
            assert page.wait(30) in (0, -signal.SIGTERM)
        finally:
            page.kill()


def test_a_taken_port(runs: Path) -> None:
    from mezzotint.errors import RunError

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RunError, match="another --port"):
        server.serve(Settings(), "127.0.0.1", taken.getsockname()[1])
