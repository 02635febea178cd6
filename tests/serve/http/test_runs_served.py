"""Runs over the API: what is told of them, whose models are read, and that nothing else is."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers_rest import LOCAL, pixels, problem, settings_of
from helpers_small import UNET, write_run
from PIL import Image
from starlette.testclient import TestClient

from mezzotint.cli import main
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings

WORDS = [
    "train",
    "digits",
    "--steps",
    "6",
    "--name",
    "small",
    "--device",
    "cpu",
    "network.width=8",
    "network.multipliers=[1]",
]
WORDS += [
    "train.checkpoint_every=3 steps",
    "train.snapshot_every=3 steps",
    "train.keep=2",
    "train.log_every=1 steps",
    "train.precision=fp32",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps, one without a model yet, and what is no run."""
    folder = tmp_path_factory.mktemp("there") / "runs"
    with pytest.raises(SystemExit) as left:
        main([*WORDS, "--out", str(folder)])
    assert not left.value.code
    (folder / "begun").mkdir()
    (folder / "begun" / "config.yaml").write_text((folder / "small" / "config.yaml").read_text())
    (folder / "begun" / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 2.5}\n{"step": 2, "loss": NaN, "word": "x"}\n{"st'
    )
    write_run(folder / "no run", Facts((1, 8, 8), ()), network=UNET)
    Image.new("L", (9, 9)).save(folder.parent / "step-0000001.png")
    return folder


@pytest.fixture
def client(folder: Path, models: dict[str, Model], tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(runs=folder, device="cpu", log=tmp_path / "log.jsonl")
    with TestClient(create_app(settings, Service(models, settings)), base_url=LOCAL) as client:
        yield client


def test_runs_are_told_of(client: TestClient) -> None:
    found = {run["name"]: run for run in client.get("/v1/runs").json()}
    assert set(found) == {"small", "begun"} and client.get("/").json()["shows_runs"] is True
    assert found["small"]["step"] == found["small"]["until"] == 6 and found["small"]["model"]
    assert found["begun"] == {**found["begun"], "step": 0, "until": None, "model": False}
    details = client.get("/v1/runs/small").json()
    assert details["checkpoints"] == [3, 6] and details["snapshots"] == [3, 6] and 6 in details["sheets"]
    assert [step for step, _ in details["metrics"]["loss"]][-1] == 6
    sheet = client.get("/v1/runs/small/sheets/6")
    assert sheet.headers["content-type"] == "image/png" and pixels(sheet.content).shape[0] in (1, 3)
    begun = client.get("/v1/runs/begun").json()
    assert begun["metrics"] == {"loss": [[1, 2.5]]} and begun["sheets"] == []


def test_long_metrics_are_thinned(client: TestClient, folder: Path) -> None:
    file = folder / "begun" / "metrics.jsonl"
    before = file.read_text()
    file.write_text("".join(json.dumps({"step": step, "loss": step}) + "\n" for step in range(1, 1502)))
    loss = client.get("/v1/runs/begun").json()["metrics"]["loss"]
    assert 300 < len(loss) <= 401 and loss[0] == [1, 1] and loss[-1] == [1501, 1501]
    file.write_text(before)


@pytest.mark.parametrize(
    ("name", "step", "weights"),
    [
        ("small", 6, "ema"),
        ("small@3", 3, "ema"),
        ("small@3:raw", 3, "raw"),
        ("small@:raw", 6, "raw"),
        ("small@:0.1", 6, "ema 0.1 of snapshots"),
        ("small@3:0.1", 3, "ema 0.1 of snapshots"),
    ],
)
def test_models_of_runs_are_asked(
    client: TestClient, folder: Path, name: str, step: int, weights: str
) -> None:
    told = client.get(f"/v1/models/{name}").json()
    assert told["name"] == name and told["step"] == step and told["weights"].startswith(weights)
    made = client.post("/v1/generate", json={"model": name, "seed": 4, "steps": 2, "class": "3"})
    settings = settings_of(made.content)
    assert (
        settings["model"] == "small" and settings["step"] == step and settings["weights"].startswith(weights)
    )
    words = {"small": "ema", "small@:raw": "raw", "small@:0.1": "0.1"}
    if name in words:  # what the command line makes
        truth = load(folder / "small", device="cpu", weights=words[name]).sample(
            1, label="3", seed=4, steps=2
        )
        assert (pixels(made.content).int() - truth.values[0].int()).abs().max() <= 1


def test_weights_of_other_steps_are_others(client: TestClient, folder: Path) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    for name in ("small", "small@3", "small@3:raw", "small@6"):
        client.get(f"/v1/models/{name}")
    first = {name: next(iter(model.net.parameters())) for name, model in service.shelf.loaded.items()}
    assert torch.equal(first["small"], first["small@6"])
    assert not torch.equal(first["small"], first["small@3"]) and not torch.equal(
        first["small@3"], first["small@3:raw"]
    )
    client.get("/v1/models/small@:raw")
    assert list(service.shelf.loaded) == ["small@3", "small@3:raw", "small@6", "small@:raw"]  # four stay


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/runs/none", 404), ("/v1/runs/no run", 404), ("/v1/runs/..", 404), ("/v1/runs/%2e%2e%2fruns", 404),
        ("/v1/runs/small/sheets/99", 404), ("/v1/runs/small/sheets/..%2f1", 404), ("/v1/runs/..%2f/sheets/1", 404),
        ("/v1/models/none", 404), ("/v1/models/no run", 404), ("/v1/models/..@3", 404), ("/v1/models/begun", 422),
        ("/v1/models/small@4", 422), ("/v1/models/small@x", 422), ("/v1/models/small@:0.9", 422), ("/v1/models/small@3:many", 422),
    ],
)  # fmt: skip
def test_nothing_else_is_read(client: TestClient, folder: Path, path: str, status: int) -> None:
    answer = client.get(path)
    if answer.status_code == 200:  # the client took the dots away
        assert answer.json() == client.get("/v1/runs").json()
        return
    assert str(folder) not in problem(answer, status)


def test_without_a_folder_there_are_no_runs(connect: object) -> None:
    client = connect()  # type: ignore[operator]
    for path in ("/v1/runs", "/v1/runs/tiny", "/v1/runs/tiny/sheets/1"):
        assert "--runs" in problem(client.get(path), 404)
    problem(client.get("/v1/models/small"), 404)
    assert client.get("/").json()["shows_runs"] is False


def test_several_jobs_are_one_stream(client: TestClient) -> None:
    keys = [
        client.post(
            "/v1/jobs", json={"model": "tiny", "n": 2, "steps": 3, "seed": k, "preview_every": 1}
        ).json()["id"]
        for k in range(3)
    ]
    query = "&".join(f"job={key}" for key in [*keys, "unknown"])
    last, singles = {}, 0
    with client.stream("GET", f"/v1/events?{query}") as stream:
        for line in stream.iter_lines():
            kind, _, rest = line.partition(": ")
            if kind == "event":
                name = rest
            elif kind == "data":
                told = json.loads(rest)
                last[told["id"]] = name
                singles += len(told.get("previews", ()))
                assert len(told.get("noisy", ())) == len(told.get("previews", ())) in (0, 2)
                assert len(told.get("images", ())) == (2 if name == "done" else 0)
    assert last == {**dict.fromkeys(keys, "done"), "unknown": "gone"}
    assert client.get("/v1/events").status_code == 422


def test_what_came_before_is_told(models: dict[str, Model], gate: object, tmp_path: Path) -> None:
    settings = Settings(log=tmp_path / "log.jsonl")
    with TestClient(create_app(settings, Service(models, settings)), base_url=LOCAL) as client:
        gate.close()  # type: ignore[attr-defined]
        first = client.post("/v1/jobs", json={"model": "tiny"}).json()
        gate.await_call()  # type: ignore[attr-defined]
        others = [client.post("/v1/jobs", json={"model": "plain"}).json()["id"] for _ in range(2)]
        assert [client.get(f"/v1/jobs/{key}").json()["ahead"] for key in others] == [1, 2]
        gate.open.set()  # type: ignore[attr-defined]
        assert first["ahead"] == 0


def test_what_the_network_learns_from_is_shown(client: TestClient) -> None:
    for name in ("tiny", "dots", "small"):
        answer = client.get(f"/v1/models/{name}/noising")
        assert answer.headers["content-type"] == "image/png" and pixels(answer.content).shape[2] > 60


def test_what_to_type_is_told(client: TestClient) -> None:
    made = client.post("/v1/generate", json={"model": "tiny", "seed": 3, "class": "cat"})
    told = client.post("/v1/commands", json={"settings": settings_of(made.content)}).json()
    assert (
        told["command"].startswith("mezzotint sample tiny -n 1 --seed 3 --class=cat")
        and LOCAL in told["curl"]
    )
    assert told["python"].startswith("import mezzotint")
    assert client.post("/v1/commands", json={"settings": {}}).json() == {
        "command": None,
        "curl": None,
        "python": None,
    }
    problem(client.post("/v1/commands", json={}), 422)
