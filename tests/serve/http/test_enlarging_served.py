"""Models that enlarge, served: by the task enlarge alone, together with others, as in Python."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers_rest import LOCAL, close, pixels, problem, settings_of
from helpers_small import FLOW, UNET, write_run
from PIL import Image
from starlette.testclient import TestClient

from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.service import Service, load_models
from mezzotint.serve.http.settings import Settings


def file(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


SMALL = file(np.random.default_rng(0).integers(100, 150, (4, 4), dtype=np.uint8))


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("runs") / "larger"
    write_run(folder, Facts((1, 8, 8)), network=UNET, diffusion=FLOW, data={"enlarge": 2})
    return load(folder, device="cpu")


@pytest.fixture
def larger(upscaler: Model, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(log=tmp_path / "log.jsonl")
    with TestClient(create_app(settings, Service({"larger": upscaler}, settings)), base_url=LOCAL) as client:
        yield client


def test_it_enlarges_what_it_is_sent(larger: TestClient, upscaler: Model) -> None:
    words = {"task": "enlarge", "image": base64.b64encode(SMALL).decode(), "seed": 3, "grain": 0.2}
    answer = larger.post("/v1/edits", json=words)
    assert answer.status_code == 200, answer.text
    assert close(pixels(answer.content), upscaler.enlarge(SMALL, seed=3, grain=0.2).values[0])
    assert {"task": "enlarge", "factor": 2, "grain": 0.2}.items() <= settings_of(answer.content).items()
    form = larger.post(
        "/v1/edits", files={"image": SMALL}, data={"task": "enlarge", "seed": "3", "grain": "0.2"}
    )
    assert form.content == answer.content


def test_without_a_picture_it_is_refused(larger: TestClient) -> None:
    line = "this model makes pictures larger: give it one, by /v1/edits with the task enlarge"
    assert problem(larger.post("/v1/generate", json={"n": 2}), 422) == line
    image = base64.b64encode(SMALL).decode()
    assert problem(larger.post("/v1/edits", json={"task": "vary", "image": image}), 422) == line
    wrong = {"task": "enlarge", "image": image}
    assert "leave factor out" in problem(larger.post("/v1/edits", json={**wrong, "factor": 4}), 422)
    assert "grain" in problem(larger.post("/v1/edits", json={**wrong, "grain": 0.7}), 422)
    assert "grain is not for vary" in problem(
        larger.post("/v1/edits", json={"task": "vary", "grain": 0.1}), 422
    )


def test_it_is_warmed_up_like_any_other(upscaler: Model, tmp_path: Path) -> None:
    upscaler.save(tmp_path / "larger.safetensors")
    assert len(load_models(Settings(models=(str(tmp_path / "larger.safetensors"),)))) == 1
