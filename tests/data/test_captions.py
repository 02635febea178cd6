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
from mezzotint.data.stream import StreamSource
from mezzotint.errors import ConfigError, DataError

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


def check(source: PictureSource | StreamSource, lacking: int = 0) -> None:
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
    with pytest.raises(DataError, match="is not a table of captions"):
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
    with pytest.raises(DataError, match=r"the column 'number' of .* holds values that are not texts"):
        opened(path, "parquet", "number")


def test_where_there_are_none_it_is_said(folder: Path) -> None:
    with pytest.raises(DataError, match=r"has no captions; write them into NAME\.txt beside NAME\.png"):
        opened(folder)
    with pytest.raises(DataError, match="has no columns; its captions are text files"):
        opened(folder, captions="text")
    with pytest.raises(DataError, match="digits have no captions"):
        load_pictures("digits", captions=True)
    assert np.asarray(Image.open(folder / "00.png")).max() == 0


# --- names of classes, letters, streams, backgrounds --------------------------------------------------------


def of_classes(root: Path) -> Path:
    for name, grey in (("dark_grey", 40), ("light", 200)):
        (root / name).mkdir(parents=True)
        for k in range(8):
            Image.new("L", (8, 8), grey + k).save(root / name / f"{k}.png")
    return root


def test_names_of_classes_are_captions(tmp_path: Path) -> None:
    root = of_classes(tmp_path / "set")
    source = opened(root, captions="classes")
    assert source.facts.classes == () and source.facts.examples == ("dark grey", "light")
    assert source.facts.words == ("dark", "grey", "light")
    for batch in [*source.held_out(4), next(source.batches(0, 8, 0))]:
        assert batch.cond.label is None and batch.cond.text is not None
        for x0, row in zip(batch.x0, batch.cond.text.tolist()):
            said = " ".join(source.facts.words[k - 2] for k in row if k > START)
            assert said == ("light" if float(x0.mean()) > 0 else "dark grey")
    both = opened(root, captions="classes", labels=True)
    assert both.facts.classes == ("dark_grey", "light") and both.facts.examples == source.facts.examples
    (root / "dark grey").mkdir()
    Image.new("L", (8, 8), 3).save(root / "dark grey" / "1.png")
    with pytest.raises(ConfigError, match="two classes would have the same name as captions"):
        opened(root, captions="classes")
    plain = tmp_path / "plain"
    plain.mkdir()
    Image.new("L", (8, 8), 3).save(plain / "1.png")
    with pytest.raises(DataError, match="has no classes, whose names could be captions"):
        opened(plain, captions="classes")
    digits = parse({"data": {"captions": "classes"}}).data
    assert open_source(digits, torch.device("cpu")).facts.words == tuple("0123456789")


def test_letter_by_letter(folder: Path) -> None:
    for name in GREYS:
        (folder / f"{name}.txt").write_text(texts(name) + (" ü" if name == "03" else ""))
    source = opened(folder, reading="bytes")
    facts = source.facts
    assert facts.reading == "bytes" and facts.words == () and facts.length == len("grey of 30 ü".encode()) + 1
    for batch in source.held_out(4):
        assert batch.cond.text is not None
        for x0, row in zip(batch.x0, batch.cond.text.tolist()):
            said = bytes(k - 2 for k in row if k > START).decode()
            assert said.removesuffix(" ü") == f"grey of {round((float(x0[0, 0, 0]) + 1) * 127.5)}"
    (folder / "05.txt").write_text("x" * 300)
    long = opened(folder, reading="bytes")
    assert long.facts.length == 257
    assert "1 caption of more than 256 letters, cut there" in long.notes
    for wrong, match in (
        ({"captions": False, "reading": "bytes"}, r"data\.reading is for captions"),
        ({"captions": False, "encoder": "/some"}, r"data\.encoder is for captions"),
        ({"reading": "bytes", "encoder": "/some"}, "leave one of them out"),
    ):
        with pytest.raises(ConfigError, match=match):
            opened(folder, **wrong)  # type: ignore[arg-type]


def streamed(path: Path, **more: object) -> StreamSource:
    data = parse(
        {"data": {"name": "parquet", "path": str(path), "size": 8, "stream": True, "holdout": 0.3, **more}}
    ).data
    source = open_source(data, torch.device("cpu"))
    assert isinstance(source, StreamSource)
    return source


def test_captions_of_streamed_sets_are_those_of_the_set_in_memory(tmp_path: Path) -> None:
    said: list[object] = [texts(name) for name in GREYS]
    path = parquet(tmp_path / "set", text=[*said[:-1], None], label=[k % 2 for k in range(12)])
    whole, stream = opened(path, "parquet"), streamed(path, captions=True)
    for name in ("words", "length", "reading"):
        assert getattr(stream.facts, name) == getattr(whole.facts, name)
    assert "1 picture without a caption, learnt as asked nothing" in stream.notes
    check(stream, 1)
    held = [batch.cond.text for batch in stream.held_out(8)]
    assert sum(len(text) for text in held if text is not None) == 4
    first, again = (next(streamed(path, captions="text").batches(1, 6, 2)) for _ in range(2))
    assert first.x0.equal(again.x0) and first.cond.text.equal(again.cond.text)  # type: ignore[union-attr,arg-type]
    letters = streamed(path, captions="text", reading="bytes")
    assert letters.facts.reading == "bytes" and next(letters.batches(0, 4, 0)).cond.text is not None
    names = streamed(path, captions="classes")
    assert names.facts.classes == () and names.facts.words == ("0", "1")
    batch = next(names.batches(0, 8, 0))
    assert batch.cond.label is None and batch.cond.text is not None
    for x0, row in zip(batch.x0, batch.cond.text.tolist()):
        grey = round((float(x0[0, 0, 0]) + 1) * 127.5)
        assert [names.facts.words[k - 2] for k in row if k > START] == [str(grey // 10 % 2)]
    with pytest.raises(DataError, match=r"has no column 'none' for data\.captions; it has "):
        streamed(path, captions="none")


@pytest.mark.parametrize("stream", [False, True])
def test_transparent_parts_are_laid_over_the_background(tmp_path: Path, stream: bool) -> None:
    arrow, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    content = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(content, "PNG")
    rows = [{"bytes": content.getvalue(), "path": None}] * 4
    pq.write_table(arrow.table({"image": rows}), tmp_path / "train.parquet")
    for colour, expected in ((None, 255), ("black", 0), ("#204080", [0x20, 0x40, 0x80])):
        more = {} if colour is None else {"background": colour}
        data = {"name": "parquet", "path": str(tmp_path), "size": 8, "stream": stream, "channels": 3}
        source = open_source(parse({"data": {**data, **more}}).data, torch.device("cpu"))
        pixels = (next(source.batches(0, 2, 0)).x0[0, :, 3, 3] + 1) * 127.5
        torch.testing.assert_close(pixels, torch.tensor(expected).float().expand(3))
        if not stream:  # of which none is looked at beforehand
            assert any(f"which are laid over {colour or 'white'}" in note for note in source.notes)
    for wrong in ("no colour", "#12345", "#ff000080"):
        with pytest.raises(ConfigError, match=r"data\.background .* is no colour; give a name such as white"):
            open_source(parse({"data": {**data, "background": wrong}}).data, torch.device("cpu"))
