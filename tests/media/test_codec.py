"""The codec of an autoencoder's codes, by one that is linear: pixels sorted into channels."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.media.codec import Latents
from mezzotint.media.pictures import to_model, to_uint8


class Sorted(nn.Module):
    channels, factor, latents = 3, 2, 12

    def encode(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(x, 2) * 0.3 + 2

    def decode(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle((z - 2) / 0.3, 2)


@pytest.fixture
def pictures() -> Tensor:
    return torch.randint(
        0, 256, (40, 3, 8, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.fixture
def codec(pictures: Tensor) -> Latents:
    codec = Latents(Sorted())
    codec.measured(codec.raw(pictures), pictures[:20])
    return codec


def test_channels_have_mean_0_and_variance_1(codec: Latents, pictures: Tensor) -> None:
    codes = codec.encode(pictures)
    assert codes.shape[1:] == codec.shape((3, 8, 12)) == (12, 4, 6) and codes.dtype == torch.float32
    channels = codes.double().transpose(0, 1).flatten(1)
    assert channels.mean(1).abs().max() < 1e-6 and (channels.std(1) - 1).abs().max() < 1e-6
    assert torch.equal(codec.decode(codes), pictures) and not codec.bounded


def test_previews_are_the_mean_colours_of_elements(codec: Latents, pictures: Tensor) -> None:
    means = F.interpolate(F.avg_pool2d(to_model(pictures), 2), scale_factor=2)
    wrong = codec.preview(codec.encode(pictures)).int() - to_uint8(means).int()
    assert wrong.abs().max() <= 1


def test_an_element_is_masked_where_any_of_its_pixels_is(codec: Latents) -> None:
    mask = torch.zeros(8, 12, dtype=torch.bool)
    mask[3, 5] = mask[7, 11] = True
    assert codec.mask(mask).nonzero().tolist() == [[1, 2], [3, 5]]


def test_pictures_that_do_not_fit_are_refused(codec: Latents) -> None:
    for shape, reason in (
        ((1, 8, 8), "data.channels=3"),
        ((3, 8, 9), r"data.size=8$"),
        ((3, 5, 31), r"\[4,32\]"),
    ):
        with pytest.raises(ValueError, match=reason):
            codec.shape(shape)


def test_clips_are_coded_frame_by_frame(codec: Latents, pictures: Tensor) -> None:
    """To the bit as pictures are, and back."""
    clips = pictures.unflatten(0, (8, 5)).transpose(1, 2)
    frames = codec.encode(pictures)
    codes = codec.encode(clips)
    assert codes.shape == (8, *codec.shape(tuple(clips.shape[1:])))
    assert codes.transpose(1, 2).flatten(0, 1).equal(frames)
    for of_clips, of_pictures in ((codec.decode, codec.decode), (codec.preview, codec.preview)):
        assert of_clips(codes).transpose(1, 2).flatten(0, 1).equal(of_pictures(frames))
    mask = torch.zeros(clips.shape[2:], dtype=torch.bool)
    mask[3] = True
    assert codec.mask(mask).any((1, 2)).tolist() == [False, False, False, True, False]
    other = Latents(codec.coder)
    other.measured(other.raw(clips), clips[:6])
    torch.testing.assert_close(
        other.encode(clips).mean((0, 2, 3, 4)), torch.zeros(len(other.mean)), atol=1e-5, rtol=0
    )
