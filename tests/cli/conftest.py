"""The command line called in this process, on a desk with small trained runs and odd files lying about."""

import contextlib
from pathlib import Path

import pytest
from helpers_workshop import DIGITS, POINTS, Answer, Call, first_curve_alone, leave, odd_data, odd_models

from mezzotint.studies.tune import judge as tuning_judge


@pytest.fixture(autouse=True)
def short_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    first_curve_alone(monkeypatch)
    monkeypatch.setattr(tuning_judge, "REFERENCE_POINTS", 200)


@pytest.fixture
def mezzotint(capsys: pytest.CaptureFixture[str]) -> Call:
    """mezzotint("sample", "digits", "-n", 4) -> (exit code, stdout, stderr)."""

    def call(*words: object) -> Answer:
        capsys.readouterr()
        code = leave(*words)
        return Answer(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every desk has: runs, broken model files, folders of few or no pictures. Nobody changes it."""
    store = tmp_path_factory.mktemp("store")
    with contextlib.chdir(store), pytest.MonkeyPatch.context() as patch:
        first_curve_alone(patch)
        train = ("train", "digits", *DIGITS, "--steps", 20)
        assert leave(*train) == 0
        assert leave(*train, "--name", "plain", "data.labels=false") == 0
        discrete = (
            "diffusion.process=vp",
            "diffusion.schedule.kind=linear",
            "diffusion.schedule.timesteps=50",
        )
        ddim = ("sample.sampler=ddim", "sample.eta=1", "sample.guidance=1")
        assert leave(*train, "--name", "discrete.v1", *discrete, "diffusion.parameterization=eps", *ddim) == 0
        assert leave("train", "moons", *POINTS, "--steps", 20) == 0
    odd_models(store, (store / "runs" / "digits" / "model.safetensors").read_bytes())
    odd_data(store)
    return store


@pytest.fixture
def desk(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own to work in, with everything of the store; the runs are a view of the store's."""
    for entry in store.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    return tmp_path
