"""Whatever a user gets wrong: one line on stderr with the remedy, the exit code of its kind, and nothing is lost."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers_workshop import DIGITS, Call, contents

USAGE, MODEL_OR_DATA, EXTRA = 2, 3, 4
NEW = ("train", "digits", "--name", "new", "--steps", 2)

# words, exit code, and what the line must say: the remedy above all (typer words its own, differently by version)
WRONG: list[tuple[tuple[object, ...], int, str]] = [
    # commands and options
    (("trian",), USAGE, "'trian'"),
    (("--foo",), USAGE, "see mezzotint --help"),
    (("show",), USAGE, "see mezzotint show --help"),
    (("show", "foo"), USAGE, "see mezzotint show --help"),
    (("train",), USAGE, "Missing argument 'RECIPE|CONFIG.yaml'"),
    (("train", "digits", "--stepps", 3), USAGE, "--steps"),
    (("train", "digits", "--steps", "x"), USAGE, "valid integer"),
    (("train", "digits", "--steps"), USAGE, "requires an argument"),
    (("list",), USAGE, "models|samplers|datasets|recipes"),
    (("list", "foo"), USAGE, "models, samplers, datasets or recipes"),
    # what other programs have
    (("sample", "digits", "--prompt", "a seven"), USAGE, "trained without captions; leave the prompt out"),
    (("sample", "digits", "--prompts", "few"), USAGE, "--prompts few cannot be read"),
    (("import", "diffusers", "few"), MODEL_OR_DATA, "there is no file few/config.json"),
    (("import", "diffusers", "nowhere"), MODEL_OR_DATA, "there is no folder nowhere"),
    (("export", "torch", "digits", "-o", "a.txt"), USAGE, "give it a name that ends in .pt2"),
    (("export", "diffusers", "digits"), USAGE, "diffusion.process flow has no counterpart"),
    (("sample", "digits", "digits"), USAGE, "see mezzotint sample --help"),
    # configurations
    (("train", "mnits"), USAGE, "did you mean 'mnist'"),
    (("train", "missing.yaml"), USAGE, "recipes: airplanes"),
    (("train", "few"), USAGE, "mezzotint train folder --data few"),
    (("train", "tabs.yaml"), USAGE, "not valid YAML"),
    (("train", "few/0.png"), USAGE, "not valid YAML"),
    (("train", "list.yaml"), USAGE, "must hold keys such as data"),
    (("train", "typo.yaml"), USAGE, "did you mean train.batch_size"),
    (("train", "two.yaml"), USAGE, "give one budget, not epochs and steps"),
    ((*NEW, "--epochs", 2), USAGE, "give one budget"),
    ((*NEW, "word"), USAGE, "write key=value"),
    ((*NEW, "lr=3"), USAGE, "did you mean train.lr"),
    ((*NEW, "train=3"), USAGE, "train is a group of keys"),
    ((*NEW, "train.lr=high"), USAGE, "train.lr: input should be a valid number"),
    ((*NEW, "train.lr=[1"), USAGE, "not valid YAML"),
    ((*NEW, "train.log_every=50"), USAGE, "'500 steps'"),
    ((*NEW, "network.kind=unett"), USAGE, "'unet_simple'"),
    ((*NEW, "network.kind=mlp"), USAGE, "use unet"),
    ((*NEW, "network.attention=[3]"), USAGE, "factors [1, 2]"),
    ((*NEW, "sample.sampler=ddpmm"), USAGE, "did you mean 'ddpm'"),
    ((*NEW, "sample.eta=0.5"), USAGE, "leave eta out"),
    ((*NEW, "sample.spacing=trailing"), USAGE, "use karras, logsnr or time"),
    ((*NEW, "data.crop=9"), USAGE, "from 0 to 7"),
    ((*NEW, "--steps", 0), USAGE, "greater than or equal to 1"),
    (("train", "digits", "--name", "new", "--minutes", -1), USAGE, "greater than 0"),
    (("train", "digits", "--name", "new", "--minutes", "inf"), USAGE, "finite"),
    ((*NEW, "--batch-size", 0), USAGE, "greater than 0"),
    ((*NEW, "--precision", "foo"), USAGE, "'fp32' or 'bf16'"),
    ((*NEW, "--device", "foo"), USAGE, "leave it out"),
    ((*NEW, "--device", "meta"), USAGE, "leave it out"),
    (("train", "moons", "--name", "new", "data.size=8"), USAGE, "leave it out"),
    (("train", "moons", "--name", "new", "network.kind=unet"), USAGE, "use mlp"),
    # where a run goes
    (("train", "digits", "--name", "a/b"), USAGE, "--out sets the folder"),
    (("train", "digits", "--name", ".."), USAGE, "--out sets the folder"),
    (("train", "digits", "--name", ""), USAGE, "--out sets the folder"),
    (("train", "digits", "--name", "latest"), USAGE, "--name"),
    ((*NEW, "--out", "a-file"), USAGE, "choose another --out"),
    (("train", "digits", "--out", ".", "--name", "few"), USAGE, "choose another --name"),
    (("train", "digits", "--out", ".", "--name", "few", "--overwrite"), USAGE, "choose another --name"),
    (("train", "digits", "--out", ".", "--name", "a-file"), USAGE, "choose another --name"),
    (("train", "digits", *DIGITS, "--steps", 21), USAGE, "train.steps: 20 -> 21); add --resume"),
    (("train", "digits", *DIGITS, "--steps", 20, "--lr", 1), USAGE, "choose another --name, or --overwrite"),
    (("train", "digits", "--overwrite", "network.kind=mlp"), USAGE, "use unet"),
    (("train", "digits", "--overwrite", "data.name=folder"), MODEL_OR_DATA, "add --data PATH"),
    # data
    (("train", "folder"), MODEL_OR_DATA, "add --data PATH"),
    (("train", "folder", "--data", "missing"), MODEL_OR_DATA, "give the place of your pictures as --data"),
    (("train", "folder", "--data", "none"), MODEL_OR_DATA, "check --data"),
    (("train", "folder", "--data", "texts"), MODEL_OR_DATA, "texts/a.png: not a PNG"),
    (("train", "folder", "--data", "bad.parquet"), MODEL_OR_DATA, "as parquet"),
    (("train", "folder", "--data", "a-file"), MODEL_OR_DATA, "give one of these as --data"),
    (("train", "digits", "--name", "new", "--data", "few"), MODEL_OR_DATA, "the name 'folder'"),
    ((*NEW, "data.only=cat"), MODEL_OR_DATA, "its classes are: 0, 1"),
    ((*NEW, "data.name=cifar"), MODEL_OR_DATA, "did you mean 'cifar10'"),
    (("show", "data", "folder", "--data", "none"), MODEL_OR_DATA, "check --data"),
    (("show", "data", "digits", "-n", 0), USAGE, "'-n': "),
    # models
    (("sample", "missing"), MODEL_OR_DATA, "runs here: digits, discrete.v1, moons, plain"),
    (("sample", "few"), MODEL_OR_DATA, "holds no model.safetensors"),
    (("sample", "few/0.png"), MODEL_OR_DATA, "no safetensors file"),
    (("sample", "truncated.safetensors"), MODEL_OR_DATA, "copy it again"),
    (("sample", "empty.safetensors"), MODEL_OR_DATA, "copy it again"),
    (("sample", "garbage.safetensors"), MODEL_OR_DATA, "copy it again"),
    (("sample", "foreign.safetensors"), MODEL_OR_DATA, "the model.safetensors of a run"),
    (("sample", "strange.safetensors"), MODEL_OR_DATA, "the model.safetensors of a run"),
    (("sample", "future.safetensors"), MODEL_OR_DATA, "upgrade mezzotint"),
    (
        ("sample", "renamed-key.safetensors"),
        MODEL_OR_DATA,
        "another version of mezzotint: unknown key train.batch_sizes",
    ),
    (("sample", "other-shape.safetensors"), MODEL_OR_DATA, "another network"),
    (("sample", "other-facts.safetensors"), MODEL_OR_DATA, "the model.safetensors of a run"),
    (("show", "reverse", "missing"), MODEL_OR_DATA, "runs here: digits"),
    (("show", "loss", "missing"), MODEL_OR_DATA, "runs here: digits"),
    (("show", "loss", "whole.safetensors"), MODEL_OR_DATA, "give a run"),
    (("info", "missing"), MODEL_OR_DATA, "runs here: digits"),
    (("info", "missing.png"), MODEL_OR_DATA, "check the name"),
    (("info", "texts/a.png"), MODEL_OR_DATA, "cannot be read as a picture"),
    (("info", "few/0.png"), MODEL_OR_DATA, "a PNG picture, 12 pixels wide and 10 high, without settings"),
    (("info", "photo.jpg"), MODEL_OR_DATA, "a JPEG picture, 12 pixels wide and 10 high, without settings"),
    (("info", "photo.BMP"), MODEL_OR_DATA, "a BMP picture, 12 pixels wide and 10 high, without settings"),
    (("info", "half.jpg"), MODEL_OR_DATA, "cannot be read as a picture"),
    # what is asked of a model
    (("sample", "digits", "-n", 0), USAGE, "'-n': "),
    (("sample", "digits", "--batch", 0), USAGE, "'--batch': "),
    (("sample", "digits", "--steps", 0), USAGE, "greater than or equal to 1"),
    (("sample", "discrete.v1", "--steps", 51), USAGE, "steps must be 1 to 50"),
    (("sample", "digits", "--spacing", "trailing"), USAGE, "use karras, logsnr or time"),
    (("sample", "digits", "--spacing", "traling"), USAGE, "did you mean 'trailing'"),
    (("sample", "digits", "--sampler", "foo"), USAGE, "'heun'"),
    (("sample", "digits", "--eta", 0.5), USAGE, "leave eta out"),
    (("sample", "digits", "--sampler", "ddim", "--eta", 2), USAGE, "less than or equal to 1"),
    (("sample", "digits", "--guidance", "nan"), USAGE, "finite"),
    (("sample", "plain", "--guidance", 2), USAGE, "leave guidance out"),
    (("sample", "plain", "--class", 3), USAGE, "leave the class out"),
    (("sample", "digits", "--class", 10), USAGE, "below 10"),
    (("sample", "digits", "--class", -1), USAGE, "below 10"),
    (("sample", "digits", "--class", ""), USAGE, "below 10"),
    (("sample", "digits", "--class", "3,cat"), USAGE, "no class 'cat'"),
    (("sample", "digits", "--class", "²"), USAGE, "below 10"),
    (("sample", "moons", "--class", "uper"), USAGE, "upper, lower"),
    (("sample", "digits", "--weights", "last"), USAGE, "ema, raw, a length such as"),
    (("sample", "whole.safetensors", "--weights", "raw"), MODEL_OR_DATA, "only in the folder of a run"),
    (("sample", "digits", "--seed", -1), USAGE, "from 0"),
    (("sample", "digits", "--seed", 2**63), USAGE, "2^63 - 1"),
    (("sample", "digits", "--device", "foo"), USAGE, "leave it out"),
    (("show", "reverse", "digits", "--class", 12), USAGE, "below 10"),
    (("show", "reverse", "digits", "--steps", 0), USAGE, "greater than or equal to 1"),
    (("show", "forward", "digits", "--times", "250"), USAGE, "from 0 to 1 with commas"),
    (("show", "forward", "digits", "--times", "0.5,,1"), USAGE, "from 0 to 1 with commas"),
    (("show", "forward", "digits", "--times", "nan"), USAGE, "from 0 to 1 with commas"),
    (("show", "schedule", "foo"), USAGE, "recipes: airplanes"),
    # where pictures go
    (("sample", "digits", "--format", "jpg"), USAGE, "png, folder, npz, gif or mp4"),
    (("sample", "digits", "-o", "x.jpg"), USAGE, "end it in .png, .npz, .gif or .mp4"),
    (("sample", "digits", "-o", "x.gif", "--format", "png"), USAGE, "end it in .png"),
    (("sample", "digits", "-o", "x.jpg", "--format", "png"), USAGE, "end it in .png"),
    (("sample", "digits", "-o", "x.png", "--format", "folder"), USAGE, "name of a folder"),
    (("sample", "digits", "-o", "x.tar", "--format", "npz"), USAGE, "end it in .npz"),
    (("show", "data", "digits", "-o", "x.jpg"), USAGE, "end it in .png"),
    (("show", "forward", "digits", "-o", "x.gif"), USAGE, "end it in .png"),
    (("show", "reverse", "digits", "-o", "x.npz"), USAGE, "end it in .png"),
    (("sample", "digits", "-o", "few", "--format", "png"), USAGE, "name of a file"),
    (("sample", "digits", "-o", "a-file/x.png"), USAGE, "another place with -o"),
    (("sample", "digits", "-o", "a-file", "--format", "folder"), USAGE, "another place with -o"),
    (("show", "reverse", "digits", "-o", "few"), USAGE, "name of a file"),
    (("show", "schedule", "digits", "-o", "a-file/x.png"), USAGE, "another place with -o"),
    # places that are not there, or are something else
    (("serve", "digits", "--runs", "nowhere"), MODEL_OR_DATA, "give the folder that holds them"),
    (("serve", "digits", "--runs", "a-file"), MODEL_OR_DATA, "a-file is not a folder of runs"),
    (("serve", "digits", "--log", "nowhere/x"), USAGE, "choose another --log"),
    (("serve", "few"), MODEL_OR_DATA, "holds no model.safetensors"),
    (("ui", "--out", "nowhere"), MODEL_OR_DATA, "give the folder that holds them"),
    (("ui", "nobody"), MODEL_OR_DATA, "runs here: digits"),
    (("list", "models", "--out", "a-file"), MODEL_OR_DATA, "a-file is not a folder of runs"),
    (("list", "models", "--out", "nowhere"), MODEL_OR_DATA, "give the folder that holds them"),
    (("train", "empty.safetensors"), USAGE, "is empty; it must hold keys such as data"),
    (("sample", "digits", "--noise", "empty.npz"), MODEL_OR_DATA, "make it again"),
    (("sample", "digits", "--noise", "nowhere.npz"), MODEL_OR_DATA, "`mezzotint invert` makes such a file"),
    (("sample", "digits", "--adapter", "few"), MODEL_OR_DATA, "name the adapter.safetensors of a run"),
    (("sample", "digits", "--encoder", "nowhere"), MODEL_OR_DATA, "give the folder of the text encoder"),
    (("evaluate", "digits", "--encoder", "few"), USAGE, "none of these has one; leave it out"),
    (("evaluate", "empty.npz", "--data", "digits", "-n", 10), MODEL_OR_DATA, "it should hold images, uint8"),
    (("evaluate", "digits", "--extractor", "inception=few/0.png"), MODEL_OR_DATA, "it is no file of weights"),
    (("edit", "digits", "texts/a.png"), MODEL_OR_DATA, "the picture a.png is damaged or not a PNG"),
    (
        ("edit", "digits", "few/0.png", "--mask", "texts/a.png"),
        MODEL_OR_DATA,
        "the mask a.png is damaged or not a PNG",
    ),
    (("train", "latent", "--codec", "a-file"), MODEL_OR_DATA, "name the file of an autoencoder"),
    (("import", "diffusers", "none"), MODEL_OR_DATA, "give a folder that diffusers has saved"),
]


@pytest.mark.parametrize(("words", "code", "remedy"), WRONG, ids=lambda part: str(part)[:60])
def test_is_told_in_one_line(
    mezzotint: Call, desk: Path, store: Path, words: tuple[object, ...], code: int, remedy: str
) -> None:
    before, names = contents(store), set(desk.iterdir())
    answer = mezzotint(*words)
    assert answer.err.startswith("mezzotint: ") and answer.err.count("\n") == 1, answer.err
    assert remedy in answer.err
    assert (answer.code, answer.out) == (code, "")
    assert contents(store) == before and set(desk.iterdir()) == names


@pytest.mark.parametrize(
    ("module", "words"),
    [("datasets", ("train", "mnist")), ("pyarrow.parquet", ("train", "mnist", "--data", "bad.parquet"))],
)
def test_a_missing_extra_has_its_pip_line(
    mezzotint: Call, desk: Path, monkeypatch: pytest.MonkeyPatch, module: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    answer = mezzotint(*words)
    assert answer.code == EXTRA
    assert answer.err == f'mezzotint: {module} is not installed; run: pip install "mezzotint[hub]"\n'
    assert not (desk / "runs" / "mnist").exists()


def test_an_unreachable_hub_is_told_soon(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "mezzotint", "train", "mnist"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **nobody},
    )
    assert done.returncode == MODEL_OR_DATA
    assert "cannot get ylecun/mnist" in done.stderr and "point --data at a folder" in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    assert time.monotonic() - began < 40
    assert not (tmp_path / "runs").exists()


def test_what_is_not_there_leads_to_no_wrong_neighbour(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("sample", "digits", "--prompt", "x")
    assert "Did you mean" not in answer.err and "Possible options" not in answer.err
    for name in ("runs/digit", "few/x.safetensors", "nowhere/deep/x", "few/digits"):
        assert "hub" not in mezzotint("sample", name).err, "a place on this disk"


def test_there_is_no_latest_without_runs(
    mezzotint: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ("sample", "latest"),
        ("sample", "nothing"),
        ("info", "latest"),
        ("show", "loss", "latest"),
    ):
        answer = mezzotint(*words)
        assert answer.code == MODEL_OR_DATA
        assert "mezzotint train digits" in answer.err


def test_no_words_are_answered_with_help(mezzotint: Call) -> None:
    answer = mezzotint()
    assert answer.code == 0 and "Start here:  mezzotint train digits" in answer.out


def test_a_file_that_ends_too_soon_is_no_interrupt(
    mezzotint: Call, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a library says so by an EOFError."""

    def ends(*_: object) -> None:
        raise EOFError("No data left in file")

    monkeypatch.setattr("mezzotint.disk.names.find", ends)
    answer = mezzotint("info", "digits")
    assert answer.code == 1 and "mezzotint: EOFError: No data left in file" in answer.err


def test_verbose_shows_where_an_error_came_from(desk: Path) -> None:
    from mezzotint.cli import main
    from mezzotint.errors import ModelError

    with pytest.raises(ModelError, match="runs here"):
        main(["sample", "missing", "--verbose"])
