"""Orders in a file: checked first, made in groups that never change, finished ones left alone."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_small import CLASSES, FLOW, UNET, write_run
from helpers_together import together
from helpers_workshop import Answer, Call, contents

from mezzotint import load
from mezzotint.cli import orders
from mezzotint.media.facts import Facts
from mezzotint.model.orders import grouped
from mezzotint.plots import read_png, read_settings

COUNT = 200


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights and a file of 200 orders."""
    folder = tmp_path_factory.mktemp("orders")
    write_run(folder / "tiny", Facts((1, 8, 8), CLASSES), network=UNET, diffusion=FLOW, sample={"steps": 2})
    write_run(folder / "dots", Facts((2,), ()), network={"kind": "mlp", "width": 8}, diffusion=FLOW)
    with (folder / "orders.jsonl").open("w") as file:
        for i in range(COUNT):
            order: dict[str, object] = {"label": i % 4, "seed": i}
            order |= {"n": 3, "name": f"three-{i}"} if i % 9 == 0 else {}
            order |= {"steps": 3, "guidance": 2, "sampler": "heun"} if i % 5 == 0 else {}
            file.write(json.dumps(order) + "\n")
    return folder


@pytest.fixture
def call(mezzotint: Call) -> Call:
    return mezzotint


def made(call: Call, place: Path, out: Path, *more: object) -> Answer:
    return call("sample", place / "tiny", "--batch-file", place / "orders.jsonl", "--out", out, *more)


def test_every_picture_once_and_as_the_model_makes_it(call: Call, place: Path, tmp_path: Path) -> None:
    answer = made(call, place, tmp_path / "out")
    assert answer.code == 0 and "200 orders of 246 samples; 0 are there, 246 to make" in answer.out
    files = contents(tmp_path / "out")
    assert len(files) == 246 + 1
    model = load(place / "tiny")
    for name, label, settings in (("002", 1, {}), ("011", 2, {"steps": 3, "guidance": 2, "sampler": "heun"})):
        path = tmp_path / "out" / f"{name}.png"
        again = model.sample(1, label=label, seed=int(name) - 1, **settings)
        assert read_settings(path) == json.loads(json.dumps(again.alone(0).settings))
        pixels = torch.from_numpy(np.array(read_png(path))).int()
        assert (pixels - again.values[0, 0].int()).abs().max() <= 1
    assert {"three-9-0.png", "three-9-1.png", "three-9-2.png"} <= files.keys()

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "three-9-1.png").unlink()
    assert (
        "245 are there, 1 to make" not in made(call, place, tmp_path / "out").out
    )  # its group is made as a whole
    assert contents(tmp_path / "out") == files
    same = [path for path, time in before.items() if path.stat().st_mtime_ns == time]
    assert len(same) == len(before) - 1  # and of it what is missing is written


def dying(write: Callable[..., None], after: int) -> Callable[..., None]:
    """The same, and at the n-th time the end of the process."""
    left = [after]

    def instead(*words: Any) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        write(*words)

    return instead


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_and_divided_it_makes_the_same_bytes(
    call: Call, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five lives that end by SIGKILL in the middle of a write, then two processes at once."""
    assert made(call, place, tmp_path / "whole").code == 0
    killed = tmp_path / "killed"
    sys.stdout.flush()
    lives: list[int] = []  # files that were there after each
    for life in range(5):
        child = os.fork()
        if not child:
            monkeypatch.setattr(orders, "_write", dying(orders._write, 40 + 8 * life))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                made(call, place, killed)
            finally:
                os._exit(0)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), life
        lives.append(len(contents(killed)))
    assert lives == sorted(set(lives)) and lives[-1] < 247
    words = ("sample", place / "tiny", "--batch-file", place / "orders.jsonl", "--out", killed)
    (answers,) = together(2, tmp_path / "said", words)
    assert [answer.code for answer in answers] == [0, 0], answers
    assert contents(killed) == contents(tmp_path / "whole")


def test_points_are_a_table_each(call: Call, place: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 5, "name": "five"}\n{"n": 3}\n')
    words = ("--batch-file", tmp_path / "a.jsonl", "--out", tmp_path / "out", "--batch", "4")
    assert call("sample", place / "dots", *words).code == 0
    rows = [len((tmp_path / "out" / name).read_text().splitlines()) for name in ("five.csv", "2.csv")]
    assert rows == [6, 4]


def test_bad_lines_are_named_before_anything_begins(call: Call, place: Path, tmp_path: Path) -> None:
    lines = {
        2: '{"labl": 3}', 3: '{"label": "x"}', 4: "nope", 6: '{"name": "a/b"}', 7: '{"n": 0}', 8: '{"steps": 0}', 9: "[1]",
        10: '{"label": [true]}', 11: '{"name": "q", "n": 2}', 12: '{"name": "Q-0"}', 13: '{"seed": 1.5}',
    }  # fmt: skip
    text = "\n".join(lines.get(number, '{"label": 1}' if number != 5 else "") for number in range(1, 14))
    (tmp_path / "bad.jsonl").write_text(text)
    answer = call("sample", place / "tiny", "--batch-file", tmp_path / "bad.jsonl", "--out", tmp_path / "out")
    assert answer.code == 2 and not (tmp_path / "out").exists()
    for said in (
        "line 2: unknown key 'labl'; did you mean label?", "line 3: there is no class 'x'", "line 4: not JSON",
        "line 6: name must be", "line 7: n must be", "line 8: sample.steps", "line 9: an order is an object",
        "line 10: label must be", "line 12: its file Q-0.png is also that of line 11", "line 13: seed must be a whole number",
    ):  # fmt: skip
        assert said in answer.err, said
    assert "line 1:" not in answer.err and "line 11:" not in answer.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("-n", "64"), "-n has no effect with --batch-file; put it into the lines"),
        (("--seed", "0"), "--seed has no effect"),
        (("-o", "a.png"), "-o has no effect with --batch-file; leave it out"),
        (("--steps", "9"), "holds pictures of other orders"),
    ],
)
def test_what_a_file_of_orders_does_not_take(
    more: tuple[str, ...], words: str, call: Call, place: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text('{"label": 1}\n')
    base = ("sample", place / "tiny", "--batch-file", tmp_path / "a.jsonl", "--out", tmp_path / "out")
    assert call(*base).code == 0
    answer = call(*base, *more)
    assert answer.code == 2 and words in answer.err


def test_groups_are_full_and_of_one_length(place: Path) -> None:
    model = load(place / "tiny")
    requests = [model.request(n, steps=steps) for n, steps in ((3, 2), (70, 2), (5, 9), (1, 2))]
    groups = grouped(requests, 32)
    sizes = [sum(part.end - part.begin for part in group) for group in groups]
    assert sizes == [32, 32, 15] and sum(sizes) == 79
    assert [part.order for part in groups[0]] == [0, 1] and [part.order for part in groups[2]] == [1, 3, 2]
    covered = sorted(
        (part.order, k) for group in groups for part in group for k in range(part.begin, part.end)
    )
    assert covered == [(order, k) for order, n in enumerate((3, 70, 5, 1)) for k in range(n)]
