"""Models of clips, served: results that play, previews that stand still as film strips, and clips that are gone on with."""

import base64
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers_rest import LOCAL, problem, read_events, settings_of
from helpers_small import FLOW, UNET, write_run
from PIL import Image
from starlette.testclient import TestClient

from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings

LENGTH = 4


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("runs") / "films"
    write_run(folder, Facts((1, LENGTH, 8, 6), ("a", "b")), network=UNET, diffusion=FLOW)
    return load(folder, device="cpu")


@pytest.fixture
def client(films: Model, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(log=tmp_path / "log.jsonl")
    with TestClient(create_app(settings, Service({"films": films}, settings)), base_url=LOCAL) as client:
        yield client


def played(content: bytes) -> np.ndarray:
    """All frames (T, H, W) of an APNG."""
    image, frames = Image.open(io.BytesIO(content)), []
    for k in range(getattr(image, "n_frames", 1)):
        image.seek(k)
        frames.append(np.asarray(image.convert("L")))
    return np.stack(frames)


def test_results_play(client: TestClient, films: Model) -> None:
    answer = client.post("/v1/generate", json={"n": 1, "seed": 5, "class": "b"})
    values = films.sample(1, seed=5, label="b").values
    assert answer.status_code == 200 and (played(answer.content) == values[0, 0].numpy()).all()
    assert settings_of(answer.content)["seed"] == 5
    several = client.post("/v1/generate", json={"n": 3, "seed": 5, "format": "zip"})
    with zipfile.ZipFile(io.BytesIO(several.content)) as archive:
        one = played(archive.read("0001-6.png"))
    assert np.abs(one.astype(int) - films.sample(1, seed=6).values[0, 0].numpy()).max() <= 1


def test_previews_are_film_strips(client: TestClient) -> None:
    key = client.post("/v1/jobs", json={"n": 2, "steps": 6, "preview_every": 1}).json()["id"]
    events = read_events(client, key)
    previews = [base64.b64decode(content["preview"]) for name, content in events if name == "progress"]
    assert previews and events[-1][1]["state"] == "done"
    for preview in previews:
        image = Image.open(io.BytesIO(preview))
        assert getattr(image, "n_frames", 1) == 1 and image.width > LENGTH * 6 and image.height > 2 * 8
    assert len(played(client.get(f"/v1/jobs/{key}/result").content)) == LENGTH


def test_a_clip_is_gone_on_with(client: TestClient, films: Model) -> None:
    known = np.random.default_rng(0).integers(0, 255, (2, 8, 6), dtype=np.uint8)
    content = io.BytesIO()
    first, later = (Image.fromarray(one) for one in known)
    first.save(content, "PNG", save_all=True, append_images=[later], duration=80)
    words = {"task": "edit", "image": base64.b64encode(content.getvalue()).decode(), "seed": 3}
    answer = client.post("/v1/edits", json=words)
    assert answer.status_code == 200, answer.text
    made = played(answer.content)
    assert (made[:2] == known).all() and len(made) == LENGTH
    assert np.abs(made.astype(int) - films.edit(known, seed=3).values[0, 0].numpy()).max() <= 1
    assert "needs a model of pictures" in problem(
        client.post("/v1/edits", json={**words, "task": "colour"}), 422
    )
