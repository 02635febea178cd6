"""The group `network`: a kind, and what that kind has to choose."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from mezzotint.config.base import Factors, Share, Tree


class MLP(Tree):
    """For points."""

    kind: Literal["mlp"] = "mlp"
    width: PositiveInt = 128
    depth: PositiveInt = 4  # residual blocks


class UNetSimple(Tree):
    """A plain U-Net without attention."""

    kind: Literal["unet_simple"]
    width: PositiveInt = 32  # channels of the first level; each next has twice as many
    levels: Annotated[int, Field(ge=2, le=5)] = 3  # each of half the size of the one before
    norm: Literal["group", "batch"] = "group"
    down: Literal["pool", "stride"] = (
        "pool"  # halve by the largest of four, or by a convolution with stride 2
    )


class UNet(Tree):
    """The full U-Net: residual blocks with adaptive norm, attention where asked."""

    kind: Literal["unet"] = "unet"
    width: PositiveInt = 64  # channels, times the level's multiplier
    multipliers: Factors = [1, 2, 2]  # of the width, one a level; each level has half the size
    blocks: PositiveInt = 2  # residual blocks a level on the way down, one more on the way up
    attention: list[PositiveInt] = []  # downsampling factors, relative to the picture, at which to attend
    linear_attention: bool = False  # cost grows with the positions, not with their square
    head_channels: PositiveInt = 32
    dropout: Share = 0.0  # in every residual block
    patch: PositiveInt = 1  # space-to-depth at the entrance: 2 makes it about 4 times faster


class VAE(Tree):
    """An autoencoder, for `objective: autoencode`."""

    kind: Literal["vae"]
    factor: Literal[4, 8] = 4  # by which a code is smaller than its picture, each way
    latents: Annotated[int, Field(ge=1, le=64)] = 4  # channels of a code
    width: Annotated[int, Field(ge=4, multiple_of=4)] = (
        64  # channels at half the size; deeper ones have twice as many
    )
    blocks: PositiveInt = 1  # residual blocks at each size, and one more at the deepest


class DiT(Tree):
    """A transformer over patches."""

    kind: Literal["dit"]
    width: PositiveInt = 256  # numbers of a token, one token a patch
    depth: PositiveInt = 6  # blocks
    head_channels: PositiveInt = 32  # numbers of an attention head
    patch: PositiveInt | Annotated[list[PositiveInt], Field(min_length=2, max_length=3)] = (
        4  # side of a patch, or one for each axis: of clips time, height, width; the cost grows with the number of patches
    )
    tokens: PositiveInt = 4  # learnt tokens before the patches; of each class where there are classes

    def sides(self, axes: int) -> list[int]:
        """Of a patch, along each axis."""
        return [self.patch] * axes if isinstance(self.patch, int) else self.patch


class Own(Tree):
    """A network from Python, of which a model file holds the weights and no code. No recipe can make one."""

    kind: Literal["own"]
    name: Annotated[str, Field(pattern=r"^\w{0,100}$")] = ""  # of its class; for people, never imported
    told: Literal["timestep", "time", "sigma"] = "time"  # what it is told of the noise level


Network = Annotated[MLP | UNetSimple | UNet | DiT | VAE | Own, Field(discriminator="kind")]
