"""How is a thing coded?  Between things as people have them and x0 as networks see it.

Nothing but a codec knows the range of either: data is encoded on its way to training, and results are decoded on their
way to people, away from the thread that calls the network.
"""

from typing import Protocol

from torch import Tensor

from mezzotint.media.pictures import to_model, to_uint8


class Codec(Protocol):
    """bounded: whether codes lie in [-1, 1], so that beliefs may be kept there."""

    bounded: bool

    def shape(self, thing: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a code, for things of a shape."""
        ...

    def encode(self, things: Tensor) -> Tensor:
        """Things (B, *thing) to codes (B, *shape), float32, on the device of the things."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """The inverse of `encode`, for codes of any range, on the device of the codes."""
        ...


class Bytes:
    """Pictures uint8 (B, C, H, W), coded as float32 in [-1, 1]."""

    bounded = True

    def shape(self, thing: tuple[int, ...]) -> tuple[int, ...]:
        return thing

    def encode(self, things: Tensor) -> Tensor:
        return to_model(things)

    def decode(self, codes: Tensor) -> Tensor:
        return to_uint8(codes)


class Added:
    """Codes that say what is added to others: base (B, *shape), codes of `codec`, plus `unit` times these."""

    bounded = False

    def __init__(self, codec: Codec, base: Tensor, unit: float) -> None:
        self.codec, self.base, self.unit = codec, base, unit

    def shape(self, thing: tuple[int, ...]) -> tuple[int, ...]:
        return self.codec.shape(thing)

    def encode(self, things: Tensor) -> Tensor:
        return (self.codec.encode(things) - self.base.to(things.device)) / self.unit

    def decode(self, codes: Tensor) -> Tensor:
        return self.codec.decode(self.base.to(codes.device) + self.unit * codes)


class AsTheyAre:
    """Numbers of about unit variance, float32 (B, *D), such as points in the plane: their own code."""

    bounded = False

    def shape(self, thing: tuple[int, ...]) -> tuple[int, ...]:
        return thing

    def encode(self, things: Tensor) -> Tensor:
        return things

    def decode(self, codes: Tensor) -> Tensor:
        return codes.float()
