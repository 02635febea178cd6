"""Edits over REST: the same bytes as in Python, in shared calls, by JSON and by forms; and what is sent is never trusted."""

import base64
import hashlib
import io
import json
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_rest import Connect, close, pixels, problem, read_events, settings_of, wait
from helpers_small import Gate
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from mezzotint.model.model import Model
from mezzotint.model.request import Request
from mezzotint.serve.http.guard import PICTURES_AT_ONCE, Guard
from mezzotint.serve.http.results import encode


def file(array: np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(array).save(content, form, **options)
    return content.getvalue()


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


GREY, SMALL, COLOUR = file(random(8, 8)), file(random(4, 4)), file(random(6, 10, 3))
RIGHT = np.zeros((8, 8), dtype=np.uint8)
RIGHT[:, 4:] = 255
MASK = file(RIGHT)
CASES: list[dict[str, Any]] = [
    {"image": GREY, "strength": 0.5},
    {"image": GREY, "strength": 0.0, "n": 2},
    {"image": GREY, "mask": MASK, "class": "cat", "guidance": 2.0, "n": 3, "feather": 1.5},
    {"image": GREY, "mask": MASK, "returns": 3, "sampler": "ddpm", "steps": 5},
    {"task": "vary", "image": file(random(30, 20)), "n": 2, "sampler": "heun"},
    {"task": "enlarge", "image": SMALL, "factor": 2, "n": 2, "class": ["cat", "0"]},
    {"task": "enlarge", "image": file(random(2, 2)), "factor": 4, "returns": 1, "clip": False},
    {"task": "colour", "model": "plain", "image": COLOUR, "n": 2, "sampler": "euler_a"},
    {"task": "edit", "model": "plain", "image": COLOUR, "strength": 0.7, "sampler": "ddim", "eta": 0.5},
    {"task": "morph", "seeds": [3, 7], "n": 5},
    {"task": "morph", "seeds": [3, 2**62], "class": ["cat", "0"], "guidance": 1.5},
]


def in_json(case: dict[str, Any]) -> dict[str, Any]:
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in case.items()
    }


def in_form(case: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `post`."""
    files = {name: value for name, value in case.items() if isinstance(value, bytes)}
    words = {name: str(value).lower() if isinstance(value, bool) else value for name, value in case.items()}
    return {
        "files": files or {"task": (None, str(words["task"]))},
        "data": {
            name: value for name, value in words.items() if name not in files and (files or name != "task")
        },
    }


def in_python(models: dict[str, Model], case: dict[str, Any]) -> tuple[Model, Request]:
    """The same by `Model.edits`."""
    words = dict(case)
    model = models[words.pop("model", "tiny")]
    make = getattr(model.edits, words.pop("task", "edit"))
    images = [words.pop(name) for name in ("image", "mask") if name in words]
    label = {"label": words.pop("class")} if "class" in words else {}
    return model, make(*images, *words.pop("seeds", ()), **label, **words)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_a_served_edit_has_the_bytes_of_one_in_python(
    client: TestClient, models: dict[str, Model], case: dict[str, Any]
) -> None:
    case = {**case, **({} if "seeds" in case else {"seed": 11})}
    model, request = in_python(models, case)
    expected = encode(model.answer(request), "png")
    for answer in (
        client.post("/v1/edits", json=in_json(case)),
        client.post("/v1/edits", **in_form(case)),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.content == expected
        assert answer.headers.get("x-note", "") == request.note


def test_what_the_answer_tells(client: TestClient) -> None:
    case = {"image": GREY, "mask": MASK, "n": 2, "format": "json"}
    answer = client.post("/v1/edits", json=in_json(case))
    made = answer.json()
    settings = made["settings"]
    assert settings["picture"] == hashlib.sha256(GREY).hexdigest()
    assert settings["mask"] == hashlib.sha256(MASK).hexdigest()
    assert settings["label"] == "none" and settings["task"] == "edit"
    seed = int(answer.headers["x-seed"])
    assert made["seeds"] == [seed, seed + 1]
    for one in made["images"]:
        content = base64.b64decode(one)
        known = pixels(content)[0, :, :4]
        assert torch.equal(known, torch.from_numpy(random(8, 8)[:, :4])), "to the bit"
        assert settings_of(content)["picture"] == settings["picture"]
    assert client.post("/v1/edits", json=in_json({**case, "format": "zip"})).content[:2] == b"PK"
    resized = client.post("/v1/edits", json=in_json({"image": file(random(30, 20))}))
    assert "20x30" in resized.headers["x-note"] and "x-note" not in answer.headers


def test_a_job_from_its_start_to_its_result(client: TestClient, models: dict[str, Model]) -> None:
    case = {"image": GREY, "mask": MASK, "seed": 7, "steps": 100, "returns": 2}
    answer = client.post("/v1/jobs/edits", **in_form({**case, "preview_every": 50}))
    key = answer.json()["id"]
    assert answer.status_code == 202 and answer.headers["location"] == f"/v1/jobs/{key}"
    assert answer.json()["steps"] == 200
    events = read_events(client, key)
    previews = [content for name, content in events if name == "progress"]
    assert previews and all(content["step"] % 50 == 0 for content in previews)
    known = pixels(base64.b64decode(previews[0]["preview"]))[0, :, :4]
    assert torch.equal(known, torch.from_numpy(random(8, 8)[:, :4])), "previews are of the finished kind"
    model, request = in_python(models, case)
    assert client.get(f"/v1/jobs/{key}/result").content == encode(model.answer(request), "png")
    case = {"image": file(random(30, 20)), "mask": file(random(30, 20)), "steps": 500, "n": 16}
    key = client.post("/v1/jobs/edits", json=in_json(case)).json()["id"]
    assert "20x30" in wait(client, key, "started")["note"]
    client.post(f"/v1/jobs/{key}/cancel")
    assert wait(client, key, "cancelled")["step"] < 1000
    problem(client.get(f"/v1/jobs/{key}/result"), 410)


def test_edits_and_samples_share_calls_and_nothing_is_lost(
    connect: Connect, models: dict[str, Model], gate: Gate
) -> None:
    """56 requests of eight clients."""
    client = connect(max_per_client=200, max_queue=200)
    tiny = [case for case in CASES if case.get("model") is None]
    wishes: list[tuple[str, dict[str, Any]]] = []
    for i in range(56):
        sample: dict[str, Any] = {"seed": i, "n": 1 + i % 3, "steps": 3 + i % 5, "class": "cat"}
        edit = {**tiny[i % len(tiny)], **({} if "seeds" in tiny[i % len(tiny)] else {"seed": i})}
        wishes.append(("/v1/edits", edit) if i % 2 else ("/v1/generate", sample))
    answers: dict[int, Any] = {}

    def ask(begin: int) -> None:
        for i in range(begin, len(wishes), 8):
            path, wish = wishes[i]
            answers[i] = client.post(path, json={**in_json(wish), "format": "json"})

    gate.close()  # so that all are on board before the first call
    threads = [threading.Thread(target=ask, args=(begin,)) for begin in range(8)]
    for thread in threads:
        thread.start()
    gate.await_call()
    gate.rows.clear()
    gate.open.set()
    for thread in threads:
        thread.join(60)
    rows = sum(gate.rows) / len(gate.rows)
    assert sorted(answers) == list(range(56))
    for i, (path, wish) in enumerate(wishes):
        assert answers[i].status_code == 200, answers[i].text
        if path == "/v1/edits":
            model, request = in_python(models, wish)
            alone = model.answer(request)
        else:
            alone = models["tiny"].sample(wish["n"], label="cat", seed=wish["seed"], steps=wish["steps"])
        images = [pixels(base64.b64decode(one)) for one in answers[i].json()["images"]]
        assert len(images) == len(alone) and all(close(a, b) for a, b in zip(images, alone.values)), wish
    assert rows > 6, "eight clients share"
    assert 'outcome="done"} 56.0' in client.get("/metrics").text


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({}, "edit needs image"),
        ({"task": "MARK"}, "task"),
        ({"image": "MARK!"}, "image: give one file"),
        ({"image": "é"}, "image: give one file"),
        ({"image": 3}, "image: give one file"),
        ({"image": ""}, "the picture is damaged or not a PNG"),
        ({"image": GREY, "mask": b"MARK"}, "the mask is damaged or not a PNG"),
        ({"image": GREY, "mask": file(np.zeros((8, 8), dtype=np.uint8))}, "repaints nothing"),
        ({"image": GREY, "mask": file(random(16, 8))}, "mask is 8x16 and the picture 8x8"),
        ({"image": GREY, "strength": 1.01}, "strength: Input should be less than or equal to 1"),
        ({"image": GREY, "strength": -0.1}, "strength"),
        ({"image": GREY, "strength": "0.5"}, "strength"),
        ({"image": GREY, "returns": 2}, "returns and feather are for a picture with a mask"),
        ({"image": GREY, "mask": MASK, "returns": 0}, "returns"),
        ({"image": GREY, "mask": MASK, "returns": 1000}, "steps, times returns: at most 1000"),
        ({"image": GREY, "mask": MASK, "feather": 1e9}, "feather"),
        ({"image": GREY, "factor": 2}, "factor is not for edit; leave it out"),
        ({"image": GREY, "seeds": [1, 2]}, "seeds is not for edit"),
        ({"image": GREY, "n": 65}, "n: at most 64"),
        ({"image": GREY, "class": "MARK"}, "no such class"),
        ({"image": GREY, "model": "MARK"}, ""),
        ({"image": GREY, "MARK": 1}, "unknown field"),
        ({"image": GREY, "sampler": "heun", "eta": 0.5}, "eta"),
        ({"image": COLOUR, "model": "dots"}, "needs a model of pictures"),
        ({"task": "colour", "image": GREY}, "model of RGB pictures"),
        ({"task": "enlarge", "image": SMALL, "factor": 3}, "factors that do: 2, 4, 8"),
        ({"task": "vary", "image": GREY, "mask": MASK}, "mask is not for vary"),
        ({"task": "morph"}, "morph needs seeds"),
        ({"task": "morph", "seeds": [1]}, "seeds"),
        ({"task": "morph", "seeds": [1, 2**63]}, "seeds"),
        ({"task": "morph", "seeds": [1, 2], "n": 1}, "n must be at least 2"),
        ({"task": "morph", "seeds": [1, 2], "seed": 1}, "in place of seed"),
        ({"task": "morph", "seeds": [1, 2], "class": ["cat", "cat", "cat"]}, "two at most"),
        ({"task": "morph", "seeds": [1, 2], "image": GREY}, "image is not for morph"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_wishes_that_cannot_be(client: TestClient, wish: dict[str, Any], words: str) -> None:
    detail = problem(
        client.post("/v1/edits", json=in_json(wish)), 404 if wish.get("model") == "MARK" else 422
    )
    assert words in detail and "MARK" not in detail and "\n" not in detail


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def scans() -> bytes:
    """A JPEG of few bytes that takes a pass over all pixels for every scan."""
    plain = file(np.zeros((4000, 4000), dtype=np.uint8), "JPEG", progressive=True, quality=10)
    begin = plain.rindex(b"\xff\xda")
    return plain[:-2] + plain[begin:-2] * 200 + plain[-2:]


HOSTILE = {
    "cut off": GREY[:60],
    "its head alone": GREY[:33],
    "rubbish for data": bomb(8, 8)[:33] + chunk(b"IDAT", b"MARK" * 10) + bomb(8, 8)[-12:],
    "a chunk of rubbish": GREY[:33] + b"\xff\xff\xff\xffMARK" + GREY[33:],
    "a wrong token": b"P2 8 8 255 " + b"MARK" * 10,
    "a long token": b"P2 " + b"MARK" * 10 + b" 8 255 1 2 3",
    "a bomb": bomb(60_000, 60_000),
    "more pixels than the limit": bomb(5000, 5000),
    "no pixels": bomb(0, 5),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(MARK) run\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/MARK"/></svg>',
    "many scans": scans(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pictures(connect: Connect, name: str) -> None:
    client = connect()
    for field in ("image", "mask"):
        case = {"image": GREY, field: HOSTILE[name]}
        for answer in (
            client.post("/v1/edits", json=in_json(case)),
            client.post("/v1/jobs/edits", **in_form(case)),
        ):
            detail = problem(answer, 422)
            assert "MARK" not in detail and "\n" not in detail and " at 0x" not in detail, detail
            assert ("mask" in detail) == (field == "mask"), detail
    assert client.get("/").json()["requests"] == 0


IMAGE_FIELD = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
HOSTILE_FORMS = [
    b"",
    b"MARK",
    b"--b\r\n\r\nMARK\r\n--b--\r\n",
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nMARK',
    b'--b\r\nContent-Disposition: form-data; name="\xff\xfeMARK"\r\n\r\n1\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n\xff\xfe\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="n"\r\nMARK\r\n\r\n1\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="class"\r\n\r\nMARK\r\n' * 1000 + b"--b--\r\n",
    b'--b\r\nContent-Disposition: form-data; name="MARK"\r\n\r\n1\r\n--b--\r\n',
    IMAGE_FIELD + GREY + b"\r\n--b\r\n",  # the image is whole, the form is not
    IMAGE_FIELD.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: MARK\r\n\r\n") + b"\r\n--b--\r\n",
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="/etc/MARK"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nMARK!\r\n--b--\r\n",
]


@pytest.mark.parametrize("body", HOSTILE_FORMS, ids=lambda body: repr(body[-40:]))
def test_hostile_forms(client: TestClient, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    for boundary in ("; boundary=b", '; boundary="MARK', ""):
        kind = {"content-type": f"multipart/form-data{boundary}"}
        detail = problem(client.post("/v1/edits", content=body, headers=kind), 422)
        assert "MARK" not in detail and "\n" not in detail
    assert "mark" not in caplog.text.lower()
    detail = problem(client.post("/v1/edits", content=body, headers={"content-type": "text/MARK"}), 415)
    assert "MARK" not in detail


def test_limits_are_those_of_the_server(connect: Connect) -> None:
    client = connect(max_edit_body=3000, max_body=100, max_edit_pixels=100, max_steps=10, max_pixels=128)
    told = client.get("/v1/limits").json()
    assert told["max_edit_body"] == 3000 and told["max_edit_pixels"] == 100
    assert client.post("/v1/edits", json=in_json({"image": GREY})).status_code == 200
    for case, words in (
        ({"image": file(random(11, 10))}, "the picture has 10x11 pixels, more than 100"),
        ({"image": GREY, "mask": file(random(11, 11))}, "the mask has 11x11 pixels, more than 100"),
        ({"image": GREY, "n": 3}, "at most 128"),
        ({"image": GREY, "mask": MASK, "steps": 6, "returns": 2}, "steps, times returns: at most 10"),
    ):
        assert words in problem(client.post("/v1/edits", json=in_json(case)), 422)
    long = {"content": b" " * 3001, "headers": {"content-type": "application/json"}}
    for path in ("/v1/edits", "/v1/jobs/edits"):
        assert "3000" in problem(client.post(path, **long), 413)
    assert "100" in problem(client.post("/v1/generate", **{**long, "content": b" " * 101}), 413)


def test_bodies_with_pictures_are_not_held_without_end(client: TestClient) -> None:
    assert client.post("/v1/edits", json=in_json({"image": GREY})).status_code == 200
    layer = client.app.middleware_stack  # type: ignore[attr-defined]
    while not isinstance(layer, Guard):
        layer = layer.app
    assert layer.held == 0, "each was counted until it was over"
    layer.held = PICTURES_AT_ONCE * 2**23 - 10
    refused = client.post("/v1/edits", json=in_json({"image": GREY}))
    assert "try again" in problem(refused, 503) and refused.headers["retry-after"]
    assert client.get("/generate").status_code == 200, "plain ones have room"
    layer.held = 0


def test_the_log_has_no_picture(
    client: TestClient, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = PngInfo()
    said.add_text("comment", "MARK")
    picture = file(random(8, 8), pnginfo=said)
    case = {"image": picture, "mask": MASK, "class": "cat"}
    assert client.post("/v1/edits", json=in_json(case)).status_code == 200
    assert client.post("/v1/edits", **in_form({**case, "image": picture[:70]})).status_code == 422
    text = (tmp_path / "log.jsonl").read_text()
    (line,) = map(json.loads, text.splitlines())
    assert line["settings"]["picture"] == hashlib.sha256(picture).hexdigest()
    assert line["settings"]["task"] == "edit" and line["outcome"] == "done"
    out = text + "".join(capfd.readouterr())
    assert "MARK" not in out and base64.b64encode(picture).decode()[:40] not in out and len(text) < 1000
