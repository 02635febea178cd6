"""What a run says while it trains: `fit` yields these, and whoever calls it decides what is shown."""

from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from mezzotint.data.open import Source


class Note(NamedTuple):
    """Something to tell the user, one line."""

    text: str


class Busy(NamedTuple):
    """What begins now, up to the next event: worth a line where it takes long."""

    text: str


class Opened(NamedTuple):
    """The data that is trained on, for what comes after: it need not be read again."""

    source: Source


class Tick(NamedTuple):
    """After a step. At logged steps, and now and then between slow ones, also the mean loss since the last that was
    logged, and the speed in pictures a second."""

    step: int
    until: int
    loss: float | None
    rate: float | None


class Logged(NamedTuple):
    """A row of metrics.jsonl, as it was written."""

    row: dict[str, Any]


class Sheet(NamedTuple):
    """A picture of samples that was written, for trackers."""

    step: int
    name: str
    image: Image.Image


class Done(NamedTuple):
    """The end. finished: False where it was stopped before the budget was used."""

    folder: Path
    step: int
    until: int
    finished: bool


Event = Note | Busy | Opened | Tick | Logged | Sheet | Done
