"""Which settings make the best pictures for a given cost?  Sampler, steps, guidance and its interval, EMA length.

Every trial makes the same pictures from the same seeds ("common random numbers"), so that trials differ by their
settings and hardly by chance. Still, the best of many is lucky: at the end the present defaults and the found ones are
compared on fresh seeds, picture by picture, and only a gain beyond noise is kept.

The judge is a classifier whose features are compared, and it uses training data alone: the pictures held out of training
and a fixed part of the others are the reference, the rest trains it. The test split is left for `mezzotint evaluate`. That the model
has learned from most of the reference does not matter here: all trials are of this one model.
"""

import copy
import json
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint import cache
from mezzotint.disk.files import write_json
from mezzotint.disk.folder import locked
from mezzotint.disk.model_file import read_header, save_model
from mezzotint.disk.names import find
from mezzotint.disk.snapshots import snapshots
from mezzotint.errors import ConfigError, RunError
from mezzotint.evaluate.reference import SHARED, SILENT, Progress
from mezzotint.model.cost import TIMED_PICTURES, fit_steps, network_calls, seconds_of
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.studies.tune.judge import RESAMPLES, Look, look, open_tuning_judge, standard_error
from mezzotint.studies.tune.trials import (
    FULL,
    PRESENT_CALLS,
    QUICK,
    STUDENTS,
    TRIAL_KEYS,
    Choice,
    Grid,
    Outcome,
    Target,
    Trial,
    TrialDone,
)
from mezzotint.train.distributed import ALONE, Ranks

CONFIRM_FACTOR = 2  # times as many pictures for the last comparison, from fresh seeds
MIN_GAIN_STANDARD_ERRORS = 2.0  # to believe a gain
TIME_SHARE = 0.9  # of the seconds, to plan with


def tune(
    name: str | Path,
    target: Target = PRESENT_CALLS,
    *,
    n: int = 1000,
    seed: int = 0,
    quick: bool = False,
    dry_run: bool = False,
    device: str = "auto",
    encoder: str | Path | None = None,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
) -> Iterator[TrialDone | Outcome]:
    """Searches, and writes what it found into the model file as its defaults; yields every trial, then the outcome.

    n: pictures (or points) a trial. seed: of the first. quick: fewer trials. dry_run: write nothing. encoder: as of `load`. progress: called
    with (what, done, of so many) while a judge is trained and while pictures are made. A run keeps its trials in
    tune.json: the same command resumes where it was interrupted. Resumed training overwrites the model file,
    with the defaults of the run's configuration. A single model file has no snapshots for other EMA lengths.
    ranks: processes that all call this and share every trial's pictures; the first one keeps the trials and decides.

    Raises ConfigError, ModelError, DataError or RunError in one line.
    """
    if n < 100:
        raise ConfigError(f"-n {n} is too few to compare settings; the default is 1000")
    path = find(name)
    in_run = path.name == "model.safetensors" and (path.parent / "config.yaml").is_file()
    folder = path.parent if in_run else None
    kept = folder if ranks.first and not dry_run else None  # where what is found is written
    with locked(kept) if kept else nullcontext():
        search = Search(
            path, folder, target, n, seed, QUICK if quick else FULL, device, progress, encoder, ranks
        )
        content: dict[str, Any] = {"trials": search.trials}
        for trial in search.run():
            if kept:
                write_json(kept / "tune.json", content)
            yield trial
        outcome = search.outcome()
        pair = {"present": search.record(outcome.present), "found": search.record(outcome.best)}
        if outcome.is_better and not dry_run:
            ranks.once(lambda: search.publish(outcome.best.choice))
            outcome = replace(outcome, written=True)
        if kept:
            write_json(
                kept / "tune.json", content | pair | {"reason": outcome.reason, "written": outcome.written}
            )
        yield outcome


class Search:
    """Descent by coordinates: EMA length, guidance, sampler and steps, and the EMA length once more."""

    def __init__(
        self,
        path: Path,
        folder: Path | None,
        target: Target,
        n: int,
        seed: int,
        grid: Grid,
        device: str,
        progress: Progress,
        encoder: str | Path | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.path, self.target, self.n, self.seed = path, target, n, seed
        self.progress, self.ranks = progress, ranks
        self.weights = lru_cache(maxsize=2)(
            lambda weights: load(path, weights=weights, device=device, encoder=encoder)
        )
        self.trials: dict[str, Any] = ranks.once(lambda: _read(folder / "tune.json") if folder else {})
        self.lengths = [f"{length:g}" for length in grid.lengths] if folder and snapshots(folder) else []
        self.present = Choice("ema", read_header(path).config.sample)
        self.plain = self.weights("ema")
        student = self.plain.config.teacher is not None
        self.grid = replace(grid, samplers=STUDENTS) if student else grid
        self.steerable = self.plain.guidable and not student
        self.budget = ranks.once(self.allowed_calls)  # measured by one clock
        self.judge = ranks.in_turn(lambda: open_tuning_judge(self.plain, progress))
        ranks.equal(self.judge.version, f"the judge; {SHARED}")
        guided = 1 + len(grid.scales) * len(grid.intervals) + 3 * len(grid.around)
        self.total = 1 + 2 * len(self.lengths) + len(self.grid.samplers) + len(grid.shares)
        self.total += guided if self.steerable else 0
        self.done, self.measured, self.spent = 0, 0, 0.0
        self.best: Trial | None = None

    def model(self, choice: Choice) -> Model:
        """The model with a choice as its defaults, just as it would be written."""
        model = copy.copy(self.weights(choice.weights))
        model.config = model.config.model_copy(update={"sample": choice.settings})
        model.header = replace(model.header, config=model.config)
        return model

    def allowed_calls(self) -> int:
        """Network calls a picture that the target allows."""
        budgets = [] if self.target.calls is None else [self.target.calls]
        if self.target.seconds is not None:
            settings = fit_steps(self.plain, self.present.settings, 16) or self.present.settings
            a_call = seconds_of(self.model(Choice("ema", settings))) / network_calls(self.plain, settings)
            budgets.append(int(TIME_SHARE * self.target.seconds / a_call))
            if not budgets[-1]:
                raise ConfigError(
                    f"--seconds {self.target.seconds:g} is too short: here {TIMED_PICTURES} pictures take {a_call:.2g} s per network call; raise it"
                )
        return min(budgets, default=network_calls(self.plain, self.present.settings))

    # --- what is tried --------------------------------------------------------------------------------------

    def run(self) -> Iterator[TrialDone]:
        yield from self.attempt(self.start())
        for coordinate in (
            self.averages,
            self.guidance,
            self.refine_guidance,
            self.samplers,
            self.fewer_steps,
            self.averages,
        ):
            assert self.best is not None
            yield from self.attempt(coordinate(self.best.choice))

    def start(self) -> Iterator[Choice]:
        """The present defaults, or where the target does not allow a single step of them, without guidance."""
        yield next(self.all_steps([self.present, self.present.changed(guidance=1.0)]))

    def averages(self, best: Choice) -> Iterator[Choice]:
        yield from (replace(best, weights=length) for length in self.lengths)

    def guidance(self, best: Choice) -> Iterator[Choice]:
        """Scales by intervals: of them one depends on the other."""
        if self.steerable:
            pairs = [(1.0, None), *product(self.grid.scales, self.grid.intervals)]
            yield from self.all_steps(best.changed(guidance=g, guidance_interval=i) for g, i in pairs)

    def refine_guidance(self, best: Choice) -> Iterator[Choice]:
        """About the best guidance: its scale and the ends of its interval."""
        scale, interval = best.settings.guidance, best.settings.guidance_interval
        for factor in self.grid.around if self.steerable and scale != 1 else ():
            changes: list[dict[str, Any]] = [{"guidance": round(1 + (scale - 1) * factor, 3)}]
            if interval is not None and interval[1] is not None:
                low, high = interval[0], interval[1]
                changes.append({"guidance_interval": (round(low * factor, 3), high)})
                changes.append({"guidance_interval": (low, round(high * factor, 3))})
            yield from self.all_steps(best.changed(**change) for change in changes)

    def samplers(self, best: Choice) -> Iterator[Choice]:
        others = [name for name in self.grid.samplers if name != best.settings.sampler]
        yield from self.all_steps(best.changed(sampler=name, eta=0.0, churn=0.0) for name in others)

    def fewer_steps(self, best: Choice) -> Iterator[Choice]:
        """Steps: all that the target allows were tried, and now and then fewer are better."""
        for share in self.grid.shares:
            yield best.changed(steps=max(1, round(share * best.settings.steps)))

    def all_steps(self, choices: Iterable[Choice]) -> Iterator[Choice]:
        """The choices that the target allows, each with all the steps that it allows."""
        for choice in choices:
            settings = fit_steps(self.plain, choice.settings, self.budget)
            if settings is not None:
                yield replace(choice, settings=settings)

    # --- trying it ------------------------------------------------------------------------------------------

    def attempt(self, choices: Iterable[Choice]) -> Iterator[TrialDone]:
        for choice in choices:
            trial = self.measure(choice)
            goal = self.target.agreement
            better = self.best is None or trial.rank(goal) < self.best.rank(goal)
            self.best = trial if better else self.best
            self.done = min(self.done + 1, self.total)
            left = self.spent / max(1, self.measured) * (self.total - self.done + 2 * CONFIRM_FACTOR)
            yield TrialDone(trial, better, self.done, self.total, left)

    def measure(self, choice: Choice) -> Trial:
        """A trial, or what an earlier one of the same weights, settings, pictures and judge has found."""
        model = self.model(choice)
        key = cache.digest(
            *model.net.state_dict().values(),
            f"{model.denoiser.dtype} {choice.settings.model_dump_json()} {self.n} {self.seed} {self.judge.version}",
        )
        found = self.ranks.once(lambda: self.trials.get(key))
        if found is None:
            began = time.perf_counter()
            view = look(model, self.judge, self.n, self.seed, self.progress, self.ranks)
            found = self.trials[key] = self.ranks.once(lambda: self.record(self.trial(choice, view)))
            self.measured, self.spent = self.measured + 1, self.spent + time.perf_counter() - began
        return Trial(choice, **{k: found[k] for k in TRIAL_KEYS})

    def record(self, trial: Trial) -> dict[str, Any]:
        """A trial as it stands in tune.json."""
        weights = self.weights(trial.choice.weights).header.weights
        settings = trial.choice.settings.model_dump(mode="json")
        return {"weights": weights, **settings, **{k: getattr(trial, k) for k in TRIAL_KEYS}}

    def trial(self, choice: Choice, view: Look) -> Trial:
        distance = self.judge.distance
        error = standard_error(lambda i: distance(view.rows[i]), len(view.rows))
        agreement = None if view.right is None else float(view.right.double().mean())
        return Trial(
            choice, network_calls(self.plain, choice.settings), distance(view.rows), error, agreement
        )

    # --- the end --------------------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        """The present defaults against the best, on seeds that chose nothing."""
        assert self.best is not None
        best = self.best.choice
        steps, seconds = self.ranks.once(lambda: self.timed(best))
        best = best.changed(steps=steps)
        n, seed = CONFIRM_FACTOR * self.n, self.seed + self.n
        a = look(self.model(self.present), self.judge, n, seed, self.progress, self.ranks)
        b = a
        if best != self.present:
            b = look(self.model(best), self.judge, n, seed, self.progress, self.ranks)

        def gain_of(index: Tensor) -> float:
            return self.judge.distance(a.rows[index]) - self.judge.distance(b.rows[index])

        def compared() -> tuple[dict[str, Any], dict[str, Any], float]:
            pair = (self.trial(self.present, a), self.trial(best, b))
            before, after = ({key: getattr(trial, key) for key in TRIAL_KEYS} for trial in pair)
            return before, after, standard_error(gain_of, n, 5 * RESAMPLES)

        *pair, error = self.ranks.once(compared)
        before, after = (Trial(choice, **found) for choice, found in zip((self.present, best), pair))
        gain = before.distance - after.distance
        more = torch.zeros(n) if a.right is None or b.right is None else b.right.float() - a.right.float()
        is_better, reason = self.verdict(
            before, after, gain / max(error, 1e-12), _in_standard_errors(more), (seconds[0], seconds[1])
        )
        return Outcome(
            self.path,
            self.judge.kind,
            self.judge.words,
            before,
            after,
            (seconds[0], seconds[1]),
            gain,
            error,
            is_better,
            reason,
            written=False,
        )

    def timed(self, best: Choice) -> tuple[int, tuple[float, float]]:
        """The steps of a choice, fewer where they take longer than the target; and seconds, of the present defaults and of it."""
        limit = self.target.seconds
        while limit and best.settings.steps > 1 and seconds_of(self.model(best)) > limit:
            best = best.changed(steps=best.settings.steps - 1)
        return best.settings.steps, (seconds_of(self.model(self.present)), seconds_of(self.model(best)))

    def verdict(
        self, present: Trial, best: Trial, gain: float, agreement: float, seconds: tuple[float, float]
    ) -> tuple[bool, str]:
        """Whether the found settings are better, and why. gain, agreement: what they gain, in standard errors."""
        limit = self.target.seconds
        if best.choice == self.present:
            return False, "the present defaults are the best that was found"
        if limit and seconds[1] > limit:
            return (
                False,
                f"{TIMED_PICTURES} pictures take {seconds[1]:.2g} s with the fewest steps, more than the target",
            )
        if present.calls > self.budget or (limit and seconds[0] > limit):
            return True, "the present defaults take longer than the target allows"
        goal = self.target.agreement
        if present.rank(goal)[0] > 0 and agreement > MIN_GAIN_STANDARD_ERRORS:
            return True, "more pictures show the requested class"
        if best.rank(goal)[0] > 0 and agreement < -MIN_GAIN_STANDARD_ERRORS:
            return False, "fewer pictures show the requested class"
        if gain > MIN_GAIN_STANDARD_ERRORS:
            return True, f"the distance is less by {gain:.1f} standard errors"
        return False, f"the gain is within noise ({gain:.1f} standard errors); a larger -n may decide"

    def publish(self, choice: Choice) -> None:
        """Writes the model file, whole or not at all."""
        model = self.model(choice)
        try:
            save_model(self.path, model.net, model.header, model.codec.weights)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written ({error}) and is unchanged; free disk space or copy it elsewhere, then tune again"
            ) from error


def _in_standard_errors(difference: Tensor) -> float:
    """The mean of paired differences (n,), in standard errors."""
    error = float(difference.std()) / math.sqrt(len(difference))
    return float(difference.mean()) / error if error else 0.0


def _read(path: Path) -> dict[str, Any]:
    """The trials of an earlier search; none where the file is not there or damaged."""
    try:
        trials = json.loads(path.read_text(encoding="utf-8"))["trials"]
        return {key: one for key, one in trials.items() if set(TRIAL_KEYS) <= one.keys()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
