"""Sets of pictures: bundled digits, folders of every layout, decoding on demand, and what goes wrong."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data import DataError, MissingExtra, OnDemand, Pictures, flips_by_default, load_pictures


def picture(seed: int, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> Image.Image:
    """A picture of noise; no two seeds give the same."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def fill(folder: Path, names: list[str], mode: str = "RGB") -> list[Path]:
    """Lossless pictures, each of another content, under the given names."""
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(k, mode=mode).save(folder / name)
    return [folder / name for name in names]


def where(pictures: Pictures, names: int) -> list[int]:
    """For each picture of a set, the seed that `picture` made it from."""
    originals = [torch.tensor(np.asarray(picture(k))).permute(2, 0, 1) for k in range(names)]
    images, _ = pictures.batch(torch.arange(len(pictures)))
    return [
        next(k for k, original in enumerate(originals) if torch.equal(image, original)) for image in images
    ]


class TestDigits:
    def test_equal_scikit_learn(self) -> None:
        theirs = pytest.importorskip("sklearn.datasets").load_digits()
        digits = load_pictures("digits")
        assert torch.equal(
            digits.images[:, 0], torch.tensor(np.round(theirs.images * 255 / 16)).to(torch.uint8)
        )
        assert digits.labels.tolist() == theirs.target.tolist()

    def test_shape_and_classes(self) -> None:
        digits = load_pictures("digits")
        assert digits.images.shape == (1797, 1, 8, 8) and digits.images.dtype == torch.uint8
        assert digits.images.max() == 255 and digits.images.min() == 0
        assert digits.classes == list("0123456789") and digits.labels.dtype == torch.int64
        assert (digits.channels, digits.size, digits.skipped, len(digits)) == (1, (8, 8), [], 1797)

    def test_other_sizes_channels_and_shares(self) -> None:
        assert load_pictures("digits", size=16, channels=3).images.shape == (1797, 3, 16, 16)
        assert load_pictures("digits", size=(9, 12), limit=5).images.shape == (5, 1, 9, 12)
        sevens = load_pictures("digits", only="7")
        assert len(sevens) == 179 and sevens.labels is None and sevens.classes == []
        assert load_pictures("digits", labels=False).labels is None
        assert load_pictures("digits", labels=True).labels is not None

    def test_have_one_split_and_no_path(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no split 'test'"):
            load_pictures("digits", split="test")
        with pytest.raises(DataError, match="leave out --data"):
            load_pictures("digits", tmp_path)


class TestFolder:
    def test_flat_is_unlabelled_and_in_natural_order(self, tmp_path: Path) -> None:
        names = ["1.png", "2.png", "10.png", "a1.png", "a2.png", "a10.png", "B 2.PNG", "é ü.png", "日本.png"]
        fill(tmp_path, names)
        pictures = load_pictures("folder", tmp_path, size=(20, 16))
        assert where(pictures, len(names)) == list(range(len(names)))
        assert pictures.labels is None and pictures.classes == []

    def test_every_suffix_in_any_case(self, tmp_path: Path) -> None:
        suffixes = [".png", ".PNG", ".jpg", ".JPEG", ".webp", ".bmp", ".gif", ".tif", ".TIFF"]
        fill(tmp_path, [f"{k}{suffix}" for k, suffix in enumerate(suffixes)])
        (tmp_path / "notes.txt").write_text("no picture")
        pictures = load_pictures("folder", tmp_path)
        assert len(pictures) == len(suffixes) and pictures.skipped == [] and pictures.size == (64, 64)

    def test_sub_folders_are_classes(self, tmp_path: Path) -> None:
        fill(tmp_path, ["class 2/x.png", "class 10/deep/er/x.png", "class 10/y.png", "empty/.hidden.png"])
        pictures = load_pictures("folder", tmp_path, size=(20, 16))
        assert pictures.classes == ["class 2", "class 10"]
        assert pictures.labels.tolist() == [0, 1, 1]
        assert where(pictures, 4) == [0, 1, 2]

    def test_a_picture_beside_the_sub_folders_makes_it_unlabelled(self, tmp_path: Path) -> None:
        fill(tmp_path, ["cat/x.png", "dog/x.png", "x.png"])
        pictures = load_pictures("folder", tmp_path)
        assert len(pictures) == 3 and pictures.labels is None
        with pytest.raises(DataError, match="has no classes; 1 picture lies in no folder of a class"):
            load_pictures("folder", tmp_path, labels=True)

    def test_one_sub_folder_is_no_class(self, tmp_path: Path) -> None:
        fill(tmp_path, ["pictures/x.png", "pictures/y.png"])
        assert load_pictures("folder", tmp_path).labels is None

    def test_one_sub_folder_may_hold_the_classes(self, tmp_path: Path) -> None:
        fill(tmp_path, ["101_ObjectCategories/airplanes/1.png", "101_ObjectCategories/ant/1.png"])
        assert load_pictures("caltech101", tmp_path).classes == ["airplanes", "ant"]
        airplanes = load_pictures("airplanes", tmp_path, size=(20, 16))
        assert where(airplanes, 2) == [0] and airplanes.labels is None
        alone = load_pictures("airplanes", tmp_path / "101_ObjectCategories" / "airplanes")
        assert len(alone) == 1

    def test_splits_are_folders(self, tmp_path: Path) -> None:
        fill(tmp_path, ["train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "val/dog/1.png"])
        train = load_pictures("folder", tmp_path, size=(20, 16))
        held_out = load_pictures("folder", tmp_path, size=(20, 16), split="validation")
        assert train.classes == held_out.classes == ["cat", "dog"]
        assert where(train, 4) == [0, 1] and where(held_out, 4) == [2, 3]
        with pytest.raises(DataError, match="has no split 'test'"):
            load_pictures("folder", tmp_path, split="test")

    def test_a_class_may_be_called_train(self, tmp_path: Path) -> None:
        fill(tmp_path, ["train/1.png", "plane/1.png"])
        assert load_pictures("folder", tmp_path).classes == ["plane", "train"]
        with pytest.raises(DataError, match="has no split 'test'"):
            load_pictures("folder", tmp_path, split="test")

    def test_hidden_files_are_ignored_and_links_do_not_hang(self, tmp_path: Path) -> None:
        fill(tmp_path, ["a/1.png", "b/1.png", ".git/1.png", "a/.2.png"])
        elsewhere = fill(tmp_path.parent / f"{tmp_path.name} elsewhere", ["3.png"])
        (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "self").symlink_to(tmp_path / "self")
        (tmp_path / "c").symlink_to(elsewhere[0].parent, target_is_directory=True)
        pictures = load_pictures("folder", tmp_path)
        assert pictures.classes == ["a", "b", "c"] and len(pictures) == 3

    def test_a_folder_that_is_linked_to_again_is_read_once_and_the_link_told(self, tmp_path: Path) -> None:
        fill(tmp_path, ["a/1.png", "b/1.png"])
        (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
        (tmp_path / "b" / "up").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "b" / "same.png").symlink_to(tmp_path / "b" / "1.png")
        pictures = load_pictures("folder", tmp_path)
        assert pictures.classes == ["a", "b"] and len(pictures) == 3, "a link to a file is a file"
        (note,) = pictures.notes
        assert "2 links left out, to folders that are read already" in note
        assert str(tmp_path / "again") in note and str(tmp_path / "b" / "up") in note

    def test_grey_sets_have_one_channel(self, tmp_path: Path) -> None:
        fill(tmp_path, [f"{k}.png" for k in range(5)], mode="L")
        picture(9, mode="L").convert("RGBA").save(tmp_path / "5.png")
        grey = load_pictures("folder", tmp_path, size=(20, 16))
        assert grey.channels == 1 and grey.images.shape == (6, 1, 20, 16)
        picture(7).save(tmp_path / "99.png")  # the last one is in colour
        mixed = load_pictures("folder", tmp_path, size=(20, 16))
        assert mixed.channels == 3 and mixed.images.shape == (7, 3, 20, 16)
        assert torch.equal(mixed.images[:6], grey.images.expand(-1, 3, -1, -1))
        assert load_pictures("folder", tmp_path, channels=1).images.shape == (7, 1, 64, 64)

    def test_one_picture_in_colour_among_many_is_not_overlooked(self, tmp_path: Path) -> None:
        files = fill(tmp_path, [f"{k}.png" for k in range(130)], mode="L")
        picture(1).save(files[1])  # not among the 64, evenly spread, that are looked at first
        pictures = load_pictures("folder", tmp_path, size=(20, 16))
        assert pictures.channels == 3
        for k in (0, 1, 129):
            want = np.asarray(picture(k) if k == 1 else picture(k, mode="L").convert("RGB"))
            assert torch.equal(pictures.images[k], torch.tensor(want).permute(2, 0, 1))

    def test_limit_is_spread_over_the_classes(self, tmp_path: Path) -> None:
        fill(tmp_path, [f"{name}/{k}.png" for name in "abcd" for k in range(10)])
        pictures = load_pictures("folder", tmp_path, limit=8)
        assert pictures.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert len(load_pictures("folder", tmp_path, limit=1000)) == 40


def damage(folder: Path) -> None:
    """Four files that are no pictures, among good ones."""
    (folder / "2 text.png").write_text("I am not a picture.\n")
    (folder / "4 empty.png").write_bytes(b"")
    good = (folder / "1.png").read_bytes()
    (folder / "6 cut.png").write_bytes(good[: len(good) // 2])
    (folder / "8 gone.png").symlink_to(folder / "nowhere")


class TestDamaged:
    def test_files_are_named_and_skipped(self, tmp_path: Path) -> None:
        fill(tmp_path, ["1.png", "3.png", "5.png", "7.png", "9.png"])
        damage(tmp_path)
        pictures = load_pictures("folder", tmp_path, size=(20, 16))
        assert where(pictures, 5) == [0, 1, 2, 3, 4]
        assert [Path(line.partition(": ")[0]).name for line in pictures.skipped] == [
            "2 text.png",
            "4 empty.png",
            "6 cut.png",
            "8 gone.png",
        ]
        assert "not a PNG" in pictures.skipped[0] and "\n" not in "".join(pictures.skipped)
        assert not any("0x" in line for line in pictures.skipped)

    def test_labels_stay_with_their_pictures(self, tmp_path: Path) -> None:
        fill(tmp_path, ["a/1.png", "a/2.png", "b/3.png", "b/4.png"])
        (tmp_path / "a/1.png").write_bytes(b"")
        (tmp_path / "b/3.png").write_bytes(b"")
        pictures = load_pictures("folder", tmp_path, size=(20, 16))
        assert where(pictures, 4) == [1, 3] and pictures.labels.tolist() == [0, 1]

    def test_decompression_bombs_are_skipped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(tmp_path, ["1.png", "2.png"])
        Image.new("L", (300, 300)).save(tmp_path / "bomb.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 320)
        pictures = load_pictures("folder", tmp_path)
        assert len(pictures) == 2 and "bomb.png" in pictures.skipped[0] and "640" in pictures.skipped[0]

    @pytest.mark.filterwarnings("ignore:Image size")
    def test_large_pictures_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(tmp_path, ["1.png", "2.png"])
        Image.new("L", (30, 30)).save(tmp_path / "poster.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
        with pytest.warns(UserWarning, match="million pixels") as caught:
            assert len(load_pictures("folder", tmp_path)) == 3
        (text,) = {str(one.message) for one in caught if one.category is UserWarning}
        assert str(tmp_path / "poster.png") in text

    def test_none_left_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_text("text")
        for limit in (2**31, 1):
            with pytest.raises(DataError, match=r"none of .* can be read, the first is .*a\.png"):
                load_pictures("folder", tmp_path, memory_limit=limit)


class TestOnDemand:
    def test_equals_in_memory_bitwise(self, tmp_path: Path) -> None:
        fill(tmp_path, [f"{name}/{k}.png" for name in "ab" for k in range(20)])
        picture(50, size=(33, 70), mode="RGBA").save(tmp_path / "a" / "wide.png")
        memory = load_pictures("folder", tmp_path, size=17)
        lazy = load_pictures("folder", tmp_path, size=17, memory_limit=41 * 3 * 17 * 17 - 1)
        assert isinstance(memory.images, torch.Tensor) and isinstance(lazy.images, OnDemand)
        assert len(lazy) == len(memory) == 41
        assert (lazy.classes, lazy.channels, lazy.size) == (memory.classes, memory.channels, memory.size)
        index = torch.randint(41, (100,), generator=torch.Generator().manual_seed(0))
        for got, want in zip(lazy.batch(index), memory.batch(index)):
            assert torch.equal(got, want) and got.dtype == want.dtype

    def test_options_hold_for_it_too(self, tmp_path: Path) -> None:
        fill(tmp_path, [f"{name}/{k}.png" for name in "ab" for k in range(20)])
        options = {"size": 9, "only": "B", "limit": 7, "channels": 1}
        memory = load_pictures("folder", tmp_path, **options)
        lazy = load_pictures("folder", tmp_path, **options, memory_limit=0)
        assert torch.equal(lazy.batch(torch.arange(7))[0], memory.images) and lazy.labels is None

    def test_a_damaged_picture_is_replaced_by_the_next_readable_one(self, tmp_path: Path) -> None:
        fill(tmp_path, ["a/1.png", "a/3.png", "b/5.png", "b/7.png"])
        (tmp_path / "a/3.png").write_bytes(b"")
        (tmp_path / "b/9.png").write_bytes(b"")
        (tmp_path / "b/5.png").write_text("text")
        for order in ([0, 1, 2, 3, 4], [4, 2, 1, 0, 3]):
            lazy = load_pictures("folder", tmp_path, size=(20, 16), memory_limit=0)
            with pytest.warns(UserWarning, match="skipped") as caught:
                images, labels = lazy.batch(torch.tensor(order))
            again, _ = lazy.batch(torch.tensor(order))  # silent now
            assert len(caught) == 3 and len(lazy.skipped) == 3 and torch.equal(images, again)
            want = [[0, 3, 3, 3, 0][i] for i in order]
            originals = [torch.tensor(np.asarray(picture(k))).permute(2, 0, 1) for k in want]
            assert torch.equal(images, torch.stack(originals))
            assert labels.tolist() == [{0: 0, 3: 1}[k] for k in want]

    def test_finds_out_whether_the_set_is_grey(self, tmp_path: Path) -> None:
        fill(tmp_path, [f"{k}.png" for k in range(100)], mode="L")
        assert load_pictures("folder", tmp_path, memory_limit=0).channels == 1
        picture(0).save(tmp_path / "100.png")
        lazy = load_pictures("folder", tmp_path, memory_limit=0)
        assert lazy.channels == 3 and lazy.batch(torch.tensor([5]))[0].shape == (1, 3, 64, 64)


class TestErrors:
    def test_unknown_names_have_a_suggestion(self) -> None:
        with pytest.raises(DataError, match=r"there is no data set 'minst'.*did you mean 'mnist'"):
            load_pictures("minst")
        with pytest.raises(DataError, match="'owner/set'"):
            load_pictures("zzzzzz")

    def test_missing_and_empty_places(self, tmp_path: Path) -> None:
        for name in ("folder", "mnist", "someone/something"):
            with pytest.raises(DataError, match="there is no folder or file"):
                load_pictures(name, tmp_path / "nowhere")
            with pytest.raises(DataError, match="holds no pictures"):
                load_pictures(name, tmp_path)
        (tmp_path / "a.png").write_text("x")
        with pytest.raises(DataError, match="neither a folder nor a parquet file"):
            load_pictures("folder", tmp_path / "a.png")
        with pytest.raises(DataError, match="add --data PATH"):
            load_pictures("folder")

    def test_a_folder_that_looks_like_an_id(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(tmp_path / "photos", ["cats/1.png"])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(
            DataError, match="is a folder on this disk; use the name 'folder' and --data photos/cats"
        ):
            load_pictures("photos/cats")

    def test_wrong_class(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="digits has no class 'seven'; its classes are: 0, 1"):
            load_pictures("digits", only="seven")
        fill(tmp_path, ["tulip/1.png", "rose/1.png"])
        with pytest.raises(DataError, match="did you mean 'tulip'"):
            load_pictures("folder", tmp_path, only="tulips")

    def test_wrong_numbers(self) -> None:
        for options in ({"size": 0}, {"size": (8, 0)}, {"channels": 2}, {"limit": 0}):
            with pytest.raises(ValueError, match=f"{next(iter(options))}="):
                load_pictures("digits", **options)

    def test_parquet_without_the_extra(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "train.parquet").write_bytes(b"PAR1")
        for module in ("pyarrow", "pyarrow.parquet", "datasets"):
            monkeypatch.setitem(sys.modules, module, None)
        for call in (lambda: load_pictures("mnist", tmp_path), lambda: load_pictures("mnist")):
            with pytest.raises(MissingExtra, match=r'pip install "mezzotint\[hub\]"'):
                call()


def test_flips_are_on_only_where_mirrored_pictures_belong_to_the_set() -> None:
    names = [
        "digits",
        "mnist",
        "fashion_mnist",
        "cifar10",
        "flowers",
        "caltech101",
        "airplanes",
        "folder",
        "a/b",
    ]
    assert [name for name in names if flips_by_default(name)] == ["cifar10", "flowers"]


def test_the_hub_libraries_are_not_imported_for_nothing() -> None:
    code = (
        "import sys; from mezzotint.data import load_pictures; load_pictures('digits', limit=3)\n"
        "print({'pyarrow', 'datasets', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"
