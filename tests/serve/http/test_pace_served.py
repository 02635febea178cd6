"""What was measured of a model before it was served is told, and can be left out."""

from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient

from mezzotint.errors import ConfigError
from mezzotint.model.model import Model
from mezzotint.serve.engine.pace import Pace
from mezzotint.serve.http import service as services
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.service import Service, load_models
from mezzotint.serve.http.settings import Settings


def test_pace_is_told(models: dict[str, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paces = {models["tiny"]: Pace({1: 0.5, 2: 0.6, 4: 2.0}), models["dots"]: Pace({1: 0.001, 2: 0.001})}
    monkeypatch.setattr(services, "measure", lambda model, most: paces[model])
    given = {name: models[name] for name in ("tiny", "dots")}
    for measured in (True, False):
        settings = Settings(log=tmp_path / "log.jsonl", measure=measured)
        service = Service(given, settings)
        lines = list(service.measure())
        with TestClient(create_app(settings, service), base_url="http://localhost") as client:
            tiny, dots = (client.get(f"/v1/models/{name}").json() for name in given)
            assert client.get("/generate?n=4&steps=1&model=tiny").status_code == 200
        if measured:
            assert (
                lines[0]
                == "tiny: up to 2 pictures a call; each costs 500.0 ms of 1, 300.0 ms of 2, 500.0 ms of 4"
            )
            assert (tiny["rows"], tiny["paces"]) == (2, [[1, 500.0], [2, 600.0], [4, 2000.0]])
            assert dots["rows"] == 64
        else:
            assert (lines, tiny["rows"], tiny["paces"]) == ([], 64, [])


def test_threads(runs: Path) -> None:
    before = torch.get_num_threads()
    try:
        load_models(Settings(models=(str(runs / "dots"),), threads=before + 1))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_by_the_environment() -> None:
    read = Settings.from_environment
    assert (read({}).threads, read({}).measure) == (None, True)
    told = read({"MEZZOTINT_THREADS": "3", "MEZZOTINT_MEASURE": "0"})
    assert (told.threads, told.measure) == (3, False)
    for name, value in (("THREADS", "0"), ("THREADS", "two"), ("MEASURE", "no")):
        with pytest.raises(ConfigError, match=name.lower() if value == "0" else f"MEZZOTINT_{name}"):
            read({f"MEZZOTINT_{name}": value})
