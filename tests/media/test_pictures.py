"""Bytes to the model's range and back, and augmentation as a pure function of given numbers."""

import pytest
import torch
import torch.nn.functional as F

from mezzotint.data import augment, to_model, to_uint8

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (64, 3, 9, 12), dtype=torch.uint8, generator=GENERATOR)
RANDOM = torch.rand(64, 8, generator=GENERATOR)


def test_every_byte_survives_the_round_trip() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    x = to_model(levels)
    assert x.dtype == torch.float32 and x.min() == -1 and x.max() == 1
    assert torch.equal(to_uint8(x), levels)
    assert torch.equal(to_uint8(x.double()), levels)


def test_to_uint8_rounds_clamps_and_has_no_holes() -> None:
    level = 2 / 255
    x = torch.tensor(
        [-1 + 0.6 * level, -1 + 0.4 * level, -7.0, 7.0, float("nan"), float("inf"), -float("inf")]
    )
    assert to_uint8(x).tolist() == [1, 0, 0, 255, 0, 255, 0]


def test_nothing_asked_is_nothing_done() -> None:
    assert torch.equal(augment(IMAGES, RANDOM, flip=False, crop=0, colour=0.0), IMAGES)


def test_flip_mirrors_half_of_the_rows() -> None:
    out = augment(IMAGES, RANDOM, flip=True, crop=0, colour=0.0)
    flipped = RANDOM[:, 0] < 0.5
    assert 16 < flipped.sum() < 48
    assert torch.equal(out[flipped], IMAGES[flipped].flip(-1))
    assert torch.equal(out[~flipped], IMAGES[~flipped])


@pytest.mark.parametrize("flip", [False, True])
def test_crop_is_a_window_of_the_picture_padded_by_reflection(flip: bool) -> None:
    pad = 4
    out = augment(IMAGES, RANDOM, flip=flip, crop=pad, colour=0.0)
    padded = F.pad(IMAGES.float(), (pad,) * 4, mode="reflect").to(torch.uint8)
    seen = set()
    for image, source, random in zip(out, padded, RANDOM.double()):
        top, left = (int(r * (2 * pad + 1)) for r in random[1:3])
        window = source[:, top : top + 9, left : left + 12]
        assert torch.equal(image, window.flip(-1) if flip and random[0] < 0.5 else window)
        seen.add((top, left))
    assert {top for top, _ in seen} == set(range(9)) == {left for _, left in seen}


def test_crop_stays_in_range_at_the_ends_of_the_unit_interval() -> None:
    random = torch.tensor([[0.0] * 8, [1.0] * 8])
    out = augment(IMAGES[:2], random, flip=False, crop=2, colour=0.0)
    assert torch.equal(out[0, :, 2:, 2:], IMAGES[0, :, :-2, :-2])
    assert torch.equal(out[1, :, :-2, :-2], IMAGES[1, :, 2:, 2:])


@pytest.mark.parametrize("floating", [False, True])
def test_each_row_depends_on_its_own_numbers_alone(floating: bool) -> None:
    images = to_model(IMAGES) if floating else IMAGES
    together = augment(images, RANDOM, flip=True, crop=3, colour=0.3)
    assert together.shape == images.shape and together.dtype == images.dtype
    order = torch.randperm(64, generator=GENERATOR)
    assert torch.equal(augment(images[order], RANDOM[order], flip=True, crop=3, colour=0.3), together[order])
    for i in (0, 17, 63):
        alone = augment(images[i : i + 1], RANDOM[i : i + 1], flip=True, crop=3, colour=0.3)
        assert torch.allclose(alone[0].float(), together[i].float(), atol=1e-6)


def test_colour_by_hand() -> None:
    """A dark, nearly grey picture, on which nothing is clipped."""
    x = torch.tensor([0.30, 0.35, 0.40]).reshape(1, 3, 1, 1) + torch.tensor([0.0, 0.1]).reshape(1, 1, 1, 2)
    random = torch.full((1, 8), 0.5)
    luma = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)

    def jittered(column: int) -> torch.Tensor:
        """The picture, in [0, 1], with one of the three factors at 1.1."""
        moved = random.clone()
        moved[:, column] = 0.75
        return (augment(2 * x - 1, moved, flip=False, crop=0, colour=0.2) + 1) / 2

    grey = (luma * x).sum(1, keepdim=True)
    assert torch.allclose(jittered(3), 1.1 * x, atol=1e-6)
    assert torch.allclose(jittered(4), grey.mean() + 1.1 * (x - grey.mean()), atol=1e-6)
    assert torch.allclose(jittered(5), grey + 1.1 * (x - grey), atol=1e-6)
    assert torch.allclose(jittered(6), x, atol=1e-6)


def test_colour_of_bytes_is_the_colour_of_floats_rounded() -> None:
    bytes_ = augment(IMAGES, RANDOM, flip=False, crop=0, colour=0.4)
    floats = augment(to_model(IMAGES), RANDOM, flip=False, crop=0, colour=0.4)
    assert torch.equal(bytes_, to_uint8(floats))
    assert not torch.equal(bytes_, IMAGES)


def test_grey_pictures_have_no_saturation() -> None:
    grey = IMAGES[:, :1]
    other = RANDOM.clone()
    other[:, 5] = 1 - other[:, 5]
    out = augment(grey, RANDOM, flip=False, crop=0, colour=0.4)
    assert out.shape == grey.shape
    assert torch.equal(out, augment(grey, other, flip=False, crop=0, colour=0.4))


def test_limits_are_errors() -> None:
    with pytest.raises(ValueError, match="crop=9 must be from 0 to 8"):
        augment(IMAGES, RANDOM, flip=False, crop=9, colour=0.0)
    with pytest.raises(ValueError, match="colour=2"):
        augment(IMAGES, RANDOM, flip=False, crop=0, colour=2.0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_row_is_the_same_in_a_batch_of_any_size(dtype: torch.dtype) -> None:
    """Bit for bit, on any number of threads: a large picture alone is summed in another order than one of many."""
    images = torch.randint(0, 256, (6, 3, 256, 256), dtype=torch.uint8, generator=GENERATOR)
    images = images if dtype == torch.uint8 else to_model(images)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        together = augment(images, RANDOM[:6], flip=True, crop=2, colour=0.5)
        torch.set_num_threads(2)
        for k in range(6):
            alone = augment(images[k : k + 1], RANDOM[k : k + 1], flip=True, crop=2, colour=0.5)
            assert torch.equal(alone[0], together[k])
    finally:
        torch.set_num_threads(threads)
