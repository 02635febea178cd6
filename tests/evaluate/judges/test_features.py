"""Extractors' common ground: batches make no difference, what is kept is what was computed, hashes see everything."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mezzotint import cache
from mezzotint.evaluate.judges.features import Extractor, Features, cached_features, extract, in_colour


def means(version: str = "1", calls: list[int] | None = None) -> Extractor:
    def compute(images: Tensor) -> Features:
        if calls is not None:
            calls.append(len(images))
        return Features(images.float().mean((2, 3)), images.float().amax((2, 3)))

    return Extractor("means", version, "none", 3, False, compute)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def pictures(n: int = 7) -> Tensor:
    return torch.randint(256, (n, 3, 4, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_batches_and_progress() -> None:
    seen: list[tuple[int, int]] = []
    found = extract(means(), pictures(), batch=3, progress=lambda *step: seen.append(step))
    whole = means()(pictures())
    assert torch.equal(found.pool, whole.pool) and torch.equal(found.logits, whole.logits)
    assert seen == [(0, 7), (3, 7), (6, 7), (7, 7)]


def test_only_bytes_are_taken() -> None:
    with pytest.raises(ValueError, match="take bytes"):
        extract(means(), pictures().float())


def test_features_are_computed_once_for_data_and_weights(folder: Path) -> None:
    calls: list[int] = []
    first = cached_features(means("1", calls), pictures(), "data")
    again = cached_features(means("1", calls), pictures(), "data")
    assert calls == [7]
    assert torch.equal(first.pool, again.pool) and torch.equal(first.logits, again.logits)
    cached_features(means("2", calls), pictures(), "data")  # other weights
    cached_features(means("1", calls), pictures(), "other")  # other pictures
    assert calls == [7, 7, 7]


def test_a_damaged_file_is_made_anew(folder: Path) -> None:
    calls: list[int] = []
    first = cached_features(means("1", calls), pictures(), "data")
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    assert torch.equal(cached_features(means("1", calls), pictures(), "data").pool, first.pool)
    assert calls == [7, 7]


def test_without_a_place_to_keep_it_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "file"))
    assert len(cached_features(means(), pictures(), "data").pool) == 7


def test_digest_sees_values_shapes_types_and_order() -> None:
    x = torch.arange(6)
    same = cache.digest(x, "a")
    assert same == cache.digest(x.clone(), "a") and len(same) == 16
    others = [(x + 1, "a"), (x.view(2, 3), "a"), (x.int(), "a"), (x, "b"), ("a", x), (x, "a", None)]
    assert same not in {cache.digest(*parts) for parts in others}
    assert cache.digest(x.view(2, 3).T, "a") == cache.digest(x.view(2, 3).T.contiguous(), "a")


def test_grey_becomes_colour() -> None:
    grey = pictures()[:, :1]
    assert torch.equal(in_colour(grey), grey.repeat(1, 3, 1, 1))
    assert in_colour(pictures()) is not None and torch.equal(in_colour(pictures()), pictures())
