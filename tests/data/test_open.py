"""Batches for training: their order, the part held out, and augmentation, from memory and on demand."""

import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mezzotint import config
from mezzotint.cond import Batch
from mezzotint.data import DataError, held_out, stream
from mezzotint.data.held_out import MAX_HELD_OUT
from mezzotint.data.open import PictureSource, Points, Source, open_source
from mezzotint.data.shards import Block, Shards
from mezzotint.data.stream import StreamSource
from mezzotint.errors import ConfigError

COUNT = 23
CPU = torch.device("cpu")
ON_DEMAND = {"memory_gb": 1e-8}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COUNT grey pictures of 6x4 in two classes; the corner says which it is, the rest is a ramp to the right."""
    folder = tmp_path_factory.mktemp("pictures")
    for k in range(COUNT):
        (folder / "ab"[k % 2]).mkdir(exist_ok=True)
        ramp(k).save(folder / "ab"[k % 2] / f"{k}.png")
    return folder


def ramp(k: int) -> Image.Image:
    return Image.fromarray(np.tile(np.array([k * 10, 10, 20, 30], np.uint8), (6, 1)))


def write_shards(folder: Path, *bad: int) -> None:
    """The same pictures as parquet files of 8 rows in blocks of 3, those of the numbers `bad` damaged."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for part in range(3):
        rows = []
        for k in range(8 * part, min(8 * part + 8, COUNT)):
            file = io.BytesIO()
            ramp(k).save(file, "PNG")
            rows.append({"bytes": b"" if k in bad else file.getvalue()})
        features = {"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}
        table = pa.table({"image": rows, "label": [k % 2 for k in range(len(rows))]})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        parquet.write_table(table, folder / f"{part}.parquet", row_group_size=3)


@pytest.fixture
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder)
    return folder


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamed sets are shuffled within two blocks."""
    monkeypatch.setattr(stream, "WINDOW", 6 * stream.LEAST)


def streamed(shards: Path, **data: object) -> StreamSource:
    tree = {"name": "parquet", "path": str(shards), "size": [6, 4], "holdout": 0.2, "stream": True, **data}
    opened = open_source(config.parse({"data": tree}).data, CPU)
    assert isinstance(opened, StreamSource)
    return opened


def source(pictures: Path, **data: object) -> PictureSource:
    tree = {"name": "folder", "path": str(pictures), "size": [6, 4], "holdout": 0.2, **data}
    opened = open_source(config.parse({"data": tree}).data, CPU)
    assert isinstance(opened, PictureSource)
    return opened


def which(x0: Tensor) -> list[int]:
    """The numbers of pictures that were not augmented, from what the network sees of them."""
    return ((x0[:, 0, 0, 0] + 1) * 127.5 / 10).round().int().tolist()


def first(opened: Source, count: int, *, size: int = 3, seed: int = 0, step: int = 0) -> list[Batch]:
    return list(islice(opened.batches(seed, size, step), count))


def numbers(opened: Source, count: int, **where: int) -> list[int]:
    return [k for x0, _ in first(opened, count, **where) for k in which(x0)]


def same(some: Iterator[Batch] | list[Batch], others: Iterator[Batch] | list[Batch]) -> bool:
    def equal(one: Tensor | None, other: Tensor | None) -> bool:
        return one is other if one is None or other is None else torch.equal(one, other)

    pairs = zip(some, others, strict=True)
    return all(equal(a.x0, b.x0) and equal(a.cond.label, b.cond.label) for a, b in pairs)


class TestHeldOut:
    def test_a_picture_is_held_out_or_trained_on(self, pictures: Path) -> None:
        opened = source(pictures)
        held = [k for x0, _ in opened.held_out(3) for k in which(x0)]
        trained = set(numbers(opened, 4 * COUNT))
        assert len(held) == 5 == round(0.2 * COUNT) and opened.total == COUNT - 5
        assert trained.isdisjoint(held) and trained | set(held) == set(range(COUNT))
        assert opened.count == "18 to train on, 5 held out"

    def test_does_not_depend_on_the_seed_of_the_run(self, pictures: Path) -> None:
        tree = {"data": {"name": "folder", "path": str(pictures), "size": [6, 4], "holdout": 0.3}}
        held = [
            open_source(config.parse({**tree, "train": {"seed": s}}).data, CPU).held_out(9) for s in (0, 7)
        ]
        assert same(*held)

    def test_is_never_augmented(self, pictures: Path) -> None:
        plain, wild = source(pictures), source(pictures, flip=True, crop=2, colour=0.5)
        assert same(plain.held_out(4), wild.held_out(4))

    def test_is_bounded(self, pictures: Path) -> None:
        digits = open_source(config.parse({"data": {"holdout": 0.9}}).data, CPU)
        assert sum(len(x0) for x0, _ in digits.held_out(128)) == MAX_HELD_OUT
        assert source(pictures, holdout=0.0).held_out(4) == []
        one = source(pictures, holdout=0.99)
        assert one.total == 1 and numbers(one, 2, size=4) == numbers(one, 1, size=1) * 8, (
            "one is left, over and over"
        )


class TestOrder:
    def test_an_epoch_has_each_once_whatever_the_batch(self, pictures: Path) -> None:
        opened = source(pictures)
        sequence = numbers(opened, 18, size=5)  # 90 = 5 epochs of 18
        for epoch in range(5):
            part = sequence[18 * epoch : 18 * epoch + 18]
            assert Counter(part) == Counter(range(COUNT)) - Counter(which(opened.held_out(9)[0][0]))
        assert sequence[:18] != sequence[18:36], "every epoch has an order of its own"
        assert numbers(opened, 30, size=3) == sequence

    def test_is_a_function_of_the_seed(self, pictures: Path) -> None:
        opened = source(pictures)
        assert (
            numbers(opened, 9, seed=1) == numbers(source(pictures), 9, seed=1) != numbers(opened, 9, seed=2)
        )


class TestExact:
    """What resumes and several processes rest on, for every kind of source, with all augmentation."""

    @pytest.fixture(params=["points", "memory", "demand", "stream"])
    def opens(self, request: pytest.FixtureRequest, pictures: Path, shards: Path) -> Callable[[], Source]:
        wild = {"flip": True, "crop": 1, "colour": 0.5, "size": [6, 4], "holdout": 0.2}
        data = {
            "points": {"name": "moons"},
            "memory": {"name": "folder", "path": str(pictures), **wild},
            "demand": {"name": "folder", "path": str(pictures), **wild, **ON_DEMAND},
            "stream": {"name": "parquet", "path": str(shards), **wild, "stream": True},
        }[request.param]
        return lambda: open_source(config.parse({"data": data}).data, CPU)

    def test_goes_on_at_any_step(self, opens: Callable[[], Source]) -> None:
        whole = first(opens(), 21, size=4, seed=2)  # more than 4 epochs
        for step in range(20):
            assert same(first(opens(), 1, size=4, seed=2, step=step), whole[step : step + 1])
        assert same(first(opens(), 14, size=4, seed=2, step=7), whole[7:])

    def test_ranks_share_the_batch_of_one_process(self, opens: Callable[[], Source]) -> None:
        opened = opens()
        whole = first(opened, 7, size=12, seed=2, step=3)
        for world in (1, 2, 3, 4, 12):
            ranks = [list(islice(opens().batches(2, 12, 3, rank, world), 7)) for rank in range(world)]
            for step, (x0, cond) in enumerate(whole):
                for rank in range(world):
                    mine, rows = ranks[rank][step], slice(rank, None, world)
                    part = Batch(x0[rows], cond.map(lambda column, rows=rows: column[rows]))
                    assert same([mine], [part]), (world, rank, step)

    def test_a_batch_that_does_not_divide_is_refused_at_once(self, opens: Callable[[], Source]) -> None:
        for size, world, remedy in ((10, 4, "8 or 12"), (3, 4, "4")):
            with pytest.raises(
                ConfigError, match=f"{size} cannot be divided among {world} .*; use {remedy}$"
            ):
                opens().batches(0, size, 0, 0, world)

    def test_neither_reads_nor_changes_global_randomness(self, opens: Callable[[], Source]) -> None:
        torch.manual_seed(1)
        before, some = torch.get_rng_state(), first(opens(), 3)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        np.random.seed(2)
        assert same(some, first(opens(), 3))

    def test_two_iterators_of_one_source_do_not_disturb_each_other(self, opens: Callable[[], Source]) -> None:
        opened = opens()
        want = first(opens(), 12, size=4)
        one, other = opened.batches(0, 4, 0), opened.batches(9, 5, 30)
        got = []
        for _ in range(12):
            got.append(next(one))
            next(other)
            opened.held_out(2)
        assert same(got, want)

    def test_seeds_and_steps_differ(self, opens: Callable[[], Source]) -> None:
        seen = [first(opens(), 1, seed=seed, step=step)[0][0] for seed in (0, 1, 2**40) for step in (0, 1)]
        assert len({x0.numpy().tobytes() for x0 in seen}) == 6


class TestPictures:
    def test_on_demand_equals_in_memory(self, pictures: Path) -> None:
        from mezzotint.data import OnDemand

        wild = {"flip": True, "crop": 2, "colour": 0.5}
        memory, demand = source(pictures, **wild), source(pictures, **wild, **ON_DEMAND)
        assert isinstance(demand.pictures.images, OnDemand) and torch.is_tensor(memory.pictures.images)
        assert memory.facts == demand.facts
        assert same(first(memory, 10, seed=3), first(demand, 10, seed=3))
        assert same(memory.held_out(2), demand.held_out(2))

    def test_range_shape_and_classes(self, pictures: Path) -> None:
        opened = source(pictures)
        assert (opened.facts.shape, opened.facts.classes) == ((1, 6, 4), ("a", "b"))
        for x0, cond in first(opened, 8):
            label = cond.label
            assert x0.dtype == torch.float32 and x0.shape == (3, 1, 6, 4) and x0.abs().max() <= 1
            assert label.dtype == torch.int64 and label.tolist() == [k % 2 for k in which(x0)]
            assert torch.allclose(x0[0, 0, 0, 1:], torch.tensor([10.0, 20.0, 30.0]) / 127.5 - 1)

    def test_without_labels(self, pictures: Path) -> None:
        for data in ({"labels": False}, {"only": "a"}):
            opened = source(pictures, **data)
            assert opened.facts.classes == () and first(opened, 1)[0].cond.label is None
        assert {k % 2 for k in numbers(source(pictures, only="a"), 9)} == {0}

    def test_flips_only_where_asked(self, pictures: Path) -> None:
        def mirrored(opened: Source) -> float:
            x0 = torch.cat([x0 for x0, _ in first(opened, 60)])
            return float((x0[:, 0, 0, 1] == 20 / 127.5 - 1).double().mean())

        assert mirrored(source(pictures)) == 0, "nobody knows whether a folder's pictures may be mirrored"
        assert 0.3 < mirrored(source(pictures, flip=True)) < 0.7

    def test_preview_is_augmented_and_no_longer_than_the_set(self, pictures: Path) -> None:
        opened = source(pictures, flip=True)
        batch = opened.preview(1000)
        assert len(batch.x0) == len(batch.cond.label) == opened.total == 18
        assert same([batch], first(opened, 1, size=18))

    def test_what_is_skipped_is_told(self, pictures: Path, tmp_path: Path) -> None:
        for k, name in enumerate(("a.png", "b.png")):
            Image.new("L", (4, 6), k).save(tmp_path / name)
        (tmp_path / "c.png").write_text("not a picture")
        opened = source(tmp_path)
        assert len(opened.skipped) == 1 and "c.png" in opened.skipped[0]
        assert opened.total == 2 and opened.facts == source(tmp_path, limit=1).facts


class TestUnreadable:
    """One that cannot be read is replaced by another of its part: the two parts never mix."""

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.filterwarnings("ignore:skipped")
    def test_stand_ins_come_from_the_same_part(
        self, pictures: Path, shards: Path, tmp_path: Path, stream: bool
    ) -> None:
        def opened() -> Source:
            return streamed(tmp_path) if stream else source(tmp_path, **ON_DEMAND)

        good = streamed(shards) if stream else source(pictures, **ON_DEMAND)
        held = {k for x0, _ in good.held_out(9) for k in which(x0)}
        kept = sorted(set(range(COUNT)) - held)
        for bad in (min(held), kept[0], kept[-1], (max(held) - 1), (min(held) + 1)):
            if stream:
                write_shards(tmp_path, bad)
            else:
                shutil.copytree(pictures, tmp_path, dirs_exist_ok=True)
                (tmp_path / "ab"[bad % 2] / f"{bad}.png").write_bytes(b"")
            damaged = opened()
            train, validation = numbers(damaged, 30), [k for x, _ in damaged.held_out(9) for k in which(x)]
            assert held.issuperset(validation) and held.isdisjoint(train) and bad not in train + validation
            assert len(validation) == len(held) - (stream and bad in held)
            assert len(damaged.skipped) == 1
            want = numbers(good, 30)
            assert [a for a, b in zip(train, want) if b != bad] == [b for b in want if b != bad]
            assert same(first(opened(), 9, step=8), first(damaged, 9, step=8)), "always by the same one"
            for path in tmp_path.rglob("*.p*"):
                path.unlink()

    def test_none_that_can_be_read(self, tmp_path: Path) -> None:
        write_shards(tmp_path, *range(COUNT))
        with pytest.raises(DataError, match=r"none of 20 pictures of the set can be read, the first is row"):
            streamed(tmp_path)
        with (
            pytest.warns(UserWarning, match="skipped row"),
            pytest.raises(DataError, match=r"none of .* can be read"),
        ):
            first(streamed(tmp_path, channels=1, holdout=0.0), 1)


class TestStream:
    def test_facts_and_parts(self, shards: Path) -> None:
        opened = streamed(shards)
        assert (opened.facts.shape, opened.facts.classes) == ((1, 6, 4), ("a", "b"))
        assert opened.count == "18 to train on, 5 held out, streamed from 3 files"
        held = [k for x0, _ in opened.held_out(3) for k in which(x0)]
        assert len(set(held)) == 5
        for x0, cond in [*first(opened, 8), *opened.held_out(2)]:
            assert x0.dtype == torch.float32 and cond.label.tolist() == [k % 2 for k in which(x0)]
        sequence = numbers(opened, 18, size=5)  # 5 epochs
        for epoch in range(5):
            assert sorted(sequence[18 * epoch : 18 * epoch + 18]) == sorted(set(range(COUNT)) - set(held))
        assert sequence[:18] != sequence[18:36] and numbers(opened, 30, size=3) == sequence

    def test_held_out_part_is_a_function_of_the_shards(self, shards: Path) -> None:
        tree = {"name": "parquet", "path": str(shards), "size": [6, 4], "stream": True, "holdout": 0.3}
        parts = []
        for seed, flip in ((0, False), (7, True)):
            content = {"data": {**tree, "flip": flip, "crop": 1}, "train": {"seed": seed}}
            parts.append(open_source(config.parse(content).data, CPU).held_out(4))
        assert same(*parts) and sum(len(x0) for x0, _ in parts[0]) == 7

    def test_held_out_ends(self, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert (
            streamed(shards, holdout=0.0).held_out(4) == [] and streamed(shards, holdout=0.0).total == COUNT
        )
        one = streamed(shards, holdout=0.99)
        held = {k for x0, _ in one.held_out(50) for k in which(x0)}
        assert one.total == 3 and len(held) == 20, "8 of 9 blocks are looked at"
        assert held | set(numbers(one, 1)) == set(range(COUNT))
        data = config.parse(
            {"data": {"name": "parquet", "path": str(shards), "holdout": 0.9, "stream": True}}
        ).data
        monkeypatch.setattr(held_out, "MAX_HELD_OUT", 4)
        assert len(stream.open_stream(data, CPU).held.images) == 4, "no more than the most"

    def test_preview_is_augmented_and_no_longer_than_the_set(self, shards: Path) -> None:
        opened = streamed(shards, flip=True, colour=0.5)
        assert same([opened.preview(1000)], first(opened, 1, size=18))
        assert same([opened.preview(5)], first(opened, 1, size=5))

    def test_a_resume_reads_its_window_and_the_next(
        self, shards: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = streamed(shards)
        read: list[Block] = []
        whole = Shards.read
        monkeypatch.setattr(
            Shards,
            "read",
            lambda self, block: (read.append(block), whole(self, block))[1],
        )
        opened.preview(1)
        assert len(read) == 1, "only the block that is needed"
        read.clear()
        order = stream._Reader(opened, seed=0).order
        window = order.window(18 * 1000 + 9)
        batches = opened.batches(0, 1, window.start)
        next(batches)
        batches.close()
        wanted = [set(window.block), set(order.window(window.stop).block)]
        assert len(read) <= sum(map(len, wanted)) <= 6, "two windows of 2 or 3 blocks, of 9"
        assert {opened.shards.blocks.index(block) for block in read} <= wanted[0] | wanted[1]

    def test_the_next_window_is_read_while_this_one_is_used(
        self, shards: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = streamed(shards)
        read: list[int] = []
        whole = Shards.read
        monkeypatch.setattr(
            Shards, "read", lambda self, block: (whole(self, block), read.append(self.blocks.index(block)))[0]
        )
        order = stream._Reader(opened, seed=0).order
        wanted = {*order.window(0).block, *order.window(order.window(0).stop).block}
        batches = opened.batches(0, 1, 0)
        next(batches)
        until = time.monotonic() + 20
        while set(read) != wanted and time.monotonic() < until:
            time.sleep(0.001)
        assert sorted(read) == sorted(wanted), "all of it, once, without being asked for another batch"

    def test_few_blocks_are_in_memory(self, shards: Path) -> None:
        opened = streamed(shards)
        reader = stream._Reader(opened, seed=0)
        for position in range(60):
            reader(torch.tensor([position]))
            reader.go_ahead()
            assert len(reader.found) <= 5 and {start for start, _ in reader.found} == {
                reader.window.start,
                reader.next.start,
            }

    def test_grey_or_colour(self, shards: Path) -> None:
        assert streamed(shards, channels=3).facts.shape == (3, 6, 4)
        assert first(streamed(shards, channels=3), 1)[0][0].shape == (3, 3, 6, 4)

    def test_what_cannot_be_streamed_is_refused(self, shards: Path) -> None:
        for wrong in ({"limit": 5}, {"only": "a"}, {"name": "airplanes"}):
            with pytest.raises(ConfigError, match="a streamed set is always used whole"):
                streamed(shards, **wrong)
        with pytest.raises(DataError, match=r"GB of memory to stream, its largest.*raise data\.memory_gb"):
            streamed(shards, **ON_DEMAND)
        with pytest.raises(ConfigError, match=r"data\.stream is for pictures"):
            open_source(config.parse({"data": {"name": "rings", "stream": True}}).data, CPU)


class TestPoints:
    @pytest.fixture
    def moons(self) -> Points:
        opened = open_source(config.parse({"data": {"name": "moons"}}).data, CPU)
        assert isinstance(opened, Points)
        return opened

    def test_batches_are_fresh_functions_of_seed_and_step(self, moons: Points) -> None:
        batches = first(moons, 5, size=8, seed=4)
        assert same(batches[2:], first(moons, 3, size=8, seed=4, step=2))
        assert len(torch.cat([x0 for x0, _ in batches]).unique(dim=0)) == 40
        assert not same(batches, first(moons, 5, size=8, seed=5))
        assert batches[0][0].dtype == torch.float32 and set(batches[0].cond.label.tolist()) <= {0, 1}

    @pytest.mark.parametrize("seed", [0, 1, 2**32])
    def test_held_out_points_are_others(self, moons: Points, seed: int) -> None:
        held = torch.cat([x0 for x0, _ in moons.held_out(100)])
        seen = torch.cat([x0 for x0, _ in first(moons, 10, size=100, seed=seed)])
        assert len(held) == 1000 and len(torch.cat([held, seen]).unique(dim=0)) == 2000
        assert len(moons.held_out(5000)) == 1

    def test_classes(self, moons: Points) -> None:
        assert moons.facts.shape == (2,) and moons.facts.classes == ("upper", "lower")
        bare = open_source(config.parse({"data": {"name": "moons", "labels": False}}).data, CPU)
        assert bare.facts.classes == () and bare.preview(3).cond.label is None
        with pytest.raises(ConfigError, match=r"has no classes; leave data\.labels out"):
            open_source(config.parse({"data": {"name": "swiss_roll", "labels": True}}).data, CPU)

    @pytest.mark.parametrize(
        "wrong", [{"size": 8}, {"flip": True}, {"limit": 5}, {"crop": 1}, {"path": "x"}, {"only": "upper"}]
    )
    def test_what_is_for_pictures_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(
            ConfigError, match=f"data.{next(iter(wrong))} is for pictures, and rings is a 2-D set"
        ):
            open_source(config.parse({"data": {"name": "rings", **wrong}}).data, CPU)
