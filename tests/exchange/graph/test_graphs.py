"""Networks of ONNX and torch.export, against the network itself."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_modules import module_of
from helpers_small import FLOW, write_run
from helpers_tiny import tiny

from mezzotint.cli import main
from mezzotint.exchange.graph.packed import packed, rounded
from mezzotint.exchange.graph.program import program, save_program
from mezzotint.exchange.sampler import sampler_table
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model

ATTENDING = {
    "kind": "unet",
    "width": 8,
    "multipliers": [1],
    "blocks": 1,
    "attention": [1],
    "head_channels": 4,
}
LIBRARIES = ("onnx", "onnxruntime", "onnxscript")


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(map(str, words)))
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("runs") / "small"
    sample = {"steps": 3, "guidance": 2.0}
    write_run(folder, Facts((1, 8, 8), ("a", "b")), network=ATTENDING, sample=sample)
    return load(folder)


@pytest.fixture(scope="module")
def exported(model: Model) -> torch.export.ExportedProgram:
    return program(model)


def batch(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(n)
    return torch.randn(n, 1, 8, 8), 999 * torch.rand(n), torch.arange(n) % 3


def test_a_program_is_one_file_that_needs_nothing_of_ours(
    model: Model, exported: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    path = tmp_path / "small.pt2"
    assert save_program(exported, sampler_table(model), path) == path.stat().st_size
    for n in (1, 3, 64):
        x, c_noise, label = batch(n)
        torch.save((x, c_noise, label, model.net(x, c_noise, label)), tmp_path / f"{n}.pt")
    code = """
import json, sys, torch
extra = {"sampler.json": ""}
net = torch.export.load(sys.argv[1] + "/small.pt2", extra_files=extra).module()
assert len(json.loads(extra["sampler.json"])["moves"]) == 3
for n in (1, 3, 64):
    x, c_noise, label, want = torch.load(f"{sys.argv[1]}/{n}.pt")
    assert (net(x, c_noise, label=label) - want).abs().max() < 1e-5
assert not [name for name in sys.modules if name.startswith("mezzotint")]
"""
    done = subprocess.run([sys.executable, "-I", "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert b"nets/unet.py" not in path.read_bytes()
    with pytest.raises(ValueError, match="exists already"):
        save_program(exported, {}, path)


def test_transformers_take_any_batch(tmp_path: Path) -> None:
    """A size that the code makes a whole number of, as len(x) does, would be a constant."""
    network = {"kind": "dit", "width": 16, "depth": 1, "head_channels": 16, "tokens": 1}
    write_run(tmp_path / "run", Facts((1, 8, 8), ("a", "b")), network=network)
    transformer = load(tmp_path / "run")
    traced = program(transformer).module()
    for n in (1, 3):
        x, c_noise, label = batch(n)
        assert (traced(x, c_noise, label=label) - transformer.net(x, c_noise, label)).abs().max() < 1e-5


@pytest.fixture(scope="module")
def folder(
    exported: torch.export.ExportedProgram, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What `mezzotint export onnx` writes, by the command itself, with the program that was traced above."""
    for library in LIBRARIES:
        pytest.importorskip(library, reason=f"{library} of the extra [export] is not installed")
    from mezzotint.exchange.graph import export

    place = tmp_path_factory.mktemp("onnx") / "folder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "program", lambda model: exported)
        export.export_onnx(model, place)
    return place


def answers(content: bytes, n: int) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = zip(("x", "c_noise", "label"), batch(n))
    return session.run(None, {name: tensor.numpy() for name, tensor in given})[0]


@pytest.mark.parametrize("n", [1, 3, 64])
def test_onnx_computes_the_network(model: Model, folder: Path, n: int) -> None:
    got = answers((folder / "denoiser.onnx").read_bytes(), n)
    assert np.abs(got - model.net(*batch(n)).numpy()).max() < 1e-4


def test_the_folder_makes_the_pictures_of_sample(model: Model, folder: Path) -> None:
    """By its own program, which has nothing of ours: the same seed, the classes that it draws."""
    assert sorted(path.name for path in folder.iterdir()) == ["denoiser.onnx", "sample.py", "sampler.json"]
    assert b"nets/unet.py" not in (folder / "denoiser.onnx").read_bytes()
    words = [sys.executable, "-I", str(folder / "sample.py"), "-n", "3", "--seed", "5"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, last = model.stream(3, seed=5)
    assert np.abs(np.load(folder / "made.npy") - last.x0.numpy()).max() < 1e-4
    pixels = np.frombuffer((folder / "made.pgm").read_bytes().removeprefix(b"P5 24 8 255\n"), np.uint8)
    side_by_side = model.sample(3, seed=5).values.numpy().transpose(2, 0, 3, 1).ravel().astype(int)
    assert np.abs(pixels.astype(int) - side_by_side).max() <= 1


def test_the_page_shows_all_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 30 lines of docs/exchange.md make what the program makes of the same noise."""
    page = (Path(__file__).parents[3] / "docs" / "exchange.md").read_text("utf-8")
    code = page.split("```python\nimport json\n\nimport numpy")[1].split("```")[0]
    shown: dict[str, Any] = {}
    exec("import json\nimport numpy" + code.replace("digits/", f"{folder}/"), shown)

    example = module_of(folder / "sample.py")
    rng, seeds = np.random.default_rng(0), np.zeros(8, np.uint64)
    monkeypatch.setattr(
        example, "normal", lambda s, step, draw, shape: rng.standard_normal((8, *shape), np.float32)
    )
    asked, away = example.told(shown["table"], seeds, np.arange(8) % 2)
    made = example.sample(shown["network"], shown["table"], seeds, asked, away)
    assert made.shape == (8, 1, 8, 8) and np.abs(made - shown["made"]).max() < 1e-6


def test_clips_of_codes_by_texts(tmp_path: Path) -> None:
    """All that a folder may have at once: words are read by its program, codes are decoded by a second file, frames lie below each other."""
    for library in LIBRARIES:
        pytest.importorskip(library, reason=f"{library} of the extra [export] is not installed")
    from mezzotint.exchange.graph.export import export_onnx

    network = {"kind": "dit", "width": 8, "depth": 1, "head_channels": 8, "patch": [2, 1, 1], "tokens": 1}
    coder = {"kind": "vae", "factor": 4, "latents": 2, "width": 4, "blocks": 1}
    talking = tiny(
        (1, 2, 8, 4),
        words=5,
        network=network,
        diffusion=FLOW,
        codec={"file": "vae.safetensors", "digest": "0" * 16, "network": coder},
        sample={"steps": 2, "guidance": 2.0},
    )
    place = tmp_path / "folder"
    export_onnx(talking, place)
    assert sorted(path.name for path in place.iterdir())[:2] == ["decoder.onnx", "denoiser.onnx"]
    asked = ["--prompt", "w03, W00.", "--negative", "w01 w02"]
    words = [sys.executable, "-I", str(place / "sample.py"), "-n", "3", "--seed", "5", *asked]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    request = talking.request(3, seed=5, prompt="w03 w00", negative="w01 w02")
    want = talking.answer(request).values.numpy().astype(int)  # (3, 1, 2, 8, 4)
    assert want.std() > 10
    pixels = np.frombuffer((place / "made.pgm").read_bytes().removeprefix(b"P5 12 16 255\n"), np.uint8)
    frames = pixels.astype(int).reshape(2, 8, 3, 4).transpose(2, 0, 1, 3)
    assert np.abs(frames - want[:, 0]).max() <= 1


@pytest.mark.parametrize(("weights", "most", "share"), [("float16", 1e-2, 0.62), ("int8", 5e-2, 0.5)])
def test_weights_of_fewer_bytes(
    model: Model,
    exported: torch.export.ExportedProgram,
    folder: Path,
    weights: str,
    most: float,
    share: float,
) -> None:
    import onnx

    whole = (folder / "denoiser.onnx").read_bytes()
    small = packed(onnx.load_from_string(whole), weights)
    off = np.abs(answers(small, 3) - model.net(*batch(3)).numpy()).max()
    assert 1e-6 < off < most
    numbers = 4 * sum(weight.numel() for weight in model.net.parameters())
    assert len(whole) - len(small) > share * numbers * 0.5


def test_whole_numbers_are_the_nearest() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    values[2] = 0
    steps, scale = rounded(values)
    assert steps.dtype == np.int8 and scale.shape == (4, 1, 1) and np.abs(steps).max() == 127
    assert (np.abs(steps * scale - values) <= scale / 2 + 1e-7).all() and not steps[2].any()


def test_what_is_in_the_way_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("moons.pt2").write_text("mine")
    assert command("export", "torch", "moons") == 2
    assert "moons.pt2 exists already" in capsys.readouterr().err
    Path("moons-onnx").mkdir()
    Path("moons-onnx/mine").touch()
    assert command("export", "onnx", "moons") == 2
    assert "moons-onnx exists already" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert command("export", "onnx", "moons", "-o", "out") == 4
    assert 'pip install "mezzotint[export]"' in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["moons-onnx", "moons.pt2"]
