"""What is written, and what is refused."""

import json
import re
from pathlib import Path

import pytest
import torch
from helpers_small import UNET, write_run
from torch import nn

import mezzotint
from mezzotint import Denoiser, Model, config
from mezzotint.cli import main
from mezzotint.diffusion.parameterization import velocity
from mezzotint.diffusion.process import flow
from mezzotint.diffusion.schedule import lognormal
from mezzotint.errors import ConfigError
from mezzotint.exchange.web.export import check, described, three_bytes
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load


def exported(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["export", "web", *map(str, words)])
    return int(left.value.code or 0)


def test_a_bundled_model_is_two_files_with_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exported("mnist") == 0
    assert "mnist-web/index.html: mnist as a page, 1.4 MB" in capsys.readouterr().out
    files = {path.name: path for path in (tmp_path / "mnist-web").iterdir()}
    assert files.keys() == {"index.html", "model.js"}
    assert sum(path.stat().st_size for path in files.values()) < 2e6
    page = files["index.html"].read_text("utf-8")
    assert "<dt>limits</dt>" in page and "CC BY-SA 3.0" in page
    assert not re.search(r"""(src|href)="(?!model\.js"|data:)|https?://|@import""", page)
    assert exported("mnist", "-o", tmp_path / "mnist-web") == 0  # once more, over itself


def test_names_from_a_file_are_text(tmp_path: Path) -> None:
    """Classes, words and the model's own name, whatever they hold."""
    hostile = "</script><img src=x onerror=alert(1)>\u2028"
    write_run(tmp_path / "a<b>", Facts((1, 8, 8), (hostile, "all", "none")), network=UNET)
    assert exported(tmp_path / "a<b>", "-o", tmp_path / "site") == 0
    page, script = ((tmp_path / "site" / name).read_text("utf-8") for name in ("index.html", "model.js"))
    assert "<h1>a&lt;b&gt;</h1>" in page and "<img" not in page and "&lt;/script&gt;" in page
    assert script.isascii()
    model = load(tmp_path / "a<b>")
    assert json.loads(json.dumps(described(model)))["none"] == "(none)"


def test_what_a_page_cannot_compute_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exported("moons") == 2
    assert (
        "network.kind mlp cannot be exported as a page; unet, unet_simple, dit can" in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())
    assert exported("nobody") == 3

    class Silent(nn.Identity):
        def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
            return 0 * x

    own = Model.of(Denoiser(Silent(), flow, velocity), lognormal(), shape=(1, 4, 4))
    with pytest.raises(ConfigError, match=r"network\.kind own cannot"):
        check(own.config, own.facts)

    grey, texts = Facts((1, 8, 8)), Facts((1, 8, 8), length=9, reading="encoder", width=4, digest="0" * 16)
    published = config.parse({"codec": {"file": "kl.safetensors", "network": {"kind": "kl"}}})
    for parsed, facts, line in (
        (published, Facts((3, 64, 64)), "codes of a published autoencoder, kl, cannot"),
        (config.parse({"network": {"kind": "dit"}}), Facts((1, 4, 8, 8)), "clips cannot"),
        (config.parse({"data": {"enlarge": 2}}), grey, "data.enlarge: models that enlarge cannot"),
        (config.parse({"network": {"kind": "unet"}}), texts, "texts read by an encoder cannot"),
    ):
        with pytest.raises(ConfigError, match=line):
            check(parsed, facts)


def test_a_key_that_the_page_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is added to a network later, unless it has its default."""
    from mezzotint.exchange.web import export

    model = mezzotint.load("mnist")
    monkeypatch.setitem(export.KNOWN, "unet", export.KNOWN["unet"] - {"dropout"})
    check(model.config, model.facts)
    monkeypatch.setitem(export.KNOWN, "unet", export.KNOWN["unet"] - {"patch"})
    with pytest.raises(ConfigError, match=r"network\.patch cannot be exported"):
        check(model.config, model.facts)


def test_three_bytes_are_the_nearest_numbers() -> None:
    numbers = torch.tensor([0.0, 1.0, -1.5, 3.14159, 1e-30, -2.00001])
    raw = three_bytes(numbers)
    assert len(raw) == 18
    back = torch.frombuffer(
        bytearray(b"".join(b"\0" + raw[i : i + 3] for i in range(0, 18, 3))), dtype=torch.float32
    )
    assert (back - numbers).abs().le(numbers.abs() * 2**-16).all()
    assert back[:3].tolist() == [0.0, 1.0, -1.5]
