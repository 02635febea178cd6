"""The Studio as people have it: in a browser, against a server, with mouse and keys."""

import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_browser import needs_chromium
from helpers_rest import settings_of
from helpers_small import FLOW, UNET, write_run
from helpers_studio import Studio, job_in, served
from PIL import Image

from mezzotint.media.facts import Facts
from mezzotint.model.model import Model

pytestmark = needs_chromium


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)


def png(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


def test_pictures_are_those_of_the_seeds_shown(studio: Studio, bundled_models: dict[str, Model]) -> None:
    studio.forget()
    studio.set("n", 3)
    studio.set("steps", 4)
    studio.set("class", '"7"')
    said = studio.make()
    seed = int(studio.page.run("document.getElementById('seed').value"))
    assert f"seed {seed} to {seed + 2}" in said and studio.count() == 3
    truth = bundled_models["digits"].sample(3, label="7", seed=seed, steps=4).values
    files = studio.files()
    assert [settings_of(one)["seed"] for one in files] == [seed, seed + 1, seed + 2]
    for one, expected in zip(files, truth):
        assert abs(pixels(one) - expected[0].numpy()).max() <= 1
    studio.press("go")  # and another seed each time
    studio.page.wait(f"document.getElementById('seed').value !== '{seed}'")
    studio.await_said("^Done")


def test_a_page_loaded_again_midway_goes_on(studio: Studio) -> None:
    studio.set("n", 2)
    studio.live.slow = 0.03
    studio.fix_seed(11)
    studio.press("go")
    studio.await_said("^Step [1-9]")
    job = job_in(studio.page.run("location.hash"))
    assert studio.page.run("document.querySelectorAll('#make .tile img:not([hidden])').length") == 2
    studio.page.say("Page.reload")
    studio.page.wait("!document.body?.dataset.ready || true")
    studio.ready()
    studio.await_said("^Step")
    studio.live.slow = 0.0
    assert "seed 11 to 12" in studio.await_said("^Done")
    assert job_in(studio.page.run("location.hash")) == job and studio.count() == 2
    assert studio.page.run("document.getElementById('seed').value") == "11"


def test_a_dropped_picture_is_made_again_to_the_byte(studio: Studio) -> None:
    """Of a batch of two, from a seed beyond JavaScript's numbers; a field that the page does not have comes with it."""
    studio.forget()
    studio.set("n", 2)
    studio.set("sampler", "ddim")
    studio.set("steps", 3)
    studio.fix_seed(2**63 - 2)
    studio.make()
    first, second = studio.files()
    assert settings_of(second)["seed"] == 2**63 - 1
    studio.open()
    studio.drop(second)
    studio.page.wait("document.getElementById('notice').textContent.startsWith('Its settings are back')")
    assert studio.page.run("document.getElementById('seed').value") == str(2**63 - 1)
    studio.make()
    studio.page.wait("document.getElementById('notice').textContent")
    assert studio.notice() == "The same file as the one that you opened, byte for byte."
    assert studio.files()[0] == second != first

    other = Image.open(io.BytesIO(second))
    from mezzotint import plots

    strange = {**settings_of(second), "eta": 0.5, "step": 1, "weights": "raw"}
    studio.drop(plots.png(other, strange))
    studio.page.wait("document.getElementById('notice').textContent.includes('the picture will differ')")
    assert "at step 1 with the weights “raw”, which this server does not have" in studio.notice()
    assert "eta" in studio.page.run("document.getElementById('carried').textContent")
    studio.make()
    assert settings_of(studio.files()[0])["eta"] == 0.5


def test_repainting_keeps_what_no_brush_has_touched(studio: Studio) -> None:
    """Pasted, painted over the border and past it, made; then the same settings from the PNG of the edit."""
    studio.forget()
    given = np.tile(np.arange(0, 256, 4).reshape(8, 8), (1, 1))
    studio.open("edit")
    studio.drop(png(given), event="paste")
    studio.page.wait("!document.getElementById('easel').hidden")
    studio.set("size", 1)
    studio.drag("canvas", (0.05, 0.05), (1.3, 0.05))  # the first row, and out over the edge
    for key in "]]xz":
        studio.page.press(key)
    assert "3 pixels" in studio.page.run("document.getElementById('size-name').textContent")
    assert studio.page.run("document.getElementById('erase').getAttribute('aria-pressed')") == "true"
    studio.drag("canvas", (0.05, 0.05), (0.06, 0.05))
    studio.page.press("x")
    studio.page.press("z")
    studio.page.press("[")
    studio.page.press("[")
    studio.drag("canvas", (0.05, 0.05), (1.3, 0.05))
    studio.set("n", 1)
    studio.set("steps", 3)
    assert "Done" in studio.make("edit")
    made = studio.files()[0]
    assert (pixels(made)[1:] == given[1:]).all() and (pixels(made)[0] != given[0]).any()
    assert settings_of(made)["mask"] and settings_of(made)["strength"] == 1

    studio.open("make")
    studio.drop(made)
    studio.page.wait("document.getElementById('notice').textContent.startsWith('Its settings are back')")
    assert studio.page.run("location.hash").startswith("#edit")
    studio.make("edit")
    assert pixels(studio.files()[0]).tolist() == pixels(made).tolist()


def test_a_grid_of_nine_shares_its_calls(studio: Studio) -> None:
    studio.open("grid")
    studio.fix_seed(5)
    rows: list[int] = []
    hook = studio.live.models["digits"].net.register_forward_pre_hook(lambda _, x: rows.append(len(x[0])))
    studio.set("x-axis", "guidance")
    studio.set("x-values", "1, 2, 4")
    studio.set("y-axis", "seed")
    studio.set("y-values", "5-7")
    studio.set("steps", 4)
    studio.press("go")
    said = studio.await_said("in [0-9.]+ s", "grid")
    hook.remove()
    assert said.startswith("9 pictures in") and studio.count("grid") == 9
    assert len(rows) < 9 * 4  # alone each would have four calls
    studio.page.run("document.querySelectorAll('#grid .tile')[5].click()")
    text = studio.page.wait(
        "document.getElementById('picture').open && document.querySelector('#picture dl').innerText"
    )
    values = text.split("\n")
    assert values[values.index("guidance") + 1] == "4" and values[values.index("seed") + 1] == "6"
    studio.page.press("Escape")


def test_a_cancelled_job_is_cancelled_at_the_server(studio: Studio) -> None:
    studio.live.slow = 0.05
    studio.press("go")
    studio.await_said("^Step")
    job = job_in(studio.page.run("location.hash"))
    studio.page.press("Escape")
    assert studio.said() == "Cancelled."
    studio.live.slow = 0.0
    found = studio.live.service.jobs.get(job)
    assert found is not None
    until = time.monotonic() + 20
    while found.now.phase != "cancelled" and time.monotonic() < until:
        time.sleep(0.01)
    assert found.now.phase == "cancelled" and studio.page.run("document.getElementById('stop').disabled")


def test_two_tabs_have_their_own_job_and_one_history(studio: Studio) -> None:
    studio.forget()
    studio.set("n", 1)
    studio.fix_seed(1)
    first = studio.page.session
    second = studio.page.page()
    studio.open("make")
    studio.set("n", 1)
    studio.fix_seed(2)
    studio.press("go")
    studio.page.turn(first)
    studio.press("go")
    studio.await_said("^Done")
    one = job_in(studio.page.run("location.hash"))
    studio.page.turn(second)
    studio.await_said("^Done")
    assert job_in(studio.page.run("location.hash")) != one and len(studio.files()) == 2
    studio.page.say("Page.close")
    studio.page.turn(first)
    studio.page.run("location.hash = '#history'")
    studio.page.wait("document.querySelectorAll('#gallery .tile').length === 2")


def test_pictures_of_the_history_are_compared_starred_and_deleted(studio: Studio) -> None:
    studio.forget()
    studio.set("n", 2)
    studio.make()
    studio.page.run("location.hash = '#history'")
    studio.page.wait("document.querySelectorAll('#gallery .tile').length === 2")
    studio.page.run("document.querySelector('#gallery .tile').click()")
    for key in ("a", "ArrowRight", "s"):
        studio.page.press(key)
    studio.page.wait("document.querySelector('#picture').innerText.includes('Starred')")
    studio.page.say("Input.dispatchKeyEvent", type="keyDown", key=" ", text=" ")
    assert studio.page.run("[a.hidden, b.hidden, document.querySelector('.mark').textContent]") == [
        False,
        True,
        "A",
    ]
    studio.page.say("Input.dispatchKeyEvent", type="keyUp", key=" ")
    assert studio.page.run("[a.hidden, b.hidden, document.querySelector('.mark').textContent]") == [
        True,
        False,
        "B",
    ]
    studio.page.press("ArrowLeft")
    studio.page.press("Delete")
    studio.page.wait("document.querySelectorAll('#gallery .tile').length === 1")
    script = "import('/studio/history.js').then(async ({ all }) => (await all()).map(({ star }) => star))"
    assert studio.page.run(script) == [True]


def test_letters_that_are_no_keys_do_nothing(studio: Studio) -> None:
    """WCAG 2.1.4: single characters can be switched off, for good, on the page and in a picture; other keys stay."""
    studio.forget()
    studio.set("n", 1)
    studio.make()
    assert studio.page.run("document.getElementById('keys').checked")
    studio.press("keys")
    studio.page.say("Page.reload")
    studio.page.wait("!document.body?.dataset.ready || true")
    studio.ready()
    assert not studio.page.run("document.getElementById('keys').checked")
    seed = studio.page.run("document.getElementById('seed').value")
    studio.page.press("r")
    studio.page.run("location.hash = '#history'")
    studio.page.wait("document.querySelectorAll('#gallery .tile').length === 1")
    studio.page.run("document.querySelector('#gallery .tile').click()")
    for key in ("s", "e", "u"):
        studio.page.press(key)
    dialog = "document.querySelector('#picture')"
    assert studio.page.run(f"[{dialog}.open, {dialog}.innerText.includes('Starred'), location.hash]") == [
        True,
        False,
        "#history",
    ]
    studio.page.press("Delete")
    studio.page.wait("document.querySelectorAll('#gallery .tile').length === 0")
    assert studio.page.run("document.getElementById('seed').value") == seed

    studio.open("edit")
    studio.drop(png(np.zeros((8, 8))))
    studio.page.wait("!document.getElementById('easel').hidden")
    before = studio.page.run("document.getElementById('size').value")
    studio.page.press("]")
    studio.page.press("x")
    assert studio.page.run("document.getElementById('size').value") == before
    assert studio.page.run("document.getElementById('erase').ariaPressed") == "false"
    studio.press("keys")
    studio.page.press("]")
    studio.page.press("x")
    assert studio.page.run("document.getElementById('size').value") == str(int(before) + 1)
    assert studio.page.run("document.getElementById('erase').ariaPressed") == "true"


def test_on_a_wide_screen_all_grows_together(studio: Studio) -> None:
    """Letters, fields and the page."""
    shares = """['#go', 'label', '#settings', 'body'].map((each) => { const one = document.querySelector(each);
      return [parseFloat(getComputedStyle(one).fontSize), one.getBoundingClientRect().width]; }).flat()"""
    studio.page.width(1920, 1080)
    usual = studio.page.run(shares)
    studio.page.width(3840, 2160)
    wide = studio.page.run(shares)
    assert all(abs(a / b - 1.5) < 0.02 for a, b in zip(wide, usual)), (usual, wide)


def test_a_model_that_enlarges_is_given_pictures_alone(studio: Studio, runs: Path) -> None:
    """It has one task, whatever was chosen before, and says so where it is asked for pictures out of noise."""
    write_run(runs / "larger", Facts((1, 8, 8)), network=UNET, diffusion=FLOW, data={"enlarge": 2})
    (runs / "larger" / "config.yaml").write_text("{}")
    studio.open("edit")
    studio.set("model", "larger")
    studio.page.wait("document.getElementById('about').textContent.includes('step 9,')")
    tasks = "[...document.getElementById('task').options].map((one) => [one.disabled, one.selected])"
    assert studio.page.run(tasks) == [[True, False], [False, True], [True, False], [True, False]]
    studio.set("n", 1)
    for view in ("make", "grid"):
        studio.page.run(f"location.hash = '#{view}'")
        studio.press("go")
        studio.page.wait("document.getElementById('notice').textContent.includes('give it one under Edit')")
        studio.page.run("document.getElementById('notice').textContent = ''")
    studio.page.run("location.hash = '#edit'")
    studio.drop(png(np.full((4, 4), 90)))
    studio.page.wait("!document.getElementById('easel').hidden")
    assert "Done" in studio.make("edit")
    assert settings_of(studio.files()[0])["task"] == "enlarge"
    studio.set("model", "digits")
    studio.page.wait("document.getElementById('about').textContent.includes('10 classes')")
    assert [one for one, _ in studio.page.run(tasks)] == [False, False, True, False]
    shutil.rmtree(runs / "larger")


def test_runs_are_watched_and_asked(studio: Studio, runs: Path) -> None:
    (runs / "tiny" / "config.yaml").write_text("{}")
    rows = [{"step": step, "loss": 1 / step} for step in range(1, 30)]
    (runs / "tiny" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (runs / "tiny" / "samples").mkdir()
    (runs / "tiny" / "samples" / "step-0000009.png").write_bytes(png(np.zeros((8, 16))))
    studio.open("watch")
    studio.page.wait("document.querySelector('#chart svg path') !== null")
    assert "Step 29 · loss 0.03448" in studio.page.run("document.getElementById('run-said').textContent")
    studio.page.wait("document.getElementById('sheet').naturalWidth === 16")
    studio.press("make-of-run")
    studio.page.wait("location.hash === '#make'")
    studio.set("n", 1)
    assert "Done" in studio.make() and "tiny" in studio.said()


def test_a_server_that_stops_is_waited_for(
    bundled_models: dict[str, Model], chromium: Any, tmp_path: Path
) -> None:
    """Midway, and when the page is loaded; the browser's own notes of it are no fault."""
    with served({"digits": bundled_models["digits"]}, tmp_path / "log.jsonl") as live:
        studio = Studio(chromium, live)
        studio.open()
        live.slow = 0.05
        studio.press("go")
        studio.await_said("^Step")
        live.stop()
        studio.await_said("connection is lost|Cancelled")
        live.slow = 0.0
        studio.page.run("location.hash = '#make'")
        studio.page.say("Page.reload", ignoreCache=True)
        chromium.go("about:blank")
        live.start()
        studio.open()
        live.stop()
        studio.press("go")
        studio.await_said("does not answer")
        live.start()
        assert "Done" in studio.make()


def test_the_token_is_asked_for_and_goes_by_header(
    bundled_models: dict[str, Model], chromium: Any, tmp_path: Path
) -> None:
    secret = "a-token-of-its-own"
    with served({"digits": bundled_models["digits"]}, tmp_path / "log.jsonl", token=secret) as live:
        chromium.go("about:blank")
        chromium.go(f"{live.address}/studio")
        for typed in ("wrong-and-wrong-again", secret):
            chromium.wait("document.getElementById('token-dialog')?.open")
            if typed == secret:
                chromium.wait("document.getElementById('token-said').textContent.startsWith('That is not')")
            chromium.run(f"document.getElementById('token').value = '{typed}'")
            chromium.run("document.querySelector('#token-dialog button').click()")
            chromium.run("new Promise((resume) => setTimeout(resume, 50))")
        studio = Studio(chromium, live)
        studio.ready()
        studio.set("n", 1)
        assert "Done" in studio.make()
        assert secret not in " ".join(chromium.requests)


def test_a_full_server_is_asked_again(
    bundled_models: dict[str, Model], chromium: Any, tmp_path: Path
) -> None:
    limits = {"max_per_client": 1}
    with served({"digits": bundled_models["digits"]}, tmp_path / "log.jsonl", limits=limits) as live:
        studio = Studio(chromium, live)
        studio.open()
        live.slow = 0.1
        first = studio.page.run(
            "import('/studio/api.js').then(({ read }) => read('v1/jobs', { body: { steps: 1000 } }))"
        )
        studio.press("go")
        said = studio.await_said("asked again in")
        assert said.startswith("You have reached your limit of requests in progress; it is asked again in ")
        live.slow = 0.0
        studio.page.run(f"import('/studio/api.js').then(({{ cancel }}) => cancel('{first['id']}'))")
        studio.await_said("^Done")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_every_view_is_accessible_and_fits(studio: Studio, width: int, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_core_python", reason="there is no axe-core to audit the page: pip install axe-core-python"
    )
    script = next(Path(axe.__file__).parent.rglob("axe.min.js")).read_text(encoding="utf-8")
    studio.page.width(width, 844)
    studio.set("n", 2)
    studio.make()
    studio.page.run(script + "; 0")
    found = []
    studio.page.say(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    for view in ("make", "grid", "edit", "history", "watch", "picture"):
        if view == "picture":
            studio.page.run("document.querySelector('#gallery .tile').click()")
        else:
            studio.page.run(f"location.hash = '#{view}'")
        if view == "history":
            studio.page.wait("document.querySelector('#gallery .tile') !== null")
        studio.page.run("new Promise((resume) => setTimeout(resume, 200))")
        issues = studio.page.run(
            "axe.run().then(({ violations }) => violations.map((v) => [v.id, v.impact, v.nodes.map((n) => n.html.slice(0, 120))]))"
        )
        found += [(scheme, view, *one) for one in issues if one[1] in ("serious", "critical")]
        assert studio.page.run("document.documentElement.scrollWidth") <= width, view
        if view == "picture":
            studio.page.press("Escape")
    studio.page.say("Emulation.setEmulatedMedia", features=[])
    assert found == []
