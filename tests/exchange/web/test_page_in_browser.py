"""The page as people have it: opened from a file, in a browser, with mouse and keys."""

import re
from pathlib import Path

import pytest
import torch
from helpers_browser import Browser, browser, needs_chromium
from helpers_small import FLOW
from helpers_tiny import tiny

import mezzotint
from mezzotint.exchange.web.export import export_page
from mezzotint.model.again import command
from mezzotint.plots import read_settings

pytestmark = needs_chromium
PIXELS = """(() => { const c = document.getElementById("picture"); const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  return Array.from({ length: c.width * c.height }, (_, i) => d[4 * i]); })()"""
SAID = "document.getElementById('said').textContent"


def settled(page: Browser, seed: str) -> str:
    """What is said once the picture of a seed is finished."""
    return page.wait(f"{SAID}.startsWith('seed {seed}: ') && {SAID}")


def test_a_page_makes_pictures_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first picture is that of `sample`, keys choose others, a saved one is made again by the command line, nothing is
    asked of the network, and neither screen is too narrow."""
    monkeypatch.setenv("HOME", str(tmp_path))
    model = mezzotint.load("mnist_fast", device="cpu", precision="fp32")
    folder = tmp_path / "a döuble <click> & more"  # which is no address as it stands
    export_page(model, folder)

    def picture(**asked: object) -> torch.Tensor:
        return model.sample(1, **asked).values.flatten().int()  # type: ignore[arg-type]

    with browser(tmp_path / "profile") as page:
        page.say("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page.width(1280)
        page.open(folder / "index.html")
        assert re.match(r"seed 0: [\d.]+ s, 2 network calls", settled(page, "0"))
        assert (torch.tensor(page.run(PIXELS)) - picture(seed=0)).abs().max() <= 1

        page.run("document.getElementById('seed').value = '9223372036854775806'")
        page.press("7")
        settled(page, "9223372036854775806")
        page.press("ArrowRight")
        settled(page, "9223372036854775807")
        assert (torch.tensor(page.run(PIXELS)) - picture(seed=2**63 - 1, label=7)).abs().max() <= 1
        assert page.run("document.querySelectorAll('#way figure').length") == 2
        assert page.run("document.querySelectorAll('#gallery button').length") == 3

        page.press("s")
        saved = tmp_path / "mnist_fast-9223372036854775807.png"
        while not saved.is_file():  # ends with the test's time
            page.run("new Promise((resume) => setTimeout(resume, 50))")
        settings = read_settings(saved)
        assert settings is not None and settings["seed"] == 2**63 - 1
        assert command(settings) == command(model.sample(1, label=7, seed=2**63 - 1).settings) is not None

        page.run("document.getElementById('seed').value = '-1'")
        page.press("Enter")
        assert page.run(SAID) == "a seed is a whole number from 0 to 2^63 - 1"

        assert page.run("document.documentElement.scrollWidth") <= 1280
        page.width(390, 844)
        assert page.run("document.documentElement.scrollWidth") <= 390
        assert page.run("fetch('http://192.0.2.1/').then(() => 'let through', () => 'refused')") == "refused"
        assert not page.asked_the_network()
        assert {address.split(":")[0] for address in page.requests} <= {"file", "blob", "data"}


def test_a_text_to_keep_away_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed into the page it is that of `sample`, by a transformer; without guidance it would do nothing, and the page says so."""
    monkeypatch.setenv("HOME", str(tmp_path))
    network = {"kind": "dit", "width": 16, "depth": 1, "head_channels": 8, "patch": 2}
    model = tiny((1, 8, 8), words=5, network=network, diffusion=FLOW, sample={"steps": 2, "guidance": 2.0})
    export_page(model, tmp_path / "site")
    with browser(tmp_path / "profile") as page:
        page.open(tmp_path / "site" / "index.html")
        settled(page, "0")
        page.run("Object.assign(document.getElementById('negative'), { value: 'w03' })")
        page.run("Object.assign(document.getElementById('seed'), { value: '6' })")
        page.press("Enter")
        settled(page, "6")
        ours, plain = (
            model.answer(model.request(1, seed=6, negative=text)).values.flatten().int()
            for text in ("w03", None)
        )
        made = torch.tensor(page.run(PIXELS))
        assert (made - ours).abs().max() <= 1 < (made - plain).abs().max()
        page.run("Object.assign(document.getElementById('guidance'), { value: '1' })")
        page.press("Enter")
        assert page.run(SAID) == "a negative prompt needs a guidance other than 1"
