"""Models and a gate for every test of serving."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_rest import LOCAL, Connect
from helpers_small import Gate, write_runs
from starlette.testclient import TestClient

from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings, make_limits


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


@pytest.fixture
def connect(models: dict[str, Model], tmp_path: Path) -> Iterator[Connect]:
    """connect(max_n=4, token=...) -> a client of a server of its own."""
    clients: list[TestClient] = []

    def connect(*, token: str | None = None, hosts: tuple[str, ...] = (), **limits: int) -> TestClient:
        settings = Settings(
            token=token, hosts=hosts, log=tmp_path / "log.jsonl", limits=make_limits(**limits)
        )
        app = create_app(settings, Service(models, settings))
        client = TestClient(app, base_url=LOCAL, raise_server_exceptions=False)
        clients.append(client.__enter__())
        return client

    yield connect
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(connect: Connect) -> TestClient:
    return connect()
