"""Parquet files and the dataset hub: what is read, which split, which classes, and how it fails."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data import DataError, OnDemand, load_pictures

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
datasets = pytest.importorskip("datasets")

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def encoded(seed: int, kind: str = "PNG") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


def write(
    path: Path, seeds: list[int], labels: list[Any], names: list[str] | None = None, **options: Any
) -> None:
    """A file as the hub has it; `image` and `label` rename the columns, `pictures` replaces the encoded bytes."""
    image, label = options.get("image", "image"), options.get("label", "label")
    pictures = options.get("pictures") or [{"bytes": encoded(seed), "path": None} for seed in seeds]
    table = pa.table({label: pa.array(labels), image: pa.array(pictures)})
    if names is not None:
        features = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
        info = {"info": {"features": features}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)


def images_of(seeds: list[int]) -> torch.Tensor:
    arrays = [np.asarray(Image.open(io.BytesIO(encoded(seed)))) for seed in seeds]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def test_pictures_labels_and_class_names(tmp_path: Path) -> None:
    write(tmp_path / "set.parquet", [0, 1, 2, 3], [1, 0, 2, 1], ["cat", "dog", "emu"])
    for path in (tmp_path, tmp_path / "set.parquet"):
        pictures = load_pictures("parquet", path, size=12)
        assert torch.equal(pictures.images, images_of([0, 1, 2, 3]))
        assert pictures.labels.tolist() == [1, 0, 2, 1] and pictures.classes == ["cat", "dog", "emu"]
        assert pictures.labels.dtype == torch.int64
    only = load_pictures("parquet", tmp_path, size=12, only="dog")
    assert torch.equal(only.images, images_of([0, 3]))


def test_columns_are_found_by_their_type(tmp_path: Path) -> None:
    """The names of CIFAR-10 at the hub; then files that nothing is known about."""
    write(tmp_path / "cifar.parquet", [0, 1], [1, 0], ["a", "b"], image="img", label="kind")
    assert load_pictures("parquet", tmp_path / "cifar.parquet").classes == ["a", "b"]
    write(tmp_path / "plain.parquet", [0, 1], [3, 0])
    plain = load_pictures("parquet", tmp_path / "plain.parquet")
    assert plain.labels.tolist() == [1, 0] and plain.classes == ["0", "3"]
    write(
        tmp_path / "bytes.parquet", [], [7, 7], pictures=[encoded(0), encoded(1)], image="jpg", label="size"
    )
    bare = load_pictures("parquet", tmp_path / "bytes.parquet", size=12)
    assert torch.equal(bare.images, images_of([0, 1])) and bare.labels is None


@pytest.mark.parametrize("labels", [[-1, -1], [0, None], [0, -1]])
def test_labels_that_are_not_there_make_the_set_unlabelled(tmp_path: Path, labels: list[int | None]) -> None:
    write(tmp_path / "test.parquet", [0, 1], labels, ["a", "b"])
    pictures = load_pictures("parquet", tmp_path, split="test")
    assert pictures.labels is None and pictures.classes == []


def test_a_path_in_place_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "there.png").write_bytes(encoded(5))
    rows = [{"bytes": None, "path": str(tmp_path / "there.png")}, {"bytes": encoded(6), "path": "x.png"}]
    write(tmp_path / "a.parquet", [], [0, 0], ["a"], pictures=rows)
    assert torch.equal(load_pictures("parquet", tmp_path, size=12).images, images_of([5, 6]))


@pytest.mark.parametrize(
    "layout",
    [
        {"train": ["train.parquet"], "test": ["test.parquet"]},
        {
            "train": ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
            "test": ["data/test-0.parquet"],
        },
        {"train": ["default/train/0000.parquet"], "validation": ["default/val/0000.parquet"]},
        {"train": ["mnist_train.parquet"], "test": ["mnist_test.parquet"], "extra": ["extra.parquet"]},
    ],
)
def test_files_of_a_split_are_found_by_name(tmp_path: Path, layout: dict[str, list[str]]) -> None:
    root = tmp_path / "test train"  # names above the folder that was given do not count
    seeds = iter(range(100))
    want: dict[str, list[int]] = {}
    for split, names in layout.items():
        want[split] = [next(seeds) for _ in names]
        for seed, name in zip(want[split], names):
            write(root / name, [seed], [0], ["a"])
    for split in layout:
        assert torch.equal(load_pictures("mnist", root, split=split, size=12).images, images_of(want[split]))
    with pytest.raises(DataError, match="has no split 'nosuch'"):
        load_pictures("mnist", root, split="nosuch")


def test_files_without_a_split_in_their_names_are_all_training(tmp_path: Path) -> None:
    for k in (0, 1, 10):
        write(tmp_path / f"part{k}.parquet", [k], [0], ["a"])
    assert torch.equal(load_pictures("parquet", tmp_path, size=12).images, images_of([0, 1, 10]))
    with pytest.raises(DataError, match="has no split 'test'"):
        load_pictures("parquet", tmp_path, split="test")


def test_damaged_rows_are_skipped_by_number(tmp_path: Path) -> None:
    rows = [{"bytes": data, "path": None} for data in (encoded(0), b"text", encoded(2), None, b"")] + [None]
    write(tmp_path / "a.parquet", [], [0, 1, 2, 0, 0, 0], ["a", "b", "c"], pictures=rows)
    pictures = load_pictures("parquet", tmp_path, size=12)
    assert torch.equal(pictures.images, images_of([0, 2])) and pictures.labels.tolist() == [0, 2]
    assert [line.partition(" of ")[0] for line in pictures.skipped] == ["row 1", "row 3", "row 4", "row 5"]


def test_on_demand_equals_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the files themselves are memory-mapped as well."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for k in range(3):
        write(
            tmp_path / "data" / f"train-{k}.parquet",
            list(range(10 * k, 10 * k + 10)),
            [k] * 10,
            ["a", "b", "c"],
        )
    memory = load_pictures("parquet", tmp_path / "data")
    lazy = load_pictures("parquet", tmp_path / "data", memory_limit=1000)
    assert isinstance(lazy.images, OnDemand) and any((tmp_path / "cache").rglob("*.arrow"))
    index = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    for got, want in zip(lazy.batch(index), memory.batch(index)):
        assert torch.equal(got, want)


def test_what_is_no_parquet_or_has_no_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("not parquet")
    with pytest.raises(DataError, match=r"cannot read .*a\.parquet as parquet"):
        load_pictures("parquet", tmp_path)
    pq.write_table(pa.table({"x": [1], "y": ["z"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no column of encoded pictures; its columns are x, y"):
        load_pictures("parquet", tmp_path)
    write(tmp_path / "a.parquet", [0], [5], ["a", "b"])
    with pytest.raises(DataError, match="label 5 but only 2 class names"):
        load_pictures("parquet", tmp_path)
    write(tmp_path / "a.parquet", [0], [0], ["a"])
    write(tmp_path / "b.parquet", [0], [0], ["a"], image="other")
    with pytest.raises(DataError, match=r"b\.parquet has no column 'image', which .*a\.parquet has"):
        load_pictures("parquet", tmp_path)
    write(tmp_path / "b.parquet", [], [], ["a"])
    with pytest.raises(DataError, match="has no pictures"):
        load_pictures("parquet", tmp_path / "b.parquet")


class TestHub:
    @pytest.fixture
    def asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bool]]:
        """A hub that has every set, with one split; what was asked of it: name, split, offline."""
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        write(tmp_path / "data" / "train.parquet", [0, 1], [1, 0], ["ant", "airplanes"], image="img")
        calls: list[tuple[str, str, bool]] = []

        def load_dataset(name: str, split: str) -> Any:
            calls.append((name, split, datasets.config.HF_HUB_OFFLINE))
            if split != "train":
                raise ValueError(f"Unknown split {split!r}. Should be one of ['train'].\nmore")
            return datasets.Dataset.from_parquet(str(tmp_path / "data" / "train.parquet"))

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
        return calls

    def test_known_names_stand_for_ids(self, asked: list[tuple[str, str, bool]]) -> None:
        pictures = load_pictures("cifar10", size=12)
        assert torch.equal(pictures.images, images_of([0, 1]))
        assert pictures.labels.tolist() == [1, 0] and pictures.classes == ["ant", "airplanes"]
        assert len(load_pictures("airplanes")) == 1 and len(load_pictures("any/thing")) == 2
        assert [name for name, _, _ in asked] == ["uoft-cs/cifar10", "flwrlabs/caltech101", "any/thing"]
        assert not any(offline for _, _, offline in asked)

    def test_unknown_split(self, asked: list[tuple[str, str, bool]]) -> None:
        with pytest.raises(
            DataError, match=r"ylecun/mnist: Unknown split 'tset'\. Should be one of \['train'\]\.$"
        ):
            load_pictures("mnist", split="tset")

    def test_without_the_hub_a_cached_copy_is_used(
        self, asked: list[tuple[str, str, bool]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreachable(*_: Any, **__: Any) -> None:
            raise ConnectionError("no route to host")

        monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
        assert len(load_pictures("mnist")) == 2
        assert asked == [("ylecun/mnist", "train", True)]
        assert datasets.config.HF_HUB_OFFLINE is False  # as it was

    def test_an_unreachable_hub_is_one_line_and_soon(self, tmp_path: Path) -> None:
        """In a process of its own, for real: nobody listens at that address."""
        code = (
            "import time; from mezzotint.data import DataError, load_pictures; import datasets\n"
            "start = time.monotonic()\n"
            "try: load_pictures('mnist')\n"
            "except DataError as error: print(time.monotonic() - start, error)"
        )
        environment = {
            **os.environ,
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "HF_HOME": str(tmp_path),
            "no_proxy": "*",
        }
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
        )
        seconds, _, message = done.stdout.strip().partition(" ")
        assert float(seconds) < 15, done.stderr
        assert message.startswith("cannot get ylecun/mnist from the dataset hub (") and "--data" in message
        assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "train", "test", "channels", "size", "classes"),
    [
        ("mnist", 60_000, 10_000, 1, 28, list("0123456789")),
        (
            "cifar10",
            50_000,
            10_000,
            3,
            32,
            ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        ),
        ("flowers", 3917, 400, 3, 64, ["daisy", "dandelion", "rose", "sunflower", "tulip"]),
    ],
)
def test_shared_sets(name: str, train: int, test: int, channels: int, size: int, classes: list[str]) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"no shared data in {SHARED / name}")
    pictures = load_pictures(name, SHARED / name, split="test")
    assert len(pictures) == test and pictures.images.shape == (test, channels, size, size)
    assert pictures.classes == classes and pictures.labels.unique().tolist() == list(range(len(classes)))
    assert pictures.skipped == [] and pictures.images.float().std() > 40
    assert pq.read_metadata(SHARED / name / "train.parquet").num_rows == train
    some = load_pictures(name, SHARED / name, limit=100)
    assert len(some) == 100 and some.classes == classes and some.channels == channels
