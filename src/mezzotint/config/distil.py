"""What a network learns: from data, or from another model."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mezzotint.config.base import Tree
from mezzotint.config.sample import Sample

ObjectiveName = Literal["denoise", "map", "progressive", "consistency", "meanflow", "autoencode"]
HOPS: tuple[ObjectiveName, ...] = ("map", "meanflow")  # whose networks are told how far a step goes


class Origin(Tree):
    """The model whose weights a training begins with; `mezzotint train RECIPE --from RUN` fills it in."""

    file: Path
    digest: str  # first 16 digits of the SHA-256 of the file


class Weak(Tree):
    """What guidance drives a teacher away from; `mezzotint distil RUN --weak STEP` fills it in."""

    file: Path
    digest: str  # first 16 digits of the SHA-256 of the file, or of the snapshots up to that step
    weights: str = "ema"  # averaged weights, or the run's average at a step, 0.1@800


class Teacher(Tree):
    """The model that a student learns from; once it has, the file is not needed any more."""

    file: Path
    digest: str  # first 16 digits of the SHA-256 of the file
    calls: Annotated[int, Field(ge=1, le=1024)] = 1  # network calls that the student is made for
    sample: Sample  # how the teacher is sampled, with its guidance
    weak: Weak | None = None
