"""The walls stand right: a new medium and a new codec are rows of `media/`, with their case in `build/` and their word in
`config/`, and everything else takes them as they come: training, going on, model files, sampling, pictures, npz, serving.

A test applies the lines below to a copy of the package, and uses what they add.
"""

import shutil
from pathlib import Path

from helpers_forked import run_code

SOURCE = Path(__file__).resolve().parents[1] / "src"
ROOMS = {"media", "build", "config"}

VOLUMES = {
    "media/volumes.py": '''"""Toy volumes: (T, C, H, W) uint8, shown as a strip of frames."""

import torch
from PIL import Image
from torch import Tensor

from mezzotint import plots


def sheet(volumes: Tensor, labels=None, columns=None, scale=None, captions=None) -> Image.Image:
    return plots.sheet(volumes.flatten(0, 1), columns=volumes.shape[1], scale=scale)


def strip(frames, captions, labels=None) -> Image.Image:
    return plots.strip(torch.stack([volumes[:, 0] for volumes in frames]), captions)


def pair(state: Tensor, belief: Tensor) -> Tensor:
    return torch.stack([state, belief], dim=1).flatten(0, 1)


def item(volume: Tensor) -> Image.Image:
    return sheet(volume[None])
''',
}
VOLUME_CHANGES = [
    (
        "media/medium.py",
        "from mezzotint.media import clips, pictures, points\n",
        "from mezzotint.media import clips, pictures, points, volumes\n",
    ),
    (
        "media/medium.py",
        "MEDIA: dict[str, Medium] = {\n",
        """MEDIA: dict[str, Medium] = {
    "volumes": Medium(
        rank=4, network="conv3d", batch=16, half=False, codec=Bytes(), least=1,
        words=lambda shape: "volumes", cells=lambda shape: shape[0] * shape[2] * shape[3],
        usual_sheet=lambda shape, classes: (4, None),
        sheet=volumes.sheet, strip=volumes.strip, pair=volumes.pair, item=volumes.item,
        arrays=lambda things: things.numpy().transpose(0, 1, 3, 4, 2),
    ),
""",
    ),
    (
        "config/network.py",
        "Network = Annotated[MLP | ",
        '''class Conv3d(Tree):
    """For volumes."""

    kind: Literal["conv3d"]
    width: PositiveInt = 8


Network = Annotated[Conv3d | MLP | ''',
    ),
    (
        "build/networks.py",
        "    if facts.kind not in MEDIA_OF",
        """    if isinstance(config.network, Conv3d):
        return ToyNet(facts.shape[1], options["width"], len(facts.classes))
    if facts.kind not in MEDIA_OF""",
    ),
    (
        "build/networks.py",
        "\n\ndef network(",
        """
from mezzotint.config.network import Conv3d
from mezzotint.nets.embed import Conditioning


class ToyNet(nn.Module):
    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.conditioning = Conditioning(width, classes)
        self.enter = nn.Conv3d(channels, width, 3, padding=1)
        self.leave = nn.Conv3d(width, channels, 3, padding=1)

    def forward(self, x, c_noise, label=None):
        emb = self.conditioning(c_noise, label)[:, :, None, None, None]
        return self.leave((self.enter(x.transpose(1, 2)) + emb).relu()).transpose(1, 2)


def network(""",
    ),
    (
        "build/sources.py",
        "    opened = open_source(config.data, device)\n",
        """    opened = columns(device) if config.data.name == "columns" else open_source(config.data, device)
""",
    ),
    (
        "build/sources.py",
        "\n\ndef source(",
        '''
from mezzotint.data.batches import Augmentation
from mezzotint.data.images import Pictures
from mezzotint.data.open import PictureSource
from mezzotint.data.held_out import split_set
from mezzotint.media.facts import Facts


def columns(device: torch.device) -> "Source":
    """A bright column that goes right (class 0) or left (class 1)."""
    labels = torch.arange(40) % 2
    where = torch.arange(3)[None, :] * (1 - 2 * labels[:, None]) + torch.arange(40)[:, None]
    images = torch.zeros(40, 3, 1, 6, 6, dtype=torch.uint8)
    images.scatter_(4, (where % 6)[:, :, None, None, None].expand(40, 3, 1, 6, 1), 255)
    facts, parts = Facts((3, 1, 6, 6), ("right", "left"), "volumes"), split_set(40, 0.2)
    pictures = Pictures(images, labels, list(facts.classes), 1, (6, 6))
    return PictureSource(pictures, facts, device, Augmentation(False, 0, 0.0), *parts, facts.medium.codec)


def source(''',
    ),
]
LATENTS = [
    (
        "media/codec.py",
        "\n\nclass Bytes:",
        '''

class Quarters:
    """A toy latent: four pixels of a picture to four channels, centred and scaled to unit variance or so."""

    bounded, exact, weights = False, True, None

    def shape(self, thing):
        channels, height, width = thing
        return 4 * channels, height // 2, width // 2

    def encode(self, things):
        return torch.pixel_unshuffle(to_model(things), 2) * 1.5 + 0.5

    def decode(self, codes):
        return to_uint8(torch.pixel_shuffle((codes - 0.5) / 1.5, 2))

    def preview(self, codes):
        return self.decode(codes)

    def mask(self, things):
        return torch.nn.functional.max_pool2d(things.float()[None], 2)[0] > 0


class Bytes:''',
    ),
    (
        "config/tree.py",
        "class Config(Tree):\n",
        'class Config(Tree):\n    toy: Literal["none", "quarters"] = "none"\n',
    ),
    (
        "config/tree.py",
        "from mezzotint.config.base",
        "from typing import Literal\n\nfrom mezzotint.config.base",
    ),
    (
        "build/codecs.py",
        "    return facts.medium.codec\n",
        '    return Quarters() if config.toy == "quarters" else facts.medium.codec\n',
    ),
    ("build/codecs.py", "import Codec, Latents\n", "import Codec, Latents, Quarters\n"),
]

USE = """
import sys
from pathlib import Path

import numpy as np
import torch
from mezzotint import config, load, plots
from mezzotint.cli import main
from mezzotint.model.strips import denoising
from mezzotint.run.fit import fit
from mezzotint.serve.http.results import encode
from mezzotint.studies.report import curves

curves.draw_curves = lambda rows, config: iter(())  # what takes the time of a report

def run(*words):
    try:
        main([str(word) for word in words])
    except SystemExit as left:
        assert not left.code, words

for name, shape, code, words in {cases}:
    quick = ["train.steps=4", "train.batch_size=8", "train.log_every=2 steps", "sample.steps=3", "train.precision=fp32"]
    quick += ["train.validate_every=100%", "train.snapshot_every=100%"]
    run("train", "digits", *quick, *words, "--name", name, "--watch")
    run("train", "digits", *quick, *words, "--name", name)  # is trained already
    whole = config.load("digits", [*quick, *words])
    stopped = [*fit(whole, Path("runs/again-" + name), stop=lambda: True)][-1]
    assert stopped.step == 1
    for event in fit(whole, Path("runs/again-" + name)):
        pass
    a, b = load("runs/" + name), load("runs/again-" + name)
    assert all(torch.equal(x, y) for x, y in zip(a.net.parameters(), b.net.parameters()))
    samples = a.sample(5, label="all")
    assert samples.values.dtype == torch.uint8 and tuple(samples.values.shape[1:]) == shape
    previews = [*a.stream(2)]
    assert tuple(previews[0].x.shape[1:]) == code and tuple(previews[0].belief.shape[1:]) == shape
    assert denoising(previews).size[0] > 10
    assert torch.equal(samples.values, a.sample(5, label="all", batch=2).values)
    run("sample", name, "-n", 4, "-o", "four.png")
    assert plots.read_settings("four.png")["n"] == 4
    run("sample", name, "-n", 4, "-o", "four.npz")
    assert len(np.load("four.npz")["images"]) == 4
    run("sample", name, "-n", 2, "-o", "two", "--format", "folder")
    run("show", "reverse", name, "-n", 2)
    run("show", "forward", "digits", *words)
    run("info", name)
    for form in ("png", "json", "zip"):
        assert encode(samples, form)
    print("used", name)
"""


CASES = [
    ("volumes", (3, 1, 6, 6), (3, 1, 6, 6), ["data.name=columns", "network.kind=conv3d", "network.width=8"]),
    ("latent", (1, 8, 8), (4, 4, 4), ["toy=quarters", "network.width=16", "data.limit=100"]),
]


def test_a_volume_is_a_row_of_the_media_and_a_latent_of_the_codecs(tmp_path: Path) -> None:
    """Both in one copy of the package and one process, since starting one takes longer than what they do."""
    package, changes = tmp_path / "src" / "mezzotint", [*VOLUME_CHANGES, *LATENTS]
    shutil.copytree(SOURCE, tmp_path / "src")  # compiled files too: those of what changes are older than it
    assert {Path(name).parts[0] for name in [*VOLUMES, *(name for name, _, _ in changes)]} <= ROOMS
    for name, text in VOLUMES.items():
        (package / name).write_text(text)
    for name, old, new in changes:
        text = (package / name).read_text()
        assert text.count(old) == 1, (name, old)
        (package / name).write_text(text.replace(old, new))
    done = run_code(USE.replace("{cases}", repr(CASES)), tmp_path / "src", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("used ")] == [
        "used volumes",
        "used latent",
    ]
