"""Prompts over REST: the same pictures as in Python, the settings inside, errors that name the word, and no word in the log."""

import copy
import io
import json
from pathlib import Path

import pytest
from helpers_small import write_run
from PIL import Image
from starlette.testclient import TestClient

from mezzotint.conditions.frozen import Frozen
from mezzotint.data.scenes import LENGTH, vocabulary
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.plots import read_settings
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.results import encode
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("runs") / "words"
    unet = {"kind": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "patch": 4, "attention": [8]}
    write_run(
        folder,
        Facts((3, 32, 32), (), "pictures", (), tuple(vocabulary()), LENGTH, ("a red cross",)),
        network=unet,
    )
    return load(folder, device="cpu")


def test_prompts_are_served_and_not_logged(model: Model, tmp_path: Path) -> None:
    settings = Settings(log=tmp_path / "log.jsonl")
    with TestClient(
        create_app(settings, Service({"words": model}, settings)), base_url="http://localhost"
    ) as client:
        body = {
            "prompt": ["a red cross", "a blue square"],
            "negative": "green",
            "n": 2,
            "seed": 3,
            "guidance": 2,
        }
        answer = client.post("/v1/generate", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.content == encode(model.answer(model.request(**body)), "png")  # type: ignore[arg-type]
        Path(tmp_path / "a.png").write_bytes(answer.content)
        said = read_settings(tmp_path / "a.png")
        assert said is not None and said["prompt"] == body["prompt"] and said["negative"] == "green"
        again = client.post("/v1/generate", json=said)
        assert again.content == answer.content
        wrong = client.post("/v1/generate", json={"prompt": "a red sirkle"})
        assert (
            wrong.status_code == 422 and "does not know the word 'sirkle'; did you mean circle" in wrong.text
        )
        told = client.post("/v1/images/generations", json={"prompt": "a red cross", "size": "32x32"})
        assert told.status_code == 200 and len(told.json()["data"]) == 1
        morph = client.post(
            "/v1/edits", json={"task": "morph", "seeds": [1, 2], "n": 3, "prompt": "a red cross"}
        )
        assert morph.status_code == 200, morph.text
        told = client.get("/v1/models").json()[0]
        assert (told["examples"], told["reading"]) == (["a red cross"], "words")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 4 and "cross" not in json.dumps(lines)
    assert Image.open(io.BytesIO(answer.content)).size[0] > 64


def test_an_encoder_that_is_gone_is_said_without_its_place(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    gone = copy.copy(model)
    gone.language = Frozen("0" * 16, 8, 24, Path("/somewhere/secret"))
    with TestClient(
        create_app(Settings(), Service({"words": gone}, Settings())), base_url="http://localhost"
    ) as client:
        answer = client.post("/v1/generate", json={"prompt": "a red cross"})
        drawn = client.post("/v1/generate", json={})  # a caption from among its examples is read, too
    for one in (answer, drawn):
        assert one.status_code == 503 and "the text encoder of this model failed" in one.text
    assert "secret" not in answer.text and "/somewhere/secret" in caplog.text and "cross" not in caplog.text
