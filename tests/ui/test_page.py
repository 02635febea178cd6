"""The page: what a visitor can press, and what is there then."""

import itertools
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers_small import UNET, write_run
from PIL import Image
from streamlit.testing.v1 import AppTest

from mezzotint import plots
from mezzotint.cli import main
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.disk.names import bundled
from mezzotint.errors import ConfigError, RunError
from mezzotint.media.facts import Facts
from mezzotint.model.model import load
from mezzotint.model.strips import denoising, spread_steps
from mezzotint.ui import start as page_start
from mezzotint.ui.make import command, screen
from mezzotint.ui.start import SCRIPT, Desk

Open = Callable[..., AppTest]


@pytest.fixture
def opened(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens the page in the folder of the runs, as `mezzotint ui` would; no models: all runs. Nothing is made unasked."""
    monkeypatch.chdir(runs.parent)

    def go(*models: str, unasked: float = 0.0, **desk: Any) -> AppTest:
        files = tuple(f"runs/{name}/model.safetensors" for name in models)
        monkeypatch.setattr("mezzotint.ui.make.UNASKED_SECONDS", unasked)
        monkeypatch.setattr(sys, "argv", ["page", json.dumps(asdict(Desk(files, **desk)))])
        at = AppTest.from_file(SCRIPT, default_timeout=30).run()
        assert not at.exception
        return at

    return go


def control(at: AppTest, label: str) -> Any:
    (found,) = [w for w in (*at.selectbox, *at.number_input) if w.label == label]
    return found


def make(at: AppTest) -> AppTest:
    at.button(key="make").click().run()
    assert not at.exception
    return at


def errors(at: AppTest) -> list[str]:
    assert all("\n" not in error.value for error in at.error)
    return [error.value for error in at.error]


def captions(at: AppTest) -> str:
    return "\n".join(caption.value for caption in at.caption)


def test_it_offers_all_runs_or_those_that_were_named(opened: Open) -> None:
    assert set(control(opened(), "Model").options) == {"tiny", "dots", "plain", *bundled()}
    at = opened("plain", "tiny")
    assert control(at, "Model").options == ["plain", "tiny"]
    assert "**Plain U-Net**" in captions(at) and "6x10 RGB pictures of digits" in captions(at)
    control(at, "Model").set_value("tiny").run()
    assert "8x8 grey pictures" in captions(at) and "4 classes" in captions(at)
    parameters = sum(p.numel() for p in load("runs/tiny", device="cpu").denoiser.net.parameters())  # type: ignore[union-attr]
    assert f"{parameters / 1e3:.0f} k parameters" in captions(at)


def test_attention_is_told_apart(tmp_path: Path, opened: Open) -> None:
    net = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "attention": [1], "head_channels": 8}
    write_run(tmp_path / "all" / "seer", Facts((1, 8, 8)), network=net)
    at = opened(runs=str(tmp_path / "all"))
    assert "**Attention U-Net**" in captions(at)


def test_every_control_reaches_the_pictures(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("tiny")
    wanted = {"Sampler": "heun", "Steps": 3, "How many": 5, "Class": "cat", "Guidance": 2.5, "Seed": 2**40}
    for label, value in wanted.items():
        control(at, label).set_value(value).run()
    assert not at.image, "nothing is made before it is asked for"
    samples = make(at).session_state["made"].samples
    used = samples.settings
    settings = {"sampler": "heun", "steps": 3, "n": 5, "label": "cat", "guidance": 2.5, "seed": 2**40}
    assert {key: used[key] for key in settings} == settings
    assert f"heun, 3 steps, guidance 2.5, seed {2**40} to {2**40 + 4}" in captions(at)
    direct = load("runs/tiny", device="cpu").sample(
        5, label="cat", seed=2**40, sampler="heun", steps=3, guidance=2.5
    )
    assert samples.values.equal(direct.values)
    assert len(at.image) == 2 and not errors(at), "all of them, and one to keep"
    # what the page says to type makes the same pictures
    typed = shlex.split(at.code[0].value)
    with pytest.raises(SystemExit) as left:
        main([*typed[1:], "-o", "typed.png", "--device", "cpu"])
    assert left.value.code == 0
    with Image.open("typed.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(direct.sheet()))


def test_pictures_from_a_picture(opened: Open) -> None:
    """Uploaded, with a strength; what is no picture is said in one line."""
    at = opened("tiny")
    assert not at.slider, "a strength is of a picture"
    Image.linear_gradient("L").resize((12, 9)).save("grey.png")
    content = Path("grey.png").read_bytes()
    at.file_uploader[0].upload("grey.png", content, "image/png").run()
    at.slider[0].set_value(0.35).run()
    control(at, "Class").set_value("cat").run()
    samples = make(at).session_state["made"].samples
    assert samples.settings["strength"] == 0.35 and samples.settings["task"] == "edit"
    direct = load("runs/tiny", device="cpu").edit(content, strength=0.35, n=8, label="cat")
    assert samples.values.equal(direct.values)
    assert "The picture of 12x9 pixels is cropped and resized to 8x8." in captions(at)
    at.file_uploader[0].upload("broken.png", content[:60], "image/png").run()
    assert errors(make(at)) and "picture" in errors(at)[0]
    assert not opened("dots").file_uploader, "points begin from no picture"


def test_pictures_stay_until_others_are_made(opened: Open) -> None:
    at = opened("tiny", "plain")
    first = make(at).session_state["made"]
    control(at, "Seed").set_value(7).run()
    assert at.session_state["made"] is first and len(at.image) == 2, "touching a control loses nothing"
    assert make(at).session_state["made"].samples.settings["seed"] == 7
    control(at, "Model").set_value("plain").run()
    assert not at.image, "another model's pictures are not shown as this one's"
    assert not [w for w in (*at.selectbox, *at.number_input) if w.label in ("Class", "Guidance")]
    assert make(at).session_state["made"].samples.settings["label"] is None


@pytest.mark.parametrize(("choice", "label"), [("any", None), ("all, in turn", "all"), ("0", "0")])
def test_classes(opened: Open, choice: str, label: str | None) -> None:
    at = opened("tiny")
    control(at, "Class").set_value(choice).run()
    assert make(at).session_state["made"].samples.settings["label"] == label


def test_classes_that_are_called_as_the_choices_are(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bytes] = []

    def take(self: Any, label: str, data: bytes, *_: Any, **__: Any) -> None:
        if label in ("Download all", "Download PNG"):
            given.append(data)

    monkeypatch.setattr("streamlit.delta_generator.DeltaGenerator.download_button", take)
    write_run(tmp_path / "all" / "odd", Facts((1, 8, 8), ("any", "all", "all, in turn", "")), network=UNET)
    at = opened(runs=str(tmp_path / "all"))
    control(at, "Model").set_value("odd").run()
    choices = {"any": [0] * 8, "all": [1] * 8, "": [3] * 8, "(all, in turn)": [0, 1, 2, 3] * 2, "(any)": None}
    for choice, labels in choices.items():
        control(at, "Class").set_value(choice).run()
        samples = make(at).session_state["made"].samples
        assert labels is None or samples.labels.tolist() == labels, choice
        with pytest.raises(SystemExit) as left:  # what the page says to type is what it lets download
            main([*shlex.split(at.code[0].value)[1:], "-o", "typed.png", "--device", "cpu"])
        assert left.value.code == 0
        Path("given.png").write_bytes(given[-1])
        assert plots.read_settings("typed.png") == plots.read_settings("given.png")
        assert np.array_equal(np.asarray(Image.open("typed.png")), np.asarray(Image.open("given.png")))


def test_the_downloads_carry_their_settings(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, and one alone, which is made again by its own seed."""
    given: list[tuple[bytes, str]] = []

    def take(self: Any, label: str, data: bytes, name: str, *_: Any, **__: Any) -> None:
        given.append((data, name))

    monkeypatch.setattr("streamlit.delta_generator.DeltaGenerator.download_button", take)
    monkeypatch.setattr("streamlit.download_button", lambda *words, **more: take(None, *words, **more))
    at = make(opened("tiny"))
    samples = at.session_state["made"].samples
    given.clear()
    at.number_input(key="number").set_value(3).run()
    (sheet, name), (one, its_name) = given
    Path(name).write_bytes(sheet)
    assert name == "tiny-0.png" and plots.read_settings(name) == samples.settings
    Path(its_name).write_bytes(one)
    settings = plots.read_settings(its_name)
    assert its_name == "tiny-2.png" and (settings["seed"], settings["n"], settings["label"]) == (2, 1, "0")
    again = load("runs/tiny", device="cpu").sample(1, label=settings["label"], seed=2).values
    assert again[0].equal(samples.values[2])
    with Image.open(its_name) as image:
        assert np.array_equal(np.asarray(image), samples.values[2][0])


def test_it_opens_with_pictures_that_are_quickly_made(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("tiny", "plain")
    assert not at.image and "Press Make" in at.info[0].value, "slow ones are made when asked for"
    at.run()
    assert not at.image
    at = opened("tiny", "plain", unasked=1e6)
    assert at.image and at.session_state["made"].samples.settings["n"] == 8
    first = at.session_state["made"]
    control(at, "Model").set_value("plain").run()
    assert not at.image, "only when the page opens"
    control(at, "Model").set_value("tiny").run()
    assert at.session_state["made"] is first


def test_pictures_of_other_settings_are_dimmed(opened: Open) -> None:
    at = make(opened("tiny"))
    assert "other settings" not in captions(at)
    control(at, "Steps").set_value(2).run()
    assert "Made with other settings; press Make." in captions(at)
    assert "other settings" not in captions(make(at))
    control(at, "Class").set_value("cat").run()
    assert "other settings" in captions(at)


def test_the_dice_make_others(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzotint.ui.make.random", SimpleNamespace(randrange=lambda most: most - 1))
    at = opened("tiny")
    at.session_state["tab"] = "Denoising"
    at.button(key="dice").click().run()
    assert not at.exception and at.session_state["tab"] == "Pictures"
    assert control(at, "Seed").value == 10**6 - 1
    assert at.session_state["made"].samples.settings["seed"] == 10**6 - 1
    assert "other settings" not in captions(at)


def test_a_few_samplers_stand_before_all(opened: Open) -> None:
    at = opened("tiny")
    few = control(at, "Sampler").options
    assert 3 <= len(few) <= 6 and few[0] == "dpmpp_2m: the best of few steps: 10 to 25"
    at.checkbox[0].check().run()
    names = [option.partition(":")[0] for option in control(at, "Sampler").options]
    assert set(names) == set(SAMPLERS) and names[: len(few)] == [option.partition(":")[0] for option in few]
    control(at, "Sampler").set_value("lms").run()
    at.checkbox[0].uncheck().run()
    assert control(at, "Sampler").value == "lms", "what was chosen stays"
    assert make(at).session_state["made"].samples.settings["sampler"] == "lms"


def test_finished_runs_stand_before_unfinished_ones(opened: Open, tmp_path: Path) -> None:
    for name, step in (("done", 9), ("young", 4)):
        run = tmp_path / "all" / name
        write_run(run, Facts((1, 8, 8)), network={"kind": "unet", "width": 8, "multipliers": [1]})
        checkpoint = run / "checkpoints" / f"step-{step:07d}"
        checkpoint.mkdir(parents=True)
        (run / "checkpoints" / "last.json").write_text(json.dumps({"name": checkpoint.name, "step": step}))
        (checkpoint / "state.json").write_text(json.dumps({"step": step, "until": 9}))
    options = control(opened(runs=str(tmp_path / "all")), "Model").options
    assert options == ["done", "mnist", *sorted(set(bundled()) - {"mnist"}), "young (unfinished)"]


def test_pictures_emerge(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar moves on to its end, with states on the way from noise to the result, all of one size."""
    from streamlit.delta_generator import DeltaGenerator

    drawn: list[Image.Image] = []
    moved: list[float] = []
    image, progress = DeltaGenerator.image, DeltaGenerator.progress

    def see(self: Any, picture: Any, **more: Any) -> Any:
        drawn.append(picture)
        return image(self, picture, **more)

    def move(self: Any, value: Any, *rest: Any) -> Any:
        moved.append(value)
        return progress(self, value, *rest)

    monkeypatch.setattr(DeltaGenerator, "image", see)  # of places; st.image stays
    monkeypatch.setattr(DeltaGenerator, "progress", move)
    seconds = itertools.count(0.0)  # every step is slow
    monkeypatch.setattr("mezzotint.ui.make.time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    monkeypatch.setattr("mezzotint.ui.make.SHARE", 10.0)
    at = opened("tiny")
    control(at, "Steps").set_value(6).run()
    made = make(at).session_state["made"]
    assert moved == pytest.approx([i / 6 for i in range(1, 7)])
    frames = [np.asarray(picture, np.float64) for picture in drawn]
    assert len(frames) == 6 and np.array_equal(frames[-1], screen(made.samples))
    far = [np.abs(frame - frames[-1]).mean() for frame in frames]
    assert far[0] == max(far) > 0


def test_denoising_shows_the_pictures_that_were_made(opened: Open) -> None:
    at = opened("tiny")
    at.session_state["tab"] = "Denoising"
    assert "Make pictures first" in at.run().info[0].value and not at.image
    kept = make(at).session_state["made"].moments
    assert at.session_state["tab"] == "Pictures", "pressing Make shows what it makes"
    at.session_state["tab"] = "Denoising"
    assert len(at.run().image) == 1
    steps = load("runs/tiny", device="cpu").settings().steps
    assert [p.step for p in kept] == sorted(spread_steps(steps)) and len(kept[0].x) == 4
    assert denoising(kept).size[0] > denoising(kept[:1]).size[0]


def test_forward_needs_no_network(opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("tiny")
    at.session_state["tab"] = "Forward process"
    assert len(at.run().image) == 1 and not errors(at), "digits come with the package"
    tree = {
        "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1},
        "data": {"name": "mnist"},
    }
    write_run(tmp_path / "all" / "far", Facts((1, 28, 28)), **tree)
    asked = []

    def refuse(config: Any, device: Any) -> Any:
        asked.append(config.data.name)
        raise ConfigError("the hub\ncannot be reached")

    monkeypatch.setattr("mezzotint.ui.views.build.source", refuse)
    at = opened(runs=str(tmp_path / "all"))
    at.session_state["tab"] = "Forward process"
    at.run()
    assert not asked and "far" not in errors(at) and len(at.image) == 1, "pictures of the model itself"
    assert "Pictures of the model itself" in captions(at) and "mnist, which it learned from" in captions(at)
    at.button(key="read").click().run()
    assert asked == ["mnist"] and errors(at) == ["the hub cannot be reached"]
    assert len(at.image) == 1, "and stay where the hub cannot be reached"


def test_forward_goes_on_where_a_folder_is_gone(opened: Open, tmp_path: Path) -> None:
    data = {"name": "folder", "path": str(tmp_path / "gone"), "size": 8}
    net = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1}
    write_run(tmp_path / "all" / "mine", Facts((3, 8, 8)), network=net, data=data)
    at = opened(runs=str(tmp_path / "all"))
    at.session_state["tab"] = "Forward process"
    assert len(at.run().image) == 1 and not errors(at)
    assert not [button for button in at.button if button.key == "read"]


def test_points_are_scattered(opened: Open) -> None:
    at = opened("dots")
    assert "points of" in captions(at)
    control(at, "How many").set_value(50).run()
    assert make(at).session_state["made"].samples.values.shape == (50, 2)
    assert len(at.image) == 1 and not errors(at)
    at.session_state["tab"] = "Denoising"
    assert len(at.run().image) == 1 and not errors(at)


@pytest.fixture
def nothing_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzotint.ui.models.bundled", dict)


@pytest.mark.usefixtures("nothing_bundled")
def test_a_run_in_training_is_watched(opened: Open, tmp_path: Path) -> None:
    run = tmp_path / "all" / "young"
    (run / "samples").mkdir(parents=True)
    rows = [{"step": step, "loss": 1 / step, "val_loss": 2 / step} for step in (10, 20)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 3')
    at = opened(runs=str(tmp_path / "all"))
    assert "no finished model" in at.info[0].value and at.code[0].value.startswith(
        "mezzotint train digits --out"
    )
    assert "step 20 · loss 0.0500 · held out 0.1000 · last line" in captions(at), "before there is a model"
    assert len(at.image) == 1 and "No samples yet" in at.info[1].value
    for step in (10, 20):
        plots.save_png(Image.new("L", (8, 8), step), run / "samples" / f"step-{step:07d}.png")
    rows.append({"step": 30, "loss": 0.01, "val_loss": 0.02})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    at.run()
    assert "step 30" in captions(at) and len(at.image) == 2
    assert at.select_slider[0].value == 20, "the newest at first"


@pytest.mark.usefixtures("nothing_bundled")
def test_what_to_type_where_nothing_is(opened: Open, tmp_path: Path) -> None:
    at = opened(runs=str(tmp_path / "none"))
    assert "Train one" in at.info[0].value and not at.button
    assert "mezzotint train digits" in at.info[1].value


def test_errors_are_one_line(opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "all" / "torn" / "model.safetensors"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no model")
    at = opened(runs=str(tmp_path / "all"))
    assert len(errors(at)) == 1 and "damaged" in errors(at)[0]
    at = opened("tiny")

    def burst(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr("mezzotint.model.model.Model.previews", burst)
    assert errors(make(at)) == ["Out of memory; make fewer at a time."]


def test_a_new_file_is_a_new_model(opened: Open, tmp_path: Path) -> None:
    def write(name: str) -> None:
        folder = tmp_path / name / "one"
        write_run(
            folder, Facts((1, 8, 8), tuple(name)), network={"kind": "unet", "width": 8, "multipliers": [1]}
        )

    write("ab")
    at = opened(runs=str(tmp_path / "ab"))
    assert "2 classes" in captions(at)
    write("xyz")
    time.sleep(0.01)
    (tmp_path / "xyz/one/model.safetensors").replace(tmp_path / "ab/one/model.safetensors")
    (tmp_path / "ab/one/model.safetensors").touch()
    assert "3 classes" in captions(at.run())


def test_a_token_is_asked_for(opened: Open) -> None:
    at = opened("tiny", token="0123456789abcdef")
    assert not at.selectbox and not at.button
    at.text_input(key="token").set_value("0123456789abcdeF").run()
    assert errors(at) and not at.selectbox
    at.text_input(key="token").set_value("0123456789abcdef").run()
    assert control(at, "Model").value == "tiny" and not errors(at)


def leave(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["ui", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_the_command(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells Streamlit to keep to itself, and says what stops it."""
    import streamlit.net_util
    from streamlit.web import cli

    given: list[str] = []
    monkeypatch.chdir(runs.parent)
    monkeypatch.delenv("MEZZOTINT_TOKEN", raising=False)
    monkeypatch.setattr(sys, "argv", ["mezzotint"])
    monkeypatch.setattr(streamlit.net_util, "get_external_ip", lambda: "1.2.3.4")
    monkeypatch.setattr(page_start, "_check_free", lambda host, port: None)
    monkeypatch.setattr(cli, "main", lambda words, standalone_mode: given.extend(words))
    assert leave("tiny", "--port", 8600, "--device", "cpu") == 0
    assert {"--browser.gatherUsageStats=false", "--server.headless=true", "--server.address=127.0.0.1"} < set(
        given
    )
    assert "http://127.0.0.1:8600" in capsys.readouterr().out
    assert streamlit.net_util.get_external_ip() is None
    desk = json.loads(given[-1])
    assert desk == {"models": ["runs/tiny/model.safetensors"], "runs": "runs", "device": "cpu", "token": None}
    assert leave("--host", "0.0.0.0") == 2
    assert "set a token" in capsys.readouterr().err
    assert leave("--host", "0.0.0.0", "--token", "short") == 2
    assert leave("nothing") == 3
    assert leave("--host", "0.0.0.0", "--token", "none", "--allow-host", "pictures.example.org") == 0
    assert "no token" in capsys.readouterr().out
    assert "--server.corsAllowedOrigins=http://pictures.example.org" in given


def test_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RunError, match="another --port"):
        page_start.start(Desk(), "127.0.0.1", taken.getsockname()[1])


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert leave() == 4
    assert 'pip install "mezzotint[ui]"' in capsys.readouterr().err


def test_it_lives_and_ends(runs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mezzotint", "ui", "tiny", "--port", str(port), "--device", "cpu"]
    with subprocess.Popen(words, cwd=runs.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as page:
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    health = urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5)
                    break
                except OSError:
                    assert page.poll() is None and time.monotonic() < end
                    time.sleep(0.1)
            assert health.status == 200  # what the container's healthcheck asks
            page.send_signal(signal.SIGTERM)
            assert page.wait(20) == 0
        finally:
            page.kill()


def test_what_to_type_for_a_bundled_model() -> None:
    used = load("moons").sample(2, seed=5).settings
    assert (command(bundled()["moons"], used) or "").startswith("mezzotint sample moons -n 2 --seed 5 ")


def test_prompts(opened: Open, tmp_path: Path) -> None:
    """Of models that know words; without one, examples are asked for in turn, each under its picture."""
    words, examples = ("a", "blue", "cross", "red"), ("a red cross", "a blue cross")
    net = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "attention": [1], "head_channels": 8}
    write_run(
        tmp_path / "all" / "words", Facts((1, 8, 8), (), "pictures", (), words, 6, examples), network=net
    )
    at = opened(runs=str(tmp_path / "all"))
    used = make(at).session_state["made"].samples
    assert used.prompts[:2] == examples

    def typed(label: str, text: str) -> None:
        (box,) = [box for box in at.text_input if box.label == label]
        box.set_value(text).run()

    typed("Prompt", "a red cross")
    typed("Negative prompt", "blue")
    control(at, "Guidance").set_value(3.0).run()
    samples = make(at).session_state["made"].samples
    assert {k: samples.settings[k] for k in ("prompt", "negative", "guidance")} == {
        "prompt": "a red cross",
        "negative": "blue",
        "guidance": 3.0,
    }
    model = load(tmp_path / "all" / "words", device="cpu")
    direct = model.sample(len(samples), prompt="a red cross", negative="blue", guidance=3.0)
    assert samples.values.equal(direct.values)
    assert "guidance 3" in captions(at) and "--prompt" in at.code[0].value
    typed("Prompt", "a red dog")
    make(at)
    assert "knows no word 'dog'" in errors(at)[0]
