"""Sets drawn at random, with splits, classes inside them and labels of every kind, against readers of ten lines: what is
read and what is said to be left out is all there is, and every picture has the class that it stands under."""

import io
import json
import re
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from mezzotint import config
from mezzotint.data import Pictures, load_pictures
from mezzotint.data.open import open_source

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

WORDS = ("ant", "bee", "Cat", "10", "2")
SPLITS = ("train", "test", "val")
SPLIT_NAMES = {"train": "train", "test": "test", "val": "validation"}


def numbered(k: int) -> bytes:
    """A picture that says its number."""
    file = io.BytesIO()
    Image.new("L", (2, 2), k).save(file, "PNG")
    return file.getvalue()


def read(root: Path, **options: Any) -> Pictures:
    return load_pictures("folder", root, size=2, channels=1, **options)


def classes_of(pictures: Pictures) -> dict[int, str | None]:
    """Number of each picture -> the name of its class."""
    labels = [None] * len(pictures) if pictures.labels is None else pictures.labels.tolist()
    numbers = pictures.images[:, 0, 0, 0].tolist()
    return {k: None if label is None else pictures.classes[label] for k, label in zip(numbers, labels)}


FILES = st.tuples(
    st.sampled_from([*SPLITS, "docs"]),
    st.sampled_from([*WORDS, ""]),
    st.sampled_from(["", "deep/", "deep/er/"]),
    st.sampled_from(["1.png", "2.PNG", "3", ".4.png", "5.md"]),
)


@settings(max_examples=25, deadline=None)
@given(st.sets(FILES, min_size=6, max_size=30), st.sampled_from(["", "set/"]))
def test_folders_of_classes_inside_splits(drawn: set[tuple[str, str, str, str]], above: str) -> None:
    drawn = {each for each in drawn if each[1] or not each[2]}
    with tempfile.TemporaryDirectory() as place:
        truth: dict[str, dict[int, str]] = {}
        for k, (split, word, deep, name) in enumerate(sorted(drawn)):
            inside = f"{word}/{deep}" if word else ""
            path = Path(place, above if split != "docs" else "", split, inside, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"text" if name == "5.md" else numbered(k))
            if name not in (".4.png", "5.md"):
                truth.setdefault(split, {})[k] = word
        assume(len(set(truth.get("train", {}).values()) - {""}) > 1 and {"test", "val"} & set(truth))
        bare = {split for split, words in truth.items() if "" in words.values()}
        total = sum(map(len, truth.values()))
        for split in [None, *(split for split in SPLITS if split in truth)]:
            mine = truth[split or "train"]
            found = read(Path(place), split=split and SPLIT_NAMES[split])
            said = " ".join(found.notes)
            if "train" in bare or (split or "train") in bare:
                assert set(classes_of(found)) == set(mine)
                partly = len({bool(word) for word in mine.values()}) > 1
                assert not partly or "in no folder of a class" in said
            else:
                assert classes_of(found) == mine
            stated = re.search(r"and left out ([\d,]+) picture", said)
            left = int(stated[1]) if stated else 0
            assert len(found) + left == total and found.skipped == [], (split, found.notes, drawn)
            for name, words in ((".4.png", "hidden"), ("5.md", " .md")):
                assert (words in said) == any(file == name for *_, file in drawn)


PATTERNS = (
    "{split}-{k:05}-of-00099.parquet",
    "data/{split}-{k}.parquet",
    "{split}/{k}.parquet",
    "default/{split}/{k:04}.parquet",
)
TABLES = st.lists(
    st.tuples(
        st.sampled_from(SPLITS),
        st.permutations(WORDS[:3]),
        st.lists(st.sampled_from([0, 1, 2, None]), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25, deadline=None)
@given(
    TABLES,
    st.sampled_from(PATTERNS),
    st.sampled_from(["numbers", "words", "categories", "names"]),
    st.sampled_from([None, True]),
)
def test_tables_of_splits(
    drawn: list[tuple[str, list[str], list[int | None]]], pattern: str, kind: str, insisted: bool | None
) -> None:
    with tempfile.TemporaryDirectory() as place:
        truth: dict[str, dict[int, str | None]] = {}
        for k, (split, names, labels) in enumerate(drawn):
            rows = {30 * k + i: label for i, label in enumerate(labels)}
            known = {0: "0", 1: "1", 2: "2"} if kind == "numbers" else dict(enumerate(names))
            truth.setdefault(split, {}).update({i: known.get(label) for i, label in rows.items()})
            values = labels if kind in ("numbers", "names") else [known.get(label) for label in labels]
            column = pa.array(values, pa.string() if kind in ("words", "categories") else pa.int64())
            column = column.dictionary_encode() if kind == "categories" else column
            table = pa.table({"image": [numbered(i) for i in rows], "label": column})
            if kind == "names":
                features = {
                    "image": {"_type": "Image"},
                    "label": {"_type": "ClassLabel", "names": list(names)},
                }
                table = table.replace_schema_metadata(
                    {"huggingface": json.dumps({"info": {"features": features}})}
                )
            path = Path(place, pattern.format(split=split, k=k))
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path, row_group_size=2)
        assume("train" in truth)
        for split, mine in truth.items():
            there = {i: name for i, name in mine.items() if name is not None}
            assume(not insisted or there)
            found = read(Path(place), split=SPLIT_NAMES[split], labels=insisted)
            said = " ".join(found.notes)
            if len(there) == len(mine):
                assert classes_of(found) == mine
            elif insisted:
                assert classes_of(found) == there
                assert f"left out: {len(mine) - len(there):,} of {len(mine):,} rows" in said
            else:
                assert classes_of(found) == dict.fromkeys(mine)
                assert f"{len(mine) - len(there):,} of {len(mine):,} rows" in said
            files = [other for other, *_ in drawn if other != split]
            left = sum(map(int, re.findall(r"\((\d+) files?\)", said)))
            assert left == len(files)
            tree = {
                "name": "parquet",
                "path": place,
                "size": 2,
                "channels": 1,
                "holdout": 0.0,
                "stream": True,
            }
            tree |= {"split": SPLIT_NAMES[split], "labels": insisted}
            source = open_source(config.parse({"data": tree}).data, torch.device("cpu"))
            (batch,) = islice(source.batches(0, source.total, 0), 1)
            numbers = source.codec.decode(batch.x0)[:, 0, 0, 0].tolist()
            label = [None] * len(numbers) if batch.cond.label is None else batch.cond.label.tolist()
            streamed = {k: None if c is None else source.facts.classes[c] for k, c in zip(numbers, label)}
            assert streamed == classes_of(found)
