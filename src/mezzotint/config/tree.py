"""The configuration: one tree, which is the YAML of a run, the key=value overrides, and the header of a model file.

Imports no torch, so that --help and a wrong key answer at once.
"""

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from mezzotint.config.base import Tree
from mezzotint.config.codec import Codec
from mezzotint.config.data import Data
from mezzotint.config.diffusion import Diffusion
from mezzotint.config.distil import ObjectiveName, Origin, Teacher
from mezzotint.config.network import VAE, Network, UNet
from mezzotint.config.sample import Sample
from mezzotint.config.train import OF_ORIGIN, Train

BAKED_IN = "the guidance of its teacher is baked into this student, and cannot be changed any more; leave guidance out"


class Config(Tree):
    data: Data = Data()
    network: Network = UNet()
    diffusion: Diffusion = Diffusion()
    train: Train = Train()
    sample: Sample = Sample()
    objective: ObjectiveName = "denoise"  # what is learned; map and progressive are of `mezzotint distil`
    teacher: Teacher | None = None  # of a student
    origin: Origin | None = None  # of a training that begins with another model's weights
    codec: Codec | None = None  # of a model of latents

    @model_serializer(mode="wrap")
    def _without_later_groups(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run that has neither an origin nor a codec is written as it was before there were any."""
        tree: dict[str, Any] = write(self)
        return {k: v for k, v in tree.items() if k not in ("origin", "codec") or v is not None}

    @model_validator(mode="after")
    def _check_autoencoder(self) -> "Config":
        if (self.objective == "autoencode") != isinstance(self.network, VAE):
            raise ValueError(
                "objective autoencode and network.kind vae go together: use the recipe vae, or change one of them"
            )
        if self.objective == "autoencode" and self.train.evaluate_every is not None:
            raise ValueError(
                "train.evaluate_every judges samples, and an autoencoder makes none; leave it out: its PSNR is logged with every held-out loss"
            )
        if self.objective == "autoencode" and self.train.compile:
            raise ValueError(
                "an autoencoder cannot be compiled, since the size of its codes changes every second step; leave train.compile out"
            )
        if self.objective != "autoencode" and self.train.features:
            raise ValueError(
                "train.features is for autoencoders; use the recipe vae, or leave train.features out"
            )
        if self.objective == "autoencode" and self.codec is not None:
            raise ValueError("an autoencoder is trained on pixels, not on codes; leave codec out")
        return self

    @model_validator(mode="after")
    def _check_origin(self) -> "Config":
        wanted = [key for key in OF_ORIGIN if getattr(self.train, key)]
        if wanted and self.origin is None:
            raise ValueError(f"train.{wanted[0]} is for fine-tuning; add --from RUN, or leave it out")
        if self.train.replay and (self.data.enlarge or self.objective == "autoencode"):
            raise ValueError(
                "train.replay needs a model that makes pictures by itself; leave it out for autoencoders and models that enlarge"
            )
        return self

    @model_validator(mode="after")
    def _check_student(self) -> "Config":
        if self.objective in ("map", "progressive") and self.teacher is None:
            raise ValueError(f"objective {self.objective} needs a teacher: mezzotint distil RUN")
        if self.teacher is not None and self.origin is not None:
            raise ValueError("a student starts from its teacher's weights; leave origin out")
        if self.teacher is not None and self.objective in ("denoise", "meanflow", "autoencode"):
            raise ValueError(f"objective {self.objective} has no teacher; leave teacher out")
        if self.teacher is not None and self.sample.guidance != 1:
            raise ValueError(BAKED_IN)
        if self.objective not in ("denoise", "autoencode") and self.train.precision == "bf16":
            raise ValueError(f"objective {self.objective} is trained in float32; leave train.precision out")
        if self.data.enlarge and self.objective != "denoise":
            raise ValueError(
                "models that enlarge have no students (yet); leave data.enlarge or objective out"
            )
        if self.data.enlarge and self.train.evaluate_every:
            raise ValueError(
                "models that enlarge have no Fréchet distance in training; leave train.evaluate_every out"
            )
        if self.data.window and not self.data.enlarge:
            raise ValueError(
                "data.window is for models that enlarge; set data.enlarge, or leave data.window out"
            )
        if self.data.window % (self.data.enlarge or 1):
            raise ValueError(f"data.window={self.data.window} must be a multiple of data.enlarge")
        diffusion = self.diffusion
        if self.objective == "meanflow" and (diffusion.process, diffusion.parameterization) != (
            "flow",
            "velocity",
        ):
            raise ValueError("meanflow needs diffusion.process=flow and diffusion.parameterization=velocity")
        if self.objective == "consistency" and diffusion.parameterization in ("eps", "x0"):
            raise ValueError(
                "consistency needs diffusion.parameterization v, velocity or edm, which are exact at clean"
            )
        return self
