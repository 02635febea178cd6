"""What the tests of the REST API share: how answers are read, and waited for."""

import io
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from starlette.testclient import TestClient

from mezzotint.plots import KEY

LOCAL = "http://localhost"
Connect = Callable[..., TestClient]


def pixels(content: bytes) -> torch.Tensor:
    """(C, H, W) uint8 of a PNG."""
    image = Image.open(io.BytesIO(content))
    raw = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return raw.reshape(image.height, image.width, -1).permute(2, 0, 1)


def settings_of(content: bytes) -> dict[str, Any]:
    found = json.loads(Image.open(io.BytesIO(content)).info[KEY])
    assert isinstance(found, dict)
    return found


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """At most one grey level: kernels round by batch shape."""
    return a.shape == b.shape and bool((a.int() - b.int()).abs().max() <= 1)


def problem(answer: Any, status: int) -> str:
    """Checks that an answer is a problem of that status; returns its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail"} and body["status"] == status
    return str(body["detail"])


def wait(client: TestClient, key: str, state: str = "done") -> dict[str, Any]:
    for _ in range(1000):
        status = client.get(f"/v1/jobs/{key}").json()
        if status["state"] == state:
            return dict(status)
        time.sleep(0.01)
    raise AssertionError(status)


def read_events(client: TestClient, key: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    with client.stream("GET", f"/v1/jobs/{key}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in stream.iter_lines():
            kind, _, rest = line.partition(": ")
            if kind == "event":
                name = rest
            elif kind == "data":
                found.append((name, json.loads(rest)))
    return found
