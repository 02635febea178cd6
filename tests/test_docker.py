"""The container's files, without Docker: every line is a call that works outside, and nothing is open to others."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers_modules import module_of
from starlette.testclient import TestClient

from mezzotint.cli import main
from mezzotint.errors import ConfigError
from mezzotint.serve.http import server
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings, is_loopback

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def instructions() -> list[tuple[str, str]]:
    """The lines of the Dockerfile: (FROM, ...), (RUN, ...), ..."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def only(name: str) -> str:
    (found,) = [rest for each, rest in instructions() if each == name]
    return found


def commands() -> list[list[str]]:
    """What containers run: the image's own command, and those of the services."""
    return [json.loads(only("CMD")), *(service["command"] for service in SERVICES.values())]


def option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return int(left.value.code or 0), capsys.readouterr().out


@pytest.mark.parametrize("command", commands())
def test_commands_are_ours_with_options_that_exist(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command[0] == "mezzotint"
    assert answer(capsys, *command[1:], "--help")[0] == 0
    assert answer(capsys, *command[1:], "--no-such-option", "--help")[0] == 2
    port = option(command, "--port")
    assert port in only("EXPOSE").split() and option(command, "--host") == "0.0.0.0"


def test_the_image_alone_wants_a_token() -> None:
    command = json.loads(only("CMD"))
    assert option(command, "--token") is None and "MEZZOTINT_TOKEN" not in only("ENV")
    with pytest.raises(ConfigError, match="set a token"):
        server.serve(Settings(), str(option(command, "--host")), 0)


def test_ports_without_a_token_are_for_this_machine_alone() -> None:
    for service in SERVICES.values():
        assert option(service["command"], "--token") == "none"
        for published in service["ports"]:
            address, outside, inside = published.split(":")
            assert is_loopback(address) and outside == inside == option(service["command"], "--port")


def test_nothing_runs_as_root() -> None:
    names = [name for name, _ in instructions()]
    user = only("USER").partition(":")[0]
    assert user.isdecimal() and int(user) > 0
    assert max(i for i, name in enumerate(names) if name == "RUN") < names.index("USER") < names.index("CMD")
    for service in SERVICES.values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and "user" not in service
        assert not service.get("privileged") and all(each.endswith(":ro") for each in service["volumes"])


def probes() -> dict[str, list[str]]:
    """The healthcheck of each service; the image's, where it has none of its own."""
    image = json.loads(only("HEALTHCHECK").partition("CMD ")[2])
    return {
        name: service["healthcheck"]["test"][1:] if "healthcheck" in service else image
        for name, service in SERVICES.items()
    }


def test_healthchecks_ask_routes_that_exist(tmp_path: Path) -> None:
    for name, probe in probes().items():
        assert probe[:2] == ["python", "-c"]
        port, path = re.findall(r"http://127\.0\.0\.1:(\d+)(/\S*?)'", probe[2])[0]
        assert port == option(SERVICES[name]["command"], "--port")
        for token in ("none", "0123456789abcdef"):  # through the door, as plain curl would
            settings = Settings(token=token, log=tmp_path / "log")
            app = create_app(settings)
            app.state.service = Service({}, settings)
            assert TestClient(app, base_url=f"http://localhost:{port}").get(path).status_code == 200
        # nobody listens: the healthcheck fails
        silent = [sys.executable, "-c", probe[2].replace(f":{port}/", ":1/")]
        assert subprocess.run(silent, capture_output=True).returncode == 1


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [word for name, rest in instructions() if name == "COPY" for word in rest.split()[:-1]]
    for name in copied:
        assert (ROOT / name).exists() and f"!{name}" in ignored
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored and kept == set(copied), "nothing else: no runs, no tokens, no .git"


def test_every_build_line_is_a_call_of_make(
    monkeypatch: pytest.MonkeyPatch, load_make: Callable[[], Any]
) -> None:
    runs = [shlex.split(rest) for name, rest in instructions() if name == "RUN"]
    assert runs and all(words[:2] == ["python", "make.py"] for words in runs)
    arguments = dict(rest.partition("=")[::2] for name, rest in instructions() if name == "ARG")
    assert set(arguments) == set(SERVICES["api"]["build"]["args"])
    for name, value in arguments.items():
        monkeypatch.setenv(name, value)
    asked: list[tuple[str, str, str | None]] = []
    make = load_make()
    monkeypatch.setattr(make, "install", lambda *words: asked.append(words))
    for words in runs:
        assert make.main(words[2:]) == 0
    assert asked == [("serve", "cpu", None)]
    monkeypatch.setenv("TORCH_INDEX", "file:///builds")
    make.main(runs[0][2:])
    make.main(["install"])
    assert asked[1:] == [("serve", "cpu", "file:///builds"), ("dev", "cpu", "file:///builds")]


@pytest.fixture
def load_make() -> Callable[[], Any]:

    def load() -> Any:
        return module_of(ROOT / "make.py")

    return load
