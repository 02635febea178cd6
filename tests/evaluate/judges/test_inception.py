"""The Inception network of published numbers: its shape, its resize, and how its file is read. The real weights are not
here; what is shown is that every tensor of such a file has its place."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mezzotint.errors import DataError, MissingExtra
from mezzotint.evaluate.judges import pretrained
from mezzotint.evaluate.judges.features import extract
from mezzotint.evaluate.judges.inception import (
    Forked,
    Inception,
    _average,
    inception_extractor,
    prepare,
    resize_tensorflow,
)


def pictures(n: int = 3, side: int = 20, channels: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, channels, side, side), generator=random).to(torch.uint8)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Random ones that keep the scale of what passes through."""
    torch.manual_seed(0)
    net = Inception()
    for name, parameter in net.named_parameters():
        if name.endswith("conv.weight"):
            torch.nn.init.kaiming_normal_(parameter)
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
    return net.state_dict()


def tensorflow_resize(image: np.ndarray, side: int) -> np.ndarray:
    """A picture (H, W), pixel by pixel as the documentation of TensorFlow 1 has it, without aligned corners."""
    height, width = image.shape
    result = np.zeros((side, side))
    for i in range(side):
        for j in range(side):
            y, x = i * height / side, j * width / side
            top, left = math.floor(y), math.floor(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = image[top, left] + (image[top, right] - image[top, left]) * (x - left)
            lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * (x - left)
            result[i, j] = upper + (lower - upper) * (y - top)
    return result


@pytest.mark.parametrize(("height", "width", "side"), [(7, 5, 20), (32, 32, 47), (50, 61, 17), (9, 9, 9)])
def test_resize_is_that_of_tensorflow(height: int, width: int, side: int) -> None:
    image = torch.rand(height, width, generator=torch.Generator().manual_seed(0)) * 255
    found = resize_tensorflow(image[None, None], side)[0, 0]
    expected = torch.from_numpy(tensorflow_resize(image.double().numpy(), side)).float()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_resize_is_not_the_usual_one() -> None:
    x = pictures(1).float()
    usual = torch.nn.functional.interpolate(x, (299, 299), mode="bilinear")
    assert (resize_tensorflow(x) - usual).abs().max() > 1


def test_prepared_pictures() -> None:
    x = prepare(torch.tensor([0, 128, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 8, 8))
    assert x.shape == (3, 3, 299, 299)
    assert [float(part.unique()) for part in x] == [-1.0, 0.0, 127 / 128]


def test_the_network_has_the_published_size() -> None:
    """23,834,568 parameters with 1,000 outputs (Inception-v3 without its side branch), and 8 outputs more."""
    with torch.device("meta"):
        net = Inception()
    assert sum(p.numel() for p in net.parameters()) == 23_834_568 + 8 * 2049
    assert net.Mixed_5b.branch5x5_2.conv.weight.shape == (64, 48, 5, 5)
    assert (net.Mixed_7b.maximum, net.Mixed_7c.maximum) == (False, True)
    assert net.Mixed_7c.branch3x3dbl_3b.conv.weight.shape == (384, 384, 3, 1)


def test_grids_and_widths_are_those_of_the_paper(weights: dict[str, Tensor]) -> None:
    """Table 1 of Szegedy et al.: 35x35x288, 17x17x768, 8x8x2048."""
    net = Inception().eval()
    net.load_state_dict(weights)
    seen = {}
    for name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7a", "Mixed_7c"):
        layer = getattr(net, name)
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: tuple(out.shape[1:])}))
    with torch.no_grad():
        assert net(prepare(pictures(1))).shape == (1, 2048)
    assert seen == {
        "Conv2d_2b_3x3": (64, 147, 147),
        "Conv2d_4a_3x3": (192, 71, 71),
        "Mixed_5d": (288, 35, 35),
        "Mixed_6e": (768, 17, 17),
        "Mixed_7a": (1280, 8, 8),
        "Mixed_7c": (2048, 8, 8),
    }


def test_averages_leave_out_what_is_beyond_the_border() -> None:
    torch.testing.assert_close(_average(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_the_last_block_takes_maxima() -> None:
    torch.manual_seed(0)
    average, maximum = Forked(8, maximum=False).eval(), Forked(8, maximum=True).eval()
    maximum.load_state_dict(average.state_dict())
    x = torch.rand(1, 8, 8, 8)
    with torch.no_grad():
        a, b = average(x), maximum(x)
        expected = maximum.branch_pool(torch.nn.functional.max_pool2d(x, 3, 1, 1))
    assert torch.equal(a[:, :-192], b[:, :-192]) and not torch.equal(a[:, -192:], b[:, -192:])
    assert torch.equal(b[:, -192:], expected)


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_a_file_becomes_an_extractor(weights: dict[str, Tensor], tmp_path: Path, kind: str) -> None:
    """As the file in general use is: no counters of batches; and, as others have it, a side branch that is not needed."""
    path = tmp_path / f"weights.{kind}"
    some = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    some["AuxLogits.fc.bias"] = torch.zeros(3)
    torch.save(some, path) if kind == "pth" else save_file(some, path)
    extractor = inception_extractor(path)
    found = extract(extractor, pictures(2, channels=1))
    assert found.pool.shape == (2, 2048) and found.logits is not None
    torch.testing.assert_close(found.logits, found.pool @ weights["fc.weight"].T)
    net = Inception().eval()
    net.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(found.pool, net(prepare(pictures(2, channels=1))), atol=1e-4, rtol=1e-4)
    assert extractor.version in str(extractor) and "299" in extractor.resize


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code ran')",)


def test_wrong_files_are_refused_in_one_line(weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    missing = {key: value for key, value in weights.items() if key != "Mixed_6b.branch_pool.conv.weight"}
    other = {**weights, "fc.weight": torch.zeros(1000, 2048)}
    for content, words in (
        (missing, "Mixed_6b.branch_pool"),
        (other, "fc.weight"),
        ([1, 2], "no state dict"),
    ):
        torch.save(content, path)
        with pytest.raises(DataError, match=words):
            inception_extractor(path)
    path.write_bytes(pickle.dumps(Code(), protocol=2))
    with pytest.raises(DataError, match="cannot read"):
        inception_extractor(path)
    for name in ("nowhere.pth", "nowhere.safetensors"):
        with pytest.raises(DataError, match="cannot read"):
            inception_extractor(tmp_path / name)


def test_without_transformers_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(pretrained.importlib, "import_module", absent)
    with pytest.raises(MissingExtra, match=r'pip install "mezzotint\[features\]"'):
        pretrained.pretrained_extractor("clip")


def small(kind: str) -> object:
    library = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 224}
    if kind == "dinov2":
        return library.Dinov2Model(library.Dinov2Config(**sizes, patch_size=56, mlp_ratio=2))
    config = library.CLIPVisionConfig(**sizes, patch_size=56, intermediate_size=64, projection_dim=24)
    return library.CLIPVisionModelWithProjection(config)


@pytest.mark.parametrize(("kind", "width"), [("dinov2", 32), ("clip", 24)])
def test_networks_of_transformers_from_a_folder(kind: str, width: int, tmp_path: Path) -> None:
    net = small(kind).eval()
    net.save_pretrained(tmp_path)
    extractor = pretrained.pretrained_extractor(kind, str(tmp_path))
    images = pictures(2, side=224)
    found = extract(extractor, images)
    assert extractor.width == width and found.pool.shape == (2, width) and found.logits is None
    mean, deviation = (torch.tensor(row).view(3, 1, 1) for row in pretrained.COLOURS[kind])
    with torch.no_grad():
        out = net(pixel_values=(images / 255 - mean) / deviation)  # of this size already
    expected = out.pooler_output if kind == "dinov2" else out.image_embeds
    torch.testing.assert_close(found.pool, expected, atol=1e-4, rtol=1e-4)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(DataError, match="cannot load dinov2"):
        pretrained.pretrained_extractor("dinov2", str(tmp_path))
