"""A small grid, done, stopped, killed and asked for again; and what is refused before anything is trained."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mezzotint.errors import ConfigError
from mezzotint.evaluate.judges import classifier
from mezzotint.studies.sweep import cells as study
from mezzotint.studies.sweep.cells import Row, read_rows, sweep
from mezzotint.studies.sweep.plan import read_plan
from mezzotint.studies.sweep.table import markdown, publish, table, verdict

SMALL = """
base: BASE
budget: {steps: 3}
n: 40
train:
  schedule:
    - {name: cosine, diffusion.process: vp, diffusion.schedule.kind: cosine, diffusion.parameterization: v}
    - {name: flow, diffusion.parameterization: velocity}
sample:
  sampler: [ddim, dpmpp_2m]
  steps: [4]
"""
BASE = """
data: {name: digits, limit: 200}
network: {kind: unet, width: 8, multipliers: [1], blocks: 1}
diffusion: {process: flow, schedule: {kind: lognormal, mean: 0.0}, parameterization: velocity}
train: {steps: 3, batch_size: 16, precision: fp32, sample_every: 100%, validate_every: 100%, checkpoint_every: 1 steps}
sample: {steps: 2, guidance: 1}
"""


@pytest.fixture(autouse=True, scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEZZOTINT_CACHE", str(tmp_path_factory.mktemp("kept")))
        patch.setattr(classifier, "budget", lambda count: 3000)
        yield


def written(folder: Path, text: str = SMALL) -> str:
    (folder / "base.yaml").write_text(BASE)
    (folder / "sweep.yaml").write_text(text.replace("BASE", str(folder / "base.yaml")))
    return str(folder / "sweep.yaml")


def test_stopped_in_training_killed_in_sampling_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = read_plan(written(tmp_path)), tmp_path / "out"
    asked: list[int] = []

    def once() -> bool:  # asked after every step: True after the first
        asked.append(1)
        return True

    said = list(sweep(plan, out, stop=once))
    assert "saved cosine at step 1;" in said[-1].text and read_rows(out) == []
    plain, judged = study._judge, []

    def killed(*words: Any) -> Row:
        judged.append(words[5].name)
        if len(judged) == 2:
            raise KeyboardInterrupt
        return plain(*words)

    monkeypatch.setattr(study, "_judge", killed)
    with pytest.raises(KeyboardInterrupt):
        list(sweep(plan, out))
    assert [(row.cell, row.point) for row in read_rows(out)] == [("cosine", "ddim-4")]
    found = [said.row for said in sweep(plan, out) if said.row]
    assert [(row.cell, row.point) for row in found] == [
        ("cosine", "dpmpp_2m-4"),
        ("flow", "ddim-4"),
        ("flow", "dpmpp_2m-4"),
    ]
    rows = read_rows(out)
    assert len(rows) == 4 and all(row.low < row.frechet < row.high and row.calls == 4 for row in rows)  # type: ignore[operator]
    assert len({row.frechet for row in rows}) == 4
    monkeypatch.setattr(study, "fit", None)
    assert list(sweep(plan, out)) == []  # nothing left to do
    publish(plan, rows, out)
    with (out / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {(line["schedule"], line["sampler"], line["steps"]) for line in lines} == {
        (s, p, "4") for s in ("cosine", "flow") for p in ("ddim", "dpmpp_2m")
    }
    for name in ("quality.png", "loss.png", "sheets/cosine.png", "sheets/flow.png", "table.md"):
        assert (out / name).is_file()
    with pytest.raises(ConfigError, match="n 40, not 50"):
        list(sweep(read_plan(written(tmp_path, SMALL.replace("n: 40", "n: 50"))), out))


def test_an_impossible_combination_fails_alone(tmp_path: Path) -> None:
    text = SMALL.replace("sampler: [ddim, dpmpp_2m]", "sampler: [ddim]").replace(
        ", diffusion.parameterization: v}", "}"
    )
    text = text.replace(
        "{name: flow, diffusion.parameterization: velocity}",
        "{name: time, diffusion.schedule.kind: linear_time}",
    )
    plan = read_plan(
        written(tmp_path, text.replace("sample:", "  diffusion.parameterization: [eps, v]\nsample:"))
    )
    assert [cell.point.name for cell in plan.cells if cell.failed] == ["time-eps"]
    rows = [said.row for said in sweep(plan, tmp_path / "out") if said.row]
    assert [row.cell for row in rows] == ["cosine-eps", "cosine-v", "time-eps", "time-v"]
    assert "eps cannot be learned" in rows[2].failed and rows[3].frechet is not None
    assert "eps cannot be learned" in markdown(rows)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("budget", "budgets", "did you mean budget?"),
        ("schedule.kind: cosine", "schedule.kind: cosin", "cosin"),
        (
            "diffusion.parameterization: velocity",
            "diffusion.parametrization: velocity",
            "diffusion.parameterization",
        ),
        ("steps: [4]", "step: [4]", "sample.steps"),
        ("steps: [4]", "steps: 2", "is a list"),
        ("[ddim, dpmpp_2m]", "[ddim, ddim]", "appears twice"),
        ("{steps: 3}", "{steps: 3, epochs: 1}", "budget is one of"),
        ("n: 40", "n: 4", "must be at least 10"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    with pytest.raises(ConfigError, match="(?s)" + says.replace("?", r"\?")):
        read_plan(written(tmp_path, SMALL.replace(old, new, 1)))


def test_what_is_within_noise_of_the_best() -> None:
    rows = [
        Row(name, "p", {"k": name}, x, x - 3, x + 3) for name, x in (("c", 15.0), ("a", 10.0), ("b", 14.0))
    ]
    rows.append(Row("d", "p", {"k": "d"}, failed="no"))
    # hypot(3, 3) = 4.24: b is 4 above the best, c is 5
    assert verdict(rows) == "best: a, 10 ± 3; within noise of it: b"
    assert [line[0] for line in table(rows)] == ["k", "a", "b", "c", "d"]
    assert verdict(rows[3:]) == "nothing could be measured: every cell failed"


def test_the_bundled_sweep_is_of_three_schedules_and_three_samplers() -> None:
    plan = read_plan("digits_schedules")
    assert len(plan.cells) == 3 and not any(cell.failed for cell in plan.cells)
    assert len({point.words["sampler"] for point in plan.points}) == 3
