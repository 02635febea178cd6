"""A model file is somebody else's word: what it says is held against what it holds, before it costs time or memory."""

import copy
import json
import struct
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save
from test_checkpoint import CONFIG, FACTS

from mezzotint.build.networks import network
from mezzotint.disk.files import is_broken, read_layout, sealed
from mezzotint.disk.model_file import Header, save_model
from mezzotint.disk.names import bundled
from mezzotint.errors import ModelError
from mezzotint.model.loading import load

HUGE = 10**9
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    torch.manual_seed(0)
    save_model(path, network(CONFIG, FACTS), Header(CONFIG, FACTS, 7, "raw"))
    return path


def header_of(path: Path) -> dict[str, Any]:
    return json.loads(read_layout(path)[0]["mezzotint"])  # type: ignore[no-any-return]


def with_header(path: Path, header: Any, target: Path, **tensors: torch.Tensor) -> Path:
    """A file whose header says other things, and whose tensors and their checksum are right."""
    named = load_file(path) | tensors
    text = header if isinstance(header, str) else json.dumps(header)
    target.write_bytes(save(named, {"mezzotint": text}))
    return target


def changed(path: Path, target: Path, change: Change) -> Path:
    """As somebody would forge it who knows the format: the seal is right, too."""
    header = header_of(path)
    header.pop("seal")
    change(header)
    return with_header(path, sealed(header, read_layout(path)[1]), target)


def refused(path: Path, words: str = "") -> None:
    began = time.perf_counter()
    with pytest.raises(ModelError) as caught:
        load(path, device="cpu")
    assert time.perf_counter() - began < 3, "a second, on a busy machine"
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600 and words in message, message


def put(*where: str, value: Any) -> Change:
    def change(header: dict[str, Any]) -> None:
        for key in where[:-1]:
            header = header[key]
        header[where[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("config", "network", "blocks", value=1_000_000),
        put("config", "network", "blocks", value=10**30),
        put("config", "network", "width", value=HUGE),
        put("config", "network", "width", value=2**62),
        put("config", "network", "width", value="wide"),
        put("config", "network", "width", value=-8),
        put("config", "network", "patch", value=HUGE),
        put("config", "network", "multipliers", value=[1] * 100_000),
        put("config", "network", "multipliers", value=[HUGE]),
        put("config", "network", "attention", value=[3]),
        put("config", "network", value={"kind": "mlp", "width": 8, "depth": HUGE}),
        put("config", "network", value={"kind": "unet_simple", "width": HUGE, "levels": 5}),
        put("config", "network", "kind", value="transformer"),
        put("config", "diffusion", "schedule", value={"kind": "cosine", "timesteps": 10**12}),
        put("config", "diffusion", "schedule", value="x" * 100_000),
        put("config", value=[]),
        put("config", value=None),
        put("facts", "shape", value=[HUGE, HUGE, HUGE]),
        put("facts", "shape", value=[1, 4096, 10**6]),
        put("facts", "shape", value=[1.5, 8, 8]),
        put("facts", "shape", value=["a", "b", "c"]),
        put("facts", "shape", value=[0, 8, 8]),
        put("facts", "shape", value=[]),
        put("facts", "shape", value=8),
        put("facts", "shape", value=[3, 8, 8]),
        put("facts", "classes", value=["a"] * 50_000),
        put("facts", "classes", value=["a"] * 200_000),
        put("facts", "classes", value=[1, None, {}]),
        put("facts", "classes", value="cat"),
        put("facts", "digest", value="../.."),
        put("facts", "reading", value="tea leaves"),
        put("facts", value={}),
        put("step", value="nine"),
        put("step", value=-1),
        put("step", value=1e300),
        put("step", value=True),
        put("weights", value=["raw"]),
        put("weights", value="raw" * 1000),
        put("format", value="1"),
        put("format", value=None),
        put("crc32", value="0"),
        put("crc32", value=0),
    ],
)
def test_a_forged_header_is_refused_at_once(written: Path, tmp_path: Path, change: Change) -> None:
    refused(changed(written, tmp_path / "forged.safetensors", change))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"format": ' + "[" * 200_000,
        '{"a":' * 100_000,
        "[]",
        "3",
        "null",
        '"text"',
        "{",
        "",
        "{}",
        "NaN",
    ],
)
def test_a_header_that_is_no_header(written: Path, tmp_path: Path, text: str) -> None:
    refused(with_header(written, text, tmp_path / "odd.safetensors"), "not a model file of mezzotint")


def test_headers_of_any_length(written: Path, tmp_path: Path) -> None:
    target = tmp_path / "long.safetensors"
    for length in (2**24 + 1, 2**40, 2**63, 2**64 - 1):
        target.write_bytes(struct.pack("<Q", length) + written.read_bytes()[8:])
        refused(target, "damaged")
    many = {f"t{i}": torch.zeros(1) for i in range(20_000)}
    refused(with_header(written, header_of(written), target, **many), "damaged")


def test_the_checksum_covers_the_header(written: Path, tmp_path: Path) -> None:
    """And the names, shapes and types of the tensors, which have the same bytes as before."""
    header, layout = header_of(written), read_layout(written)[1]
    assert not is_broken(header, layout)
    for change in (
        put("step", value=8),
        put("weights", value="ema 0.1"),
        put("facts", "classes", value=["null", "één", "2"]),
        put("config", "sample", "steps", value=4),
        put("note", value="new"),
    ):
        other = copy.deepcopy(header)
        change(other)
        refused(
            with_header(written, other, tmp_path / "other.safetensors"), "the checksum of its header differs"
        )
    tensors = load_file(written)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2 and len(set(tensor.shape)) == 2)
    tensors[name] = tensors[name].reshape(tensors[name].T.shape)
    (tmp_path / "shape").write_bytes(save(tensors, {"mezzotint": json.dumps(header)}))
    refused(tmp_path / "shape", "the checksum of its header differs")


def test_a_file_without_any_checksum_loads_and_says_so(written: Path, tmp_path: Path) -> None:
    header = header_of(written)
    del header["crc32"], header["seal"]
    path = with_header(written, header, tmp_path / "none.safetensors")
    with pytest.warns(UserWarning, match=r"none\.safetensors has no checksum"):
        assert load(path, device="cpu").header.step == 7


def test_files_of_the_first_release_load_in_silence(written: Path, tmp_path: Path) -> None:
    """They have a checksum of their tensors, and none of the header."""
    header = header_of(written)
    del header["seal"]
    old = with_header(written, header, tmp_path / "old.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in (old, *bundled().values()):
            assert load(path, device="cpu").header.step > 0
    assert "seal" not in header_of(next(iter(bundled().values()))), "the test is of such files"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    net = network(CONFIG, FACTS)
    with torch.no_grad():
        next(reversed(list(net.parameters()))).view(-1)[-1] = value
    save_model(tmp_path / "m.safetensors", net, Header(CONFIG, FACTS, 7, "raw"))
    refused(tmp_path / "m.safetensors", "not finite")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([HUGE, "latest", "../../etc", "\x1b[2J"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(tree: Any, here: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(tree, dict):
        return [here]
    return [place for key, value in tree.items() for place in places(value, (*here, key))] + (
        [here] if here else []
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_anywhere_loads_or_is_one_line(written: Path, tmp_path: Path, data: st.DataObject) -> None:
    header = header_of(written)
    where = data.draw(st.sampled_from([place for place in places(header) if place != ("seal",)]))
    path = changed(written, tmp_path / "any.safetensors", put(*where, value=data.draw(VALUES)))
    began = time.perf_counter()
    try:
        load(path, device="cpu")
    except ModelError as error:
        assert "\n" not in str(error) and len(str(error)) < 600
    assert time.perf_counter() - began < 3
