"""kill -9 at any moment, also inside the write of a checkpoint, costs the steps since the last one and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_fit import bytes_of, metrics

HERE = Path(__file__).resolve().parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1] / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE.parent / "helpers_killing.py"), str(tmp_path), "20", "7"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["killed"] == 20 and counts["inside"] >= 5, counts
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    assert {p.name for p in (tmp_path / "killed" / "ema").glob("step-*")} == {
        p.name for p in (tmp_path / "whole" / "ema").iterdir()
    }
