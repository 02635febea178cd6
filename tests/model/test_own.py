"""Networks from Python: pictures, an evaluation, a file, and back."""

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_judges import digits
from PIL import Image
from torch import Tensor, nn

import mezzotint
from mezzotint import Batch, Cond, Denoiser, DenoisingLoss, Model
from mezzotint.cli import main
from mezzotint.data import points, to_model
from mezzotint.diffusion.parameterization import eps, velocity
from mezzotint.diffusion.process import flow, vp
from mezzotint.diffusion.schedule import linear, lognormal
from mezzotint.errors import ConfigError, ModelError
from mezzotint.evaluate import evaluate
from mezzotint.evaluate.judges.classifier import Classifier, classifier_extractor
from mezzotint.evaluate.judges.features import Extractor
from mezzotint.nets import MLP
from mezzotint.train import Ema, State, adamw, train

TABLE = linear(100)
NAMES = tuple("0123456789")


class Tiny(nn.Module):
    """Of one's own, with classes, dropout and a batch norm: pictures (B, 1, 8, 8)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.label = nn.Embedding(11, 1)
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.norm, self.drop = nn.BatchNorm2d(width), nn.Dropout(0.5)
        self.leave = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        told = torch.stack([t / 100, self.label(label)[:, 0]], 1)[:, :, None, None].expand(-1, -1, 8, 8)
        return self.leave(self.drop(self.norm(self.enter(torch.cat([x, told], 1)).relu())))


def trained() -> State:
    """A few steps, as people write them."""
    images, labels = digits()
    torch.manual_seed(0)
    net = Tiny()
    state = State(net, adamw(net), Ema(net, 0.1))
    batches = (Batch(to_model(images[i : i + 16]), Cond(label=labels[i : i + 16])) for i in range(0, 320, 16))
    objective = DenoisingLoss(Denoiser(net, vp, eps, TABLE.index), TABLE)
    null = Cond(label=torch.tensor([10]))
    for _ in train(objective, state, batches, until=20, lr=lambda share: 1e-2, drop=0.1, null=null):
        pass
    return state


def untrained(*_: Any) -> Extractor:
    """A judge of random weights, which is quick."""
    torch.manual_seed(0)
    return classifier_extractor(Classifier(1, 8, 10).eval())


@pytest.fixture(scope="module")
def state() -> State:
    return trained()


@pytest.fixture(scope="module")
def model(state: State) -> Model:
    bound = Denoiser(state.ema.net, vp, eps, TABLE.index)
    return Model.of(bound, TABLE, shape=(1, 8, 8), classes=NAMES, step=state.step)


def test_pictures(model: Model, state: State, tmp_path: Path) -> None:
    samples = model.sample(4, label=7, seed=3, steps=5, guidance=2)
    assert samples.values.shape == (4, 1, 8, 8) and samples.values.dtype == torch.uint8
    samples.save(tmp_path / "sevens.png")
    Image.open(tmp_path / "sevens.png").verify()
    settings = samples.settings
    assert (settings["model"], settings["step"], settings["weights"]) == ("Tiny", 20, "given")


def test_the_model_is_of_the_network_as_it_was(state: State) -> None:
    """A copy, in eval mode, whatever becomes of the network; and the network is left in its mode."""
    net = Tiny().train()
    made = Model.of(Denoiser(net, vp, eps, TABLE.index), TABLE, shape=(1, 8, 8), classes=NAMES)
    before = made.sample(2, steps=3).values
    assert torch.equal(before, made.sample(2, steps=3).values)  # no dropout
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
    assert torch.equal(before, made.sample(2, steps=3).values)
    assert net.training and all(weight.requires_grad for weight in net.parameters())


def test_it_samples_as_its_parts_do(model: Model, state: State) -> None:
    from mezzotint.diffusion.corrections import clip
    from mezzotint.diffusion.engine import alone
    from mezzotint.tasks.generate import generate, seeds_from

    seeds = seeds_from(5, 3, torch.device("cpu"))
    steps = generate(vp, TABLE, (1, 8, 8), seeds, sampler="ddim", steps=4, spacing="trailing")
    bound = Denoiser(state.ema.net, vp, eps, TABLE.index)
    *_, last = alone(bound, steps, Cond(label=torch.tensor([3, 3, 3])), corrections=[clip()])
    samples = model.sample(3, label=3, seed=5, sampler="ddim", steps=4)
    assert torch.equal(samples.values, model.codec.decode(last.x0))


def test_an_evaluation(model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path))
    monkeypatch.setattr("mezzotint.evaluate.evaluation.open_judge", untrained)
    images, _ = digits()
    (found,) = evaluate([model], data=images[:200], n=50)
    assert found.source == "Tiny" and found.n == 50 and found.reference == "200 pictures given"
    assert {"frechet distance", "precision", "recall"} <= {number.name for number in found.numbers}
    assert "copies" not in {number.name for number in found.numbers} and found.copying is None
    text = str(found)
    assert "reference: 200 pictures given" in text and "frechet distance" in text and "Tiny" in text
    (named,) = evaluate([model], data="digits", n=50)
    assert {"class agreement", "copies"} <= {number.name for number in named.numbers}
    real = tmp_path / "real.npz"
    np.savez(real, images=images[200:260].numpy().transpose(0, 2, 3, 1))
    both = evaluate([model, str(real)], data=images[:200], n=50)
    assert [one.source for one in both] == ["Tiny", "real.npz"]
    assert both[1]["frechet distance"].value < both[0]["frechet distance"].value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "does not name its data, since it was trained in Python or imported: give real ones"),
        (torch.zeros(100, 2), r"uint8 \(M, C, H, W\), 10 at least.*points are"),
        (torch.zeros(9, 1, 8, 8, dtype=torch.uint8), "10 at least"),
        (torch.zeros(20, 1, 8, 9, dtype=torch.uint8), "and the reference is"),
    ],
)
def test_real_pictures_that_will_not_do(
    model: Model, data: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzotint.evaluate.evaluation.open_judge", untrained)
    with pytest.raises(ConfigError, match=message):
        evaluate([model], data=data, n=20)


# --- the file ------------------------------------------------------------------------------------------------


def test_a_file_and_back(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "new" / "tiny.safetensors"
    model.save(path)
    again = mezzotint.load(path, network=Tiny, device="cpu")
    assert again.header == model.header and again.classes == NAMES
    wanted = {"label": "all", "seed": 2, "steps": 4, "sampler": "ddpm"}
    assert torch.equal(again.sample(5, **wanted).values, model.sample(5, **wanted).values)
    again.save(tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").read_bytes() == path.read_bytes()


def test_a_file_alone_makes_no_code_run(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "tiny.safetensors")
    with pytest.raises(ModelError, match=r"of Tiny, a network from Python, and no code.*network=Tiny"):
        mezzotint.load(tmp_path / "tiny.safetensors")
    model.save(tmp_path / "runs" / "tiny" / "model.safetensors")
    with pytest.raises(ModelError, match="no code"):
        evaluate([str(tmp_path / "runs" / "tiny")], data="digits", n=20)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Tiny(8), ModelError, "another network than its config says"),
        (lambda: "Tiny", ConfigError, "must make a torch.nn.Module, not str"),
        (lambda width: Tiny(width), ConfigError, "without arguments"),
    ],
)
def test_another_network_is_refused(
    make: Any, error: type[Exception], message: str, model: Model, tmp_path: Path
) -> None:
    model.save(tmp_path / "tiny.safetensors")
    with pytest.raises(error, match=message):
        mezzotint.load(tmp_path / "tiny.safetensors", network=make)


def test_a_network_of_ours_needs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzotint.evaluate.evaluation.open_judge", untrained)
    torch.manual_seed(0)
    net, levels = MLP(width=16, depth=1), lognormal(0.0, 1.0)
    state = State(net, adamw(net), Ema(net, 0.1))
    batches = (Batch(points("moons", 64, (0, step))[0]) for step in count())
    for _ in train(
        DenoisingLoss(Denoiser(net, flow, velocity), levels), state, batches, until=5, lr=lambda _: 1e-2
    ):
        pass
    model = Model.of(Denoiser(state.ema.net, flow, velocity), levels, shape=(2,))
    model.save(tmp_path / "model.safetensors")
    again = mezzotint.load(tmp_path, device="cpu")
    assert torch.equal(again.sample(9).values, model.sample(9).values)
    (found,) = evaluate([model], data="moons", n=100)
    assert "energy distance" in str(found)
    with pytest.raises(ConfigError, match=r"makes \(2,\) and the reference is \(1, 8, 8\)"):
        evaluate([model], data="digits", n=10)
    with pytest.raises(ConfigError, match="describes its network itself, mlp; leave network out"):
        mezzotint.load(tmp_path, network=MLP)


class Shrinks(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x[:, :, 1:]


@pytest.mark.parametrize(
    ("net", "shape", "classes", "message"),
    [
        (lambda x, t: x, (2,), (), "must be a torch.nn.Module"),
        (Tiny(), (1, 8, 8), (), "does not take pictures 1x8x8"),
        (Tiny(), (1, 9, 8), NAMES, "does not take pictures 1x9x8"),
        (Tiny(), (1, 8, 8), (*NAMES, "ten"), "labels from 0 to 11, of which the last is none"),
        (Shrinks(), (1, 8, 8), (), "must keep the shape"),
        (Shrinks(), (8, 8), (), "shape: shape"),
    ],
)
def test_what_does_not_fit_is_said_at_once(net: Any, shape: Any, classes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Model.of(Denoiser(net, vp, eps, TABLE.index), TABLE, shape=shape, classes=classes)
    assert "\n" not in str(caught.value)


# --- the command line ----------------------------------------------------------------------------------------

MODULE = """
from pathlib import Path

from torch import nn

Path("imported").touch()


class Plus(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Linear(2, 2)

    def forward(self, x, t):
        return self.weight(x)


def wide(width):
    return Plus()
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model file of a network whose code lies beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    space: dict[str, Any] = {}
    exec(MODULE, space)
    bound = Denoiser(space["Plus"](), flow, velocity)
    Model.of(bound, lognormal(), shape=(2,)).save("plus.safetensors")
    Path("imported").unlink()
    Path("plus_net.py").write_text(MODULE)
    monkeypatch.delitem(__import__("sys").modules, "plus_net", raising=False)
    return tmp_path


def leave(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return int(left.value.code or 0)


def test_the_command_line_imports_what_it_is_told_to(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("sample", "plus.safetensors", "-n", "20", "-o", "plus.png")
    assert leave(*words) == 3
    said = capsys.readouterr().err
    assert "mezzotint sample plus.safetensors --network MODULE:Plus" in said and not Path("imported").exists()
    assert leave(*words, "--network", "plus_net:Plus") == 0
    assert Path("imported").exists() and Image.open("plus.png").size[0] > 100


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("plus_net", "write MODULE:NAME"),
        (":Plus", "write MODULE:NAME"),
        ("plus_net:Minus", "Minus"),
        ("minus_net:Plus", "minus_net"),
        ("plus_net:wide", "without arguments"),
    ],
)
def test_what_it_cannot_import(
    desk: Path, place: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("sample", "plus.safetensors", "-n", "20", "--network", place) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_names_its_network_needs_no_import(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("sample", "moons", "-n", "20", "--network", "plus_net:Plus") == 2
    assert "leave network out" in capsys.readouterr().err and not Path("imported").exists()
