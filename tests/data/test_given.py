"""Single pictures and masks as people give them: files, bytes, PIL, arrays; odd sizes, turned, transparent, hostile."""

import hashlib
import io
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data.decode import decode_to
from mezzotint.data.given import mask, picture
from mezzotint.errors import DataError

RNG = np.random.default_rng(0)
GREY = (1, 28, 28)


def png(image: Image.Image, **more: object) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", **more)  # type: ignore[arg-type]
    return content.getvalue()


def test_the_same_picture_in_every_form(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (28, 28, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    path = tmp_path / "one.png"
    path.write_bytes(png(image))
    forms = [
        path,
        str(path),
        path.read_bytes(),
        image,
        pixels,
        pixels / 255,
        torch.from_numpy(pixels),
        torch.from_numpy(pixels).permute(2, 0, 1),
    ]
    for form in forms:
        found = picture(form, (3, 28, 28))
        assert (
            found.pixels.equal(torch.from_numpy(pixels).permute(2, 0, 1))
            and found.pixels.dtype == torch.uint8
        )
        assert (found.holes, found.size, found.note) == (None, (28, 28), "")
    assert picture(path, GREY).digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert picture(path, GREY).pixels.shape == GREY
    assert picture(image, GREY).digest == picture(pixels, GREY).digest != picture(255 - pixels, GREY).digest


def test_another_size_is_resized_as_training_pictures_are_and_said() -> None:
    image = Image.fromarray(RNG.integers(0, 256, (50, 70), dtype=np.uint8))
    found = picture(image, GREY)
    assert found.pixels.numpy().tolist() == decode_to(image, (28, 28), 1).tolist()
    assert found.note == "the picture of 70x50 pixels is cropped and resized to 28x28"
    assert picture(image.resize((56, 56)), GREY).note == "the picture of 56x56 pixels is resized to 28x28"


def test_turned_by_exif_and_the_mask_stays_as_it_is_seen() -> None:
    image = Image.fromarray(RNG.integers(0, 256, (28, 56), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = picture(png(image, exif=exif), (1, 56, 28))
    assert turned.size == (28, 56)
    assert turned.pixels[0].numpy().tolist() == np.rot90(np.asarray(image), -1).tolist()
    upright = np.zeros((56, 28), np.uint8)
    upright[:10] = 255
    assert mask(upright, turned)[0][:10].all() and not mask(upright, turned)[0][10:].any()
    with pytest.raises(
        DataError, match="the mask is 56x28 and the picture 28x56; give a mask of the same aspect ratio"
    ):
        mask(np.asarray(upright).T, turned)


def test_transparent_parts_are_holes_and_the_colours_under_them_do_not_matter() -> None:
    pixels = np.full((56, 56, 4), 255, np.uint8)
    pixels[..., :3] = RNG.integers(0, 256, (56, 56, 3), dtype=np.uint8)
    pixels[:, 29:, 3] = 0
    other = pixels.copy()
    other[:, 29:, :3] = RNG.integers(0, 256, (56, 27, 3), dtype=np.uint8)
    one, two = (picture(each, GREY) for each in (pixels, other))
    assert one.holes is not None and two.holes is not None and one.holes.equal(two.holes)
    assert one.holes[:, 15:].all() and not one.holes[:, :13].any()
    assert one.pixels[0][~one.holes].equal(two.pixels[0][~two.holes])
    # what is kept has no white of what was transparent in it
    opaque = pixels.copy()
    opaque[..., 3] = 255
    kept = ~one.holes
    assert (picture(opaque, GREY).pixels[0][kept].int() - one.pixels[0][kept].int()).abs().max() <= 3
    half = pixels.copy()
    half[..., 3] = 100
    assert picture(half, GREY).holes is None  # seen through, but there


def test_masks_are_white_or_transparent_where_they_repaint() -> None:
    found = picture(np.zeros((28, 28), np.uint8), GREY)
    grey = np.zeros((28, 28), np.uint8)
    grey[3, :10], grey[4, :10] = 128, 127
    assert mask(grey, found)[0].nonzero().tolist() == [[3, k] for k in range(10)]
    assert mask(grey >= 128, found)[0].sum() == 10
    holes = np.full((28, 28, 4), 255, np.uint8)  # as OpenAI's masks: the picture with a hole
    holes[5:7, 5:7, 3] = 0
    assert mask(holes, found)[0].sum() == 4
    with pytest.raises(DataError, match=r"repaints nothing: white .* is it inverted"):
        mask(np.zeros((28, 28), np.uint8), found)


def test_two_hundred_odd_sizes_of_picture_and_mask() -> None:
    """The mask is fitted as the picture is: what is white in it is white in the picture that it was drawn on."""
    draw = random.Random(0)
    for _ in range(200):
        width, height = draw.randint(1, 90), draw.randint(1, 90)
        shape = (1, draw.randint(1, 40), draw.randint(1, 40))
        white = np.zeros((height, width), np.uint8)
        white[: draw.randint(1, height), : draw.randint(1, width)] = 255
        found = picture(white, shape)
        assert found.pixels.shape == shape
        try:
            repainted, _ = mask(white, found)
        except DataError as error:  # all that was white lies outside of what is seen, or between the pixels
            assert "repaints nothing" in str(error)
            continue
        assert repainted.shape == shape[1:]
        mean = (found.pixels[0] >= 128).float().mean()
        assert (repainted.float().mean() - mean).abs() <= 1.5 / min(shape[1:]) + 1.5 / min(width, height)
        scaled = white.repeat(3, 0).repeat(3, 1)  # a mask of another size, of the same aspect
        assert mask(scaled, found)[0].float().mean() - repainted.float().mean() < 1.5 / min(shape[1:])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "not a PNG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a PNG|cannot be opened"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a PNG"),
        (np.zeros((5, 3, 2), np.uint8), r"array of shape \(5, 3, 2\)"),
        (np.zeros((0, 3), np.uint8), "array of shape"),
        (np.zeros((3, 3)) + 2, r"floats outside of \[0, 1\]"),
        (np.full((3, 3), np.nan), r"floats outside of \[0, 1\]"),
        (np.zeros((3, 3), np.int32), "array of int32"),
        ("missing.png", "missing.png cannot be read .* check the name"),
        (".", "cannot be read"),
    ],
)
def test_what_is_no_picture_is_said_in_one_line(source: object, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        picture(source, GREY)
    assert "\n" not in str(caught.value)


def test_damaged_and_huge_files_are_refused_before_they_are_decoded() -> None:
    whole = png(Image.fromarray(RNG.integers(0, 256, (200, 200), dtype=np.uint8)))
    with pytest.raises(DataError, match="cannot be decoded"):
        picture(whole[: len(whole) // 2], GREY)
    with pytest.raises(DataError, match="200x200 pixels, more than 39999"):
        picture(whole, GREY, max_pixels=39_999)
    assert picture(whole, GREY, max_pixels=40_000).pixels.shape == GREY
    bomb = png(Image.new("1", (40_000, 40_000)))
    with pytest.raises(DataError, match=r"cannot be opened|more than"):
        picture(bomb, GREY)


def test_opening_leaves_the_filters_of_warnings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They belong to all threads: one that puts its own back would undo what others have set meanwhile."""
    content = io.BytesIO()
    Image.new("L", (8, 8), 7).save(content, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # 64 are above it, and below twice as many
    monkeypatch.setattr(warnings, "catch_warnings", lambda *a, **k: pytest.fail("filters were changed"))
    before = list(warnings.filters)
    picture(content.getvalue(), (1, 8, 8))
    assert warnings.filters == before
