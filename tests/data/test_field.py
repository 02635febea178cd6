"""From files to labelled pictures: what people met with, made on the spot, and trees drawn at random."""

import io
import json
import re
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from mezzotint import config
from mezzotint.conditions.labels import conditions
from mezzotint.data import DataError, Pictures, load_pictures
from mezzotint.data.classes import FileLabels, code_labels, renumbered
from mezzotint.data.decode import decode
from mezzotint.data.open import open_source

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def encoded(k: int, form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(k).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def tree(root: Path, *names: str) -> Path:
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(k))
    return root


def table(path: Path, labels: Any = None, names: list[str] | None = None, **columns: Any) -> Path:
    """A parquet file of pictures with a column of labels, an arrow array or a list."""
    content = dict(columns) or {"image": [encoded(k) for k in range(len(labels))]}
    if labels is not None:
        content["label"] = labels
    made = pa.table(content)
    if names:
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
        made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path)
    return path


def read(path: Path, **options: Any) -> Pictures:
    return load_pictures("folder", path, size=4, **options)


def words(pictures: Pictures) -> list[str]:
    """The class of each picture, by name."""
    assert pictures.labels is not None
    return [pictures.classes[k] for k in pictures.labels.tolist()]


class TestSplits:
    def test_more_beside_splits_is_left_out_and_said(self, tmp_path: Path) -> None:
        tree(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "docs/1.png")
        found = read(tmp_path)
        assert found.classes == ["a", "b"] and len(found) == 2
        assert "docs/ (1 picture)" in found.notes[0] and "split 'test' (1 picture)" in found.notes[0]

    def test_ambiguity_is_told_or_refused_with_the_key(self, tmp_path: Path) -> None:
        flat = tree(tmp_path / "flat", "train/1.png", "test/1.png")
        assert len(read(flat)) == 1 and "set data.split=all" in read(flat).notes[0]
        assert read(flat, split="all").classes == ["test", "train"]
        bus = tree(tmp_path / "bus", "train/1.png", "bus/1.png")
        assert read(bus).classes == ["bus", "train"] and "set data.split=train" in read(bus).notes[0]
        assert len(read(bus, split="train")) == 1
        leak = tree(tmp_path / "leak", "cats/1.png", "dogs/1.png", "test/1.png")
        with pytest.raises(DataError, match=r"data\.split=train .* data\.split=all"):
            read(leak)
        assert read(leak, split="train").classes == ["cats", "dogs"] and len(read(leak, split="all")) == 3

    def test_a_split_with_one_class_keeps_it(self, tmp_path: Path) -> None:
        tree(tmp_path, "train/a/1.png", "train/b/1.png", "test/b/1.png")
        assert words(read(tmp_path, split="test")) == ["b"]

    @pytest.mark.parametrize(
        ("names", "used"),
        [
            (["buses", "train-stations", "trams"], 3),
            (["photos-a", "nuclear-test-site"], 2),
            (["dev-board/a", "chips/b"], 2),
            (["train-00000-of-00002-0123456789abcdef", "train-00001-of-00002", "test"], 2),
            (["mnist-train", "mnist-test"], 1),
        ],
    )
    def test_only_patterns_of_the_hub_name_a_split(self, tmp_path: Path, names: list[str], used: int) -> None:
        for name in names:
            table(tmp_path / f"{name}.parquet", [0, 1])
        found = read(tmp_path)
        assert len(found) == 2 * used and names[0] in " ".join(found.notes)


class TestLabels:
    @pytest.mark.parametrize(
        ("values", "classes"),
        [
            ([1, 2, 3, 1], ["1", "2", "3"]),
            ([10985, 20000, 5, 5], ["5", "10985", "20000"]),
            (["eel", "cat", "cat"], ["cat", "eel"]),
            (pa.array(["eel", "cat", "cat"]).dictionary_encode(), ["cat", "eel"]),
        ],
    )
    def test_values_that_occur_are_classes(self, tmp_path: Path, values: Any, classes: list[str]) -> None:
        found = read(table(tmp_path / "a.parquet", values))
        assert found.classes == classes and words(found) == [str(v) for v in values]

    @pytest.mark.parametrize("values", [[0.0, 1.0], [True, False], [0, None]])
    def test_others_say_why_not_and_can_be_named(self, tmp_path: Path, values: list[Any]) -> None:
        path = table(tmp_path / "a.parquet", values)
        found = read(path)
        assert found.labels is None and "set data.labels=label" in found.notes[-1]
        assert read(path, labels="label").labels is not None

    def test_a_column_of_another_name(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.parquet", image=[encoded(0), encoded(1)], category=["x", "y"])
        assert "set data.labels=category" in read(path).notes[-1]
        assert words(read(path, labels="category")) == ["x", "y"]

    def test_numbers_of_pictures_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"30 different values in 30 rows.*set data\.labels=false"):
            read(table(tmp_path / "a.parquet", list(range(1693526400, 1693526430))))

    @pytest.mark.parametrize("stream", [False, True])
    def test_shards_are_joined_by_name(self, tmp_path: Path, stream: bool) -> None:
        table(tmp_path / "a.parquet", [0, 1, 1, 0], ["ant", "bee"])
        table(tmp_path / "b.parquet", [0, 1, 0, 1], ["bee", "ant"])
        if not stream:
            assert words(read(tmp_path)) == ["ant", "bee", "bee", "ant", "bee", "ant", "bee", "ant"]
        tree = {"name": "parquet", "path": str(tmp_path), "size": 4, "stream": stream, "holdout": 0.0}
        source = open_source(config.parse({"data": tree}).data, torch.device("cpu"))
        assert source.facts.classes == ("ant", "bee") and any("joined by name" in n for n in source.notes)

    def test_types_are_joined_or_named(self, tmp_path: Path) -> None:
        table(tmp_path / "a.parquet", pa.array([0, 1], pa.int64()))
        table(tmp_path / "b.parquet", pa.array([1, 0], pa.int32()))
        assert words(read(tmp_path)) == ["0", "1", "1", "0"]
        table(tmp_path / "b.parquet", pa.array([None, None], pa.null()))
        assert "b.parquet" in read(tmp_path).notes[-1] and words(read(tmp_path, labels=True)) == ["0", "1"]
        table(tmp_path / "b.parquet", pa.array([[0], [1]], pa.list_(pa.int64())))
        with pytest.raises(DataError, match=r"b\.parquet.*list.*a\.parquet.*int64"):
            read(tmp_path)

    def test_names_are_told_apart_and_of_one_form(self, tmp_path: Path) -> None:
        for names in (["crane", "kite", "crane"], ["e\u0301", "b", "\u00e9"]):
            coding = code_labels([FileLabels("a", [0, 1, 2], names)], keep_negative=False)
            first = "crane" if names[0] == "crane" else "\u00e9"
            assert coding.classes == [first, names[1], f"{first} (2)"] and "told apart" in coding.notes[0]
        for form in ("NFC", "NFD"):
            tree(tmp_path, f"{unicodedata.normalize(form, 'é')}/{form}.png", "b/1.png")
        assert sorted(read(tmp_path).classes) == ["b", "é"]
        assert renumbered(np.array([0, 1]), ["b", "x"], ["a", "b"]).tolist() == [1, -1]

    def test_a_class_without_pictures_is_not_drawn(self, tmp_path: Path) -> None:
        path = table(tmp_path / "a.parquet", [0, 2, 0, 2], ["a", "b", "c"])
        chosen = config.parse({"data": {"name": "parquet", "path": str(path), "size": 4, "holdout": 0.0}})
        source = open_source(chosen.data, torch.device("cpu"))
        assert source.facts.classes == ("a", "b", "c") and source.facts.empty == (1,)
        seeds = torch.arange(200)
        for label in (None, "all"):
            cond = conditions(label, source.facts.classes, seeds, source.facts.empty)
            assert cond.label is not None and set(cond.label.tolist()) == {0, 2}


class TestColumns:
    def test_the_picture_column_is_told_and_chosen(self, tmp_path: Path) -> None:
        both = table(tmp_path / "a.parquet", mask=[encoded(0)], image=[encoded(1)])
        found = read(both)
        assert torch.equal(found.images, read(both, column="image").images) and "mask" in found.notes[0]
        assert not torch.equal(found.images, read(both, column="mask").images)
        hashed = table(tmp_path / "b.parquet", md5=[b"0123456789abcdef"], photo=[encoded(1)])
        assert torch.equal(read(hashed).images, found.images)
        with pytest.raises(DataError, match=r"set data\.column=mask"):
            read(table(tmp_path / "c.parquet", mask=[encoded(0)], photo=[encoded(1)]))


class TestFiles:
    def test_endings(self, tmp_path: Path) -> None:
        kinds = {"a.jfif": "JPEG", "b.jpe": "JPEG", "c.ppm": "PPM", "d.avif": "AVIF", "plain": "PNG"}
        for k, (name, form) in enumerate(kinds.items()):
            (tmp_path / name).write_bytes(encoded(k, form))
        (tmp_path / "IMG.HEIC").write_bytes(b"\0\0\0 ftypheic")
        (tmp_path / "notes.md").write_text("x")
        (tmp_path / "a.txt").write_text("a caption")
        found = read(tmp_path)
        assert len(found) == 5 and found.skipped == []
        said = "\n".join(found.notes)
        assert (
            "IMG.HEIC" in said
            and "1 .md" in said
            and "captions are there, used only with data.captions=true: 1 .txt" in said
        )

    def test_captions_are_told_from_other_texts(self, tmp_path: Path) -> None:
        tree(tmp_path, "1.png", "2.png", "deep/3.png")
        for name in ("1.txt", "deep/3.caption", "LICENSE.txt", "metadata.jsonl"):
            (tmp_path / name).write_text("{}")
        notes = read(tmp_path, labels=False).notes
        assert "captions are there, used only with data.captions=true: 1 .caption, 1 .jsonl, 1 .txt" in notes
        assert "1 other file left out, no pictures: 1 .txt" in notes

    def test_transparency_is_counted(self, tmp_path: Path) -> None:
        pixels = np.full((4, 4, 4), 255, np.uint8)
        for k, alpha in enumerate((255, 254, 0)):
            pixels[0, 0, 3] = alpha
            Image.fromarray(pixels).save(tmp_path / f"{k}.png")
        Image.new("RGB", (4, 4)).quantize().save(tmp_path / "p.png", transparency=0)
        tree(tmp_path, "plain.png")
        line = "with transparent parts, which are laid over white"
        assert read(tmp_path).notes == [f"3 of 5 pictures {line}"]
        assert read(tmp_path, limit=1).notes == []
        for channels in (None, 3):
            assert read(tmp_path, channels=channels, memory_limit=1).notes == [
                f"3 of 5 pictures looked at {line}"
            ]
        files = [(tmp_path / name).read_bytes() for name in ("0.png", "1.png", "2.png")]
        shards = table(tmp_path / "s" / "a.parquet", image=files)
        tree_of = {"name": "parquet", "path": str(shards), "size": 4, "stream": True, "holdout": 0.4}
        source = open_source(config.parse({"data": tree_of}).data, torch.device("cpu"))
        assert source.notes[-1] == f"2 of 3 pictures looked at {line}"

    def test_floats_have_one_range(self, tmp_path: Path) -> None:
        ramp = np.linspace(-1, 1, 16).reshape(4, 4).astype(np.float32)
        for name, values in {
            "a": ramp,
            "b": np.full((4, 4), 0.6, np.float32),
            "c": (ramp + 1) * 127.5,
        }.items():
            Image.fromarray(values).save(tmp_path / f"{name}.tif")
        found = read(tmp_path)
        assert "black at 0 and white at 255" in found.notes[-1] and "a.tif" in found.skipped[0]
        assert found.images[0].max() == 1 and found.images[1].max() == 255

    def test_profiles_become_srgb(self) -> None:
        plain = Image.new("RGB", (4, 4), (200, 50, 50))
        file = io.BytesIO()
        plain.save(
            file, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        )
        assert np.array_equal(np.asarray(decode(Image.open(file))), np.asarray(plain))
        plain.info["icc_profile"] = b"damaged"
        assert np.array_equal(np.asarray(decode(plain)), np.asarray(plain))


FOLDERS = ("train/a", "train/b", "test/a", "a", "b", "docs", "")
FILES = ("1.png", "2.jpg", "3.md", ".4.png", "5")


@settings(max_examples=40, deadline=None)
@given(st.sets(st.tuples(st.sampled_from(FOLDERS), st.sampled_from(FILES)), min_size=1))
def test_what_is_read_and_what_is_said_is_all(drawn: set[tuple[str, str]]) -> None:
    """Of a folder: classes as a reader of ten lines has them, and every other picture counted in a note."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for k, (folder, name) in enumerate(sorted(drawn)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / name).write_bytes(b"text" if name == "3.md" else encoded(k))
        shown = [(f, n) for f, n in drawn if n not in ("3.md", ".4.png")]
        try:
            found = read(root)
        except DataError as error:
            assert not shown or "data.split" in str(error) or "has no split" in str(error)
            return
        said = " ".join(found.notes)
        left = 0
        if stated := re.search(r"read as the split 'train', and left out ([\d,]+) picture", said):
            left = int(stated[1])
        assert len(found) + left == len(shown) and found.skipped == []
        assert ("1 .md" in said or " .md" in said) == any(n == "3.md" for _, n in drawn)
        assert ("hidden" in said) == any(n == ".4.png" for _, n in drawn)
        used = [f for f, _ in shown if not left or f.startswith("train")]
        if found.labels is not None:
            top = {f.split("/")[0] for f in used}
            names = [f.split("/")[-1] if top == {"train"} else f.split("/")[0] for f in used]
            assert Counter(words(found)) == Counter(names)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from([None, 0, 1, 2]), min_size=1, max_size=6), min_size=1, max_size=3))
def test_tables_drawn_at_random(files: list[list[int | None]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        for k, labels in enumerate(files):
            table(Path(place) / f"{k}.parquet", pa.array(labels, pa.int64()))
        values = [value for labels in files for value in labels]
        found = read(Path(place))
        assert len(found) == len(values)
        if None in values:
            assert found.labels is None and f"{values.count(None)} of {len(values)} rows" in found.notes[-1]
        else:
            assert words(found) == [str(value) for value in values]
