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
    levels: Annotated[int, Field(ge=2, le=5)] = 3  # number of levels, each of half the size of the one before
    norm: Literal["group", "batch"] = "group"
    down: Literal["pool", "stride"] = "pool"  # halve by 2x2 maxima, or by a convolution with stride 2


class UNet(Tree):
    """The full U-Net: residual blocks with adaptive norm, attention where asked."""

    kind: Literal["unet"] = "unet"
    width: PositiveInt = 64  # channels, times the level's multiplier
    multipliers: Factors = [1, 2, 2]  # multiples of the width, one a level; each level has half the size
    blocks: PositiveInt = 2  # residual blocks a level on the way down, one more on the way up
    attention: list[PositiveInt] = []  # downsampling factors, relative to the picture, at which to attend
    linear_attention: bool = False  # cost grows with the positions, not with their square
    head_channels: PositiveInt = 32
    dropout: Share = 0.0  # dropout in every residual block
    patch: PositiveInt = 1  # space-to-depth at the entrance: 2 makes it about 4 times faster


class VAE(Tree):
    """An autoencoder, for `objective: autoencode`."""

    kind: Literal["vae"]
    factor: Literal[4, 8] = 4  # factor by which a code is smaller than its picture, each way
    latents: Annotated[int, Field(ge=1, le=64)] = 4  # channels of a code
    width: Annotated[int, Field(ge=4, multiple_of=4)] = (
        64  # channels at half the size; deeper ones have twice as many
    )
    blocks: PositiveInt = 1  # residual blocks at each size, and one more at the deepest


class DiT(Tree):
    """A transformer over patches."""

    kind: Literal["dit"]
    width: PositiveInt = 256  # length of a token's vector; one token for each patch
    depth: PositiveInt = 6  # blocks
    head_channels: PositiveInt = 32  # channels of an attention head
    patch: PositiveInt | Annotated[list[PositiveInt], Field(min_length=2, max_length=3)] = (
        4  # side of a patch, or one for each axis: of clips time, height, width; the cost grows with the number of patches
    )
    tokens: PositiveInt = 4  # learned tokens before the patches; a set for each class, if there are classes

    def sides(self, axes: int) -> list[int]:
        """Of a patch, along each axis."""
        return [self.patch] * axes if isinstance(self.patch, int) else self.patch


class UNet2D(Tree):
    """The U-Net of published models, as diffusers' UNet2DModel has it."""

    kind: Literal["unet2d"]
    widths: Factors = [64, 128, 128]  # channels, one a level; each level has half the size
    blocks: PositiveInt = 2  # residual blocks a level on the way down, one more on the way up
    attention_down: list[PositiveInt] = []  # downsampling factors, 1, 2, 4, ..., at which to attend
    attention_up: list[PositiveInt] = []
    attention_middle: bool = True
    head_channels: PositiveInt | None = None  # None: one head
    groups: PositiveInt = 32  # groups of all norms
    middle_groups: PositiveInt | None = 32  # groups of the norm of the middle's attention; None: no norm
    eps: Annotated[float, Field(gt=0)] = 1e-5  # epsilon of all norms
    modulation: Literal["shift", "scale_shift"] = "shift"  # what the noise level does in a block
    dropout: Share = 0.0  # dropout in every residual block
    padding: Literal[0, 1] = 1  # padding before the size is halved: 1 on all sides, 0 at the right and below
    time: Literal["cos_sin", "sin_cos", "table"] = "cos_sin"  # embedding of the noise level
    time_shift: Annotated[float, Field(ge=0, le=1)] = 0.0  # shift of its frequencies
    time_width: PositiveInt | None = None  # length of the vector of the noise level; None: 4 widths[0]
    timesteps: PositiveInt = 1000  # rows of a table


class Own(Tree):
    """A network from Python, of which a model file holds the weights and no code. No recipe can make one."""

    kind: Literal["own"]
    name: Annotated[str, Field(pattern=r"^\w{0,100}$")] = ""  # name of its class; for people, never imported
    told: Literal["timestep", "time", "sigma"] = "time"  # unit in which it takes the noise level


Network = Annotated[MLP | UNetSimple | UNet | UNet2D | DiT | VAE | Own, Field(discriminator="kind")]
