"""Pictures whose colours are not those of sRGB: by the profile in the file they come out as sRGB, to two levels of 255."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from mezzotint.data.decode import decode

SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
D65, D50 = np.array([0.9505, 1.0, 1.0891]), np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
GAMMA = 563 / 256  # of Adobe RGB


def to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """From linear colours of a display with a white of D65 to XYZ under D50, as profiles have them: (3, 3)."""
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]).T
    matrix = columns * np.linalg.solve(columns, D65)
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ D65)) @ BRADFORD
    return adapt @ matrix


def srgb_linear(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def srgb_coded(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.clip(v, 0, None) ** (1 / 2.4) - 0.055)


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(65536 * value) for value in values))


SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
GAMMA_CURVE = b"curv\0\0\0\0\0\0\0\1" + struct.pack(">HH", 563, 0)


def profile(primaries: tuple[tuple[float, float], ...], curve: bytes) -> bytes:
    """A matrix profile, version 4, of nothing but what a conversion needs (ICC.1:2010, sections 7 to 10)."""
    xyz = to_xyz(primaries)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50)}
    for k, colour in enumerate((b"r", b"g", b"b")):
        tags |= {colour + b"XYZ": b"XYZ \0\0\0\0" + fixed(*xyz[:, k]), colour + b"TRC": curve}
    table, content = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, 128 + 4 + 12 * len(tags) + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    size = 128 + len(table) + len(content)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", size, b"", 0x04200000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp"
    )
    return (head + bytes(28) + fixed(*D50)).ljust(128, b"\0") + table + content


CASES = {
    "display-p3": (DISPLAY_P3, SRGB_CURVE, srgb_linear),
    "adobe-rgb": (ADOBE_RGB, GAMMA_CURVE, lambda v: v**GAMMA),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colours_of_a_wider_profile_become_those_of_srgb(name: str, kind: str) -> None:
    primaries, curve, linear = CASES[name]
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels[0, :3] = ((255, 255, 255), (0, 0, 0), (128, 128, 128))
    xyz = linear(pixels / 255) @ to_xyz(primaries).T
    there = xyz @ np.linalg.inv(to_xyz(SRGB)).T
    inside = ((there > -1e-4) & (there < 1 + 1e-4)).all(-1)  # others are cut to what sRGB has
    wanted = 255 * srgb_coded(there.clip(0, 1))
    file = io.BytesIO()
    lossless = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(pixels).save(file, kind, icc_profile=profile(primaries, curve), **lossless)
    found = np.asarray(decode(Image.open(file))).astype(float)
    assert inside.mean() > 0.3 and inside[0, :3].all()
    assert np.abs(found - wanted)[inside].max() <= 2
    assert np.abs(pixels - wanted)[inside].max() > 20, "as they stand they would be others"


def test_what_is_transparent_and_what_lies_over_it_is_converted_too() -> None:
    whole = Image.new("RGBA", (4, 4), (200, 60, 60, 255))
    whole.putpixel((0, 0), (200, 60, 60, 0))
    file = io.BytesIO()
    whole.save(file, "PNG", icc_profile=profile(DISPLAY_P3, SRGB_CURVE))
    found = np.asarray(decode(Image.open(file)))
    assert found[0, 0].tolist() == [255, 255, 255]
    red, green, _ = found[1, 1].tolist()
    assert red > 212 and green < 50, "redder than the same numbers in sRGB"
