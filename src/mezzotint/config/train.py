"""The group `train`: one budget, and how to learn."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from mezzotint.config.base import Amount, Count, Interval, Share, Tree


class Train(Tree):
    """How to learn. One budget: epochs, images, steps or minutes."""

    epochs: Amount | None = None
    images: Count | None = None
    steps: Count | None = None
    minutes: Amount | None = None
    batch_size: PositiveInt = 128
    accumulate: PositiveInt = 1  # micro-batches that a batch is computed in; less memory, the same step
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    warmup: Share = 0.05  # share of the budget
    decay: Literal["cosine", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] | None = 1.0  # norm of the gradient
    ema: Annotated[float, Field(gt=0, lt=0.28)] = (
        0.05  # EMA length: standard deviation of the average's profile, as a share of training; other lengths can be made afterwards
    )
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = (
        None  # in place of a length: a constant decay with warm-up, such as 0.9999
    )
    label_drop: Share = 0.1  # share of labels replaced by "none", for guidance
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool | None = None  # None: on CUDA
    recompute: bool = False  # activation checkpointing: less memory, about a third more time
    nonfinite: Literal["skip", "rollback"] = (
        "skip"  # a step that is not finite is left out, or training goes back to the last checkpoint at half the rate
    )
    log_every: Interval = "50 steps"
    validate_every: Interval = "10%"
    sample_every: Interval = "20%"
    evaluate_every: Interval | None = (
        None  # a Fréchet distance, as of `mezzotint evaluate`, but of fewer samples
    )
    checkpoint_every: Interval = "10%"
    keep: PositiveInt = 2  # number of checkpoints that are kept: the newest
    keep_every: Interval | None = None  # steps whose checkpoints are kept for good
    snapshot_every: Interval = "10%"  # of the averages, from which those of other lengths are made
    features: Annotated[float, Field(ge=0)] = (
        0.0  # of an autoencoder of pictures with classes: weight of a distance of features (see `nets.features`)
    )
    replay: Share = 0.0  # share of every batch that is samples of the model to begin with (--from), so that old classes are not forgotten
    freeze: Annotated[
        list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)
    ] = []  # patterns of the names of weights that are not trained (--from)
    lora: Annotated[int, Field(ge=1, le=1024)] | None = (
        None  # rank of the matrices added to each layer (--from); all other weights are frozen
    )

    @model_serializer(mode="wrap")
    def _without_later_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run that uses none of these is written as it was before there were any."""
        tree: dict[str, Any] = write(self)
        return {k: v for k, v in tree.items() if k not in LATER or v}

    @model_validator(mode="after")
    def _check_budget(self) -> "Train":
        if len(budgets := [b for b in BUDGETS if getattr(self, b) is not None]) > 1:
            raise ValueError(f"give one budget, not {' and '.join(budgets)}")
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate {self.accumulate} is larger than the batch size {self.batch_size}")
        return self


BUDGETS = ("epochs", "images", "steps", "minutes")
OF_ORIGIN = ("replay", "freeze", "lora")  # keys of a training that begins with another model
LATER = (*OF_ORIGIN, "features")
