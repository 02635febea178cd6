"""Trains into a folder and kills itself with SIGKILL again and again; run by test_kill.py in a process of its own.

The program imports once and forks for every life, so that twenty of them take seconds. A life ends at a random moment
of the clock (and on a machine so fast that it would see the end of training, before its fortieth operation on the disk),
or just before a random operation on the disk, or with half a file written.
"""

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch._dynamo  # which an optimiser imports: once here, not in every life
from PIL import Image

from mezzotint import config, plots
from mezzotint.disk import checkpoint
from mezzotint.run import fit

CONFIG = {
    "data": {"name": "digits", "limit": 64},
    "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "dropout": 0.3},
    "train": {
        "steps": 60,
        "batch_size": 8,
        "precision": "fp32",
        "log_every": "4 steps",
        "validate_every": "10 steps",
        "sample_every": "100%",
        "checkpoint_every": "2 steps",
        "snapshot_every": "6 steps",
    },
    "sample": {"sampler": "ddim", "steps": 1},
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(rng: random.Random, moment: str) -> None:
    """Prepares the end of this life."""
    left = [rng.randint(1, 60 if moment == "operation" else 15)]
    if moment == "clock":
        delay = rng.uniform(0.05, 0.5)
        left = [40]

        def wait() -> None:
            time.sleep(delay)
            die()

        threading.Thread(target=wait, daemon=True).start()

    def counted(function: Callable[..., Any], end: Callable[..., None]) -> Callable[..., Any]:
        def instead(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                end(*args)
            return function(*args, **kwargs)

        return instead

    if moment != "half":
        for owner, name in (
            (Path, "replace"),
            (Path, "rename"),
            (Path, "mkdir"),
            (os, "fsync"),
            (shutil, "rmtree"),
        ):
            setattr(owner, name, counted(getattr(owner, name), lambda *args: die()))
        return

    def half(path: Path, content: bytes) -> None:
        path.with_name(f".{path.name}.tmp").write_bytes(content[: len(content) // 2])
        die()

    checkpoint.write = counted(checkpoint.write, half)


def live(folder: Path, rng: random.Random | None, moment: str = "") -> int:
    """One life; returns the wait status."""
    seed = rng.random() if rng else 0.0
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        if rng:
            arm(random.Random(seed), moment)
        for _ in fit.fit(config.parse(CONFIG), folder):
            pass
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def main(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    blank = {**vars(plots), "loss_curve": lambda rows: Image.new("RGB", (8, 8))}
    fit.plots = SimpleNamespace(**blank)  # as in conftest.py
    assert live(folder / "whole", None) == 0
    rng, killed, inside = random.Random(seed), 0, 0
    while killed < kills:
        status = live(folder / "killed", rng, ("clock", "operation", "half")[killed % 3])
        if status == 0:
            break
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
        killed += 1
        inside += any((folder / "killed").rglob(".*.tmp"))
    assert live(folder / "killed", None) == 0
    print(json.dumps({"killed": killed, "inside": inside}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
