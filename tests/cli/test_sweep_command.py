"""mezzotint sweep: what it would do, what it says of a name it does not know, and a small sweep from end to end."""

from pathlib import Path

import pytest
from helpers_workshop import Call

from mezzotint.evaluate.judges import classifier

SWEEP = """
base: digits
budget: {steps: 2}
n: 20
train: {network.width: [8]}
sample: {sampler: [ddim, heun], steps: [2]}
"""


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(classifier, "budget", lambda count: 2000)
    return tmp_path


def test_a_dry_run_lists_the_cells_and_writes_nothing(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("sweep", "digits_schedules", "--dry-run")
    assert (answer.code, answer.err) == (0, "")
    assert "3 cells to train, 9 ways to sample each, 1,000 pictures a row" in answer.out
    assert all(name in answer.out for name in ("linear", "cosine", "flow", "dpmpp_2m-20"))
    assert list(desk.iterdir()) == []


def test_a_name_that_is_none_is_told(mezzotint: Call) -> None:
    answer = mezzotint("sweep", "digits_schedule", "--dry-run")
    assert answer.code == 2 and "did you mean 'digits_schedules'?" in answer.err


def test_a_small_sweep(mezzotint: Call, desk: Path) -> None:
    (desk / "small.yaml").write_text(SWEEP)
    answer = mezzotint("sweep", "small.yaml")
    assert (answer.code, answer.err) == (0, "")
    assert "best: " in answer.out and "sweeps/small/table.md" in answer.out
    rows = (desk / "sweeps" / "small" / "table.md").read_text().splitlines()
    assert len([row for row in rows if row.startswith("| 8 | ")]) == 2
    again = mezzotint("sweep", "small.yaml")
    assert again.code == 0 and "training" not in again.out
