"""Batches for training: their order, the part held out, and augmentation, from memory and on demand."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mezzotint import config
from mezzotint.errors import ConfigError
from mezzotint.source import MOST_HELD_OUT, PictureSource, Points, Source, open_source
from mezzotint.train.loop import Batch

COUNT = 23
CPU = torch.device("cpu")
ON_DEMAND = {"memory_gb": 1e-8}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COUNT grey pictures of 6x4 in two classes; the corner says which it is, the rest is a ramp to the right."""
    folder = tmp_path_factory.mktemp("pictures")
    for k in range(COUNT):
        pixels = np.tile(np.array([k * 10, 10, 20, 30], np.uint8), (6, 1))
        (folder / "ab"[k % 2]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / "ab"[k % 2] / f"{k}.png")
    return folder


def source(pictures: Path, **data: object) -> PictureSource:
    tree = {"name": "folder", "path": str(pictures), "size": [6, 4], "holdout": 0.2, **data}
    opened = open_source(config.parse({"data": tree}), CPU)
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

    return all(equal(a[0], b[0]) and equal(a[1], b[1]) for a, b in zip(some, others, strict=True))


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
        held = [open_source(config.parse({**tree, "train": {"seed": s}}), CPU).held_out(9) for s in (0, 7)]
        assert same(*held)

    def test_is_never_augmented(self, pictures: Path) -> None:
        plain, wild = source(pictures), source(pictures, flip=True, crop=2, colour=0.5)
        assert same(plain.held_out(4), wild.held_out(4))

    def test_is_bounded(self, pictures: Path) -> None:
        digits = open_source(config.parse({"data": {"holdout": 0.9}}), CPU)
        assert sum(len(x0) for x0, _ in digits.held_out(128)) == MOST_HELD_OUT
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

    @pytest.mark.parametrize("where", [{}, ON_DEMAND], ids=["memory", "demand"])
    def test_goes_on_at_any_step(self, pictures: Path, where: dict[str, float]) -> None:
        opened = source(pictures, flip=True, crop=1, colour=0.3, **where)
        assert same(first(opened, 12)[5:], first(opened, 7, step=5))


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
        for x0, label in first(opened, 8):
            assert x0.dtype == torch.float32 and x0.shape == (3, 1, 6, 4) and x0.abs().max() <= 1
            assert label.dtype == torch.int64 and label.tolist() == [k % 2 for k in which(x0)]
            assert torch.allclose(x0[0, 0, 0, 1:], torch.tensor([10.0, 20.0, 30.0]) / 127.5 - 1)

    def test_without_labels(self, pictures: Path) -> None:
        for data in ({"labels": False}, {"only": "a"}):
            opened = source(pictures, **data)
            assert opened.facts.classes == () and first(opened, 1)[0][1] is None
        assert {k % 2 for k in numbers(source(pictures, only="a"), 9)} == {0}

    def test_flips_only_where_asked(self, pictures: Path) -> None:
        def mirrored(opened: Source) -> float:
            x0 = torch.cat([x0 for x0, _ in first(opened, 60)])
            return float((x0[:, 0, 0, 1] == 20 / 127.5 - 1).double().mean())

        assert mirrored(source(pictures)) == 0, "nobody knows whether a folder's pictures may be mirrored"
        assert 0.3 < mirrored(source(pictures, flip=True)) < 0.7

    def test_preview_is_augmented_and_no_longer_than_the_set(self, pictures: Path) -> None:
        opened = source(pictures, flip=True)
        x0, label = opened.preview(1000)
        assert len(x0) == len(label) == opened.total == 18
        assert same([(x0, label)], first(opened, 1, size=18))

    def test_what_is_skipped_is_told(self, pictures: Path, tmp_path: Path) -> None:
        for k, name in enumerate(("a.png", "b.png")):
            Image.new("L", (4, 6), k).save(tmp_path / name)
        (tmp_path / "c.png").write_text("not a picture")
        opened = source(tmp_path)
        assert len(opened.skipped) == 1 and "c.png" in opened.skipped[0]
        assert opened.total == 2 and opened.facts == source(tmp_path, limit=1).facts


class TestPoints:
    @pytest.fixture
    def moons(self) -> Points:
        opened = open_source(config.parse({"data": {"name": "moons"}}), CPU)
        assert isinstance(opened, Points)
        return opened

    def test_batches_are_fresh_functions_of_seed_and_step(self, moons: Points) -> None:
        batches = first(moons, 5, size=8, seed=4)
        assert same(batches[2:], first(moons, 3, size=8, seed=4, step=2))
        assert len(torch.cat([x0 for x0, _ in batches]).unique(dim=0)) == 40
        assert not same(batches, first(moons, 5, size=8, seed=5))
        assert batches[0][0].dtype == torch.float32 and set(batches[0][1].tolist()) <= {0, 1}

    @pytest.mark.parametrize("seed", [0, 1, 2**32])
    def test_held_out_points_are_others(self, moons: Points, seed: int) -> None:
        held = torch.cat([x0 for x0, _ in moons.held_out(100)])
        seen = torch.cat([x0 for x0, _ in first(moons, 10, size=100, seed=seed)])
        assert len(held) == 1000 and len(torch.cat([held, seen]).unique(dim=0)) == 2000
        assert len(moons.held_out(5000)) == 1

    def test_classes(self, moons: Points) -> None:
        assert moons.facts.shape == (2,) and moons.facts.classes == ("upper", "lower")
        bare = open_source(config.parse({"data": {"name": "moons", "labels": False}}), CPU)
        assert bare.facts.classes == () and bare.preview(3)[1] is None
        with pytest.raises(ConfigError, match=r"has no classes; leave data\.labels out"):
            open_source(config.parse({"data": {"name": "swiss_roll", "labels": True}}), CPU)

    @pytest.mark.parametrize(
        "wrong", [{"size": 8}, {"flip": True}, {"limit": 5}, {"crop": 1}, {"path": "x"}, {"only": "upper"}]
    )
    def test_what_is_for_pictures_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(
            ConfigError, match=f"data.{next(iter(wrong))} is for pictures, and rings is a 2-D set"
        ):
            open_source(config.parse({"data": {"name": "rings", **wrong}}), CPU)
