"""The shape of OpenAI's API: what its programs send is taken or refused in one line, and they can read what they get."""

import base64
import io
import time
from typing import Any

import numpy as np
import pytest
import torch
from helpers_rest import Connect, pixels, settings_of
from PIL import Image
from starlette.testclient import TestClient

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)


def file(alpha: np.ndarray | None = None) -> bytes:
    """The picture, with an opacity."""
    image = Image.fromarray(PICTURE)
    if alpha is not None:
        image = image.convert("RGB")
        image.putalpha(Image.fromarray(alpha))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


HALF = np.full((8, 8), 255, dtype=np.uint8)
HALF[:, 4:] = 0  # transparent: made anew


def refused(answer: Any, status: int) -> dict[str, Any]:
    """Checks that an answer is an error of OpenAI's form; returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json().values()
    assert list(answer.json()) == ["error"] and set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"] and "MARK" not in answer.text
    return dict(error)


def contents(answer: Any, n: int) -> list[bytes]:
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert set(made) == {"created", "data"} and abs(made["created"] - time.time()) < 60
    assert len(made["data"]) == n and all(set(one) == {"b64_json"} for one in made["data"])
    return [base64.b64decode(one["b64_json"]) for one in made["data"]]


def test_generations(client: TestClient) -> None:
    wish = {"prompt": " cat ", "n": 3, "size": "8x8", "response_format": "b64_json", "model": "tiny"}
    found = contents(client.post("/v1/images/generations", json=wish), 3)
    settings = [settings_of(one) for one in found]
    assert {one["label"] for one in settings} == {"cat"} and len({one["seed"] for one in settings}) == 3
    for prompt in ("1", "all four"):
        assert len(contents(client.post("/v1/images/generations", json={"prompt": prompt}), 1)) == 1
    usual = {"quality": "auto", "user": "me", "background": "auto", "stream": False, "n": None, "style": None}
    answer = client.post("/v1/images/generations", json={"prompt": "cat", **usual, "size": "auto"})
    contents(answer, 1)
    assert answer.headers["x-note"] == "ignored: quality, user"


def test_edits_by_a_mask_and_by_transparent_parts(client: TestClient) -> None:
    """Both have the known half to the bit, and what was made anew elsewhere."""
    forms: list[dict[str, bytes]] = [{"image": file(), "mask": file(HALF)}, {"image[]": file(HALF)}]
    for files in forms:
        answer = client.post("/v1/images/edits", files=files, data={"prompt": "cat", "n": "2"})
        for one in contents(answer, 2):
            assert torch.equal(pixels(one)[0, :, :4], torch.from_numpy(PICTURE[:, :4]))
            assert not torch.equal(pixels(one)[0, :, 4:], torch.from_numpy(PICTURE[:, 4:]))
            assert settings_of(one)["returns"] and settings_of(one)["label"] == "cat"
    answer = client.post(
        "/v1/images/edits", files={"image": file()}, data={"prompt": "cat", "user": "me", "size": "8x8"}
    )
    assert "returns" not in settings_of(*contents(answer, 1)) and answer.headers["x-note"] == "ignored: user"


@pytest.mark.parametrize(
    ("wish", "status", "param", "words"),
    [
        ({}, 400, "prompt", "prompt"),
        ({"prompt": ""}, 400, "prompt", "1, cat, 0, all four"),
        ({"prompt": "a MARK in the rain"}, 400, "prompt", "this model takes no words"),
        ({"prompt": "none"}, 400, "prompt", "the name of a class"),
        ({"prompt": "cat", "model": "plain"}, 400, "prompt", "no classes"),
        ({"prompt": "a", "model": "dots"}, 400, "model", "points"),
        ({"prompt": "cat", "model": "MARK-image-1"}, 404, "model", "/v1/models"),
        ({"prompt": "cat", "size": "1024x1024"}, 400, "size", "8x8"),
        ({"prompt": "cat", "n": 65}, 400, None, "at most 64"),
        ({"prompt": "cat", "n": 0}, 400, "n", "n:"),
        ({"prompt": "cat", "response_format": "url"}, 400, "response_format", "b64_json"),
        ({"prompt": "cat", "output_format": "webp"}, 400, "output_format", "png"),
        ({"prompt": "cat", "background": "transparent"}, 400, "background", "opaque"),
        ({"prompt": "cat", "stream": True}, 400, "stream", "False"),
        ({"prompt": "cat", "MARK": 1}, 400, None, "unknown field"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_refused(
    client: TestClient, wish: dict[str, Any], status: int, param: str | None, words: str
) -> None:
    form = {"files": {"image": file(HALF)}, "data": wish}
    for answer in (
        client.post("/v1/images/generations", json=wish),
        client.post("/v1/images/edits", **form),
    ):
        error = refused(answer, status)
        assert words in error["message"] and error["param"] == param
        assert error["type"] == "invalid_request_error"


def test_what_comes_before_and_after_a_body(connect: Connect) -> None:
    closed = connect(token="0123456789abcdef")
    assert refused(closed.post("/v1/images/generations", json={}), 401)["code"] == "invalid_api_key"
    brought = {"Authorization": "Bearer 0123456789abcdef"}
    contents(closed.post("/v1/images/generations", json={"prompt": "cat"}, headers=brought), 1)
    client = connect(max_steps=1, max_edit_body=1000)
    assert "steps" in refused(client.post("/v1/images/generations", json={"prompt": "cat"}), 400)["message"]
    form: dict[str, Any] = {"files": {"image": b"MARK" * 300}, "data": {"prompt": "cat"}}
    assert "1000 bytes" in refused(client.post("/v1/images/edits", **form), 413)["message"]
    form["files"] = {"image": b"MARK"}
    assert "steps" in refused(client.post("/v1/images/edits", **form), 400)["message"]
    damaged = refused(connect().post("/v1/images/edits", **form), 400)
    assert "not a PNG" in damaged["message"]
    two = {"files": [("image[]", file()), ("image[]", file())], "data": {"prompt": "cat"}}
    assert "one file" in refused(connect().post("/v1/images/edits", **two), 400)["message"]
    assert refused(client.post("/v1/images/variations", data={}), 404)["code"] is None
    assert refused(client.get("/v1/images/edits"), 405)
    assert refused(client.post("/v1/images/generations", content=b"{MARK"), 400)
