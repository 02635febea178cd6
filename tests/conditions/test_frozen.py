"""Frozen encoders: what they make of a text, whoever stands beside it; what is kept, what is cut, and which folders are refused."""

import json
from pathlib import Path

import pytest
import torch
from helpers_encoders import tiny_clip, tiny_t5
from safetensors.torch import load_file, save_file

from mezzotint.conditions import frozen
from mezzotint.conditions.frozen import MIN_LENGTH, Encoder, Frozen, learn, open_encoder
from mezzotint.errors import ConfigError, DataError, MissingExtra, ModelError

TEXTS = ["a red circle", "A red   circle left of the small blue square", "cross"]
MAKERS = {"clip": tiny_clip, "t5": tiny_t5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("transformers")
    made = {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}
    return made | {"other": tiny_clip(tmp_path_factory.mktemp("other"), seed=1)}


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.mark.parametrize("kind", MAKERS)
def test_vectors_are_those_of_the_library_for_each_text_alone(kind: str, folders: dict[str, Path]) -> None:
    library = pytest.importorskip("transformers")
    language, notes = learn(TEXTS, folders[kind], "cpu")
    assert notes == [] and language.length == (12 if kind == "clip" else MIN_LENGTH) and language.width == 16
    cond = language.cond(["", *TEXTS])
    assert cond.context is not None and cond.context_mask is not None
    assert not cond.context[0].any() and not cond.context_mask[0].any()  # nothing asked
    net = (library.CLIPTextModel if kind == "clip" else library.T5EncoderModel).from_pretrained(folders[kind])
    words = library.AutoTokenizer.from_pretrained(folders[kind])
    for text, row, there in zip(TEXTS, cond.context[1:], cond.context_mask[1:]):
        with torch.no_grad():
            expected = net(**words([text], return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(row[there], expected, rtol=1e-5, atol=1e-5)
        assert there.tolist() == [True] * len(expected) + [False] * (language.length - len(expected))
        assert not row[~there].any()
    alone = language.cond([TEXTS[1]])
    assert alone.context is not None and alone.context.equal(cond.context[2:3])


def test_each_caption_is_encoded_once(
    folders: dict[str, Path], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encode = Encoder.vectors

    def counted(self: Encoder, texts: list[str], length: int) -> object:
        asked.extend(texts)
        return encode(self, texts, length)

    monkeypatch.setattr(Encoder, "vectors", counted)
    first, _ = learn([*TEXTS, *TEXTS, ""], folders["t5"], "cpu")
    assert sorted(asked) == sorted({" ".join(text.split()) for text in TEXTS})
    asked.clear()
    again, _ = learn([*TEXTS, "a cross"], folders["t5"], "cpu")
    assert asked == ["a cross"]
    assert all(
        mine.equal(theirs)
        for mine, theirs in zip(first.cond(TEXTS).inputs().values(), again.cond(TEXTS).inputs().values())
    )
    files = sorted((kept / "text" / first.digest).glob("*.safetensors"))
    assert len(files) == 2 and not list(kept.rglob("*.tmp"))
    asked.clear()
    files[0].write_bytes(b"damaged")
    learn([*TEXTS, "a cross"], folders["t5"], "cpu")
    assert 0 < len(asked) <= 3
    asked.clear()
    learn(TEXTS, folders["clip"], "cpu")  # another encoder has its own
    assert len(asked) == 3
    without = Frozen(first.digest, 16, first.length, None)  # what was read once needs no encoder
    assert without.cond(TEXTS[:1]).context.equal(first.cond(TEXTS[:1]).context)  # type: ignore[union-attr,arg-type]


def test_what_is_too_long_is_cut_in_training_and_told_and_else_refused(folders: dict[str, Path]) -> None:
    long = " ".join(["red"] * 30)
    language, notes = learn([*TEXTS, long, long + " cross"], folders["clip"], "cpu")
    assert notes == ["2 captions of more than 12 tokens, which are cut there"]
    cond = language.cond([long])
    assert cond.context_mask is not None and bool(cond.context_mask.all())
    asked = Frozen(language.digest, 16, 12, folders["clip"])
    assert asked.fits(TEXTS[0]) and not asked.fits(long + " circle")
    with pytest.raises(ConfigError, match="a text of 33 tokens is too long for the model: at most 12"):
        asked.cond([long + " circle"])


def test_another_encoder_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    digest = open_encoder(folders["clip"]).digest
    assert open_encoder(folders["clip"]).digest == digest != open_encoder(folders["other"]).digest
    assert Frozen(digest, 16, 12, folders["clip"]).cond(["a cross"]).context is not None
    with pytest.raises(
        ModelError, match=rf"is not the one that the model was trained with \({digest}\).*--encoder"
    ):
        Frozen(digest, 16, 12, folders["other"]).cond(["a cross"])
    for nowhere in (None, tmp_path / "gone"):
        with pytest.raises(
            ModelError, match=r"the text encoder of this model is not at .*; give its folder: --encoder"
        ):
            Frozen(digest, 16, 12, nowhere).cond(["a cross"])
        assert Frozen(digest, 16, 12, nowhere).cond([""]).inputs()  # nothing asked needs no encoder


def test_folders_that_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    def copied(name: str) -> Path:
        target = tmp_path / name
        target.mkdir()
        for file in folders["clip"].iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        return target

    with pytest.raises(DataError, match=r"holds no text encoder; give a folder with config\.json"):
        open_encoder(tmp_path)
    lacking = copied("lacking")
    weights = load_file(lacking / "model.safetensors")
    gone = next(name for name in weights if name.startswith("text_model") and "fc1.weight" in name)
    del weights[gone]
    save_file(weights, lacking / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"lacks weights of CLIPTextModel, such as .*fc1\.weight"):
        open_encoder(lacking)  # the library would make them up
    pickled = copied("pickled")
    (pickled / "model.safetensors").unlink()
    torch.save(weights, pickled / "pytorch_model.bin")
    with pytest.raises(DataError, match="cannot load CLIPTextModel"):
        open_encoder(pickled)
    strange = copied("strange")
    (strange / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(DataError, match="a network of kind 'bert'; a text encoder is one of clip"):
        open_encoder(strange)
    wordless = copied("wordless")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (wordless / name).unlink()
    with pytest.raises(DataError, match=r"the tokenizer in .* knows \d+ tokens and the network \d+"):
        open_encoder(wordless)


def test_without_transformers_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(frozen.importlib, "import_module", absent)
    with pytest.raises(MissingExtra, match=r'pip install "mezzotint\[text\]"'):
        open_encoder(tmp_path)
