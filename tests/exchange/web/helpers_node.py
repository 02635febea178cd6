"""The page's own scripts, run by node."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from mezzotint.exchange.web.export import HERE, WORKER, described
from mezzotint.model.model import Model

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node, which runs the page's scripts")


class Big(int):
    """A whole number that JavaScript shall take as a BigInt."""


def order(
    model: Model,
    seed: int = 0,
    label: int | None = None,
    prompt: str = "",
    negative: str | None = None,
    **changes: Any,
) -> dict[str, Any]:
    settings = model.request(1, **changes).settings.model_dump()
    asked = {"seed": Big(seed), "label": label, "prompt": prompt, "negative": negative, "settings": settings}
    return {"do": "picture", "model": described(model), "order": asked}


def off(answer: dict[str, Any], model: Model, **asked: Any) -> int:
    """Grey levels between the page's picture and the package's."""
    ours = model.sample(1, **asked).values[0].permute(1, 2, 0).flatten().int()
    return int((torch.tensor(answer["bytes"]) - ours).abs().max())


def run_jobs(jobs: list[dict[str, Any]]) -> list[Any]:
    """Answers of helpers_node.js to jobs, in one process."""
    assert NODE is not None
    scripts = [str(HERE / f"{name}.js") for name in (*WORKER, "png")]
    command = [NODE, str(Path(__file__).with_suffix(".js")), *scripts]
    done = subprocess.run(command, input=_spoken(jobs), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _spoken(value: Any) -> str:
    """JSON, and what JavaScript can say beyond it: BigInts and infinities."""
    if isinstance(value, Big):
        return f"{int(value)}n"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_spoken(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_spoken, value)) + "]"
    return json.dumps(value)
