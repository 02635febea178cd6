"""The REST API: the same pictures as `mezzotint sample`, in every form; and errors that help and repeat nothing."""

import base64
import io
import json
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_rest import Connect, close, pixels, problem, read_events, settings_of, wait
from helpers_small import Gate
from starlette.testclient import TestClient

from mezzotint.model.model import Model

# --- pictures --------------------------------------------------------------------------------------------


def test_a_picture_is_the_one_that_sample_makes(client: TestClient, models: dict[str, Model]) -> None:
    answer = client.get("/generate?class=cat&seed=5&guidance=2&sampler=heun&steps=6")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    alone = models["tiny"].sample(1, label="cat", seed=5, guidance=2, sampler="heun", steps=6)
    assert close(pixels(answer.content), alone.values[0])
    assert settings_of(answer.content) == json.loads(json.dumps(alone.settings))


def test_head_computes_nothing(client: TestClient, gate: Gate) -> None:
    answer = client.head("/generate?n=4&class=cat")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", b"")
    for query, status in (("n=65", 422), ("class=dog", 422), ("steps=0", 422), ("model=nothing", 404)):
        assert client.head(f"/generate?{query}").status_code == status, query
        assert client.get(f"/generate?{query}").status_code == status, query
    assert gate.rows == [] and client.get("/").json()["requests"] == 0
    assert client.get("/generate").status_code == 200 and gate.rows, "the gate sees calls"


def test_several_are_a_grid_and_a_seed_drawn_by_chance_is_told(
    client: TestClient, models: dict[str, Model]
) -> None:
    first, second = (client.get("/generate?n=4&class=cat,0") for _ in range(2))
    assert first.headers["x-seed"] != second.headers["x-seed"]
    seed = int(first.headers["x-seed"])
    assert settings_of(first.content)["seed"] == seed
    sheet = models["tiny"].sample(4, label=["cat", "0"], seed=seed).sheet()
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    assert close(pixels(first.content), pixels(buffer.getvalue()))


def test_json_and_zip(client: TestClient, models: dict[str, Model]) -> None:
    wish = {"n": 3, "class": ["cat", 0], "seed": 11, "guidance": 1.5, "eta": 0.5, "sampler": "ddim"}
    alone = models["tiny"].sample(3, label=["cat", 0], seed=11, guidance=1.5, eta=0.5, sampler="ddim")
    made = client.post("/v1/generate", json={**wish, "format": "json"}).json()
    assert made["seeds"] == [11, 12, 13] and made["labels"] == ["cat", "0", "cat"]
    images = [base64.b64decode(one) for one in made["images"]]
    assert all(close(pixels(a), b) for a, b in zip(images, alone.values))
    again = settings_of(images[2])
    assert (again["seed"], again["label"], again["n"]) == (13, "cat", 1)
    answer = client.post("/v1/generate", json={**wish, "format": "zip"})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        assert names == ["settings.json", "0000-11.png", "0001-12.png", "0002-13.png"]
        assert close(pixels(archive.read(names[3])), alone.values[2])


def test_points(client: TestClient, models: dict[str, Model]) -> None:
    wish = {"model": "dots", "n": 5, "seed": 3}
    made = client.post("/v1/generate", json={**wish, "format": "json"}).json()
    torch.testing.assert_close(
        torch.tensor(made["points"]), models["dots"].sample(5, seed=3).values, atol=1e-4, rtol=0
    )
    archive = client.post("/v1/generate", json={**wish, "format": "zip"}).content
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.read("points.csv").decode().splitlines()[0] == "x,y"
    assert pixels(client.get("/generate?model=dots&n=50").content).shape[0] == 3


def test_what_there_is(client: TestClient) -> None:
    listed = {model["name"]: model for model in client.get("/v1/models").json()}
    assert list(listed) == ["tiny", "dots", "plain"]
    assert listed["tiny"]["default"] and listed["tiny"]["classes"] == ["1", "cat", "0", "all four"]
    assert listed["plain"]["shape"] == [3, 6, 10] and listed["tiny"]["defaults"]["steps"] == 4
    samplers = {row["name"]: row for row in client.get("/v1/samplers").json()}
    assert samplers["heun"]["calls"] == 2 and samplers["ddpm"]["stochastic"]
    assert client.get("/v1/limits").json()["max_queue"] == 64
    assert client.get("/").json()["status"] == "ok"
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_numbers_and_a_line_for_every_request(client: TestClient, tmp_path: Path) -> None:
    made = client.get("/generate?seed=5&n=3")
    client.post("/v1/generate", json={"class": "cat", "steps": 999_999})
    text = client.get("/metrics").text
    assert 'mezzotint_requests_total{outcome="done"} 1.0' in text and "mezzotint_pictures_total 3.0" in text
    assert "mezzotint_call_rows_sum 12.0" in text and "process_resident_memory_bytes" in text
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert entry["request"] == made.headers["x-request-id"] and entry["seed"] == 5
    assert entry["outcome"] == "done" and entry["seconds"] > 0 and entry["settings"]["steps"] == 4


def test_the_manual_needs_no_network(client: TestClient) -> None:
    page = client.get("/docs").text
    document = client.get("/openapi.json").json()
    for path in document["paths"]:
        assert f"</b>{path}</h2>" in page
    assert "<script" not in page and "src=" not in page and "http" not in page.replace("http-", "")
    assert "dpmpp_2m" in page and "a tenth of all" in page


def test_the_manual_shows_the_address_that_it_was_asked_at(connect: Connect) -> None:
    open_to_all, closed = connect(), connect(token="0123456789abcdef")
    page = open_to_all.get("http://127.0.0.1:8123/docs").text
    assert 'curl -s "127.0.0.1:8123/generate"' in page and "8000" not in page and "Bearer" not in page
    page = closed.get("http://[::1]:81/docs").text
    assert page.count('curl -s -H "Authorization: Bearer $MEZZOTINT_TOKEN" "[::1]:81/') == 5
    assert 'curl -s "https://localhost/generate"' in open_to_all.get("https://localhost/docs").text


def test_an_unknown_field_is_answered_with_those_that_are_known(client: TestClient) -> None:
    for answer in (
        client.post("/v1/generate", json={"promt": "a cat"}),
        client.post("/v1/jobs", json={"promt": "a cat"}),
        client.get("/generate?promt=cat"),
    ):
        detail = answer.json()["detail"]
        assert answer.status_code == 422 and "promt" not in detail
        assert "unknown field; known: " in detail and "n, " in detail and "class, " in detail
        assert ("preview_every" in detail) == ("/jobs" in str(answer.url))


# --- jobs ------------------------------------------------------------------------------------------------


def test_a_job_from_its_start_to_its_result(client: TestClient, models: dict[str, Model]) -> None:
    answer = client.post("/v1/jobs", json={"n": 2, "seed": 7, "steps": 300, "preview_every": 100})
    key = answer.json()["id"]
    assert answer.status_code == 202 and answer.headers["location"] == f"/v1/jobs/{key}"
    assert problem(client.get(f"/v1/jobs/{key}/result"), 409)
    events = read_events(client, key)
    assert events[0][0] in ("queued", "started") and events[-1][0] == "done"
    previews = [content for name, content in events if name == "progress"]
    assert previews and all(content["step"] % 100 == 0 for content in previews)
    assert pixels(base64.b64decode(previews[0]["preview"])).shape[0] == 1
    assert read_events(client, key) == [events[-1]]  # for whoever comes late
    alone = models["tiny"].sample(2, seed=7, steps=300)
    made = client.get(f"/v1/jobs/{key}/result?format=json").json()
    assert close(pixels(base64.b64decode(made["images"][1])), alone.values[1])
    assert client.get(f"/v1/jobs/{key}/result").headers["content-type"] == "image/png"


def test_who_comes_late_first_gets_the_present_state(client: TestClient, gate: Gate) -> None:
    gate.close()
    key = client.post("/v1/jobs", json={"steps": 3, "preview_every": 1}).json()["id"]
    gate.await_call()
    wait(client, key, "started")
    threading.Timer(0.3, gate.open.set).start()
    names = [name for name, _ in read_events(client, key)]
    assert names[0] == "started" and names[-1] == "done"


def test_cancelling(client: TestClient) -> None:
    key = client.post("/v1/jobs", json={"steps": 1000, "n": 16}).json()["id"]
    wait(client, key, "started")
    assert client.post(f"/v1/jobs/{key}/cancel").status_code == 202
    assert wait(client, key, "cancelled")["step"] < 1000
    assert read_events(client, key)[0][0] == "cancelled"
    problem(client.get(f"/v1/jobs/{key}/result"), 410)
    assert client.post(f"/v1/jobs/{key}/cancel").json()["state"] == "cancelled"


def test_nobody_can_guess_whose_job_to_cancel(client: TestClient, gate: Gate) -> None:
    gate.close()
    key = client.post("/v1/jobs", json={"steps": 3}).json()["id"]
    gate.await_call()
    assert len(key) == 16, "96 bits"
    for path in ("/", "/healthz", "/metrics", "/v1/models", "/v1/limits", "/openapi.json", "/docs"):
        assert key not in client.get(path).text, path
    for path in ("/v1/jobs", "/v1/jobs/"):
        assert client.get(path, follow_redirects=False).status_code in (404, 405, 307), "none lists them"
    for wrong in (key[:-1], f"{key}A", key.swapcase(), "*", "%", "..", f"{key}%00"):
        problem(client.post(f"/v1/jobs/{wrong}/cancel"), 404)
    gate.open.set()
    wait(client, key)
    answer = client.get("/generate")
    problem(client.post(f"/v1/jobs/{answer.headers['x-request-id']}/cancel"), 404)  # no job of theirs
    assert client.get(f"/v1/jobs/{key}/result").status_code == 200


def test_finished_jobs_are_kept_for_a_while(connect: Connect) -> None:
    client = connect(keep_jobs=2, keep_seconds=1)
    keys = []
    for _ in range(4):
        keys.append(client.post("/v1/jobs", json={"steps": 1}).json()["id"])
        wait(client, keys[-1])
    assert [client.get(f"/v1/jobs/{key}").status_code for key in keys] == [404, 404, 200, 200]
    time.sleep(1.1)
    problem(client.get(f"/v1/jobs/{keys[3]}"), 404)


def test_a_failed_job_says_what_to_do_and_not_more(
    client: TestClient, models: dict[str, Model], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: Any, **__: Any) -> torch.Tensor:
        raise RuntimeError("secret of the house")

    with monkeypatch.context() as patch:
        patch.setattr(models["tiny"].denoiser, "_call", broken)
        answer = client.get("/generate")
        key = client.post("/v1/jobs", json={}).json()["id"]
        assert "log" in wait(client, key, "failed")["detail"]
        assert "log" in problem(client.get(f"/v1/jobs/{key}/result"), 500)
    assert "secret" not in problem(answer, 500) and answer.headers["x-request-id"]
    assert "secret of the house" in (tmp_path / "log.jsonl").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(models["tiny"].denoiser, "_call", lambda x, *_, **__: x * torch.nan)
        assert "more steps" in problem(client.get("/generate"), 422)
    assert client.get("/generate").status_code == 200


# --- what is refused -------------------------------------------------------------------------------------

HOSTILE: list[tuple[dict[str, Any], int]] = [
    ({"model": "../../etc/passwd"}, 404),
    ({"model": "tiny/../tiny"}, 404),
    ({"model": "runs/tiny"}, 404),
    ({"model": ""}, 404),
    ({"model": "x" * 201}, 422),
    ({"class": "MARK"}, 422),
    ({"class": ["cat", "MARK"]}, 422),
    ({"class": []}, 422),
    ({"class": 4}, 422),
    ({"class": True}, 422),
    ({"class": {"MARK": 1}}, 422),
    ({"model": "plain", "class": "MARK"}, 422),
    ({"model": "plain", "guidance": 3}, 422),
    ({"n": 0}, 422),
    ({"n": -1}, 422),
    ({"n": 10**30}, 422),
    ({"n": 65}, 422),
    ({"n": "3"}, 422),
    ({"n": 1.5}, 422),
    ({"n": None}, 422),
    ({"steps": 1001}, 422),
    ({"steps": 0}, 422),
    ({"seed": -1}, 422),
    ({"seed": 2**63}, 422),
    ({"sampler": "MARK"}, 422),
    ({"sampler": "heun", "eta": 0.5}, 422),
    ({"spacing": "MARK"}, 422),
    ({"guidance": 1e308}, 422),
    ({"MARK": 1}, 422),
    ({"format": "MARK"}, 422),
    ({"format": "../png"}, 422),
]


@pytest.mark.parametrize(("wish", "status"), HOSTILE, ids=lambda value: str(value)[:40])
def test_hostile_wishes(client: TestClient, wish: dict[str, Any], status: int) -> None:
    assert "MARK" not in problem(client.post("/v1/generate", json=wish), status)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"3",
        b"{MARK",
        b'{"guidance": NaN}',
        b'{"guidance": Infinity}',
        b'{"guidance": 1e999}',
        b'{"n": 1' + b"0" * 5000 + b"}",
        b"[" * 8000,
        b"\xff\xfe",
        b'{"class": "\\ud800"}',
        b'{"class": "\\u0000"}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_hostile_bodies(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/generate", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500 and "MARK" not in problem(answer, answer.status_code)
    assert client.get("/generate").status_code == 200


def test_hostile_paths_and_queries(client: TestClient) -> None:
    for path in ("/v1/jobs/..%2f..%2fetc", "/v1/jobs/MARK", "/MARK", "/%00", "/v1/models/../../MARK"):
        assert "MARK" not in problem(client.get(path), 404)
    for query in ("MARK=1", "n=MARK", "n=nan", "guidance=nan", "guidance=inf", "seed=1e3", "class=MARK,cat"):
        assert "MARK" not in problem(client.get(f"/generate?{query}"), 422)
    problem(client.put("/generate"), 405)
    problem(client.post("/v1/generate", content=b"n=1", headers={"content-type": "text/plain"}), 422)


def test_bodies_have_an_end(connect: Connect) -> None:
    client = connect(max_body=100)
    kind = {"content-type": "application/json"}
    problem(client.post("/v1/generate", content=b" " * 101, headers=kind), 413)
    problem(client.post("/v1/generate", content=(b" " * 60 for _ in range(9)), headers=kind), 413)
    assert client.post("/v1/generate", content=b"{}" + b" " * 98, headers=kind).status_code == 200


def test_limits_are_those_of_the_server(connect: Connect) -> None:
    client = connect(max_n=2, max_steps=5, max_pixels=100)
    assert "at most 2" in problem(client.get("/generate?n=3"), 422)
    assert "at most 5" in problem(client.get("/generate?steps=6"), 422)
    assert "at most 100" in problem(client.get("/generate?n=2"), 422)  # of 8 x 8
    assert client.get("/generate?n=2&model=dots").status_code == 200


def test_a_full_queue_says_when_to_come_back(connect: Connect, gate: Gate) -> None:
    client = connect(max_queue=2, max_per_client=1)
    gate.close()
    key = client.post("/v1/jobs", json={}).json()["id"]
    answer = client.get("/generate")
    assert "try again" in problem(answer, 429) and int(answer.headers["retry-after"]) >= 1
    gate.open.set()
    wait(client, key)
    assert client.get("/generate").status_code == 200


def test_time_runs_out(connect: Connect) -> None:
    client = connect(max_seconds=1)
    answer = client.post("/v1/generate", json={"steps": 1000, "n": 64})
    assert "time" in problem(answer, 503)
