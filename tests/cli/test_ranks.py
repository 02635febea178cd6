"""Several processes do what one does, to the bit: sample, orders by file, evaluate, tune, sweep. One speaks and writes; one
error ends all."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_small import CLASSES, FLOW, UNET, write_run
from helpers_together import together
from helpers_workshop import Answer, contents, leave

from mezzotint.evaluate.judges import classifier
from mezzotint.media.facts import Facts
from mezzotint.model.model import Model
from mezzotint.run import allowance
from mezzotint.studies.tune import judge as tuning_judge

SWEEP = """
base: base.yaml
budget: {steps: 2}
n: 30
train:
  network:
    - {name: narrow, network.width: 8}
    - {name: wide, network.width: 12}
sample:
  steps: [2, 3]
"""
BASE = """
data: {name: digits, limit: 400}
network: {kind: unet, width: 8, multipliers: [1], blocks: 1}
diffusion: {process: flow, schedule: {kind: lognormal}, parameterization: velocity}
train: {steps: 2, batch_size: 16, precision: fp32, sample_every: 100%, validate_every: 100%, checkpoint_every: 100%}
sample: {steps: 2, guidance: 1}
"""
SET = {"name": "digits", "limit": 400}
COMMANDS: tuple[tuple[object, ...], ...] = (
    ("sample", "tiny", "-n", 21, "--batch", 4, "--seed", 5, "--class", "all", "-o", "a.npz", "--trajectory"),
    ("sample", "tiny", "-n", 9, "--batch", 4, "-o", "pictures"),
    ("sample", "tiny", "--batch-file", "orders.jsonl", "--out", "ordered", "--batch", 4),
    ("evaluate", "digits", "-n", 100, "--json"),
    ("evaluate", "dots", "-n", 200, "--data", "moons", "--json"),
    ("evaluate", "discrete", "-n", 20, "--metrics", "frechet,vlb", "--json"),
    ("tune", "dots", "--quick", "-n", 160),
    ("sweep", "sweep.yaml"),
)


@pytest.fixture(autouse=True, scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEZZOTINT_CACHE", str(tmp_path_factory.mktemp("kept")))
        patch.setattr(classifier, "budget", lambda count: 1000)
        patch.setattr(tuning_judge, "REFERENCE_POINTS", 200)
        patch.setattr(allowance, "FREE_SECONDS", 1e6)  # sheets are whole, whatever else this machine does
        patch.setattr(Model, "batch", property(lambda model: 32))  # so that there are some to share
        yield


def desk(folder: Path) -> Path:
    """What the commands are about, in a folder of their own."""
    folder.mkdir(parents=True)
    write_run(
        folder / "runs" / "tiny", Facts((1, 8, 8), CLASSES), network=UNET, diffusion=FLOW, sample={"steps": 2}
    )
    write_run(
        folder / "runs" / "digits", Facts((1, 8, 8), tuple("0123456789")), network=UNET, diffusion=FLOW,
        data=SET, sample={"steps": 2},
    )  # fmt: skip
    linear = {"process": "vp", "schedule": {"kind": "linear", "timesteps": 9}, "parameterization": "eps"}
    write_run(
        folder / "runs" / "discrete",
        Facts((1, 8, 8), ()),
        network=UNET,
        diffusion=linear,
        sample={"steps": 2},
    )
    dots = {"network": {"kind": "mlp", "width": 8}, "diffusion": FLOW, "data": {"name": "moons"}}
    write_run(folder / "runs" / "dots", Facts((2,), ()), **dots, sample={"steps": 3})  # type: ignore[arg-type]
    lines = ({"label": i % 4, "seed": i, "n": 1 + i % 3, "steps": 2 + i % 2} for i in range(12))
    (folder / "orders.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "base.yaml").write_text(BASE)
    (folder / "sweep.yaml").write_text(SWEEP)
    return folder


def made(folder: Path) -> dict[str, Any]:
    """Every file by its name, but for what tells the time."""
    files: dict[str, Any] = dict(contents(folder))
    for name in list(files):
        if name.endswith(
            (".lock", "log.txt", "env.json", "metrics.jsonl", "state.json", "loss.png", "evaluation.json")
        ):
            del files[name]
        elif name.endswith(("sweep.json", "table.csv", "table.md")):
            files[name] = re.sub(r'"seconds": [\d.]+|[\d.]+( \||,)', "", files[name].decode())
    return files


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[Answer]]]:
    """What one process makes and says."""
    folder = tmp_path_factory.mktemp("alone")
    return folder / "desk", together(1, folder / "said", *COMMANDS, cwd=[desk(folder / "desk")])


def told(answer: Answer) -> Any:
    return [{key: value for key, value in one.items() if key != "seconds"} for one in json.loads(answer.out)]


@pytest.mark.parametrize(("count", "commands"), [(2, COMMANDS[:4]), (3, COMMANDS)], ids=["2", "3"])
def test_some_processes_are_one(
    count: int, commands: Any, alone: tuple[Path, list[list[Answer]]], tmp_path: Path
) -> None:
    there = desk(tmp_path / "desk")
    answers = together(count, tmp_path / "said", *commands, cwd=[there] * count)
    for words, one, several in zip(commands, alone[1], answers):
        assert [answer.code for answer in (*one, *several)] == [0] * (count + 1), (words, one, several)
        assert all(answer.out == answer.err == "" for answer in several[1:]), words  # one speaks
        if "--json" in words:
            assert told(several[0]) == told(one[0])  # every number to the bit
    one_made, several_made = made(alone[0]), made(there)
    if commands is not COMMANDS:  # what was not asked for is not there
        one_made = {name: one_made[name] for name in several_made if not name.startswith("runs/dots")}
        several_made = {name: several_made[name] for name in one_made}
    assert several_made == one_made
    for words in (
        "12 orders of 24 samples; 0 are there, 24 to make",
        f"24 made in .* s by {count} processes",
    ):
        assert re.search(words, answers[2][0].out)


def test_what_is_shared_is_worth_comparing(alone: tuple[Path, list[list[Answer]]]) -> None:
    """The commands above make what they are meant to."""
    folder, answers = alone
    names = set(made(folder))
    assert {"a.npz", "a-trajectory/step-0002.png", "pictures/000008-0.png", "ordered/03-2.png"} <= {
        re.sub("000008-.*", "000008-0.png", name) for name in names
    }
    assert {name for name in names if re.search("cells/\\w+/model.safetensors", name)} == {
        f"sweeps/sweep/cells/{cell}/model.safetensors" for cell in ("narrow", "wide")
    }
    rows = json.loads((folder / "sweeps" / "sweep" / "sweep.json").read_text())["rows"]
    assert len(rows) == 4 and not any(row["failed"] for row in rows)
    assert "bits/dim, bound" in told(answers[5][0])[0]["numbers"]


def test_an_error_of_one_process_ends_all_with_one_line(tmp_path: Path) -> None:
    there = [desk(tmp_path / name) for name in ("first", "second")]
    shutil.rmtree(there[1] / "runs" / "tiny")
    (answers,) = together(2, tmp_path / "said", ("sample", "tiny", "-n", 4, "-o", "a.png"), cwd=there)
    said = "".join(answer.err for answer in answers).splitlines()
    assert len(said) == 1 and said[0].startswith("mezzotint: no run and no model file is called 'tiny'")
    assert {answer.code for answer in answers} == {3} and not (there[0] / "a.png").exists()


def test_an_error_of_all_is_said_once(tmp_path: Path) -> None:
    (answers,) = together(3, tmp_path / "said", ("sample", "nosuch", "-n", 4))
    assert len("".join(answer.err for answer in answers).splitlines()) == 1
    assert {answer.code for answer in answers} == {3}


def test_rows_that_a_killed_sweep_left_are_taken_in(
    alone: tuple[Path, list[list[Answer]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process writes the rows of its cells by itself: the next call, of any number of processes, has them all."""
    there = tmp_path / "desk"
    shutil.copytree(alone[0], there)
    path = there / "sweeps" / "sweep" / "sweep.json"
    content = json.loads(path.read_text())
    for file, rows in (("sweep.json", content["rows"][:1]), ("sweep-1.json", content["rows"][1:])):
        path.with_name(file).write_text(json.dumps({**content, "rows": rows}))
    monkeypatch.chdir(there)
    before = {p: p.stat().st_mtime_ns for p in path.parent.rglob("model.safetensors")}
    assert leave("sweep", "sweep.yaml") == 0
    assert json.loads(path.read_text()) == content and not path.with_name("sweep-1.json").exists()
    assert before == {p: p.stat().st_mtime_ns for p in path.parent.rglob("model.safetensors")}


def test_torchrun_itself(tmp_path: Path) -> None:
    """The launcher, the default group and the store as they are: orders by file, every byte."""
    there = desk(tmp_path / "desk")
    words = ("-m", "mezzotint", "sample", "tiny", "--batch-file", "orders.jsonl", "--batch", "4", "--out")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = subprocess.run(
        [sys.executable, *launcher, *words, "two"], capture_output=True, text=True, env=environment, cwd=there, timeout=240
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) == 2 and "24 made in" in done.stdout
    alone = together(1, tmp_path / "said", (*words[2:], "one"), cwd=[there])
    assert alone[0][0].code == 0 and contents(there / "one") == contents(there / "two")
