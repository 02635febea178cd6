"""Training from the command line: from nothing to a model, interrupted and gone on with, watched, overwritten."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from helpers_forked import popen
from helpers_workshop import DIGITS, POINTS, SECONDS, Call, contents
from PIL import Image

MOONS = ("train", "moons", *POINTS, "train.log_every=1 steps")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for sheets and checks, whatever else this machine does."""
    monkeypatch.setattr("mezzotint.run.allowance.FREE_SECONDS", 1e6)


def steps(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def half_files(folder: Path) -> list[Path]:
    dotted = [path for path in folder.rglob("*") if path.name.startswith(".") and path.name != ".lock"]
    return dotted + list(folder.rglob("*.tmp"))


@pytest.mark.usefixtures("ample")
def test_leaves_a_run_directory(mezzotint: Call, bench: Path) -> None:
    answer = mezzotint("train", "digits", *DIGITS, "--steps", 4)
    assert (answer.code, answer.err) == (0, "")
    assert "digits: pictures 1x8x8, 10 classes, 1,707 to train on, 90 held out; unet" in answer.out
    assert "step 4/4  loss" in answer.out and "images/s" in answer.out
    assert "done: runs/digits/model.safetensors at step 4" in answer.out
    assert "mezzotint sample digits" in answer.out
    run = bench / "runs" / "digits"
    assert {path.name for path in run.iterdir()} == {
        *("config.yaml", "env.json", "metrics.jsonl", "log.txt", "checkpoints", "samples", "loss.png"),
        *("model.safetensors", "ema", ".lock", "report.html", "memorization.json", "memorization.png"),
    }
    assert [path.name for path in (run / "samples").iterdir()] == ["step-0000004.png"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["network"]["width"] == 8 and config["train"]["steps"] == 4
    assert config["train"]["images"] is None, "the recipe's budget gave way"
    assert "step 4/4  loss" in (run / "log.txt").read_text()
    assert half_files(bench) == []


def test_a_run_without_time_for_extras_says_what_it_left_out(
    mezzotint: Call, bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzotint.run.allowance.FREE_SECONDS", -1e6)
    monkeypatch.setattr("mezzotint.run.allowance.SHARE", 0.0)
    words = ("train", "digits", *DIGITS, "--steps", 4, "train.sample_every=2 steps", "sample.steps=9")
    answer = mezzotint(*words)
    assert (answer.code, answer.err) == (0, "")
    assert "sheets take a tenth of the time at most: of 2, 1 left out and 1 smaller\n" in answer.out
    said = "not checked for copies of the training pictures, to save time; check: mezzotint report digits --copies\n"
    assert said in answer.out and said in (bench / "runs/digits/log.txt").read_text()
    run = bench / "runs/digits"
    assert [path.name for path in (run / "samples").iterdir()] == ["step-0000004.png"], "the last is there"
    assert (run / "report.html").is_file() and (run / "loss.png").is_file()
    assert not (run / "memorization.json").exists()
    assert mezzotint("report", "digits", "--copies").out == "runs/digits/report.html\n"
    assert (run / "memorization.json").is_file()
    assert "copies" not in mezzotint(*words).out, "a run that was checked is not checked again"


def test_metrics_are_sent_on(mezzotint: Call, bench: Path) -> None:
    pytest.importorskip("tensorboard")
    answer = mezzotint(*MOONS, "--steps", 4, "--track", "tensorboard")
    assert (answer.code, answer.err) == (0, "")
    assert list((bench / "runs" / "moons" / "tensorboard").glob("events.*"))
    refused = mezzotint(*MOONS, "--steps", 4, "--track", "diary", "--overwrite")
    assert refused.code == 2 and "tensorboard and wandb" in refused.err


def test_steps_of_sampling_are_no_budget(mezzotint: Call, bench: Path) -> None:
    """sample.steps is no budget, though it ends in one's name."""
    answer = mezzotint("train", "digits", "sample.steps=7", "--dry-run")
    assert "images: 80000" in answer.out and "steps: 7" in answer.out


def test_a_finished_run_says_so(mezzotint: Call, bench: Path) -> None:
    words = (*MOONS, "--steps", 3)
    assert mezzotint(*words).code == 0
    weights = (bench / "runs/moons/model.safetensors").read_bytes()
    again = mezzotint(*words)
    assert again.code == 0
    assert (
        "runs/moons is already trained to step 3; raise the budget and add --resume to train on" in again.out
    )
    assert (bench / "runs/moons/model.safetensors").read_bytes() == weights
    assert steps(bench / "runs/moons") == [1, 2, 3]


def test_a_larger_budget_goes_on_with_resume(mezzotint: Call, bench: Path) -> None:
    assert mezzotint(*MOONS, "--steps", 3).code == 0
    refused = mezzotint(*MOONS, "--steps", 5)
    assert refused.code == 2 and "(train.steps: 3 -> 5); add --resume" in refused.err
    resumed = mezzotint(*MOONS, "--steps", 5, "--resume")
    assert resumed.code == 0 and "resuming from step 3 of runs/moons" in resumed.out
    assert steps(bench / "runs/moons") == [1, 2, 3, 4, 5]
    assert "already trained to step 5" in mezzotint(*MOONS, "--steps", 5).out
    other = mezzotint(*MOONS, "--steps", 9, "--resume", "--lr", 0.5)
    assert other.code == 2 and "(train.lr: 0.002 -> 0.5)" in other.err, "only the budget may change"


def test_overwrite_starts_anew(mezzotint: Call, bench: Path) -> None:
    assert mezzotint(*MOONS, "--steps", 5).code == 0
    (bench / "runs/moons/notes.txt").write_text("mine")
    answer = mezzotint(*MOONS, "--steps", 2, "--lr", 0.1, "--overwrite")
    assert answer.code == 0 and "going on" not in answer.out
    assert steps(bench / "runs/moons") == [1, 2]
    assert [path.name for path in (bench / "runs/moons/checkpoints").glob("step-*")] == ["step-0000002"]
    assert (bench / "runs/moons/notes.txt").read_text() == "mine", "what is not the run's stays"


def test_what_cannot_begin_overwrites_nothing(mezzotint: Call, bench: Path) -> None:
    assert mezzotint(*MOONS, "--steps", 2).code == 0
    before = contents(bench)
    for wrong in ("data.size=3", "network.kind=unet", "sample.spacing=trailing", "--device=foo"):
        assert mezzotint(*MOONS, "--steps", 2, "--overwrite", wrong).code == 2
    assert contents(bench) == before


def test_where_it_computes_may_change(mezzotint: Call, bench: Path) -> None:
    assert mezzotint(*MOONS, "--steps", 2).code == 0
    free = (
        "--device",
        "cpu",
        "--no-compile",
        "train.keep=1",
        "train.sample_every=1 epochs",
        "data.memory_gb=1",
    )
    assert "already trained" in mezzotint(*MOONS, "--steps", 2, *free).out


def test_data_named_from_one_folder_are_found_from_another(
    mezzotint: Call, bench: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is kept whole: what goes on, elsewhere, needs no --data, nor do those who judge the model."""
    shutil.copytree(store / "few", bench / "photos")
    small = ("data.size=8", "data.holdout=0", "--batch-size", 4, "network.width=8", "network.multipliers=[1]")
    words = (*small, "network.attention=[]", "train.sample_every=100%", "sample.steps=2", "--name", "odd")
    assert mezzotint("train", "folder", "--data", "photos", *words, "--steps", 2).code == 0
    (bench / "elsewhere").mkdir()
    monkeypatch.chdir(bench / "elsewhere")
    run = bench / "runs" / "odd"
    more = ("--out", bench / "runs", *words, "--steps", 3, "--resume")
    answer = mezzotint("train", run / "config.yaml", *more)
    assert answer.code == 0 and "resuming from step 2" in answer.out, answer.err
    answer = mezzotint("train", "folder", "--data", "../photos", *more)
    assert answer.code == 0 and "already trained to step 3" in answer.out, answer.err
    shown = mezzotint("show", "data", run / "config.yaml")
    assert shown.code == 0, shown.err


def test_a_damaged_config_is_no_reason_to_lose_the_run(mezzotint: Call, bench: Path) -> None:
    assert mezzotint(*MOONS, "--steps", 2).code == 0
    for damage in ("train: [", "train: {lrr: 3}", "3"):
        (bench / "runs/moons/config.yaml").write_text(damage)
        before = contents(bench)
        answer = mezzotint(*MOONS, "--steps", 2)
        assert answer.code == 3 and "config.yaml is damaged" in answer.err and "--overwrite" in answer.err
        assert contents(bench) == before
    assert mezzotint(*MOONS, "--steps", 2, "--overwrite").code == 0


def test_dry_run_writes_nothing(mezzotint: Call, bench: Path) -> None:
    answer = mezzotint("train", "digits", *DIGITS, "--steps", 4, "--dry-run")
    assert answer.code == 0 and list(bench.iterdir()) == []
    config, said = answer.out.rsplit("# ", 1)
    assert yaml.safe_load(config)["train"]["steps"] == 4
    assert "1,707 to train on, 90 held out" in said and "first loss" in said
    assert mezzotint("train", "digits", "sample.spacing=trailing", "--dry-run").code == 2


@pytest.mark.usefixtures("ample")
def test_watch_refreshes_a_picture_and_makes_a_film(mezzotint: Call, bench: Path) -> None:
    assert mezzotint("train", "digits", *DIGITS, "--steps", 10, "--watch").code == 0
    folder = bench / "runs/digits/samples"
    assert len(list((folder / "watch").glob("*.png"))) == 10
    with Image.open(folder / "watch.gif") as film, Image.open(folder / "watch.png") as newest:
        assert film.n_frames == 10 and film.size == newest.size
    settings = json.loads(mezzotint("info", folder / "watch.png").out)
    assert settings["step"] == 10 and settings["label"] == "all"


def test_a_yaml_of_ones_own(mezzotint: Call, bench: Path) -> None:
    (bench / "mine.v2.yaml").write_text(
        "data: {name: mixture}\nnetwork: {kind: mlp, width: 8, depth: 1}\ntrain: {steps: 2, batch_size: 16}\n"
        "sample: {steps: 2}\ndiffusion:\n  # all by default\n"
    )
    assert mezzotint("train", "mine.v2.yaml", "train.sample_every=100%").code == 0
    assert mezzotint("sample", "mine.v2", "-n", 2).code == 0
    assert (bench / "mine.v2-0.png").is_file()


def test_a_folder_of_odd_pictures(mezzotint: Call, bench: Path, store: Path) -> None:
    photos = bench / "photos"
    shutil.copytree(store / "few", photos)
    Image.new("RGBA", (3, 90), (255, 0, 0, 90)).save(photos / "thin.png")
    Image.new("I;16", (20, 20), 60000).save(photos / "deep.png")
    Image.new("P", (20, 20), 7).save(photos / "palette.gif")
    (photos / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    unspeakable = os.fsdecode(b"caf\xe9[red].png")  # not UTF-8, and markup
    (photos / unspeakable).write_text("no picture")
    answer = mezzotint(
        *("train", "folder", "--data", photos, "--name", "odd", "data.size=[8,12]", "--steps", 2),
        *("--batch-size", 4, "network.width=8", "network.multipliers=[1]", "network.attention=[]"),
        *("train.sample_every=100%", "train.checkpoint_every=100%", "sample.steps=2"),
    )
    assert (answer.code, answer.err) == (0, "")
    assert "pictures 3x8x12" in answer.out and "9 to train on" in answer.out
    assert answer.out.count("skipped ") == 3 and "bad.png: not a PNG" in answer.out
    assert "caf\\udce9[red].png" in answer.out
    assert "caf\\udce9[red].png" in (bench / "runs/odd/log.txt").read_text()


def begin(bench: Path, *words: object) -> subprocess.Popen[str]:
    """`mezzotint train moons` in a process of its own, once it has done a step."""
    process = popen(*words, cwd=bench, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    latest = time.monotonic() + SECONDS
    while not (bench / "runs" / "moons" / "metrics.jsonl").is_file():
        assert time.monotonic() < latest and process.poll() is None
        time.sleep(0.01)
    return process


@pytest.mark.skipif(os.name == "nt", reason="needs signals of POSIX")
def test_interrupted_it_saves_and_goes_on(mezzotint: Call, bench: Path) -> None:
    words, run = (*MOONS, "--steps", 150), bench / "runs" / "moons"
    process = begin(bench, *words)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert err == "\nsaving after this step; a second time stops at once, at the last checkpoint\n"
    reached = steps(run)[-1]
    assert f"saved at step {reached} of 150; the same command resumes there" in out
    assert half_files(bench) == []
    assert mezzotint("sample", "moons", "-n", 4).code == 0, "what was saved can be used"
    answer = mezzotint(*words)
    assert answer.code == 0 and f"resuming from step {reached} of runs/moons" in answer.out
    assert "done: runs/moons/model.safetensors at step 150" in answer.out
    assert steps(run) == list(range(1, 151))
    assert "already trained to step 150" in mezzotint(*words).out


@pytest.mark.skipif(os.name == "nt", reason="needs signals of POSIX")
def test_terminated_it_saves_though_nobody_reads(mezzotint: Call, bench: Path) -> None:
    """Ctrl-C reaches the `| tee` behind it, too, which goes first."""
    process = begin(bench, *MOONS, "--steps", 100_000)
    second = mezzotint(*MOONS, "--steps", 100_000)  # into the same name, meanwhile
    assert second.code == 2 and "another process is training into runs/moons" in second.err
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    process.terminate()
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 143 and "Traceback" not in err
    last = json.loads((bench / "runs/moons/checkpoints/last.json").read_text())
    assert last["step"] == steps(bench / "runs/moons")[-1]
    assert half_files(bench) == []


@pytest.mark.parametrize(("second", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_twice_it_stops_at_once(
    mezzotint: Call, bench: Path, monkeypatch: pytest.MonkeyPatch, second: signal.Signals, code: int
) -> None:
    from mezzotint.run import fit

    log = fit.log_metrics

    def log_and_interrupt(folder: Path, row: dict[str, float]) -> None:
        log(folder, row)
        if row["step"] == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(second)

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched:
        patched.setattr(fit, "log_metrics", log_and_interrupt)
        answer = mezzotint(*MOONS, "--steps", 8, "train.checkpoint_every=2 steps")
    assert answer.code == code
    assert answer.out.endswith("stopped at once; the same command resumes from the last checkpoint\n")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert "resuming from step 4" in mezzotint(*MOONS, "--steps", 8, "train.checkpoint_every=2 steps").out
    assert steps(bench / "runs/moons") == list(range(1, 9))
