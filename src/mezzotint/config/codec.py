"""The group `codec`: the autoencoder whose codes a model is of."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from mezzotint.config.base import Factors, Tree
from mezzotint.config.network import VAE


class KL(Tree):
    """Stable Diffusion's autoencoder, from a file of diffusers' AutoencoderKL."""

    kind: Literal["kl"]
    latents: PositiveInt = 4
    widths: Factors = [128, 256, 512, 512]  # channels of the levels, each of half the size
    blocks: PositiveInt = 2  # residual blocks a level on the way down, one more on the way up
    quant: bool = True  # 1x1 convolutions before and after a code


class Taesd(Tree):
    """A tiny autoencoder of the same codes, from a file of diffusers' AutoencoderTiny or of TAESD itself."""

    kind: Literal["taesd"]
    latents: PositiveInt = 4
    width: PositiveInt = 64
    counts: Factors = [1, 3, 3, 3]  # residual blocks at full size, a half, a quarter, an eighth


Coder = Annotated[VAE | KL | Taesd, Field(discriminator="kind")]


class Codec(Tree):
    """The autoencoder of a model of latents; once it is trained, its file has the autoencoder in it."""

    file: Path | None = None  # file of a run of `mezzotint train vae`, or of a published autoencoder
    digest: str = ""  # first 16 digits of the SHA-256 of its weights; filled in automatically
    network: Coder | None = None  # filled in automatically
