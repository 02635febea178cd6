"""Codecs: between things as people have them and x0 as networks see it.

Nothing but a codec knows the range of either: data is encoded on its way to training, and results are decoded on their
way to people, away from the thread that calls the network.
"""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.media.pictures import to_model, to_uint8

CHUNK = 64  # pictures that an autoencoder codes at a time


class Codec(Protocol):
    @property
    def bounded(self) -> bool:
        """Whether codes lie in [-1, 1], so that beliefs may be kept there."""
        ...

    @property
    def exact(self) -> bool:
        """Whether what is decoded from a code is the thing that was coded."""
        ...

    @property
    def weights(self) -> nn.Module | None:
        """Its trained weights, which model files hold beside the network."""
        ...

    def shape(self, thing: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a code, for things of a shape."""
        ...

    def encode(self, things: Tensor) -> Tensor:
        """Things (B, *thing) to codes (B, *shape), float32, on the device of the things."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """The inverse of `encode`, for codes of any range, on the device of the codes."""
        ...

    def preview(self, codes: Tensor) -> Tensor:
        """An approximation of `decode` at next to no cost, for previews."""
        ...

    def mask(self, things: Tensor) -> Tensor:
        """Which elements of codes depend on a part of things: bool of the last axes of a thing -> of a code."""
        ...


class Bytes:
    """Pictures uint8 (B, C, H, W), coded as float32 in [-1, 1]."""

    bounded, exact, weights = True, True, None

    def shape(self, thing: tuple[int, ...]) -> tuple[int, ...]:
        return thing

    def encode(self, things: Tensor) -> Tensor:
        return to_model(things)

    def decode(self, codes: Tensor) -> Tensor:
        return to_uint8(codes)

    def preview(self, codes: Tensor) -> Tensor:
        return self.decode(codes)

    def mask(self, things: Tensor) -> Tensor:
        return things


class Added:
    """Codes that say what is added to others: base (B, *shape), codes of `codec`, plus `unit` times these."""

    bounded, exact, weights = False, False, None

    def __init__(self, codec: Codec, base: Tensor, unit: float) -> None:
        self.codec, self.base, self.unit = codec, base, unit

    def shape(self, thing: tuple[int, ...]) -> tuple[int, ...]:
        return self.codec.shape(thing)

    def encode(self, things: Tensor) -> Tensor:
        return (self.codec.encode(things) - self.base.to(things.device)) / self.unit

    def decode(self, codes: Tensor) -> Tensor:
        return self.codec.decode(self.base.to(codes.device) + self.unit * codes)

    def preview(self, codes: Tensor) -> Tensor:
        return self.codec.preview(self.base.to(codes.device) + self.unit * codes)

    def mask(self, things: Tensor) -> Tensor:
        return self.codec.mask(things)


class AsTheyAre:
    """Numbers of about unit variance, float32 (B, *D), such as points in the plane: their own code."""

    bounded, exact, weights = False, True, None

    def shape(self, thing: tuple[int, ...]) -> tuple[int, ...]:
        return thing

    def encode(self, things: Tensor) -> Tensor:
        return things

    def decode(self, codes: Tensor) -> Tensor:
        return codes.float()

    def preview(self, codes: Tensor) -> Tensor:
        return self.decode(codes)

    def mask(self, things: Tensor) -> Tensor:
        return things


def folded(things: Tensor) -> Tensor:
    """Things (B, C, *axes, H, W) as pictures (B *axes, C, H, W): clips frame by frame, pictures as they are."""
    return things.movedim(1, -3).flatten(0, -4)


def unfolded(pictures: Tensor, like: Tensor) -> Tensor:
    """The inverse of `folded`: pictures (B *axes, c, h, w) with the axes of `like` (B, C, *axes, H, W): (B, c, *axes, h, w)."""
    return pictures.unflatten(0, (like.shape[0], *like.shape[2:-2])).movedim(-3, 1)


class Latents(nn.Module):
    """Pictures uint8 (B, C, H, W), coded by an autoencoder, channels of mean 0 and variance 1: float32 (B, latents, H / factor,
    W / factor); or clips (B, C, T, H, W), every frame so: (B, latents, T, H / factor, W / factor).

    coder: a frozen network with `encode` (B, C, H, W) in [-1, 1] -> (B, latents, h, w), its inverse `decode`, and the numbers
    `channels`, `factor` and `latents`. mean, std: of its codes, (latents, 1, 1); 0 and 1 until they are `measured`. colours:
    (latents + 1, channels), the mean colour of the pixels of an element as a linear function of it, for previews.
    """

    bounded = exact = False
    mean: Tensor
    std: Tensor
    colours: Tensor

    def __init__(self, coder: Any) -> None:
        super().__init__()
        self.coder = coder
        self.register_buffer("mean", torch.zeros(coder.latents, 1, 1))
        self.register_buffer("std", torch.ones(coder.latents, 1, 1))
        self.register_buffer("colours", torch.zeros(coder.latents + 1, coder.channels))
        self.eval().requires_grad_(False)

    @property
    def weights(self) -> nn.Module:
        return self

    def shape(self, thing: tuple[int, ...]) -> tuple[int, ...]:
        """Raises ValueError for pictures that it cannot code."""
        channels, *frames, height, width = thing
        factor = self.coder.factor
        if channels != self.coder.channels:
            grey_or_rgb = "grey" if self.coder.channels == 1 else "RGB"
            raise ValueError(
                f"this autoencoder is for {grey_or_rgb} pictures: set data.channels={self.coder.channels}"
            )
        if height % factor or width % factor:
            size = [max(1, round(side / factor)) * factor for side in (height, width)]
            near = str(size[0]) if size[0] == size[1] else f"[{size[0]}, {size[1]}]".replace(" ", "")
            raise ValueError(
                f"this autoencoder makes pictures {factor} times smaller, and {height}x{width} is not a multiple of that: set "
                f"data.size={near}"
            )
        return self.coder.latents, *frames, height // factor, width // factor

    @torch.no_grad()
    def raw(self, things: Tensor) -> Tensor:
        """Codes as the autoencoder gives them, on its device."""
        x = to_model(folded(things.to(self.mean.device)))
        return unfolded(torch.cat([self.coder.encode(part) for part in x.split(CHUNK)]), things)

    def standard(self, raw: Tensor) -> Tensor:
        return unfolded((folded(raw) - self.mean) / self.std, raw)

    def measured(self, raw: Tensor, things: Tensor) -> None:
        """From now on channels of codes like these (N, latents, h, w) have mean 0 and variance 1. things: the pictures
        (n, C, H, W) of the first n of them, whose colours are fitted by least squares."""
        channels = raw.double().transpose(0, 1).flatten(1)
        self.mean.copy_(channels.mean(1)[:, None, None])
        self.std.copy_(channels.std(1).clamp(min=1e-6)[:, None, None])
        some = self.standard(raw[: len(things)].to(self.mean.device))
        means = unfolded(F.avg_pool2d(to_model(folded(things)), self.coder.factor), things)
        seen, wanted = (x.double().cpu().movedim(1, -1).flatten(0, -2) for x in (some, means))
        seen = torch.cat([seen, torch.ones(len(seen), 1, dtype=seen.dtype)], 1)
        self.colours.copy_(torch.linalg.lstsq(seen, wanted).solution)

    def encode(self, things: Tensor) -> Tensor:
        return self.standard(self.raw(things))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        z = folded(codes.to(self.mean.device).float()) * self.std + self.mean
        return unfolded(to_uint8(torch.cat([self.coder.decode(part) for part in z.split(CHUNK)])), codes)

    def preview(self, codes: Tensor) -> Tensor:
        """The mean colour of the pixels of each element."""
        codes = codes.to(self.mean.device).float().movedim(1, -1)
        small = (codes @ self.colours[:-1] + self.colours[-1]).movedim(-1, 1)
        large = F.interpolate(folded(small), scale_factor=self.coder.factor, mode="nearest")
        return to_uint8(unfolded(large, small))

    def mask(self, things: Tensor) -> Tensor:
        """Every element of a code with a pixel in the mask."""
        return F.max_pool2d(things.float()[None], self.coder.factor)[0] > 0
