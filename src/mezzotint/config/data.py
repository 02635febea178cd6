"""The group `data`: which pictures or points, and how they are read."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, SerializerFunctionWrapHandler, model_serializer, model_validator

from mezzotint.config.base import Share, Size, Tree

UNNAMED = "unnamed"  # the set of a model that was trained in Python


class Data(Tree):
    """What to learn from."""

    name: str = "digits"  # a 2-D set, digits, mnist, cifar10, ..., folder, parquet, or a hub id "owner/set"
    path: Path | None = None  # local files to read instead of asking the hub
    split: str | None = (
        None  # split to train on: one that the set has, or all; None: train if there are splits
    )
    column: str | None = (
        None  # column of a table that has the pictures; None: the hub's, or image, img, picture
    )
    size: Size | None = None  # height and width; None: the set's own
    channels: Literal[1, 3] | None = None  # None: 1 if all pictures are grey, else 3
    limit: PositiveInt | None = None  # number of pictures, spread evenly over the set; None: all
    only: str | None = None  # name of the only class to train on
    labels: bool | str | None = (
        None  # condition on the class: true, false, or a column of a table; None: if there are classes
    )
    captions: bool | str | None = (
        None  # condition on texts: true, a column of a table, or classes (the names of the classes)
    )
    reading: Literal["words", "bytes"] = (
        "words"  # how captions are read: by words, or letter by letter (bytes)
    )
    encoder: Path | None = None  # folder of a CLIP or T5 that reads captions; it is not trained
    background: str = "white"  # colour of transparent parts: a name, or #rrggbb
    enlarge: Annotated[int, Field(ge=2, le=8)] | None = (
        None  # factor of a model that enlarges: its condition is each picture, shrunk by this factor
    )
    window: Annotated[int, Field(ge=0)] = 0  # side in pixels of random squares to train on; 0: whole pictures
    frames: Annotated[int, Field(ge=2, le=1024)] | None = None  # frames of a clip; None: pictures
    stride: PositiveInt = 1  # of clips: 2 takes every second frame, 3 every third
    known: Annotated[float, Field(ge=0, le=1)] = (
        0.0  # of clips: share of a batch whose first frames are known, so that the model learns to continue clips
    )
    flip: bool | None = None  # mirror at random; None: if that suits the set
    crop: Annotated[int, Field(ge=0)] = 0  # pixels by which pictures are shifted at random, at most
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.0  # jitter of brightness, contrast and saturation
    holdout: Share = 0.05  # share kept out of training (at most 1,000 pictures), for the held-out loss
    memory_gb: Annotated[float, Field(gt=0)] = (
        2.0  # sets that need more memory are decoded as they are needed
    )
    stream: bool = False  # parquet files read as they are needed: for sets that fit neither memory nor disk

    @model_validator(mode="after")
    def _check_clips(self) -> "Data":
        if self.stride > 1 and self.frames is None:
            raise ValueError(
                "stride is for clips; set the number of frames, data.frames=16, or leave stride out"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before_there_were_clips(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = write(self)
        new = [*(["frames", "stride"] if self.frames is None else []), *([] if self.known else ["known"])]
        return {key: value for key, value in tree.items() if key not in new}
