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
        None  # what to train on: train, or any that the set has, or all; None: train where there are splits
    )
    column: str | None = (
        None  # of a table: the pictures; None: the one that the hub says, or called image, img, picture
    )
    size: Size | None = None  # height and width; None: the set's own
    channels: Literal[1, 3] | None = None  # None: 1 if all pictures are grey, else 3
    limit: PositiveInt | None = None  # so many only, spread evenly over the set
    only: str | None = None  # one class alone
    labels: bool | str | None = (
        None  # condition on the class; None: where there are classes; a column of a table: on that
    )
    captions: bool | str | None = (
        None  # condition on texts: true reads them, as does the name of a table's column; classes: their names
    )
    reading: Literal["words", "bytes"] = (
        "words"  # of captions: by the words that they have, or letter by letter
    )
    encoder: Path | None = (
        None  # of captions: a folder with a CLIP or T5, which reads them and stays as it is
    )
    background: str = "white"  # what transparent parts are laid over: a colour's name, or #rrggbb
    enlarge: Annotated[int, Field(ge=2, le=8)] | None = (
        None  # a model that makes pictures so many times as large: each is shown a small version of itself
    )
    window: Annotated[int, Field(ge=0)] = (
        0  # train on random squares of so many pixels a side; 0: on the whole
    )
    frames: Annotated[int, Field(ge=2, le=1024)] | None = None  # of a clip; None: the things are pictures
    stride: PositiveInt = 1  # of clips: every so many-th frame is taken
    known: Annotated[float, Field(ge=0, le=1)] = (
        0.0  # of clips: share of a batch whose first frames are known, so that the model learns to go on with clips
    )
    flip: bool | None = None  # mirror at random; None: where that makes sense for the set
    crop: Annotated[int, Field(ge=0)] = 0  # shift at random by up to so many pixels
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.0  # jitter of brightness, contrast and saturation
    holdout: Share = 0.05  # kept out of training (at most 1,000 pictures), for the held-out loss
    memory_gb: Annotated[float, Field(gt=0)] = 2.0  # larger sets are decoded as they are needed
    stream: bool = False  # parquet files read as they are needed: for sets that fit neither memory nor disk

    @model_validator(mode="after")
    def _check_clips(self) -> "Data":
        if self.stride > 1 and self.frames is None:
            raise ValueError(
                "stride is for clips; say how many frames they have, data.frames=16, or leave it out"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before_there_were_clips(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = write(self)
        new = [*(["frames", "stride"] if self.frames is None else []), *([] if self.known else ["known"])]
        return {key: value for key, value in tree.items() if key not in new}
