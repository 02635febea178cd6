"""Trackers are told every step once, whatever happens to the run, and never stand in the way of training."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.cli import explain
from mezzotint.data import MissingExtra
from mezzotint.errors import ConfigError
from mezzotint.run.track import Tracker, flat, open_trackers

CONFIG = {"train": {"lr": 0.001}}


def row(step: int, scale: float = 1.0) -> dict[str, Any]:
    return {"step": step, "loss": scale / step, "levels": [scale * step, None, 0.5]}


def told(tracker: Tracker, *steps: int, scale: float = 1.0) -> None:
    for step in steps:
        tracker.scalars(step, row(step, scale))


def test_rows_become_numbers() -> None:
    odd = {"step": 3, "a": 1, "b": [2, None, 3.5], "c": None, "d": "words", "e": []}
    assert flat(odd) == {"a": 1.0, "b/0": 2.0, "b/2": 3.5}


def test_no_tracker_unless_asked_for(tmp_path: Path) -> None:
    assert open_trackers([], tmp_path, CONFIG, "run") == []
    with pytest.raises(ConfigError, match="'tensorbord'; the trackers are tensorboard and wandb"):
        open_trackers(["tensorbord"], tmp_path, CONFIG, "run")


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        MissingExtra, match=rf'{name} is not installed; run: pip install "mezzotint\[track\]"'
    ) as raised:
        open_trackers([name], tmp_path, CONFIG, "run")
    assert explain(raised.value)[0] == 4


# --- TensorBoard -----------------------------------------------------------------------------------------


def board(folder: Path) -> Tracker:
    pytest.importorskip("tensorboard", reason="the extra [track] is not installed")
    (tracker,) = open_trackers(["tensorboard", "tensorboard"], folder, CONFIG, "run")
    return tracker


def seen(folder: Path, tag: str) -> list[tuple[int, float]]:
    """What TensorBoard's own reader makes of the event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [(event.step, event.value) for event in reader.Scalars(tag)]


def test_tensorboard_shows_rows_pictures_and_settings(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = board(tmp_path)
    assert list(tmp_path.iterdir()) == []  # a run directory is not ours before the run begins
    told(tracker, 10, 20)
    assert seen(tmp_path, "loss") == [
        (10, pytest.approx(0.1)),
        (20, pytest.approx(0.05)),
    ]  # before it is closed
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)
    tracker.picture(20, "samples", Image.fromarray(pixels))
    tracker.close()
    assert seen(tmp_path, "levels/0") == [(10, 10.0), (20, 20.0)] and seen(tmp_path, "levels/2")[0] == (
        10,
        0.5,
    )
    reader = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(reader.Tags()["scalars"]) == {"loss", "levels/0", "levels/2"}
    (image,) = reader.Images("samples")
    assert (image.step, image.width, image.height) == (20, 9, 6)
    (text,) = reader.Tensors("config/text_summary")
    assert b"lr: 0.001" in text.tensor_proto.string_val[0]


def test_tensorboard_has_no_step_twice_after_a_resume(tmp_path: Path) -> None:
    first = board(tmp_path)
    told(first, 10, 20, 30, 40)  # killed here; the last checkpoint was at step 20
    second = board(tmp_path)
    told(second, 30, 40, 50, scale=2)
    told(second, 40, scale=3)  # and once more back, without a new process
    second.close()
    expected = {10: 0.1, 20: 0.05, 30: 2 / 30, 40: 3 / 40}
    assert dict(seen(tmp_path, "loss")) == pytest.approx(expected)
    assert len(seen(tmp_path, "loss")) == len(expected)


def test_a_tracker_that_cannot_begin_is_left_behind_with_one_warning(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file in the way")
    tracker = board(tmp_path)
    with pytest.warns(UserWarning, match="tensorboard failed .*training continues") as caught:
        told(tracker, 10)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told(tracker, 20)
        tracker.picture(20, "samples", Image.new("L", (8, 8)))
        tracker.close()


def test_a_disk_that_fills_up_stops_the_tracker_alone(tmp_path: Path) -> None:
    """Files may grow to 20 kB, as on a full disk: the writer's own thread fails, and training hears one warning."""
    resource = pytest.importorskip("resource", reason="limits of file sizes are a thing of POSIX")
    pytest.importorskip("tensorboard", reason="the extra [track] is not installed")
    del resource
    code = f"""
import resource, time, warnings
from pathlib import Path
from mezzotint.run.track import open_trackers
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
(tracker,) = open_trackers(["tensorboard"], Path({str(tmp_path)!r}), {{}}, "run")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for step in range(300):
        tracker.scalars(step, {{f"a{{i}}": 1.0 for i in range(10)}})
    tracker.close()
print("trained on", [str(w.message)[:18] for w in caught])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "trained on ['tensorboard failed']"


# --- Weights & Biases ------------------------------------------------------------------------------------


class Sent:
    """Stands in for the package, and keeps what it was given."""

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.account, self.broken = True, False

    def login(self, prompt: bool) -> bool:
        assert not prompt
        return self.account

    def init(self, **how: Any) -> Any:
        self.opened.append(how)
        return SimpleNamespace(log=self.log, finish=lambda: None)

    def log(self, content: dict[str, Any], step: int) -> None:
        if self.broken:
            raise ConnectionError("no network")
        self.rows.append((step, content))

    Image = staticmethod(lambda image: image.size)
    Settings = SimpleNamespace


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    sent = Sent()
    monkeypatch.setitem(sys.modules, "wandb", sent)  # type: ignore[arg-type]
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return sent


def wandb(folder: Path) -> Tracker:
    (tracker,) = open_trackers(["wandb"], folder, CONFIG, "digits")
    return tracker


def test_wandb_goes_on_with_the_same_run_and_new_steps(tmp_path: Path, sent: Sent) -> None:
    first = wandb(tmp_path)
    assert not sent.opened and list(tmp_path.iterdir()) == []
    told(first, 10, 20, 30)
    first.picture(30, "samples", Image.new("L", (8, 8)))
    second = wandb(tmp_path)
    told(second, 20, 30, 40, 20)
    assert [step for step, _ in sent.rows] == [10, 20, 30, 30, 40]
    assert sent.rows[0][1] == {"loss": 0.1, "levels/0": 10.0, "levels/2": 0.5}
    assert sent.rows[3][1] == {"samples": (8, 8)}
    assert [how["id"] for how in sent.opened] == [sent.opened[0]["id"]] * 2
    assert all(how["config"] == CONFIG and how["name"] == "digits" for how in sent.opened)
    assert json.loads((tmp_path / "wandb" / "run.json").read_text())["step"] == 40
    told(other := wandb(tmp_path / "another"), 10)
    other.close()
    assert sent.opened[2]["id"] != sent.opened[0]["id"]


def test_wandb_says_before_training_that_there_is_no_login(
    tmp_path: Path, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent.account = False
    with pytest.raises(ConfigError, match=r"wandb login.*WANDB_MODE=offline"):
        wandb(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    told(wandb(tmp_path), 10)
    assert len(sent.rows) == 1


def test_a_lost_network_is_said_once(tmp_path: Path, sent: Sent) -> None:
    tracker = wandb(tmp_path)
    told(tracker, 10)
    sent.broken = True
    with pytest.warns(UserWarning, match=r"wandb failed \(no network\)") as caught:
        told(tracker, 20, 30)
    assert len(caught) == 1 and len(sent.rows) == 1


def test_wandb_itself_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(
        "wandb", reason="wandb is not installed: it is large, and only the extra [track] has it"
    )
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="wandb failed")
        for steps in ((10, 20), (20, 30)):
            tracker = wandb(tmp_path)
            told(tracker, *steps)
            tracker.picture(steps[-1], "samples", Image.new("L", (8, 8)))
            tracker.close()
    runs = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert len({run.name for run in runs}) == 1  # one id
    assert len(list((tmp_path / "wandb").glob("offline-run-*/files/media/images/samples_*.png"))) == 2
