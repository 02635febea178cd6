"""The page of a run is whole, stands alone, and can be made of a run in any state."""

import base64
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint import build
from mezzotint import config as configuration
from mezzotint.cli import main
from mezzotint.disk.model_file import Header, save_model
from mezzotint.disk.names import find_run
from mezzotint.errors import ModelError
from mezzotint.media.facts import Facts
from mezzotint.studies.report import page as module
from mezzotint.studies.report.page import report

CONFIG = configuration.load("digits", ["network.width=8"], train__steps=1000)


class Page(HTMLParser):
    """The tags of a page, with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def images(self) -> list[Image.Image]:
        """All pictures, decoded from the page itself."""
        sources = [values["src"] or "" for tag, values in self.tags if tag == "img"]
        return [Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))) for source in sources]

    def charts(self) -> list[ElementTree.Element]:
        return [ElementTree.fromstring(svg) for svg in re.findall("<svg.*?</svg>", self.source, re.DOTALL)]


def bare(folder: Path) -> Path:
    """What a run directory holds before its first row."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(configuration.dump(CONFIG))
    return folder


def rows(n: int) -> list[dict[str, Any]]:
    made = []
    for k in range(1, n + 1):
        row = {"step": 1000 * k // n, "loss": 1 / k, "lr": 1e-3, "grad_norm": 0.3, "images_per_second": 900.0}
        row |= {
            "seconds": (k - 1) % (n // 2) + 1.0,
            "loss_by_level": [i / k for i in range(1, 8)] + [None],
            "skipped": 1,
        }
        if k % 4 == 0:
            row |= {"val_loss": 1 / k, "val_loss_by_level": [i / k for i in range(1, 9)]}
            row |= {"ema_gap": 0.1 / k, "noise_scale": 300.0}
        made.append(row)
    return made


def sheet(path: Path, side: int, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with everything that may lie in its directory."""
    folder = bare(tmp_path / "runs" / "digits & <b>co")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(40)))
    environment = {
        "torch": "2.13.0",
        "machine": "Linux x86_64",
        "command": ["/x/mezzotint", "train", "a b<i>"],
    }
    (folder / "env.json").write_text(json.dumps(environment))
    for k in range(1, 11):
        sheet(folder / "samples" / f"step-{100 * k:07d}.png", 40, k)
    sheet(folder / "memorization.png", 30, 0)
    found = {"flagged": True, "copied": 9, "ratio": 0.512345, "p_value": 1e-9, "n": 64, "pairs": [[1, 2]]}
    (folder / "memorization.json").write_text(json.dumps(found))
    (folder / "evaluation.json").write_text(
        json.dumps(
            {"n": 500, "numbers": {"fd <u>": {"value": 12.3456, "low": 11.2, "high": 13.0, "real": None}}}
        )
    )
    facts = Facts((1, 8, 8), tuple("0123456789"))
    save_model(
        folder / "model.safetensors", build.network(CONFIG, facts), Header(CONFIG, facts, 1000, "ema 0.1")
    )
    return folder


def test_the_page_has_all_that_there_is(run: Path) -> None:
    path = report(run)
    assert path == run / "report.html"
    page = Page(path)
    titles = re.findall("<h3>(.*?)</h3>", page.source)
    assert titles[:3] == ["Loss", "Training loss by noise level", "Held-out loss by noise level"]
    assert len(titles) == len(page.charts()) == 9
    assert [image.size for image in page.images()] == [(40, 40)] * 6 + [(30, 30)]
    captions = re.findall(r"<figcaption>step ([\d,]+)", page.source)
    assert captions[0] == "1,000" and captions[-1] == "100"  # the newest first, the oldest still there
    network = build.network(CONFIG, Facts((1, 8, 8), tuple("0123456789")))
    assert f"{sum(p.numel() for p in network.parameters()):,} parameters" in page.text
    for words in (
        "9 of 64 samples",
        "0.5123",
        "12.35",
        "11.2 to 13",
        "100% of 1,000",
        "mezzotint train 'a b<i>'",
    ):
        assert words in page.text, words
    assert "0:00:40" in page.text  # of two sessions


def test_charts_are_the_same_numbers(run: Path) -> None:
    """The held-out losses are ten; so are the points that the chart marks."""
    report(run)
    loss = Page(run / "report.html").charts()[0]
    marks = [
        node for node in loss.iter() if node.tag.endswith("}use") and "fill: #d55e00" in node.get("style", "")
    ]
    assert len(marks) == 10 + 1  # and one in the legend
    heights = [float(node.get("y", "nan")) for node in marks[:10]]
    assert heights == sorted(heights)  # falls: y grows downwards


def test_the_page_stands_alone_and_hides_nothing_in_names(run: Path) -> None:
    page = Page(report(run))
    for tag, values in page.tags:
        assert tag not in ("script", "link", "iframe", "u", "i")
        for key in ("src", "href", "xlink:href"):
            target = values.get(key) or "#"
            assert target.startswith(("#", "data:image/")) or (tag == "a" and "://" not in target), target
    assert "default-src 'none'" in page.source and "prefers-color-scheme: dark" in page.source
    assert '<meta name="viewport" content="width=device-width' in page.source
    assert "digits & <b>co" in page.text and "<b>co" not in page.source


def test_findings_lead_to_the_troubleshooting_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bare(tmp_path / "runs" / "broken")
    (run / "metrics.jsonl").write_text(json.dumps({"step": 50, "skipped": 50}))
    guide = tmp_path / "docs" / "troubleshooting.md"
    guide.parent.mkdir()
    guide.touch()
    monkeypatch.setattr(module, "TROUBLESHOOTING", guide)
    links = [unquote(values["href"] or "") for tag, values in Page(report(run)).tags if tag == "a"]
    assert "../../docs/troubleshooting.md#nan-or-infinite-loss" in links
    guide.unlink()  # an installation without docs
    page = Page(report(run))
    assert not any(tag == "a" for tag, _ in page.tags)
    assert "More in docs/troubleshooting.md: nan or infinite loss" in " ".join(page.text.split())


def test_large_sheets_and_long_runs_keep_the_page_small(run: Path) -> None:
    for k in range(1, 11):
        sheet(run / "samples" / f"step-{100 * k:07d}.png", 900, k)  # noise: nothing packs worse
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(5000)))
    path = report(run)
    assert path.stat().st_size < 3_000_000
    assert len(Page(path).images()) == 7


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    page = Page(report(bare(tmp_path / "new")))
    assert "Nothing is logged yet" in page.text and "Too few rows" in page.text
    assert not page.images() and not page.charts()


def test_damage_leaves_gaps_and_no_more(run: Path) -> None:
    for name in ("env.json", "memorization.json", "evaluation.json"):
        (run / name).write_text("{half")
    (run / "model.safetensors").write_bytes(b"rubbish")
    (run / "memorization.png").write_bytes(b"rubbish")
    (run / "samples" / "step-0001000.png").write_bytes(b"rubbish")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1001, "lo')
    page = Page(report(run))
    assert len(page.images()) == 5 and len(page.charts()) == 9
    assert "Evaluation" not in page.text and "Copies of the training set" not in page.text


def test_the_budget_of_a_run_in_minutes_is_read_from_its_checkpoint(tmp_path: Path) -> None:
    folder = bare(tmp_path / "timed")
    (folder / "config.yaml").write_text(configuration.dump(configuration.load("digits", train__minutes=3)))
    state = folder / "checkpoints" / "step-0000500" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"until": 2000}))
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 500, "loss": 1.0}))
    page = Page(report(folder))
    assert "25% of 2,000" in page.text and "3 minutes = 2,000 steps" in page.text


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a run: it has no config\.yaml"):
        report(tmp_path)
    (tmp_path / "config.yaml").write_text("train: {lr: no}")
    with pytest.raises(ModelError, match=r"config\.yaml is damaged"):
        report(tmp_path)


def test_a_failed_write_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bare(tmp_path / "run")
    before = report(run).read_bytes()

    def full(number: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        report(run)
    assert (run / "report.html").read_bytes() == before


def test_the_command_finds_a_run_by_name_by_folder_and_as_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    old, new = bare(tmp_path / "runs" / "old"), bare(tmp_path / "runs" / "new")
    for file in old.iterdir():
        os.utime(file, (1, 1))
    for name, found in (("old", old), (str(new), new), ("latest", new)):
        assert find_run(name).resolve() == found
        with pytest.raises(SystemExit) as left:
            main(["report", name])
        assert (
            left.value.code == 0 and Path(capsys.readouterr().out.strip()).resolve() == found / "report.html"
        )
        (found / "report.html").unlink()
    with pytest.raises(SystemExit) as left:
        main(["report", "older"])
    assert left.value.code == 3
    assert "there is no run 'older'; runs here: new, old" in capsys.readouterr().err


def test_no_random_numbers_are_spent(run: Path) -> None:
    """A page made during training must not change what comes after it."""
    (run / "metrics.jsonl").unlink()
    state = torch.get_rng_state()
    report(run)
    assert torch.equal(torch.get_rng_state(), state)
