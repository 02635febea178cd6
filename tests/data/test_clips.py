"""Clips of one's own: what is one, what is named and left out, which part of a long one is seen, and going on to the bit."""

import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.config import Data
from mezzotint.data import films
from mezzotint.data.clips import ClipSource, Reels
from mezzotint.data.images import OnDemand
from mezzotint.data.open import Source, fingerprint, open_source
from mezzotint.errors import ConfigError, DataError
from mezzotint.evaluate.reference import open_reference

CPU = torch.device("cpu")
SIDE = 8


def frames(first: int, length: int, step: int = 1) -> list[Image.Image]:
    """Frame k is all of level first + k step, so that a frame says which it is."""
    return [Image.new("L", (SIDE, SIDE), first + k * step) for k in range(length)]


def animate(path: Path, pictures: list[Image.Image]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50, lossless=True)
    return path


def number(folder: Path, pictures: list[Image.Image]) -> None:
    folder.mkdir(parents=True)
    for k, picture in enumerate(pictures, 1):
        picture.save(folder / f"f{k}.png")


def opened(path: Path, **keys: Any) -> Source:
    return open_source(
        Data(**{"name": "folder", "path": path, "frames": 4, "size": SIDE, "holdout": 0, **keys}), CPU
    )


def levels(source: Source, step: int = 0, size: int = 1, seed: int = 0) -> torch.Tensor:
    """The level of each frame of a batch: (B, T)."""
    batch = next(source.batches(seed, size, step))
    return source.codec.decode(batch.x0)[:, 0, :, 0, 0].int()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    animate(tmp_path / "a" / "one.gif", frames(0, 4, 8))
    animate(tmp_path / "a" / "two.png", frames(40, 4))
    animate(tmp_path / "b" / "three.webp", frames(80, 4, 20))
    number(tmp_path / "b" / "four", frames(120, 12))  # f10 comes after f9
    animate(tmp_path / "a" / "short.gif", frames(200, 3, 20))
    frames(9, 1)[0].save(tmp_path / "a" / "alone.png")
    (tmp_path / "b" / "broken.gif").write_bytes(b"GIF89a, and no more")
    (tmp_path / "b" / "none").mkdir()
    frames(9, 1)[0].save(tmp_path / "b" / "none" / "cover.png")
    return tmp_path


def test_every_kind_is_read_and_what_is_odd_is_named(mixed: Path) -> None:
    source = opened(mixed)
    assert isinstance(source, ClipSource) and isinstance(source.clips, Reels)
    assert str(source.facts) == "clips 1x4x8x8" and source.facts.classes == ("a", "b") and source.total == 4
    found = {tuple(row) for row in levels(source, size=4).tolist()}
    assert {(0, 8, 16, 24), (40, 41, 42, 43), (80, 100, 120, 140)} < found
    ((first, *_),) = found - {(0, 8, 16, 24), (40, 41, 42, 43), (80, 100, 120, 140)}
    assert 120 <= first <= 128 and (first, first + 1, first + 2, first + 3) in found
    batch = next(source.batches(0, 4, 0))
    shown = source.codec.decode(batch.x0)[:, 0, 0, 0, 0]
    assert batch.cond.label is not None and batch.cond.label.equal((shown >= 80).long())
    assert len(source.skipped) == 4
    assert any("short.gif: 3 frames, and 4 are wanted" in line for line in source.skipped)
    assert any("alone.png: a single picture, beside clips" in line for line in source.skipped)
    assert any("cover.png: a single picture, whose name has no number" in line for line in source.skipped)
    assert any("broken.gif: not a PNG" in line for line in source.skipped)
    assert any("1 folder of numbered pictures read as a clip each: four" in line for line in source.notes)


def test_a_long_clip_gives_another_part_each_time(tmp_path: Path) -> None:
    """Everywhere in it alike, both ends included, and the same part to whoever asks again: in memory and decoded on demand."""
    number(tmp_path / "long", frames(100, 10))
    source = opened(tmp_path, limit=1)
    several = [levels(source, step) for step in range(100)]
    assert all((row.diff() == 1).all() for row in several)
    begins = torch.tensor([int(row[0, 0]) for row in several])
    counts = torch.bincount(begins - 100, minlength=7)
    assert len(counts) == 7 and counts.min() > 3
    assert levels(source, 57).equal(several[57]) and not torch.equal(begins[:50], begins[50:])
    held = source.clips.read(torch.tensor([0]))[0]  # type: ignore[union-attr]
    assert held[0, 0, :, 0, 0].tolist() == [103, 104, 105, 106]

    lazy = opened(tmp_path, memory_gb=1e-7)
    assert isinstance(lazy, ClipSource) and isinstance(lazy.clips, OnDemand)
    assert all(levels(lazy, step).equal(several[step]) for step in range(0, 100, 9))
    assert lazy.clips.read(torch.tensor([0]))[0].equal(held)


def test_stride(tmp_path: Path) -> None:
    number(tmp_path / "long", frames(100, 11))
    for keys in ({}, {"memory_gb": 1e-7}):
        rows = [levels(opened(tmp_path, stride=3, **keys), step)[0].tolist() for step in range(12)]
        assert {tuple(row) for row in rows} == {(100, 103, 106, 109), (101, 104, 107, 110)}
    with pytest.raises(DataError, match="11 frames, and 4 that are 4 apart are wanted"):
        opened(tmp_path, stride=4)


def test_all_frames_are_flipped_and_shifted_alike(tmp_path: Path) -> None:
    half = np.zeros((SIDE, SIDE), np.uint8)
    half[:, :3] = 200
    number(tmp_path / "one", [Image.fromarray(half)] * 4)
    source = opened(tmp_path, flip=True, crop=2)
    seen = set()
    for step in range(30):
        clip = source.codec.decode(next(source.batches(0, 1, step)).x0)
        assert (clip == clip[:, :, :1]).all()
        seen.add(clip.numpy().tobytes())
    assert len(seen) > 5


def test_arrays_as_samples_are_written(tmp_path: Path) -> None:
    stack = np.arange(3 * 5, dtype=np.uint8).reshape(3, 5, 1, 1, 1) * np.ones((1, 1, SIDE, SIDE, 1), np.uint8)
    file = tmp_path / "made.npz"
    np.savez(file, images=stack, labels=np.array([1, 0, 1]), classes=np.array(["x", "y"]))
    source = opened(file)
    assert source.facts.classes == ("x", "y") and source.total == 3
    assert {int(row[0]) // 5 for row in levels(source, size=3)} == {0, 1, 2}
    assert opened(file, labels=False).facts.classes == ()
    for content, words in (
        ({"images": stack[0, 0]}, r"uint8 of shape \(8, 8, 1\)"),
        ({"images": stack.astype(float)}, "float64"),
        ({"things": stack}, "no array called images"),
        ({"images": stack, "labels": np.array([0, -1, 0])}, "below 0"),
    ):
        np.savez(file, **content)
        with pytest.raises(DataError, match=words):
            opened(file)
    file.write_bytes(b"PK and nonsense")
    with pytest.raises(DataError, match="cannot be read as npz"):
        opened(file)


def encoded(pictures: list[Image.Image], kind: str = "WEBP") -> bytes:
    buffer = io.BytesIO()
    pictures[0].save(buffer, kind, save_all=True, append_images=pictures[1:], lossless=True)
    return buffer.getvalue()


@pytest.mark.parametrize("stream", [False, True])
def test_tables(stream: bool, tmp_path: Path) -> None:
    """A column of encoded clips, or of lists of pictures; shards give the same parts of the same rows, and a resume goes on to the bit."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    clips = [frames(10 * k, 6) for k in range(12)]
    column = [encoded(one) for one in clips[:11]] + [encoded(clips[11][:2])]
    table = arrow.table({"video": column, "label": [k % 2 for k in range(12)]})
    parquet.write_table(table, tmp_path / "train.parquet", row_group_size=4)
    with pytest.warns(UserWarning, match="2 frames, and 4 are wanted") if stream else nullcontext():
        source = opened(tmp_path, name="parquet", stream=stream)
        rows = levels(source, size=24)
    assert (rows.diff() == 1).all() and len({int(row[0]) // 10 for row in rows}) == 11
    batches = source.batches(3, 5, 0)
    several = [next(batches).x0 for _ in range(4)]
    assert next(source.batches(3, 5, 2)).x0.equal(several[2])
    lists = arrow.table({"image": [[encoded([one], "PNG") for one in clip] for clip in clips]})
    parquet.write_table(lists, tmp_path / "train.parquet", row_group_size=4)
    rows = levels(opened(tmp_path, name="parquet", stream=stream), size=12)
    assert (rows.diff() == 1).all() and len({int(row[0]) // 10 for row in rows}) == 12


def test_held_out_clips_are_not_trained_on(tmp_path: Path) -> None:
    for k in range(10):
        number(tmp_path / f"c{k}", frames(20 * k, 6))
    source = opened(tmp_path, holdout=0.3)
    trained = {int(level) // 20 for level in levels(source, size=40)[:, 0]}
    held = {
        int(source.codec.decode(batch.x0)[i, 0, 0, 0, 0]) // 20
        for batch in source.held_out(2)
        for i in range(len(batch.x0))
    }
    assert len(trained) == 7 and len(held) == 3 and not trained & held
    assert fingerprint(source) != fingerprint(opened(tmp_path, holdout=0.2))


def test_what_cannot_be(mixed: Path, tmp_path: Path) -> None:
    for keys, words in (
        ({"captions": True}, r"data\.captions is for pictures"),
        ({"enlarge": 2}, r"data\.enlarge is for pictures"),
        ({"column": "image"}, r"leave data\.column out"),
        ({"frames": 40}, "none of 6 clips can be used, the first is"),
    ):
        with pytest.raises((ConfigError, DataError), match=words):
            opened(mixed, **keys)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no clips"):
        opened(tmp_path / "empty")
    with pytest.raises(ValueError, match="stride is for clips"):
        Data(stride=2)
    with pytest.raises(ConfigError, match="frames"):
        open_source(Data(name="moons", frames=4), CPU)
    assert "frames" not in Data().model_dump() and Data(frames=4).model_dump()["stride"] == 1


def test_clips_are_not_compared_as_pictures_are() -> None:
    for data in (Data(name="folder", path=Path("x"), frames=4), Data(name="bouncing")):
        with pytest.raises(ConfigError, match="clips of bouncing are scored by"):
            open_reference(data)


def test_videos(tmp_path: Path) -> None:
    """By ffmpeg, in a folder and in a table; odd sides and all."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    pictures = [np.full((15, 9, 3), 20 + 12 * k, np.uint8) for k in range(10)]
    path = tmp_path / "one" / "a.mp4"
    path.parent.mkdir()
    writer = ffmpeg.write_frames(
        str(path), (9, 15), pix_fmt_out="yuv444p", fps=10, macro_block_size=1, output_params=["-crf", "0"]
    )
    writer.send(None)
    for picture in pictures:
        writer.send(picture)
    writer.close()
    film = films.film(path.read_bytes())
    assert film.count == 10
    seen = np.stack([np.asarray(one) for one in film.read(3, 3, 2)])
    assert np.abs(seen.astype(int) - np.stack(pictures[3:8:2])).max() <= 2
    for keys in ({}, {"memory_gb": 1e-7}):
        rows = levels(opened(path.parent, channels=1, **keys), 2)
        assert ((rows.diff() - 12).abs() <= 2).all()
    (path.parent / "b.mp4").write_bytes(path.read_bytes()[:200])
    source = opened(path.parent, channels=1)
    assert len(source.skipped) == 1 and "b.mp4: ffmpeg cannot read it" in source.skipped[0]
