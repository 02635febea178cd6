"""Pictures of every odd kind, made on the spot, against what they must look like."""

import io

import numpy as np
import pytest
from PIL import Image

from mezzotint.data.decode import decode, decode_to, fit


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> Image.Image:
    """The picture as it comes back from a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def colours(height: int = 6, width: int = 10) -> Image.Image:
    """A picture without any symmetry."""
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_grey_and_rgb_come_back_as_they_are() -> None:
    rgb = colours()
    assert np.array_equal(np.asarray(decode(saved(rgb))), np.asarray(rgb))
    grey = rgb.convert("L")
    assert decode(saved(grey)).mode == "L"
    assert np.array_equal(np.asarray(decode(saved(grey))), np.asarray(grey))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_the_full_range(kind: str) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    out = np.asarray(decode(saved(Image.fromarray(ramp), kind)))
    assert out.dtype == np.uint8
    assert np.array_equal(out, np.round(ramp / 257).astype(np.uint8))


def test_a_dark_sixteen_bit_picture_stays_dark() -> None:
    dark = Image.fromarray(np.full((4, 4), 257 * 3, np.uint16))
    assert (np.asarray(decode(saved(dark))) == 3).all()


def test_integer_and_floating_modes() -> None:
    ramp = np.arange(256)
    for values in (ramp.astype(np.int32)[None], (257 * ramp).astype(np.int32)[None]):
        assert np.array_equal(np.asarray(decode(saved(Image.fromarray(values), "TIFF")))[0], ramp)
    for scale in (1 / 255, 1.0, 257.0):
        values = (ramp * scale).astype(np.float32)[None]
        assert np.array_equal(np.asarray(decode(saved(Image.fromarray(values), "TIFF")))[0], ramp)
    holes = np.array([[np.nan, -1.0, 0.5, 1.0]], np.float32)
    assert np.asarray(decode(Image.fromarray(holes))).tolist() == [[0, 0, 128, 255]]


def test_one_bit() -> None:
    bits = np.array([[True, False, True]])
    assert np.asarray(decode(saved(Image.fromarray(bits)))).tolist() == [[255, 0, 255]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_camera_orientation_is_applied(kind: str, orientation: int) -> None:
    upright = Image.new("RGB", (16, 8), "white")
    upright.paste("red", (0, 0, 8, 8))  # left half
    upright.paste("blue", (0, 0, 16, 4))  # upper half
    turn = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]  # what the viewer has to undo
    stored = upright if turn is None else upright.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = decode(
        saved(stored, kind, exif=exif, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {}))
    )
    assert out.size == (16, 8)
    assert np.abs(np.asarray(out).astype(int) - np.asarray(upright)).max() <= (3 if kind == "JPEG" else 0)


def test_orientation_of_a_transparent_picture_is_not_lost() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(saved(colours(6, 10).convert("RGBA"), exif=exif)).size == (6, 10)


def test_damaged_orientation_does_not_lose_the_picture() -> None:
    rgb = colours()
    assert np.array_equal(np.asarray(decode(saved(rgb, exif=b"Exif\0\0nonsense"))), np.asarray(rgb))


def test_transparency_is_laid_over_white() -> None:
    rgba = Image.new("RGBA", (4, 1))
    rgba.putdata([(200, 100, 0, 255), (200, 100, 0, 0), (0, 0, 0, 128), (255, 255, 255, 7)])
    want = [[200, 100, 0], [255, 255, 255], [127, 127, 127], [255, 255, 255]]
    assert np.asarray(decode(saved(rgba)))[0].tolist() == want
    la = Image.new("LA", (3, 1))
    la.putdata([(40, 255), (40, 0), (0, 128)])
    assert fit(decode(saved(la)), (1, 3)).tolist() == [[[40, 255, 127]]]


def test_palette_with_and_without_transparency() -> None:
    palette = Image.new("P", (3, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2])
    assert np.asarray(decode(saved(palette)))[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    for kind in ("PNG", "GIF"):
        out = np.asarray(decode(saved(palette, kind, transparency=1)))[0].tolist()
        assert out == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


def test_a_transparent_colour_of_a_picture_without_alpha() -> None:
    rgb = Image.new("RGB", (2, 1))
    rgb.putdata([(1, 2, 3), (4, 5, 6)])
    assert np.asarray(decode(saved(rgb, transparency=(1, 2, 3))))[0].tolist() == [[255, 255, 255], [4, 5, 6]]


def test_cmyk() -> None:
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink: red
    for kind, options in (("TIFF", {}), ("JPEG", {"quality": 100})):
        out = np.asarray(decode(saved(cmyk, kind, **options))).astype(int)
        assert np.abs(out - [255, 0, 0]).max() <= 2


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        lossless = {"lossless": True} if kind == "WEBP" else {}
        out = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:], **lossless))
        assert np.asarray(out)[2, 2].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (40, 30), (30, 40)])
def test_a_circle_stays_a_circle_in_the_middle(size: tuple[int, int]) -> None:
    """Never squashed: its width is its height, in pictures wide and tall, shrunk and enlarged."""
    width, height = size
    y, x = (np.mgrid[: 4 * height, : 4 * width] + 0.5) / 4
    disc = np.hypot(x - width / 2, y - height / 2) < 0.4 * min(size)
    picture = Image.fromarray(np.where(disc, 255, 0).astype(np.uint8)).resize(size, Image.Resampling.BOX)
    out = fit(picture, (64, 64), 1)[0] / 255.0
    y, x = np.mgrid[:64, :64] + 0.5
    mass = out.sum()
    assert mass == pytest.approx(np.pi * (0.4 * 64) ** 2, rel=0.02)
    assert (out * x).sum() / mass == pytest.approx(32, abs=0.1)
    assert (out * y).sum() / mass == pytest.approx(32, abs=0.1)
    spread = [((out * (axis - 32) ** 2).sum() / mass) ** 0.5 for axis in (x, y)]
    assert spread[0] == pytest.approx(spread[1], rel=0.01)


def test_wide_targets_are_cropped_and_not_squashed() -> None:
    picture = Image.fromarray(np.repeat(np.arange(100, dtype=np.uint8)[:, None], 100, axis=1))  # rows 0 to 99
    out = fit(picture, (50, 100), 1)[0]
    assert np.array_equal(out[:, 0], np.arange(25, 75))


def test_shrinking_averages_what_it_shrinks() -> None:
    """A fine checkerboard turns grey; picking every n-th pixel would leave it black or white."""
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    for size in ((64, 64), (60, 44), (500, 500)):
        inner = fit(Image.fromarray(board), size, 1)[0, 2:-2, 2:-2].astype(float)
        assert inner.mean() == pytest.approx(127.5, abs=1)
        if size != (500, 500):  # at nearly its own size the pattern itself remains visible
            assert np.abs(inner - 127.5).max() < 4


def test_enlarging_stays_within_the_picture() -> None:
    """No ringing: a step from 50 to 200 has no value outside these, and rises steadily."""
    step = np.full((4, 4), 50, np.uint8)
    step[:, 2:] = 200
    out = fit(Image.fromarray(step), (64, 64), 1)[0].astype(int)
    assert out.min() == 50 and out.max() == 200
    assert (np.diff(out, axis=1) >= 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 7), (127, 641)])
def test_any_shape_fits_any_size(shape: tuple[int, int]) -> None:
    for size in ((64, 64), (1, 1), (30, 42), (7, 3)):
        assert fit(colours(*shape), size).shape == (3, *size)


def test_channels() -> None:
    grey = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    assert fit(grey, (4, 4)).shape == (1, 4, 4)
    assert fit(grey.convert("RGB"), (4, 4)).shape == (1, 4, 4)  # grey in fact
    assert fit(colours(), (4, 4)).shape == (3, 4, 4)
    assert fit(grey, (4, 4), 3).shape == (3, 4, 4)
    luma = fit(Image.new("RGB", (2, 2), (255, 0, 0)), (2, 2), 1)
    assert luma.shape == (1, 2, 2) and abs(int(luma[0, 0, 0]) - 0.299 * 255) < 1


def test_large_jpegs_are_decoded_smaller_and_look_the_same() -> None:
    y, x = np.mgrid[:1200, :1600] / 1600
    photo = np.stack((255 * x, 255 * y, 127 + 120 * np.sin(20 * x * y)), -1).astype(np.uint8)
    whole, quick = (saved(Image.fromarray(photo), "JPEG", quality=95) for _ in range(2))
    whole = fit(decode(whole), (64, 64), 3).astype(int)
    quick, file = decode_to(quick, (64, 64), 3), quick
    assert file.size == (200, 150)
    assert np.abs(quick - whole).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_truncated_files_are_errors(kind: str) -> None:
    file = io.BytesIO()
    colours(200, 200).save(file, kind)
    with pytest.raises(Exception, match=r".+"):
        decode_to(Image.open(io.BytesIO(file.getvalue()[: len(file.getvalue()) // 2])), (64, 64))
