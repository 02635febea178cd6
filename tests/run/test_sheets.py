"""Sheets within an allowance: what a sheet may cost, and what is left out or made smaller."""

from pathlib import Path

import pytest
from helpers_small import CLASSES, FLOW, UNET, write_run
from PIL import Image

from mezzotint import plots
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.run.allowance import Allowance
from mezzotint.run.sheets import MIN_STEPS, Sheets, plan
from mezzotint.train.distributed import Ranks

ROW, WHOLE = 4, 32  # pictures: a column a class, 8 rows


class Clock:
    """Stands still but for network calls, each of which takes `a_call` seconds a picture."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch, a_call: float) -> None:
        self.now = 0.0
        make = Model.make

        def timed(asked: Model, request: object) -> object:
            self.now += a_call * request.n * request.settings.steps  # type: ignore[attr-defined]
            return make(asked, request)  # type: ignore[arg-type]

        monkeypatch.setattr(Model, "make", timed)
        monkeypatch.setattr("mezzotint.run.sheets.seconds_a_call", lambda model, n: a_call)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def model(tmp_path: Path) -> Model:
    write_run(
        tmp_path / "run", Facts((1, 8, 8), CLASSES), network=UNET, sample={"sampler": "ddim", "steps": 20}
    )
    return load(tmp_path / "run", device="cpu")


def sizes(folder: Path) -> list[tuple[int, int]]:
    """Pictures and steps of the sheets of a run, in order."""
    settings = [plots.read_settings(file) for file in sorted((folder / "samples").glob("step-*.png"))]
    return [(one["n"], one["steps"]) for one in settings]


@pytest.mark.parametrize(
    ("seconds", "last", "expected"),
    [
        (100.0, False, (80, 25)),  # all of it
        (35.0, False, (30, 25)),  # whole rows
        (9.9, False, (0, 25)),  # no row: none
        (9.9, True, (10, 24)),  # but for the last: a row of fewer steps
        (0.1, True, (10, MIN_STEPS)),  # and a few steps whatever it costs
        (-5.0, False, (0, 25)),
        (-5.0, True, (10, MIN_STEPS)),
    ],
)
def test_whole_rows_that_fit(seconds: float, last: bool, expected: tuple[int, int]) -> None:
    assert plan(80, 10, 25, 10.0, seconds, last=last) == expected


def test_fewer_steps_than_the_fewest_stay() -> None:
    assert plan(80, 10, 2, 10.0, 0.0, last=True) == (10, 2)


def test_sheets_stay_within_a_tenth(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of 4 pictures takes 4 x 20 x 0.01 = 0.8 seconds."""
    clock = Clock(model, monkeypatch, a_call=0.01)
    sheets = Sheets(model, tmp_path, Ranks(), Allowance(clock))
    spent = 0.0
    for step, trained in enumerate((2, 20, 60, 100, 500), start=1):
        clock.now += trained
        before = clock.now
        sheets.sheet(step, last=False)
        spent += clock.now - before
        assert spent <= max(1.0, 0.1 * clock.now)
    assert sizes(tmp_path) == [(ROW, 20), (4 * ROW, 20), (WHOLE, 20), (WHOLE, 20)], "none at first"
    assert (sheets.left_out, sheets.smaller, sheets.whole) == (1, 2, 2)
    assert sheets.words() == "sheets take a tenth of the time at most: of 5, 1 left out and 2 smaller"


def test_a_run_of_seconds_has_its_last_sheet(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(model, monkeypatch, a_call=0.05)
    sheets = Sheets(model, tmp_path, Ranks(), Allowance(clock))
    assert sheets.sheet(1, last=False) is None
    assert isinstance(sheets.sheet(2, last=True), Image.Image)
    assert sizes(tmp_path) == [(ROW, 4)]
    assert clock.now == pytest.approx(0.05 * ROW * 4)
    assert sheets._seconds_a_thing == pytest.approx(0.05 * 20), "of all steps, though it had fewer"


def test_the_frames_of_a_film_have_one_size(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(model, monkeypatch, a_call=0.01)
    sheets = Sheets(model, tmp_path, Ranks(), Allowance(clock))
    for step, trained in enumerate((5, 100, 2, 2), start=1):
        clock.now += trained
        sheets.watch(step, last=step == 4)
    frames = sorted(path.name for path in (tmp_path / "samples" / "watch").glob("*.png"))
    assert frames == ["0000002.png", "0000003.png", "0000004.png"]
    with Image.open(tmp_path / "samples" / "watch.gif") as film:
        assert getattr(film, "n_frames", 1) > 1


def test_what_is_whole_is_not_spoken_of(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What costs nothing is made whole, of the pictures that `sample` makes."""
    sheets = Sheets(model, tmp_path, Ranks(), Allowance(Clock(model, monkeypatch, a_call=0.0)))
    sheets.sheet(1, last=False)
    sheets.sheet(2, last=True)
    assert sizes(tmp_path) == [(WHOLE, 20)] * 2 and sheets.words() is None
    direct = model.sample(WHOLE, label="all").sheet(4)
    with Image.open(tmp_path / "samples" / "step-0000002.png") as image:
        assert image.tobytes() == direct.tobytes()


def test_points_are_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "dots", Facts((2,), ("a", "b")), network={"kind": "mlp", "width": 8}, diffusion=FLOW)
    model = load(tmp_path / "dots", device="cpu")
    clock = Clock(model, monkeypatch, a_call=1e-4)
    sheets = Sheets(model, tmp_path, Ranks(), Allowance(clock))
    assert sheets.sheet(1, last=False) is None
    clock.now += 1000
    assert sheets.sheet(2, last=False) is not None
    assert sizes(tmp_path) == [(2000, 4)]
