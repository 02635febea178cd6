"""What the numbers of a training run say: rules over its metrics, each with a sentence and what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from mezzotint.config import Config
from mezzotint.plots import column

COMPARABLE = ("denoise", "map", "autoencode")  # objectives whose losses at two steps can be compared
MIN_ROWS = 10  # logged rows: from fewer, nothing is concluded


class Topic(StrEnum):
    """Headings of docs/troubleshooting.md, as the anchors of links."""

    NAN = "nan-or-infinite-loss"
    STUCK = "the-loss-does-not-fall"
    BLURRY = "blurry-samples"
    COPIES = "copies-of-the-training-set"
    SLOW = "slow"


@dataclass(frozen=True)
class Remark:
    """One thing that the numbers say. text: a sentence or two, with what to do."""

    kind: Literal["problem", "advice", "good"]
    text: str
    topic: Topic | None = None


@dataclass(frozen=True)
class RunHistory:
    """What the rules look at. until: the steps of the budget, where it is known. memorization: the result of that
    check, where it was made."""

    rows: list[dict[str, Any]]
    config: Config
    until: int | None = None
    memorization: dict[str, Any] | None = None

    def __getitem__(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """The steps and finite values of a column."""
        return column(self.rows, key)

    @property
    def last(self) -> int:
        return max((row["step"] for row in self.rows), default=0)


def findings(evidence: RunHistory) -> list[Remark]:
    """All that is to say about a run: problems first, then advice, then what is well."""
    by_loss = (_held_out, _levels, _falls, _spikes, _average)
    rules = (_not_finite, _copies, *(by_loss if evidence.config.objective in COMPARABLE else (_moving,)))
    remarks = [finding for rule in (*rules, _clipped, _speed, _noise_scale) for finding in rule(evidence)]
    if not any(finding.kind != "good" for finding in remarks):
        if len(evidence["loss"][1]) >= MIN_ROWS:
            remarks.insert(0, Remark("good", "No sign of trouble in the numbers of this run."))
        else:
            remarks.append(Remark("advice", "Too few rows are logged to judge: lower train.log_every."))
    return sorted(remarks, key=lambda finding: ("problem", "advice", "good").index(finding.kind))


def _moving(run: RunHistory) -> Iterator[Remark]:
    """The aim of these objectives moves with the student or with the stage."""
    yield Remark(
        "good",
        f"The loss of {run.config.objective} does not measure progress, since its target moves: judge the samples "
        "(mezzotint evaluate).",
    )


def _not_finite(run: RunHistory) -> Iterator[Remark]:
    """Steps that the guard skipped, or, in the metrics of a run without it, losses that are NaN."""
    steps, counts = run["skipped"]
    bad_steps = [
        row["step"] for row in run.rows if row.get("loss") is not None and not np.isfinite(row["loss"])
    ]
    if total := int(counts.sum()):
        first = int(steps[counts > 0][0])
        yield Remark(
            "problem",
            f"The loss or gradient of {total:,} of {run.last:,} steps was not finite (first seen at step {first:,}); "
            "they were left out. Look for broken pictures, then lower train.lr, or train in fp32.",
            Topic.NAN,
        )
    elif bad_steps:
        yield Remark(
            "problem",
            f"The loss is not finite from step {bad_steps[0]:,} on. Lower train.lr, or train in fp32.",
            Topic.NAN,
        )


def _copies(run: RunHistory) -> Iterator[Remark]:
    memory = run.memorization
    if not memory:
        return
    copied, n = memory.get("copied", "?"), memory.get("n", "?")
    if isinstance(copied, float) and isinstance(n, int):  # a share, from the end of training
        copied = round(copied * n)
    count = f"{copied} of {n} samples are suspiciously close to a training picture"
    if memory.get("flagged"):
        yield Remark(
            "problem",
            f"Samples copy the training set: {count}. "
            "Train shorter, on more pictures, with augmentation, or a smaller network.",
            Topic.COPIES,
        )
    else:
        yield Remark("good", f"No sign of copying: {count}.")


def _held_out(run: RunHistory) -> Iterator[Remark]:
    """Overfitting: the held-out loss rises while the training loss falls. And its opposite: both still fall."""
    steps, val_loss = run["val_loss"]
    if len(val_loss) < 4:
        return
    best = int(val_loss.argmin())
    if val_loss[-1] > 1.02 * val_loss[best] and steps[best] < 0.9 * steps[-1]:
        lowest = f"The held-out loss is lowest at step {steps[best]:,.0f} ({val_loss[best]:.4g}), and {val_loss[-1]:.4g} at the end"
        around, end = _mean_near(run, steps[best]), _mean_near(run, steps[-1])
        if end < around:
            yield Remark(
                "problem",
                f"{lowest}, while the training loss kept falling: the network memorizes the training pictures (overfitting). "
                "Stop earlier, take more pictures or augmentation, or a smaller network or dropout.",
                Topic.COPIES,
            )
        else:
            yield Remark(
                "problem",
                f"{lowest}; the training loss rose, too: training diverged. Lower train.lr.",
                Topic.STUCK,
            )
        return
    before = val_loss[np.searchsorted(steps, 0.75 * steps[-1], side="right") - 1]
    fell = 1 - val_loss[-1] / before if before > 0 else 0.0
    finished = run.until is None or run.last >= run.until
    if finished and fell > 0.05:
        yield Remark(
            "advice",
            f"The held-out loss fell by {fell:.0%} over the last quarter of the run: the model is still learning. "
            "Give it a larger budget.",
            Topic.BLURRY,
        )
    elif val_loss[-1] <= 1.02 * val_loss[best]:
        yield Remark("good", f"The held-out loss ends at or near its lowest ({val_loss[-1]:.4g}).")


def _mean_near(run: RunHistory, step: float) -> float:
    """The mean training loss within a twentieth of the run before and after a step; nan where none was logged."""
    steps, loss = run["loss"]
    near = abs(steps - step) <= max(0.05 * run.last, 1)
    return float(loss[near].mean()) if near.any() else float("nan")


def _levels(run: RunHistory) -> Iterator[Remark]:
    """Overfitting shows at single noise levels before the mean does."""
    ratios = []
    for k in range(8):
        (_, loss), (_, val_loss) = run[f"loss_by_level/{k}"], run[f"val_loss_by_level/{k}"]
        if len(loss) < MIN_ROWS or not len(val_loss):
            return
        mean = loss[-max(1, len(loss) // 10) :].mean()
        ratios.append(val_loss[-1] / mean if mean > 0 else 1.0)
    level = int(np.argmax(ratios))
    if ratios[level] > 1.3:
        yield Remark(
            "advice",
            f"At noise level {level + 1} of 8 (1 is clean) the held-out loss is {ratios[level]:.1f} times the training "
            "loss: there the network fits the training pictures most closely. Check the samples for copies.",
            Topic.COPIES,
        )


def _falls(run: RunHistory) -> Iterator[Remark]:
    _, loss = run["loss"]
    if len(loss) < MIN_ROWS:
        return
    end = loss[-max(1, len(loss) // 10) :].mean()
    if end > 0.98 * loss[0]:
        yield Remark(
            "problem",
            f"The training loss does not fall: {loss[0]:.4g} at the first row, {end:.4g} at the end. "
            "Try a tenth and ten times train.lr, and look at the data (mezzotint show data).",
            Topic.STUCK,
        )


def _spikes(run: RunHistory) -> Iterator[Remark]:
    """Rows far above the median of their neighbours, by half and by eight median deviations."""
    steps, loss = run["loss"]
    if len(loss) < 2 * MIN_ROWS:
        return
    around = np.lib.stride_tricks.sliding_window_view(np.pad(loss, 5, mode="reflect"), 11)
    middle = np.median(around, axis=1)
    spread = np.median(abs(around - middle[:, None]), axis=1)
    above = (loss > 1.5 * middle) & (loss > middle + 8 * spread) & (np.arange(len(loss)) > len(loss) // 20)
    if above.any():
        largest = int(np.argmax(np.where(above, loss / middle, 0)))
        yield Remark(
            "advice",
            f"The loss jumps in {above.sum()} of {len(loss)} logged rows, at step {steps[largest]:,.0f} to "
            f"{loss[largest] / middle[largest]:.1f} times its neighbours. Lower train.lr, or lengthen train.warmup.",
            Topic.NAN,
        )


def _clipped(run: RunHistory) -> Iterator[Remark]:
    clip = run.config.train.clip
    _, norms = run["grad_norm"]
    if clip is None or len(norms) < MIN_ROWS:
        return
    second_half = norms[len(norms) // 2 :]
    if (share := float((second_half > clip).mean())) > 0.5:
        yield Remark(
            "advice",
            f"The gradient was clipped at {share:.0%} of the logged steps of the second half: train.clip {clip:g} is "
            f"below its usual norm of {np.median(second_half):.2g}. Raise train.clip above that, or lower train.lr.",
            Topic.STUCK,
        )


def _speed(run: RunHistory) -> Iterator[Remark]:
    _, speed = run["images_per_second"]
    if len(speed) < MIN_ROWS:
        return
    first_half, last_quarter = np.median(speed[: len(speed) // 2]), np.median(speed[-(len(speed) // 4) :])
    if last_quarter < 0.7 * first_half:
        yield Remark(
            "advice",
            f"Training slowed down from {first_half:,.0f} to {last_quarter:,.0f} pictures a second: other programs on the machine, "
            "a hot device, or data that no longer fits the memory.",
            Topic.SLOW,
        )


def _average(run: RunHistory) -> Iterator[Remark]:
    """ema_gap: the held-out loss of the weights as they are, minus that of their average. Negative at the end, where
    the learning rate is low, the average still remembers weights from when the network was worse."""
    (_, gap), (_, val_loss) = run["ema_gap"], run["val_loss"]
    if not len(gap) or not len(val_loss):
        return
    if gap[-1] < -0.01 * val_loss[-1]:
        train = run.config.train
        shorter = f"train.ema={train.ema / 2:g}" if train.ema_decay is None else "a lower train.ema_decay"
        yield Remark(
            "advice",
            f"The averaged weights (EMA) have a higher held-out loss than the last ones (by {-gap[-1]:.3g}): the EMA is "
            f"too long for this run. Try {shorter}, or a larger budget.",
            Topic.BLURRY,
        )
    elif gap[-1] > 0:
        yield Remark("good", f"Averaging the weights (EMA) lowers the held-out loss by {gap[-1]:.3g}.")


def _noise_scale(run: RunHistory) -> Iterator[Remark]:
    """The batch at which noise and signal of the gradient are equal (McCandlish et al. 2018, eq. 2.9): batches far
    below take more steps, but no more pictures, and batches far above spend pictures for little."""
    _, scales = run["noise_scale"]
    scales = scales[scales > 0]
    if len(scales) < 3:
        return
    batch, scale = run.config.train.batch_size, float(np.median(scales[len(scales) // 2 :]))
    if scale > 8 * batch:
        yield Remark(
            "advice",
            f"The gradient noise scale is {scale:,.0f} pictures, {scale / batch:.0f} times the batch of {batch:,}: a "
            "larger batch (with a higher train.lr) would make better steps, at no more pictures, where the machine "
            "has room for it.",
            Topic.SLOW,
        )
    elif scale < batch / 4:
        yield Remark(
            "advice",
            f"The gradient noise scale is {scale:,.0f} pictures, far below the batch of {batch:,}: a batch of "
            f"{max(1, batch // 2):,} would learn nearly as much a step, from half the pictures.",
            Topic.SLOW,
        )
