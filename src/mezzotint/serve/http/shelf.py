"""The runs of a folder, which a server may be told to show: what is there, and their models, read when they are asked for.

The name of a model is that of its run, `RUN`, the average that it ended with; `RUN@STEP` is the average of a checkpoint, and
`RUN@:WEIGHTS` and `RUN@STEP:WEIGHTS` have other weights: `raw`, or an average of a length such as 0.07, from snapshots.
Names are looked up among the folders that are there; nothing of a request is part of a path.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from mezzotint import build, plots
from mezzotint.cond import Batch, Cond
from mezzotint.conditions.labels import ALL
from mezzotint.data import KNOWN, TOYS
from mezzotint.disk.checkpoint import checkpoints, last_checkpoint, load_raw, read_averages
from mezzotint.disk.model_file import fill
from mezzotint.disk.names import CONFIG, MODEL
from mezzotint.disk.snapshots import average_of
from mezzotint.errors import ConfigError, DataError, MissingExtra, ModelError
from mezzotint.model.device import find_device
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.model.strips import noising
from mezzotint.serve.http.problems import Problem

KEPT = 4  # models of runs in memory
STRIP_ROWS = 6  # pictures of the way into noise


class Shelf:
    """loaded: the models of runs that were asked for last, by name."""

    def __init__(
        self, folder: Path, device: str = "auto", encoder: Path | None = None, keep: int = KEPT
    ) -> None:
        self.folder, self.keep = folder, keep
        self._open = partial(load, device=device, encoder=encoder)
        self.loaded: OrderedDict[str, Model] = OrderedDict()
        self._read: dict[str, tuple[Path, int]] = {}  # from which file, and when that was written
        self._reading = threading.Lock()

    def runs(self) -> list[Path]:
        """The directories of runs, the one that was written last first."""
        try:
            there = [path for path in self.folder.iterdir() if (path / CONFIG).is_file()]
        except OSError:
            return []
        return sorted(there, key=lambda path: -changed(path))

    def run(self, name: str) -> Path:
        """The directory of a run. Raises Problem 404."""
        found = next((path for path in self.runs() if path.name == name), None)
        if found is None:
            raise Problem(404, "there is no such run; /v1/runs lists them")
        return found

    def load(self, name: str) -> None:
        """Reads a model, unless it is there as it lies on disk. Takes a moment. Raises Problem 404 and 422."""
        run, _, rest = name.partition("@")
        if any(path.name == name for path in self.runs()):
            run, rest = name, ""
        if all(path.name != run for path in self.runs()):
            raise Problem(404, "there is no such model; /v1/models and /v1/runs list them", param="model")
        folder = self.run(run)
        step, _, weights = rest.partition(":")
        with self._reading:
            try:
                version = (folder, (folder / MODEL).stat().st_mtime_ns)
                if name not in self.loaded or self._read[name] != version:
                    self.loaded[name] = _model(folder, step, weights, self._open)
                    self._read[name] = version
            except OSError:
                raise Problem(422, "this run has no model yet; wait for its first checkpoint") from None
            except (ConfigError, ModelError, DataError, MissingExtra) as error:
                words = str(error).replace(str(folder), run).replace(str(self.folder), "runs")
                raise Problem(422, " ".join(words.split()), param="model") from None
            self.loaded.move_to_end(name)
            while len(self.loaded) > self.keep:
                self._read.pop(self.loaded.popitem(last=False)[0], None)


def changed(folder: Path) -> float:
    """When something was last written into a run, in seconds since 1970."""
    times = [0.0]
    for name in ("metrics.jsonl", MODEL, CONFIG):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:
            continue
    return max(times)


def progress(folder: Path) -> tuple[int, int | None]:
    """Steps of a run's newest checkpoint, and how many it will have; 0 and None where there is none yet."""
    newest = last_checkpoint(folder)
    try:
        state = json.loads((newest / "state.json").read_text(encoding="utf-8")) if newest else {}
        return int(state.get("step", 0)), int(state["until"]) if "until" in state else None
    except (OSError, ValueError, TypeError):
        return 0, None


def _model(folder: Path, step: str, weights: str, opened: Callable[..., Model]) -> Model:
    file = folder.absolute() / MODEL
    if step and not step.isdecimal():
        raise ConfigError("after @ write a step, or a colon and weights: RUN@2000, RUN@:raw, RUN@2000:0.07")
    if not step:
        return opened(file, weights=weights or "ema")
    if weights not in ("", "ema", "raw"):
        return _average(folder, int(step), weights, opened)
    there = {int(path.name.removeprefix("step-")): path for path in checkpoints(folder)[0]}
    if int(step) not in there:
        kept = ", ".join(map(str, sorted(there))) or "none"
        raise ModelError(f"the run has no checkpoint of that step; it has {kept}")
    path, model = there[int(step)], opened(file)
    if weights == "raw":
        load_raw(path, model.net)
        return _told(model, int(step), "raw")
    averages = read_averages(path)
    profiles = list(dict.fromkeys(name.partition("/")[0] for name in averages))
    profile = next((one for one in profiles if model.header.weights == f"ema {one}"), profiles[0])
    own = {name.partition("/")[2]: t for name, t in averages.items() if name.startswith(f"{profile}/")}
    fill(model.net, own, path)
    return _told(model, int(step), model.header.weights)


def _average(folder: Path, step: int, weights: str, opened: Callable[..., Model]) -> Model:
    try:
        length = float(weights)
    except ValueError:
        raise ConfigError("weights are raw, or an EMA length such as 0.07") from None
    model = opened(folder.absolute() / MODEL)
    fill(model.net, average_of(folder, length, step), folder / "ema")
    return _told(model, step, f"ema {length} of snapshots")


def _told(model: Model, step: int, weights: str) -> Model:
    model.header = replace(model.header, step=step, weights=weights)
    return model


def noising_strip(model: Model, may_read: bool) -> bytes:
    """PNG: examples with more and more noise. may_read: whether data at hand may be shown; else, and where they are not,
    they are the model's own pictures."""
    data, count = model.config.data, max(STRIP_ROWS, model.medium.least)
    bundled = data.name in TOYS or (data.name in KNOWN and not KNOWN[data.name].hub)
    if may_read and (bundled or (data.path is not None and data.path.exists())):
        try:
            source = build.source(model.config, find_device("cpu"))
            return plots.png(noising(model.config, source.facts, source.codec, source.preview(count)))
        except (ConfigError, DataError, MissingExtra):
            pass  # it is not what it was: pictures of the model's own show the same
    samples = model.sample(count, label=ALL if model.classes else None, image=model.blank)
    batch = Batch(model.codec.encode(samples.values), Cond(label=samples.labels))
    return plots.png(noising(model.config, model.facts, model.codec, batch))
