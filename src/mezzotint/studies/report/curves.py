"""The curves of a training report, each with a word on how to read it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from mezzotint.config import Config
from mezzotint.plots import column, history

LEVELS = ("1 clean", "2", "3", "4", "5", "6", "7", "8 noisy")  # eight equal parts of u


class Curve(NamedTuple):
    """A chart of columns of the metrics (see `plots.history`)."""

    title: str
    note: str  # how to read it
    columns: dict[str, str]  # label -> key
    ylabel: str
    rule: tuple[str, float] | None = None
    from_zero: bool = False


def draw_curves(rows: list[dict[str, Any]], config: Config) -> Iterator[tuple[Curve, str]]:
    """Every curve that the rows have numbers for, and its chart as an <svg>."""
    for curve in _curves(config):
        if curve.title == "Skipped steps" and not column(rows, "skipped")[1].any():
            continue  # an empty chart of what luckily did not happen
        chart = history(rows, curve.columns, ylabel=curve.ylabel, rule=curve.rule, from_zero=curve.from_zero)
        if chart:
            yield curve, chart


def _curves(config: Config) -> Iterator[Curve]:
    train = config.train
    yield Curve(
        "Loss",
        "Both should fall. Held-out rising while training falls is overfitting: the network memorizes.",
        {"training": "loss", "held out": "val_loss"},
        "loss",
    )
    yield Curve(
        "PSNR",
        "Of held-out pictures, reconstructed from their codes with the averaged weights (EMA).",
        {"PSNR": "psnr"},
        "dB",
    )
    yield Curve(
        "Training loss by noise level",
        "Eight parts of the noise levels. Clean levels make detail, noisy ones the layout.",
        {label: f"loss_by_level/{k}" for k, label in enumerate(LEVELS)},
        "training loss",
    )
    yield Curve(
        "Held-out loss by noise level",
        "A level that rises here but falls in training is the first to be memorized.",
        {label: f"val_loss_by_level/{k}" for k, label in enumerate(LEVELS)},
        "held-out loss",
    )
    yield Curve(
        "Gradient norm",
        "Before clipping. Jumps are an early sign of trouble; gradients above the line are clipped.",
        {"gradient norm": "grad_norm"},
        "gradient norm",
        None if train.clip is None else ("train.clip", train.clip),
    )
    yield Curve(
        "Gradient noise scale",
        "The batch at which noise and signal of the gradient are equal: far above the line, larger batches pay.",
        {"noise scale": "noise_scale"},
        "pictures",
        ("batch", float(train.batch_size)),
    )
    yield Curve(
        "Gain of the EMA",
        "Held-out loss of the last weights minus that of their average (EMA). Below 0 at the end, the average is too long.",
        {"gain": "ema_gap"},
        "held-out loss",
        ("none", 0.0),
    )
    yield Curve(
        "Learning rate",
        "As planned: warm-up, then decay.",
        {"learning rate": "lr"},
        "learning rate",
        from_zero=True,
    )
    yield Curve(
        "Speed",
        "Should be level. Sheets, checkpoints and the held-out loss are not counted.",
        {"speed": "images_per_second"},
        "pictures a second",
        from_zero=True,
    )
    yield Curve(
        "Skipped steps",
        "Their loss or gradient was not finite; the weights stayed as they were.",
        {"skipped": "skipped"},
        "steps",
        from_zero=True,
    )
