"""Captions of every kind, from data to pictures: trained, gone on with, sampled by a prompt, evaluated."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_encoders import tiny_clip, tiny_t5
from helpers_workshop import FAST, leave
from PIL import Image
from starlette.testclient import TestClient

from mezzotint import config
from mezzotint.disk.model_file import read_header
from mezzotint.errors import ModelError
from mezzotint.evaluate.judges import classifier
from mezzotint.model.loading import load
from mezzotint.plots import read_settings
from mezzotint.run.events import Event, Tick
from mezzotint.run.fit import fit
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.service import Service, load_models
from mezzotint.serve.http.settings import Settings

NETWORK = ("network.kind=unet", "network.width=8", "network.multipliers=[1]", "network.blocks=1")
WAYS = ("network.attention=[4]", "network.patch=4", "sample.steps=3", "sample.guidance=2", *FAST)
KINDS = {
    "classes": ("data.captions=classes",),
    "letters": ("data.captions=text", "data.reading=bytes", "data.stream=true", "data.labels=false"),
    "clip": ("data.captions=text", "data.labels=false", "data.stream=true"),
    "t5": ("data.captions=text", "data.labels=false"),
}
MAKERS = {"clip": tiny_clip, "t5": tiny_t5}
PROMPTS = {"classes": "light grey", "letters": "Any text?"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arrow, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    root = tmp_path_factory.mktemp("set")
    images, texts, labels = [], [], []
    for k in range(64):
        content = io.BytesIO()
        Image.new("L", (8, 8), k * 3).save(content, "PNG")
        images.append({"bytes": content.getvalue(), "path": None})
        texts.append(f"grey of {k // 8 * 10}")
        labels.append(k // 32)
    names = {
        "image": {"_type": "Image"},
        "label": {"names": ["dark_grey", "light_grey"], "_type": "ClassLabel"},
    }
    table = arrow.table({"image": images, "text": texts, "label": labels})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": names}})})
    pq.write_table(table, root / "train.parquet", row_group_size=16)
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_from_data_to_pictures(
    kind: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(classifier, "budget", lambda count: 200)
    keys = [*KINDS[kind], *NETWORK, *WAYS, "data.size=8", "train.precision=fp32", "train.batch_size=8"]
    if kind in MAKERS:
        keys.append(f"data.encoder={MAKERS[kind](tmp_path / 'encoder')}")
    tree = config.load("folder", [*keys, f"data.path={pictures}", "train.steps=4"])

    def train(name: str, steps: int) -> None:
        done: list[Event] = []
        for event in fit(tree, tmp_path / "runs" / name, stop=lambda: len(done) >= steps):
            if isinstance(event, Tick):
                done.append(event)

    train("whole", 4)
    train("parts", 2)  # stopped after two steps,
    train("parts", 4)  # and gone on with
    whole, parts = load("whole"), load("parts")
    for name, weight in whole.net.state_dict().items():
        assert weight.equal(parts.net.state_dict()[name]), name
    header = read_header(tmp_path / "runs" / "whole" / "model.safetensors")
    assert header.facts.classes == () and header.facts.length > 0 and header.facts.examples
    assert header.facts.reading == {"letters": "bytes", "clip": "encoder", "t5": "encoder"}.get(kind, "words")

    prompt = PROMPTS.get(kind, "a large grey of 30 left of 20")
    assert leave("sample", "whole", "-n", 2, "--prompt", prompt, "--negative", "", "-o", "a.png") == 0
    said = read_settings("a.png")
    assert said is not None and said["prompt"] == prompt
    alone = list(whole.stream(1, prompt=prompt, seed=3))[-1].x0
    beside = ["light grey" if kind == "classes" else "grey of 20"]
    among = list(whole.stream(16, prompt=[*(beside * 15), prompt], seed=3 - 15 + 2**40))[-1]
    again = list(whole.stream(1, prompt=prompt, seed=3 + 2**40))[-1].x0
    assert (among.x0[15] - again[0]).abs().max() < 1e-5
    assert not (alone == again).all()
    capsys.readouterr()
    assert leave("evaluate", "whole", "-n", 16, "--json") == 0
    found = json.loads(capsys.readouterr().out)[0]
    assert found["numbers"]["frechet distance"]["value"] > 0
    asked = "names of the classes" if kind == "classes" else "64 captions of folder"
    assert found["settings"]["prompt"] == asked
    assert ("class agreement" in found["numbers"]) == (kind == "classes")

    if kind in MAKERS:
        (tmp_path / "encoder").rename(tmp_path / "elsewhere")
        again_asked = ("sample", "whole", "-n", 2, "--prompt", "a red circle", "-o", "b.png")
        assert leave(*again_asked) == 3
        assert "the text encoder of this model is not at" in capsys.readouterr().err
        assert leave(*again_asked, "--encoder", "elsewhere") == 0
        other = MAKERS[kind](tmp_path / "other", seed=1)
        assert leave(*again_asked, "--encoder", other) == 3
        assert "is not the one that the model was trained with" in capsys.readouterr().err
        told_where_the_encoder_lies(found, other, capsys)


def told_where_the_encoder_lies(
    before: dict[str, Any], other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Judged, tuned and served where the encoder moved to; before: the evaluation while it lay where training found it."""
    shutil.rmtree("kept/text")  # the vectors of captions: whoever reads one needs the encoder
    evaluation = ("evaluate", "whole", "-n", 16, "--json")
    assert leave(*evaluation) == 3 and leave(*evaluation, "--encoder", other) == 3
    capsys.readouterr()
    assert leave(*evaluation, "--encoder", "elsewhere") == 0
    after = json.loads(capsys.readouterr().out)[0]
    assert (after["numbers"], after["settings"]) == (before["numbers"], before["settings"])

    tuning = ("tune", "whole", "--quick", "--dry-run", "-n", 100, "--calls", 2)
    assert leave(*tuning) == 3
    assert leave(*tuning, "--encoder", "elsewhere") == 0

    runs, elsewhere = Path("runs"), Path("elsewhere")
    for settings in (Settings(models=("whole",)), Settings(models=("whole",), encoder=other)):
        with pytest.raises(ModelError, match="--encoder FOLDER"):  # at the start, and not when somebody asks
            load_models(settings)
    moved = Settings(models=("whole",), encoder=elsewhere, runs=runs, log=Path("log"))
    client = TestClient(create_app(moved, Service(load_models(moved), moved)), base_url="http://localhost")
    with client:
        body = {"prompt": "a red square", "seed": 1}
        answers = [client.post("/v1/generate", json={**body, "model": name}) for name in ("whole", "parts")]
        assert [answer.status_code for answer in answers] == [200, 200]
    pictures = [np.asarray(Image.open(io.BytesIO(answer.content))) for answer in answers]
    assert (pictures[0] == pictures[1]).all()  # of a run that went on to the bit

    for words, code, said in (
        (("sample", "whole", "--encoder", "nowhere"), 3, "there is no such folder"),
        (("serve", "whole", "--encoder", "nowhere"), 3, "there is no such folder"),
        (("ui", "--encoder", "nowhere"), 3, "there is no such folder"),
        (("sample", "mnist", "--encoder", "elsewhere"), 2, "none of these has one; leave it out"),
        (("serve", "mnist", "moons", "--encoder", "elsewhere"), 2, "none of these has one; leave it out"),
    ):
        capsys.readouterr()
        assert leave(*words) == code and said in capsys.readouterr().err, words
