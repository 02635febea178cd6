"""The metrics and sheets of a run, sent on to TensorBoard or Weights & Biases as they come, for those who ask for it.

metrics.jsonl has every row anyway, so a tracker that fails (a full disk, no network) is dropped with a warning, and
training goes on. Nothing is written before the first row. A run that goes on from a checkpoint comes to steps that were
sent before; its curves go on, and no step is there twice.
"""

import importlib
import json
import os
import uuid
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
from PIL import Image

from mezzotint.errors import ConfigError, MissingExtra

NAMES = ("tensorboard", "wandb")


class Tracker(Protocol):
    """What a run tells, step by step. A step below the last one says that the run went back to a checkpoint."""

    def scalars(self, step: int, row: dict[str, Any]) -> None:
        """A row of metrics; of a list, each entry as name/0, name/1, ..."""

    def picture(self, step: int, name: str, image: Image.Image) -> None: ...

    def close(self) -> None: ...


def open_trackers(names: Sequence[str], folder: Path, config: dict[str, Any], name: str) -> list[Tracker]:
    """Trackers for a run directory. config: what the tracker shows beside the curves. name: of the run.

    Raises ConfigError for a name that is not in NAMES or a login that is missing, MissingExtra where a package is.
    """
    trackers: list[Tracker] = []
    for tracker in dict.fromkeys(names):
        match tracker:
            case "tensorboard":
                _import("tensorboard")
                trackers.append(_Careful(tracker, TensorBoard(folder, config)))
            case "wandb":
                os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read by the import
                trackers.append(_Careful(tracker, WandB(_import("wandb"), folder, config, name)))
            case _:
                raise ConfigError(f"there is no tracker {tracker!r}; the trackers are {' and '.join(NAMES)}")
    return trackers


def flat(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a row, without its step: {"a": 1, "b": [2, None]} to {"a": 1.0, "b/0": 2.0}."""
    numbers: dict[str, float] = {}
    for key, value in row.items():
        entries = (
            {f"{key}/{i}": entry for i, entry in enumerate(value)}
            if isinstance(value, list)
            else {key: value}
        )
        numbers |= {k: float(v) for k, v in entries.items() if isinstance(v, int | float) and k != "step"}
    return numbers


class TensorBoard:
    """Event files in tensorboard/ of the run directory: `tensorboard --logdir runs` shows all runs."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self._folder, self._config = folder / "tensorboard", config
        self._writer: Any = None
        self._last = 0

    def _open(self, step: int) -> Any:
        """purge_step tells readers to forget what earlier files say of this step and later ones."""
        if step < self._last:
            self.close()
            self._writer = None
        self._last = step
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            new = not self._folder.exists()
            self._writer = SummaryWriter(self._folder, purge_step=step)
            if new:  # indented: Markdown for text as it is
                text = "".join(
                    f"    {line}\n" for line in yaml.safe_dump(self._config, sort_keys=False).splitlines()
                )
                self._writer.add_text("config", text, 0)
        return self._writer

    def scalars(self, step: int, row: dict[str, Any]) -> None:
        writer = self._open(step)
        for key, value in flat(row).items():
            writer.add_scalar(key, value, step)
        writer.flush()  # a run that is killed has lost no row; a full disk is noticed here

    def picture(self, step: int, name: str, image: Image.Image) -> None:
        self._open(step).add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class WandB:
    """A run of the project "mezzotint", with the environment's settings: WANDB_MODE=offline keeps it in wandb/ of the
    run directory, for `wandb sync`. Code, git state and console output are not sent, nor crash reports.

    W&B takes steps in rising order only. wandb/run.json in the run directory has the id and the last step sent; steps up
    to there are passed over when a run goes back to a checkpoint: they were sent, and runs repeat exactly.
    """

    def __init__(self, wandb: Any, folder: Path, config: dict[str, Any], name: str) -> None:
        self._wandb, self._folder, self._config, self._name = wandb, folder, config, name
        self._run: Any = None
        self._id, self._next = uuid.uuid4().hex[:12], 0
        if os.environ.get("WANDB_MODE", "online") in ("online", "shared"):
            try:
                known = wandb.login(prompt=False)
            except Exception as error:
                raise ConfigError(f"wandb cannot log in ({_line(error)}); {_LOGIN}") from error
            if not known:
                raise ConfigError(f"wandb has no account here; {_LOGIN}")

    def _open(self) -> Any:
        if self._run is None:
            memory = self._folder / "wandb" / "run.json"
            if memory.is_file():
                stored = json.loads(memory.read_text())
                self._id, self._next = stored["id"], stored["step"] + 1
            memory.parent.mkdir(parents=True, exist_ok=True)
            self._run = self._wandb.init(
                project="mezzotint",
                dir=self._folder,
                id=self._id,
                name=self._name,
                config=self._config,
                resume="allow",
                settings=self._wandb.Settings(console="off", disable_git=True, disable_code=True),
            )
        return self._run

    def _send(self, step: int, content: Callable[[], dict[str, Any]]) -> None:
        run = self._open()
        if step >= self._next:
            self._next = step  # more may come of the same step
            run.log(content(), step=step)
            temporary = (
                self._folder / "wandb" / ".run.json.tmp"
            )  # renamed: whenever we are killed, one is whole
            temporary.write_text(json.dumps({"id": self._id, "step": step}))
            temporary.replace(temporary.with_name("run.json"))

    def scalars(self, step: int, row: dict[str, Any]) -> None:
        self._send(step, lambda: flat(row))

    def picture(self, step: int, name: str, image: Image.Image) -> None:
        self._send(step, lambda: {name: self._wandb.Image(image)})

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


_LOGIN = "run `wandb login`, or set WANDB_MODE=offline"


class _Careful:
    """A tracker whose first failure is its last, and nobody else's."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self._name, self._tracker, self._failed = name, tracker, False

    def _try(self, call: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            call()
        except Exception as error:  # each library has classes of its own
            self._failed = True
            warnings.warn(
                f"{self._name} failed ({_line(error)}) and is switched off; training continues, and metrics.jsonl has all rows",
                stacklevel=3,
            )

    def scalars(self, step: int, row: dict[str, Any]) -> None:
        self._try(lambda: self._tracker.scalars(step, row))

    def picture(self, step: int, name: str, image: Image.Image) -> None:
        self._try(lambda: self._tracker.picture(step, name, image))

    def close(self) -> None:
        self._try(self._tracker.close)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f'{module} is not installed; run: pip install "mezzotint[track]"') from error
