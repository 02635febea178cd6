"""Captions of one's own pictures: text files, tables, columns; those that lack are counted, and nothing shifts."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.conditions.text import START, words_of
from mezzotint.config import parse
from mezzotint.data.images import load_pictures
from mezzotint.data.open import PictureSource, fingerprint, open_source
from mezzotint.errors import DataError

GREYS = {f"{k:02d}": k * 10 for k in range(12)}  # name: grey level, so that each picture can be told


def texts(name: str) -> str:
    return f"grey of {int(name) * 10}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    root.mkdir()
    for name, grey in GREYS.items():
        Image.new("L", (8, 8), grey).save(root / f"{name}.png")
    return root


def parquet(path: Path, **columns: list[object]) -> Path:
    arrow, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images = []
    for grey in GREYS.values():
        content = io.BytesIO()
        Image.new("L", (8, 8), grey).save(content, "PNG")
        images.append({"bytes": content.getvalue(), "path": None})
    path.mkdir()
    pq.write_table(arrow.table({"image": images, **columns}), path / "train.parquet")
    return path


def check(source: PictureSource, lacking: int = 0) -> None:
    """Each picture of the batches has its own caption."""
    words, empty = source.facts.words, 0
    for batch in [*source.held_out(4), next(source.batches(0, 8, 0))]:
        assert batch.cond.text is not None
        for x0, row in zip(batch.x0, batch.cond.text.tolist()):
            grey = round((float(x0[0, 0, 0]) + 1) * 127.5)
            said = [words[k - 2] for k in row if k > START]
            assert said in (words_of(f"grey of {grey}"), []), (said, grey)
            empty += not said
    assert bool(empty) <= bool(lacking)


def opened(path: Path, name: str = "folder", captions: bool | str = True, **more: object) -> PictureSource:
    data = parse(
        {"data": {"name": name, "path": str(path), "size": 8, "captions": captions, "holdout": 0.3, **more}}
    ).data
    source = open_source(data, torch.device("cpu"))
    assert isinstance(source, PictureSource)
    return source


def test_text_files_beside_pictures(folder: Path) -> None:
    for name in GREYS:
        (folder / f"{name}.txt").write_text(texts(name) + "\n")
    source = opened(folder)
    assert source.facts.length == 4 and "grey" in source.facts.words and len(source.facts.examples) > 5
    assert not any("captions" in note for note in source.notes)
    check(source)
    (folder / "03.txt").unlink()
    lacking = opened(folder)
    assert "1 picture without a caption, learnt as asked nothing" in lacking.notes
    check(lacking, 1)
    assert fingerprint(lacking) != fingerprint(source)
    plain = load_pictures("folder", folder, size=8)
    assert plain.captions is None and any("used only with data.captions=true" in note for note in plain.notes)


@pytest.mark.parametrize("name", ["captions.csv", "captions.jsonl", "metadata.jsonl"])
def test_a_table_in_the_folder(folder: Path, name: str) -> None:
    rows = [(f"{key}.png", texts(key)) for key in reversed(GREYS)]
    if name.endswith("csv"):
        text = "file_name,text\n" + "".join(f'{file},"{said}"\n' for file, said in rows)
    else:
        text = "".join(f'{{"file_name": "{file}", "text": "{said}"}}\n' for file, said in rows)
    (folder / name).write_text(text)
    check(opened(folder))
    (folder / name).write_text("odd\n1\n")
    with pytest.raises(DataError, match="is no table of captions"):
        opened(folder)


def test_a_column_of_a_table(tmp_path: Path) -> None:
    said = [texts(name) for name in GREYS]
    path = parquet(tmp_path / "set", what=said, text=[*said[:-1], None], number=list(range(12)))
    check(opened(path, "parquet", "what"))
    named = opened(path, "parquet", True)  # "text" is the hub's name
    assert "1 picture without a caption, learnt as asked nothing" in named.notes
    check(named, 1)
    check(opened(path, "parquet", "what", limit=6))
    check(opened(path, "parquet", "what", memory_gb=1e-9))  # decoded on demand
    with pytest.raises(DataError, match=r"has no column 'none' for data\.captions; it has "):
        opened(path, "parquet", "none")
    with pytest.raises(DataError, match=r"the column 'number' of .* holds no texts"):
        opened(path, "parquet", "number")


def test_where_there_are_none_it_is_said(folder: Path) -> None:
    with pytest.raises(DataError, match=r"has no captions; write them into NAME\.txt beside NAME\.png"):
        opened(folder)
    with pytest.raises(DataError, match="has no columns; its captions are text files"):
        opened(folder, captions="text")
    with pytest.raises(DataError, match="digits have no captions"):
        load_pictures("digits", captions=True)
    assert np.asarray(Image.open(folder / "00.png")).max() == 0
