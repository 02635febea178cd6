"""A run from a configuration to a model file. What was interrupted and went on is what was never interrupted, bit for bit."""

import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mezzotint import config, plots
from mezzotint.config import Config
from mezzotint.data import open as open_data
from mezzotint.disk.checkpoint import last_checkpoint
from mezzotint.disk.folder import read_metrics
from mezzotint.disk.model_file import read_header
from mezzotint.errors import ConfigError, RunError
from mezzotint.run import fit as fitting
from mezzotint.run.budget import Clock, Plan
from mezzotint.run.events import Busy, Done, Event, Logged, Note, Sheet, Tick
from mezzotint.run.fit import fit
from mezzotint.run.parts import Parts

RARE = dict.fromkeys(("validate_every", "sample_every", "checkpoint_every", "snapshot_every"), "100%")
POINTS: dict[str, Any] = {
    "data": {"name": "moons"},
    "network": {"kind": "mlp", "width": 8, "depth": 1},
    "train": {"steps": 10, "batch_size": 16, "log_every": "3 steps", "lr": 1e-2, **RARE},
    "sample": {"sampler": "ddim", "steps": 1},
}
PICTURES: dict[str, Any] = {
    "data": {"name": "digits", "limit": 64},
    "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "dropout": 0.3},
    "train": {"steps": 10, "batch_size": 12, "log_every": "3 steps", "precision": "fp32", "lr": 1e-2, **RARE},
    "sample": {"sampler": "ddim", "steps": 1},
}
BATCH_NORM = {"network": {"kind": "unet_simple", "width": 8, "levels": 2, "norm": "batch", "down": "stride"}}


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 batches of points, not 62: they take longer than the ten steps."""
    monkeypatch.setattr(open_data, "MAX_HELD_OUT", 256)


def make(base: dict[str, Any], changes: dict[str, Any] | None = None, **train: Any) -> Config:
    tree = {**base, **(changes or {})}
    return config.parse({**tree, "train": {**tree["train"], **train}})


def after(step: int) -> Callable[[], bool]:
    """Asked after every step; says stop at one."""
    asked = iter(range(1, 10**6))
    return lambda: next(asked) >= step


def run(config: Config, folder: Path, **options: Any) -> tuple[Done, list[Event]]:
    *events, done = fit(config, folder, **options)
    assert isinstance(done, Done)
    return done, events


def metrics(folder: Path) -> list[dict[str, Any]]:
    """What was logged, but for what a clock says."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Weights, average and moments of the newest checkpoint, its position, and the model file."""
    newest = last_checkpoint(folder)
    assert newest is not None
    return {f.name: f.read_bytes() for f in newest.iterdir()} | {
        "published": (folder / "model.safetensors").read_bytes()
    }


# --- going on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "changes", "train"),
    [
        pytest.param(POINTS, {}, {}, id="points"),
        pytest.param(POINTS, {}, {"accumulate": 3}, id="points-accumulate"),
        pytest.param(PICTURES, {}, {}, id="pictures"),
        pytest.param(PICTURES, {}, {"accumulate": 3}, id="pictures-accumulate"),
        pytest.param(PICTURES, {}, {"precision": "bf16"}, id="pictures-bf16"),
        pytest.param(PICTURES, {}, {"precision": "bf16", "accumulate": 2}, id="pictures-bf16-accumulate"),
        pytest.param(PICTURES, {}, {"precision": "bf16", "optimizer": "muon"}, id="pictures-bf16-muon"),
        pytest.param(PICTURES, BATCH_NORM, {"accumulate": 2}, id="batch-norm-accumulate"),
        pytest.param(
            {**PICTURES, "data": {**PICTURES["data"], "flip": True, "crop": 1, "colour": 0.2}},
            {},
            {},
            id="augmented",
        ),
    ],
)
def test_an_interrupted_run_is_the_run_that_was_not(
    tmp_path: Path, base: dict[str, Any], changes: dict[str, Any], train: dict[str, Any]
) -> None:
    """Stopped at steps 4 and 5, neither of which is logged, each time going on with new objects."""
    config = make(base, changes, **train)
    whole, _ = run(config, tmp_path / "whole")
    assert whole == Done(tmp_path / "whole", 10, 10, True)
    parts = tmp_path / "parts"
    assert run(config, parts, stop=after(4))[0] == Done(parts, 4, 10, False)
    torch.manual_seed(1234)  # whatever happened in between
    assert run(config, parts, stop=after(1))[0] == Done(parts, 5, 10, False)
    done, events = run(config, parts)
    assert done == Done(parts, 10, 10, True)
    assert any(isinstance(e, Note) and "resuming from step 5" in e.text for e in events)
    assert [e.step for e in events if isinstance(e, Tick)] == [6, 7, 8, 9, 10]
    assert bytes_of(parts) == bytes_of(tmp_path / "whole")
    assert metrics(parts) == metrics(tmp_path / "whole")
    rows = metrics(parts)
    assert [row["step"] for row in rows if "loss" in row] == [3, 6, 9, 10]
    assert "val_loss" in rows[-1]


def test_steps_after_the_last_checkpoint_are_done_again(tmp_path: Path) -> None:
    """A run that was killed between checkpoints goes on from the last, and forgets what it logged since."""
    config = make(POINTS, checkpoint_every="4 steps")
    run(config, tmp_path / "whole")
    killed = fit(config, tmp_path / "killed")
    for event in killed:
        if isinstance(event, Tick) and event.step == 7:
            killed.close()
            break
    assert [row["step"] for row in metrics(tmp_path / "killed")] == [3, 6]
    run(config, tmp_path / "killed", stop=after(1))
    assert [row["step"] for row in metrics(tmp_path / "killed")] == [3]
    run(config, tmp_path / "killed")
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")


def test_the_loss_curve_is_that_of_its_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "plots", plots)  # elsewhere it is blank
    run(make(POINTS), tmp_path)
    with Image.open(tmp_path / "loss.png") as drawn:
        assert drawn.tobytes() == plots.loss_curve(read_metrics(tmp_path)).tobytes()
        assert drawn.tobytes() != plots.loss_curve(read_metrics(tmp_path)[:-1]).tobytes()


def test_dropout_and_seed_matter(tmp_path: Path) -> None:
    """What the comparisons above would not notice if it were off."""
    plain = {**PICTURES["network"], "dropout": 0.0}
    kinds = [make(PICTURES), make(PICTURES, {"network": plain}), make(PICTURES, seed=1)]
    for i, kind in enumerate(kinds):
        run(kind, tmp_path / str(i))
    losses = [tuple(row["loss"] for row in metrics(tmp_path / str(i))) for i in range(3)]
    assert len(set(losses)) == 3


def test_a_larger_budget_goes_on_only_when_asked(tmp_path: Path) -> None:
    run(make(POINTS), tmp_path)
    with pytest.raises(ConfigError, match="--resume"):
        run(make(POINTS, steps=15), tmp_path)
    done, events = run(make(POINTS, steps=15), tmp_path, resume=True)
    assert done == Done(tmp_path, 15, 15, True)
    assert [e.step for e in events if isinstance(e, Tick)] == [11, 12, 13, 14, 15]
    assert [row["step"] for row in metrics(tmp_path)] == [3, 6, 9, 10, 12, 15]
    assert read_header(tmp_path / "model.safetensors").step == 15
    assert read_header(tmp_path / "model.safetensors").config.train.steps == 15


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    run(make(POINTS), tmp_path)
    before = bytes_of(tmp_path)
    (tmp_path / "model.safetensors").unlink()  # as if the end of the last save had been cut off
    done, events = run(make(POINTS), tmp_path)
    assert done == Done(tmp_path, 10, 10, True)
    assert isinstance(events[-1], Note) and "already trained to step 10" in events[-1].text
    assert bytes_of(tmp_path) == before


def test_overwrite_starts_anew(tmp_path: Path) -> None:
    run(make(POINTS, steps=4), tmp_path)
    done, events = run(make(POINTS, steps=3), tmp_path, overwrite=True)
    assert done == Done(tmp_path, 3, 3, True)
    assert [e.step for e in events if isinstance(e, Tick)] == [1, 2, 3]
    assert [p.name for p in (tmp_path / "checkpoints").glob("step-*")] == ["step-0000003"]


# --- budgets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "budget", "steps"),
    [
        (PICTURES, {"steps": 2}, 2),
        (PICTURES, {"images": 25}, 3),  # of 12 each: whole batches, none too few
        (PICTURES, {"epochs": 0.5}, 3),  # of the 61 that are not held out
        (POINTS, {"epochs": 0.01}, 7),  # an epoch of points is 10,000
    ],
)
def test_budgets_become_steps(
    tmp_path: Path, base: dict[str, Any], budget: dict[str, float], steps: int
) -> None:
    train = {key: value for key, value in base["train"].items() if key != "steps"}
    done, _ = run(make({**base, "train": train}, **budget), tmp_path)
    assert (done.step, done.until) == (steps, steps)


def test_minutes_are_measured_once_and_stored(tmp_path: Path) -> None:
    train = {key: value for key, value in POINTS["train"].items() if key != "steps"}
    config = make({**POINTS, "train": train}, minutes=0.3)
    first, events = run(config, tmp_path, stop=after(3))
    assert first.until > 3 and not first.finished
    assert any(isinstance(e, Note) and "measuring" in e.text for e in events)
    assert any(isinstance(e, Note) and f"are {first.until:,} steps" in e.text for e in events)
    second, events = run(config, tmp_path, stop=after(2))
    assert second.until == first.until
    assert not any(isinstance(e, Note) and "measuring" in e.text for e in events)


def test_a_run_goes_on_by_the_looks_at_the_clock_that_were_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before, at and after a look: the same bits, since a look is in the checkpoint that is written with it."""
    monkeypatch.setattr(Parts, "measured_budget", lambda self, began: 100)
    looks: list[int] = []

    def look(self: Clock, plan: Plan, step: int) -> Plan:
        looks.append(step)
        return plan.looked(step, seconds_left=160 - step, seconds_a_step=1)

    monkeypatch.setattr(Clock, "look", look)
    train = {key: value for key, value in POINTS["train"].items() if key != "steps"}
    config = make({**POINTS, "train": train}, minutes=3)
    whole, events = run(config, tmp_path / "whole")
    assert whole.finished and whole.until > 150
    assert len(looks) == 4 and looks[0] == 10
    told = [e.text for e in events if isinstance(e, Note) and "the speed of the last steps" in e.text]
    assert len(told) == 1  # the other looks change little
    parts = tmp_path / "parts"
    for stop in (8, 2, 3, 13):  # the second one at a look
        assert not run(config, parts, stop=after(stop))[0].finished
    assert run(config, parts)[0] == Done(parts, whole.until, whole.until, True)
    rates = [row["lr"] for row in metrics(parts) if "lr" in row]
    assert rates[1:] == sorted(rates[1:], reverse=True) and rates[-1] < 1e-5 < rates[1]
    one, other = (bytes_of(tmp_path / name) for name in ("whole", "parts"))
    assert one.pop("state.json") != other.pop("state.json")  # which says how long it took
    assert one == other and metrics(tmp_path / "whole") == metrics(parts)


def test_a_run_of_a_version_that_never_looked_keeps_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Parts, "measured_budget", lambda self, began: 30)
    train = {key: value for key, value in POINTS["train"].items() if key != "steps"}
    config = make({**POINTS, "train": train}, minutes=3)
    with monkeypatch.context() as before:
        before.setattr(fitting, "clock_of", lambda *_: None)
        assert not run(config, tmp_path, stop=after(8))[0].finished
    assert run(config, tmp_path)[0] == Done(tmp_path, 30, 30, True)


# --- what a run writes and says --------------------------------------------------------------------------


@pytest.fixture
def ample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for all sheets, whatever else this machine does."""
    monkeypatch.setattr("mezzotint.run.allowance.FREE_SECONDS", 1e6)


@pytest.mark.usefixtures("ample")
def test_a_run_directory_has_what_the_pages_promise(tmp_path: Path) -> None:
    config = make(
        PICTURES, sample_every="5 steps", checkpoint_every="5 steps", snapshot_every="5 steps", keep=1
    )
    done, events = run(config, tmp_path / "a" / "run", watch=True)
    folder = done.folder
    files = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file() and "watch/" not in str(f)}
    assert files == {
        "config.yaml",
        "env.json",
        "metrics.jsonl",
        "model.safetensors",
        "loss.png",
        "checkpoints/last.json",
        *(f"checkpoints/step-0000010/{name}" for name in ("state.json",)),
        *(f"checkpoints/step-0000010/{name}.safetensors" for name in ("model", "ema", "optim")),
        "samples/step-0000005.png",
        "samples/step-0000010.png",
        "samples/watch.png",
        "samples/watch.gif",
        *(f"ema/step-{step:07}.safetensors" for step in (5, 10)),
        ".lock",
    }
    with Image.open(folder / "samples" / "watch.gif") as gif:
        assert getattr(gif, "n_frames", 1) > 1
    first = next(e for e in events if isinstance(e, Note))
    assert "pictures 1x8x8, 10 classes" in first.text
    ticks = [e for e in events if isinstance(e, Tick)]
    assert [(t.step, t.until) for t in ticks] == [(i, 10) for i in range(1, 11)]
    assert [t.step for t in ticks if t.loss is not None] == [3, 6, 9, 10]
    assert config == read_header(folder / "model.safetensors").config


def test_the_logged_loss_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    run(make(POINTS, log_every="1 step"), tmp_path / "each")
    run(make(POINTS, log_every="5 steps"), tmp_path / "five")
    each = [row["loss"] for row in metrics(tmp_path / "each")]
    five = [row["loss"] for row in metrics(tmp_path / "five")]
    assert five == pytest.approx([sum(each[:5]) / 5, sum(each[5:]) / 5], rel=1e-6)


def test_a_lost_network_ends_the_run_and_is_never_saved(tmp_path: Path) -> None:
    config = make(POINTS, lr=1e30, clip=None, warmup=0.9, log_every="100 steps", checkpoint_every="1 step")
    with pytest.raises(RunError, match="not finite") as caught:
        run(config, tmp_path)
    assert "\n" not in str(caught.value) and "train.lr" in str(caught.value)
    for file in tmp_path.glob("checkpoints/step-*/model.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(file).values())


def test_a_training_that_is_lost_ends_at_the_next_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"training failed: step \d+ was not finite") as caught:
        run(make(POINTS, lr=1e30, clip=None, log_every="40 steps", steps=100), tmp_path)
    assert "weights" in str(caught.value) or "layer" in str(caught.value)


class Poisoned:
    """A network's layer, or the data, that gives nan at chosen steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, where: str, steps: set[int]) -> None:
        from mezzotint.data import open as source
        from mezzotint.nets import mlp

        self.step = -1
        batch, forward = source.Points._batch, mlp.MLP.forward

        def poisoned_batch(points: Any, size: int, seed: tuple[int, ...]) -> Any:
            x, label = batch(points, size, seed)
            training = len(seed) == 2 and seed != (0, 0)
            self.step = seed[1] if training else -1
            if where == "data" and self.step in steps:
                x = x.clone()
                x[3] = math.nan
            return x, label

        def poisoned_forward(net: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            return forward(net, x, *args, **kwargs)

        def enter(layer: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            return output * math.nan if self.step in steps else output

        monkeypatch.setattr(source.Points, "_batch", poisoned_batch)
        if where == "layer":
            init = mlp.MLP.__init__

            def poisoned_init(net: Any, *args: Any, **kwargs: Any) -> None:
                init(net, *args, **kwargs)
                net.enter.register_forward_hook(enter)

            monkeypatch.setattr(mlp.MLP, "__init__", poisoned_init)


@pytest.mark.parametrize(
    ("where", "words"),
    [("data", "data has values that are not finite, in row 3"), ("layer", "layer enter (Linear)")],
)
def test_a_step_that_is_not_finite_is_left_out_named_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, words: str
) -> None:
    Poisoned(monkeypatch, where, {4})
    done, events = run(make(POINTS, seed=1, checkpoint_every="5 steps"), tmp_path / "a")
    assert done.finished
    notes = [e.text for e in events if isinstance(e, Note)]
    assert sum("step 5 was not finite" in text and words in text for text in notes) == 1, notes
    rows = metrics(tmp_path / "a")
    assert [row.get("skipped") for row in rows if "lr" in row] == [None, 1, None, None]
    assert all(math.isfinite(row["loss"]) for row in rows if "loss" in row)
    for file in (tmp_path / "a").glob("checkpoints/step-*/*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(file).values()), file
    run(
        make(POINTS, seed=1, checkpoint_every="5 steps"), tmp_path / "b", stop=after(7)
    )  # and exactly resumed
    run(make(POINTS, seed=1, checkpoint_every="5 steps"), tmp_path / "b")
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


def test_a_lost_run_goes_back_and_on_at_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 41 to 70 fail as long as the rate is whole; the run goes back to step 40 and ends well."""
    import mezzotint.run.parts as module

    slower_seen: list[float] = []
    poisoned: set[int] = set()
    steps = module.Parts.steps

    def spy(self: Any, until: int, slower: float = 1.0, trial: Any = None, plan: Any = None) -> Any:
        slower_seen.append(slower)
        poisoned.update(range(40, 70)) if slower == 1 else poisoned.clear()
        return steps(self, until, slower, trial, plan)

    monkeypatch.setattr(module.Parts, "steps", spy)
    Poisoned(monkeypatch, "layer", poisoned)
    config = make(
        POINTS, seed=1, steps=100, log_every="20 steps", checkpoint_every="20 steps", nonfinite="rollback"
    )
    done, events = run(config, tmp_path)
    assert done == Done(tmp_path, 100, 100, True)
    assert slower_seen == [1.0, 0.5]
    notes = [e.text for e in events if isinstance(e, Note)]
    assert any("from step 60 back to 40, at 0.5 of the learning rate" in text for text in notes), notes
    rows = [row for row in metrics(tmp_path) if "lr" in row]
    assert [row["step"] for row in rows] == [20, 40, 60, 80, 100] and not any(
        "skipped" in row for row in rows
    )
    newest = last_checkpoint(tmp_path)
    assert newest is not None and json.loads((newest / "state.json").read_text())["rollbacks"] == 1


def test_a_run_that_is_lost_again_and_again_ends(tmp_path: Path) -> None:
    config = make(
        POINTS,
        lr=1e30,
        clip=None,
        steps=60,
        log_every="30 steps",
        checkpoint_every="30 steps",
        nonfinite="rollback",
    )
    with pytest.raises(RunError, match="after going back 5 times"):
        run(config, tmp_path)
    rows = metrics(tmp_path)
    assert rows == [] or all(math.isfinite(row.get("loss", 0.0)) for row in rows)


def test_two_runs_cannot_write_into_one_directory(tmp_path: Path) -> None:
    config = make(POINTS)
    first = fit(config, tmp_path)
    assert any(isinstance(event, Note) for event in first)  # up to where it holds the directory
    with pytest.raises(ConfigError, match="another process is training into"):
        run(config, tmp_path)
    first.close()
    assert run(config, tmp_path)[0].finished


def test_a_damaged_checkpoint_costs_its_steps_and_is_said(tmp_path: Path) -> None:
    config = make(POINTS, checkpoint_every="3 steps")
    run(config, tmp_path / "whole")
    run(config, tmp_path / "a", stop=after(8))
    file = tmp_path / "a" / "checkpoints" / "step-0000008" / "optim.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    done, events = run(config, tmp_path / "a")
    notes = [e.text for e in events if isinstance(e, Note)]
    assert any("optim.safetensors is damaged" in n and "older checkpoint" in n for n in notes)
    assert any("resuming from step 6" in n for n in notes)
    assert done.finished and bytes_of(tmp_path / "a") == bytes_of(tmp_path / "whole")
    assert metrics(tmp_path / "a") == metrics(tmp_path / "whole")


def test_other_data_under_the_same_name_is_refused(tmp_path: Path) -> None:
    """A resume over changed pictures would silently be neither the old run nor a new one."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(20):
        Image.new("L", (8, 8), 10 * i).save(pictures / f"{i:02}.png")
    tree = {**PICTURES, "data": {"name": "folder", "path": str(pictures), "size": 8}}
    run(make(tree), tmp_path / "a", stop=after(3))
    before = bytes_of(tmp_path / "a")
    Image.new("L", (8, 8), 255).save(pictures / "07.png")
    with pytest.raises(ConfigError, match="data has changed since step 3"):
        run(make(tree), tmp_path / "a")
    assert bytes_of(tmp_path / "a") == before
    Image.new("L", (8, 8), 70).save(pictures / "07.png")
    assert run(make(tree), tmp_path / "a")[0].finished


def test_a_constant_decay_can_be_had_instead(tmp_path: Path) -> None:
    run(make(POINTS, ema_decay=0.5), tmp_path)
    assert read_header(tmp_path / "model.safetensors").weights == "ema decay 0.5"
    decayed = load_file(tmp_path / "model.safetensors")
    run(make(POINTS), tmp_path / "power")
    power = load_file(tmp_path / "power" / "model.safetensors")
    assert any(not torch.equal(decayed[name], power[name]) for name in power)


@pytest.mark.parametrize(
    "broken", ["cut_metrics", "log_metrics", "save_checkpoint", "save_model", "plots.save_png"]
)
def test_a_full_disk_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    run(make(POINTS), tmp_path, stop=after(4))
    with monkeypatch.context() as patch:
        patch.setattr(f"mezzotint.run.fit.{broken}", full)
        with pytest.raises(RunError, match=r"No space left.* free disk space"):
            run(make(POINTS), tmp_path)
    assert run(make(POINTS), tmp_path)[0] == Done(tmp_path, 10, 10, True)


def test_a_batch_may_be_larger_than_the_data(tmp_path: Path) -> None:
    assert run(make(PICTURES, batch_size=100, steps=2), tmp_path)[0].finished


def test_the_held_out_loss_is_of_the_average_on_pictures_kept_out(tmp_path: Path) -> None:
    config = make(PICTURES, validate_every="5 steps", log_every="5 steps")
    run(config, tmp_path)
    rows = metrics(tmp_path)
    assert [row["step"] for row in rows if "val_loss" in row] == [5, 10]
    assert all(math.isfinite(row["val_loss"]) and row["val_loss"] > 0 for row in rows)
    for row in rows:
        assert len(row["loss_by_level"]) == len(row["val_loss_by_level"]) == 8
        assert math.isfinite(row["ema_gap"])
    nothing = make({**PICTURES, "data": {**PICTURES["data"], "holdout": 0.0}})
    run(nothing, tmp_path / "nothing")
    assert not any("val_loss" in row for row in metrics(tmp_path / "nothing"))


def test_the_held_out_loss_takes_a_tenth_of_the_work(tmp_path: Path) -> None:
    """Counted and not timed; said where it is less often than asked for, and the last is always there."""
    half = {**PICTURES, "data": {**PICTURES["data"], "holdout": 0.5}}
    _, events = run(make(half, steps=28, validate_every="2 steps"), tmp_path / "a")
    assert [row["step"] for row in metrics(tmp_path / "a") if "val_loss" in row] == [26, 28]
    said = "the held-out loss is computed every 26 steps and at the end, to save time"
    assert [e.text for e in events if isinstance(e, Note) and "held-out loss" in e.text] == [said]
    _, events = run(make(half, steps=3, validate_every="1 step"), tmp_path / "b")
    assert [row["step"] for row in metrics(tmp_path / "b") if "val_loss" in row] == [3]
    assert any(isinstance(e, Note) and "computed only at the end" in e.text for e in events)


def test_the_loss_is_told_between_slow_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And neither logged nor counted twice."""
    rare = make(POINTS, log_every="5 steps")
    run(rare, tmp_path / "a")
    monkeypatch.setattr("mezzotint.run.fit.QUIET_SECONDS", 0.0)
    _, events = run(rare, tmp_path / "b")
    ticks = [e for e in events if isinstance(e, Tick)]
    assert all(tick.loss is not None for tick in ticks)
    assert metrics(tmp_path / "b") == metrics(tmp_path / "a")


def test_what_takes_long_is_announced(tmp_path: Path) -> None:
    _, events = run(make(PICTURES), tmp_path)
    assert events[0] == Busy("reading digits")
    assert Busy("step 10: held-out loss, pictures, checkpoint") in events


def test_a_judge_is_asked_when_its_turn_comes(tmp_path: Path) -> None:
    asked: list[int] = []

    def judge(model: Any) -> dict[str, float]:
        asked.append(len(model.sample(3)))
        return {"frechet distance": 1.5}

    list(fit(make(POINTS, evaluate_every="5 steps"), tmp_path / "a", judge=judge))
    rows = metrics(tmp_path / "a")
    assert [row["step"] for row in rows if "frechet distance" in row] == [5, 10] and asked == [3, 3]
    list(fit(make(POINTS), tmp_path / "b", judge=judge))
    assert asked == [3, 3]  # off by default


@pytest.mark.usefixtures("ample")
def test_rows_and_sheets_are_told_as_they_are_written(tmp_path: Path) -> None:
    _, events = run(make(POINTS, sample_every="5 steps"), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [event.row for event in events if isinstance(event, Logged)] == rows
    assert [event.step for event in events if isinstance(event, Sheet)] == [5, 10]


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of files")
def test_a_limit_of_file_sizes_costs_the_steps_since(tmp_path: Path) -> None:
    """`ulimit -f`: a checkpoint that does not fit is no checkpoint, and the one before stands."""
    import resource

    config = make(PICTURES, checkpoint_every="3 steps")
    run(config, tmp_path / "whole")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    events = fit(config, tmp_path / "run")
    try:
        with pytest.raises(RunError, match=r"cannot be written .*File too large.* same command to resume"):
            for event in events:
                if isinstance(event, Tick) and event.step == 4:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "run").rglob("*.tmp"))
    done, later = run(config, tmp_path / "run")
    assert done.finished and any("resuming from step 3" in e.text for e in later if isinstance(e, Note))
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make(PICTURES, checkpoint_every="3 steps")
    run(config, tmp_path / "whole")
    now = itertools.count(1_000_000_000, -3600)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: float(next(now)))
        patch.setattr(time, "time_ns", lambda: next(now) * 10**9)
        run(config, tmp_path / "run", stop=after(5))
        run(config, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("step-*"):  # the newest by step, not by its time
        os.utime(path, (0, 0) if path.name == "step-0000010" else None)
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_a_batch_norm_of_one_value_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Not by PyTorch's own words, with the directory claimed."""
    four_levels = {"network": {**BATCH_NORM["network"], "levels": 4}}  # of 8 pixels, 1 is left
    for train in ({"batch_size": 1}, {"batch_size": 4, "accumulate": 4}):
        config = make(PICTURES, four_levels, **train)
        with pytest.raises(ConfigError, match=r"network\.norm=group"):
            run(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()
        group = {"network": {**four_levels["network"], "norm": "group"}}
        assert run(make(PICTURES, group, **train, steps=1), tmp_path / f"group{len(train)}")[0].finished
    assert run(make(PICTURES, BATCH_NORM, batch_size=1, steps=2), tmp_path / "two")[0].finished, (
        "4 x 4 pixels"
    )


def test_a_folder_that_stops_taking_files_midway_costs_the_steps_since(tmp_path: Path) -> None:
    """As one made read-only does, also to an administrator: a file lies where a folder was."""
    config = make(POINTS, checkpoint_every="3 steps")
    events = fit(config, tmp_path / "run")
    aside = tmp_path / "aside"
    with pytest.raises(RunError, match=r"cannot be written .* then run the same command to resume"):
        for event in events:
            if isinstance(event, Tick) and event.step == 4:
                (tmp_path / "run" / "checkpoints").rename(aside)
                (tmp_path / "run" / "checkpoints").write_text("")
    (tmp_path / "run" / "checkpoints").unlink()
    aside.rename(tmp_path / "run" / "checkpoints")
    done, later = run(config, tmp_path / "run")
    assert done.finished and any("resuming from step 3" in e.text for e in later if isinstance(e, Note))
