"""The benchmark for a GPU: what it checks holds on every device that is here, and what fails in it is a row."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import devices
import gpu
import gpu_parts
import pytest
import torch
from devices import CHECKS, Row

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_the_device_computes_what_the_cpu_computes(name: str, device: str) -> None:
    rows = list(CHECKS[name](torch.device(device)))
    assert rows and [row for row in rows if row.good is False] == []


def test_in_quick_every_part_says_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_parts, "CHECKS", {"noise": devices.noise})  # the others are above
    assert gpu.main(["--quick", "--out", str(tmp_path), "--threads", "1"]) == 0
    content = json.loads((tmp_path / "gpu-quick.json").read_text())
    rows = {part: [Row(**row) for row in rows] for part, rows in content["parts"].items()}
    assert list(rows) == [*gpu.PARTS] and all(rows.values())
    whats = [row.what for some in rows.values() for row in some if row.value is not None]
    assert {
        "training, batch 16",
        "digits: 1 rows a call",
        "digits: 4 rows a call",
        "width 8, fp32: ours",
    } <= set(whats)
    assert sum("Fréchet distance" in what for what in whats) == 5
    assert (tmp_path / "gpu-quick.png").is_file() and (tmp_path / "gpu-quick-samples.png").is_file()


def test_a_part_that_fails_is_a_row_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(setting: Any) -> Iterator[Row]:
        yield Row("before", 1.0)
        raise torch.cuda.OutOfMemoryError("no more")

    def wrong(device: torch.device) -> Iterator[Row]:
        yield Row("a difference", float("nan"), "", 1e-3)

    monkeypatch.setattr(
        gpu_parts, "CHECKS", {"a": wrong, "b": broken, "c": lambda device: iter([Row("c", 2.0)])}
    )
    monkeypatch.setattr(gpu, "PARTS", {"memory": (broken, 1.0), "checks": (gpu_parts.checks, 1.0)})
    assert gpu.main(["--quick", "--parts", "memory", "checks", "--out", str(tmp_path)]) == 1
    parts = json.loads((tmp_path / "gpu-quick.json").read_text())["parts"]
    assert [row["what"] for row in parts["memory"]] == ["before", "memory"]
    assert [row["what"] for row in parts["checks"]] == ["a difference", "before", "b", "c"]
    assert (
        parts["memory"][1]["failed"]
        and "OutOfMemoryError: no more (test_gpu.py:" in parts["memory"][1]["note"]
    )
    assert "6 rows, 3 not as they should be" in capsys.readouterr().out


def test_a_part_that_takes_too_long_or_dies_is_a_row(tmp_path: Path) -> None:
    setting = gpu_parts.Setting("cpu", True, None, 0.3, tmp_path)
    (row,) = gpu.apart("memory", setting)
    assert row.good is False and row.note == "not done after 0 s"


def test_rows_know_what_is_good() -> None:
    cases = (
        (1.0, 2.0, True),
        (3.0, 2.0, False),
        (float("nan"), 2.0, False),
        (1.0, None, None),
        (None, None, None),
    )
    for value, most, good in cases:
        assert Row("x", value, "", most).good is good
    assert gpu_parts.failed("x", ValueError("no")).good is False


def test_a_device_that_is_off_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy on the device whose weights are a hundredth off does not pass."""
    plain = devices.copy.deepcopy

    def worse(net: torch.nn.Module) -> torch.nn.Module:
        with torch.no_grad():
            other = plain(net)
            for weight in other.parameters():
                weight.mul_(1.01)
        return other

    monkeypatch.setattr(devices.copy, "deepcopy", worse)
    monkeypatch.setattr(devices, "NETWORKS", {"unet_simple": devices.NETWORKS["unet_simple"]})
    assert [row.good for row in devices.networks(torch.device("cpu"))] == [False, False]
