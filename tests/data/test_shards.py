"""Parquet shards known from their footers: what is read, of which file system, which classes, and how it fails."""

import io
import json
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint import config
from mezzotint.data import DataError, load_pictures
from mezzotint.data.open import open_source
from mezzotint.data.shards import Shards, find_shards, open_shards
from mezzotint.data.stream import StreamSource

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
datasets = pytest.importorskip("datasets")
fsspec = pytest.importorskip("fsspec")


def encoded(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 5), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def table(seeds: list[int], labels: list[Any], names: list[str] | None, image: str = "image") -> Any:
    pictures = pa.array([{"bytes": encoded(s)} for s in seeds], pa.struct({"bytes": pa.binary()}))
    made = pa.table({"label": pa.array(labels, pa.int64()), image: pictures})
    if names is None:
        return made
    features = {image: {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write(
    path: Path | str, seeds: list[int], labels: list[Any], names: list[str] | None = None, **options: Any
) -> None:
    image = options.pop("image", "image")
    with fsspec.open(str(path), "wb") as file:
        pq.write_table(table(seeds, labels, names, image), file, **{"row_group_size": 3, **options})


def pixels(shards: Shards) -> list[list[int]]:
    blocks = [shards.read(block) for block in shards.blocks]
    return [np.asarray(block.open(i)).ravel().tolist() for block in blocks for i in range(block.count)]


def originals(seeds: list[int]) -> list[list[int]]:
    return [np.asarray(Image.open(io.BytesIO(encoded(seed)))).ravel().tolist() for seed in seeds]


def labels_of(shards: Shards) -> list[int]:
    return [label for block in shards.blocks for label in shards.read(block).labels.tolist()]


@pytest.fixture
def two_files(tmp_path: Path) -> Path:
    write(tmp_path / "part10.parquet", [8, 9, 10], [0, 0, 1], ["a", "b"])
    write(tmp_path / "part9.parquet", [1, 2, 3, 4, 5, 6, 7], [0, 1, 0, 1, 0, 1, 0], ["a", "b"])
    return tmp_path


def test_blocks_are_the_row_groups_in_the_order_of_the_files(two_files: Path) -> None:
    shards = find_shards("parquet", two_files)
    assert [(b.file, b.group, b.first, b.rows) for b in shards.blocks] == [
        (0, 0, 0, 3),
        (0, 1, 3, 3),
        (0, 2, 6, 1),
        (1, 0, 0, 3),
    ]
    assert all(3 * 60 < b.size < 3 * 200 for b in shards.blocks if b.rows == 3)
    assert pixels(shards) == originals(list(range(1, 11)))
    memory = load_pictures("parquet", two_files, size=5)
    assert labels_of(shards) == memory.labels.tolist() and shards.classes == memory.classes == ["a", "b"]
    assert shards.read(shards.blocks[1]).where(2) == f"row 5 of {two_files / 'part9.parquet'}"


@pytest.mark.parametrize("scheme", ["memory://shards", "file://{}", "{}"])
def test_any_file_system_will_do(two_files: Path, scheme: str) -> None:
    root = scheme.format(two_files)
    for name, seeds in (("1", [1, 2, 3, 4]), ("2", [5])):
        write(f"{root}/{name}.parquet", seeds, [0] * len(seeds), ["a"])
    shards = open_shards("set", [f"{root}/1.parquet", f"{root}/2.parquet"])
    assert pixels(shards) == originals([1, 2, 3, 4, 5]) and labels_of(shards) == [0] * 5


def test_a_block_is_read_without_the_rest_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFile

    write("memory://large/1.parquet", list(range(300)), [0] * 300, row_group_size=10)
    whole = fsspec.filesystem("memory").size("large/1.parquet")
    got: list[int] = []
    read = MemoryFile.read
    monkeypatch.setattr(MemoryFile, "read", lambda self, n=-1: (got.append(n), read(self, n))[1])
    shards = open_shards("set", ["memory://large/1.parquet"])
    got.clear()
    assert shards.read(shards.blocks[7]).count == 10
    assert min(got) > 0 and sum(got) < whole / 20


class TestClasses:
    def open(
        self, tmp_path: Path, *labels: list[Any], names: list[str] | None = None, **options: Any
    ) -> Shards:
        for k, part in enumerate(labels):
            write(tmp_path / f"{k}.parquet", list(range(len(part))), part, names, **options)
        return find_shards("parquet", tmp_path)

    def test_without_names_they_are_the_values_that_occur(self, tmp_path: Path) -> None:
        shards = self.open(tmp_path, [0, 3], [1, 1])
        assert shards.classes == ["0", "1", "3"] and labels_of(shards) == [0, 2, 1, 1]

    @pytest.mark.parametrize("labels", [[0, -1], [0, None], [None, None]])
    def test_a_label_that_is_not_there_makes_the_set_unlabelled(
        self, tmp_path: Path, labels: list[Any]
    ) -> None:
        shards = self.open(tmp_path, [0, 1], labels, names=["a", "b"])
        assert shards.label is None and shards.classes == [] and shards.read(shards.blocks[0]).labels is None

    def test_without_statistics_names_are_believed_and_checked_later(self, tmp_path: Path) -> None:
        assert self.open(tmp_path, [0, 1], write_statistics=False).classes == ["0", "1"]
        shards = self.open(tmp_path, [0, 1, 7], names=["a", "b"], write_statistics=False)
        assert shards.classes == ["a", "b"]
        with pytest.raises(DataError, match=r"labels that are no classes; train with data\.labels=false"):
            shards.read(shards.blocks[0])

    def test_a_label_without_a_name_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="has a label 5 but only 2 class names"):
            self.open(tmp_path, [0, 1], [5], names=["a", "b"])

    def test_insisted_on_or_ignored(self, tmp_path: Path) -> None:
        assert self.open(tmp_path, [0, 1]).label == "label"
        ignored = find_shards("parquet", tmp_path, labels=False)
        assert ignored.label is None and ignored.read(ignored.blocks[0]).labels is None
        write(tmp_path / "0.parquet", [0], [None])
        with pytest.raises(DataError, match="has no classes"):
            find_shards("parquet", tmp_path, labels=True)

    @pytest.mark.parametrize("labels", [True, "label", None])
    @pytest.mark.parametrize("names", [None, ["a", "b"]])
    def test_rows_without_a_class_are_as_in_a_set_that_is_not_streamed(
        self, tmp_path: Path, labels: Any, names: list[str] | None
    ) -> None:
        """Left out where classes are insisted on, and else the reason why there are none."""
        parts = ([0, None, 1, 1, 0, 1, None], [1, 0, 0], [None, None, None, 1])
        for k, part in enumerate(parts):
            write(tmp_path / f"{k}.parquet", range(10 * k, 10 * k + len(part)), part, names)
        no_labels = table([30, 31], [0, 0], names).drop_columns("label")
        pq.write_table(no_labels, tmp_path / "3.parquet")
        memory = load_pictures("parquet", tmp_path, size=5, labels=labels)
        data = {"name": "parquet", "path": str(tmp_path), "size": 5, "stream": True, "holdout": 0.25}
        opened = open_source(config.parse({"data": {**data, "labels": labels}}).data, torch.device("cpu"))
        assert isinstance(opened, StreamSource) and opened.facts.classes == tuple(memory.classes)
        rows = opened.held_out(4) + list(islice(opened.batches(0, opened.total, 0), 1))
        seen = [
            (opened.codec.decode(x0[i : i + 1]).numpy().tobytes(), int(cond.label[i]) if labels else None)
            for x0, cond in rows
            for i in range(len(x0))
        ]
        wanted = [
            (image.numpy().tobytes(), int(memory.labels[i]) if labels else None)
            for i, image in enumerate(memory.images)
        ]
        assert sorted(seen) == sorted(wanted) and len(seen) == (9 if labels else 16)
        if labels:
            assert "left out: 7 of 16 rows have no class in the column 'label'" in opened.notes[-1]
        else:
            assert "to leave these rows out, set data.labels=label" in opened.notes[-1]
            assert "to leave these rows out, set data.labels=label" in memory.notes[-1]


class TestErrors:
    def test_only_parquet_is_streamed(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"only parquet files are streamed; leave data\.stream out"):
            find_shards("digits", None)
        (tmp_path / "1.png").write_bytes(encoded(1))
        for path in (tmp_path, tmp_path / "1.png", tmp_path / "nowhere"):
            with pytest.raises(DataError, match=r"holds no parquet files.*leave data\.stream out"):
                find_shards("folder", path)
        with pytest.raises(DataError, match="did you mean 'mnist'"):
            find_shards("minst", None)

    def test_files_that_do_not_fit_together(self, two_files: Path) -> None:
        write(two_files / "part11.parquet", [1], [0], image="other")
        with pytest.raises(DataError, match=r"part11\.parquet has no column 'image'"):
            find_shards("parquet", two_files)
        (two_files / "part11.parquet").write_text("no parquet")
        with pytest.raises(DataError, match=r"cannot read .*part11\.parquet as parquet"):
            find_shards("parquet", two_files)

    def test_a_file_that_goes_away(self, two_files: Path) -> None:
        shards = find_shards("parquet", two_files)
        (two_files / "part9.parquet").unlink()
        with pytest.raises(DataError, match=r"cannot read .*part9\.parquet.*run the same command to resume"):
            shards.read(shards.blocks[0])
        assert shards.read(shards.blocks[3]).count == 3

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        write(tmp_path / "0.parquet", [], [])
        with pytest.raises(DataError, match="has no pictures"):
            find_shards("parquet", tmp_path)


class TestHub:
    """A hub whose sets lie on this disk: that nothing else is asked for is its own business, and tested there."""

    @pytest.fixture
    def asked(self, two_files: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
        calls: list[tuple[str, str | None]] = []

        def builder(name: str, revision: str | None = None) -> Any:
            calls.append((name, revision))
            kind = "imagefolder" if "folder" in name and revision is None else "parquet"
            files = {"train": [f"file://{two_files}/part9.parquet", f"file://{two_files}/part10.parquet"]}
            return SimpleNamespace(name=kind, config=SimpleNamespace(data_files=files))

        monkeypatch.setattr(datasets, "load_dataset_builder", builder)
        monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
        return calls

    def test_shards_are_those_of_the_split(self, asked: list[tuple[str, str | None]]) -> None:
        assert pixels(find_shards("mnist", None)) == originals(list(range(1, 11)))
        assert asked == [("ylecun/mnist", None)]
        with pytest.raises(
            DataError, match=r"ylecun/mnist: Unknown split 'test'\. Should be one of \['train'\]"
        ):
            find_shards("mnist", None, split="test")

    def test_of_another_format_those_the_hub_made(self, asked: list[tuple[str, str | None]]) -> None:
        assert len(find_shards("some/folder", None).files) == 2
        assert asked == [("some/folder", None), ("some/folder", "refs/convert/parquet")]

    @pytest.mark.parametrize("error", [ConnectionError("no route to host"), OSError("disk")])
    def test_what_goes_wrong_is_one_line(
        self, asked: list[Any], error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(datasets, "load_dataset_builder", fail)
        with pytest.raises(DataError, match=r"cannot get ylecun/mnist from the dataset hub \(.*--data"):
            find_shards("mnist", None)
        assert datasets.config.HF_HUB_OFFLINE is False
