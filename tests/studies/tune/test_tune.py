"""The search for sampling defaults: it obeys its target, finds what was planted, keeps what it did, and writes only
what is better beyond noise."""

import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_small import write_run
from PIL import Image
from torch import Tensor, nn

from mezzotint import config as configuration
from mezzotint.build.networks import network
from mezzotint.config import Sample
from mezzotint.data import toy
from mezzotint.data.open import open_source
from mezzotint.data.scenes import LENGTH, vocabulary
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.disk.files import read_tensors
from mezzotint.disk.folder import locked
from mezzotint.disk.model_file import Header, read_header, save_model
from mezzotint.disk.snapshots import average_of
from mezzotint.errors import ConfigError, RunError
from mezzotint.evaluate.judges import classifier, clusters
from mezzotint.evaluate.judges.features import Features
from mezzotint.evaluate.metrics.energy import energy_distance
from mezzotint.evaluate.reference import SILENT, drawn_scenes, open_judge, open_reference
from mezzotint.media.facts import Facts
from mezzotint.model import cost
from mezzotint.model.cost import fit_steps, network_calls
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.run.fit import fit
from mezzotint.studies.tune import judge as tuning_judge
from mezzotint.studies.tune import search as study
from mezzotint.studies.tune.judge import Judge, Look, training_reference
from mezzotint.studies.tune.search import tune
from mezzotint.studies.tune.trials import QUICK, Choice, Outcome, Target, Trial, TrialDone
from mezzotint.train.distributed import Ranks

CPU = torch.device("cpu")
RARE = dict.fromkeys(("validate_every", "sample_every", "checkpoint_every"), "100%") | {
    "snapshot_every": "25%"  # all of them are read for every length that is tried
}
SLOW = {"sampler": "ddim", "steps": 6}  # bad defaults, to be bettered
UNET = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1}
FLOW = {"process": "flow", "schedule": {"kind": "lognormal"}, "parameterization": "velocity"}
EDM = {"process": "ve", "schedule": {"kind": "karras"}, "parameterization": "edm", "weight": "edm"}


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning_judge, "REFERENCE_POINTS", 400)
        counted: dict[str, int] = {}

        def known(model: Model, settings: Sample) -> int:
            """Most tests ask for the same settings of the same kind of model."""
            key = repr((settings, model.config.diffusion, model.facts, model.guidable, model.config.teacher))
            if key not in counted:
                counted[key] = network_calls(model, settings)
            return counted[key]

        for module in (cost, study):
            patch.setattr(module, "network_calls", known)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Moons after a few seconds, with snapshots of its averages, and defaults that can be bettered."""
    folder = tmp_path_factory.mktemp("runs") / "moons"
    tree = {
        "data": {"name": "moons"},
        "network": {"kind": "mlp", "width": 64, "depth": 2},
        "diffusion": FLOW,
        "train": {"steps": 200, "batch_size": 128, "lr": 4e-3, "label_drop": 0.5, **RARE},
        "sample": SLOW,
    }
    for _ in fit(configuration.parse(tree), folder):
        pass
    return folder


@pytest.fixture
def moons(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to write into."""
    folder = tmp_path / "moons"
    for path in trained.rglob("*"):
        if path.is_file() and path.name != ".lock":
            (folder / path.relative_to(trained)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(trained)).write_bytes(path.read_bytes())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def searched(*arguments: Any, **settings: Any) -> tuple[list[TrialDone], Outcome]:
    *tried, outcome = tune(*arguments, **{"n": 100, "quick": True, **settings})
    assert isinstance(outcome, Outcome) and all(isinstance(one, TrialDone) for one in tried)
    return tried, outcome  # type: ignore[return-value]


def plant(monkeypatch: pytest.MonkeyPatch, loss: Any, right: Any = None) -> list[tuple[Sample, str]]:
    """Pictures are not made: their distance is loss(settings, weights) on average, a share right(...) of them is what
    was asked for. Returns what was looked at, as it goes on."""
    seen: list[tuple[Sample, str]] = []

    def look(model: Model, judge: Judge, n: int, seed: int, progress: Any, ranks: Ranks) -> Look:
        settings, weights = model.config.sample, model.header.weights
        seen.append((settings, weights))
        noise = torch.randn(n, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        hits = None if right is None else torch.arange(n) < right(settings) * n
        return Look(loss(settings, weights) + 0.1 * noise, hits)

    judge = Judge("energy", "nothing", "0", lambda x: Features(x, None), lambda rows: float(rows.mean()))
    monkeypatch.setattr(study, "look", look)
    monkeypatch.setattr(study, "open_tuning_judge", lambda model, progress: judge)
    return seen


def random_model(folder: Path, classes: tuple[str, ...] = ("a", "b"), **tree: Any) -> Path:
    parsed = configuration.parse({"network": UNET, "train": {"precision": "fp32"}, **tree})
    facts = Facts((1, 8, 8), classes)
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "alone.safetensors"
    save_model(path, network(parsed, facts), Header(parsed, facts, 1, "raw"))
    return path


# --- the target ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guided", [(1.0, None), (2.0, None), (3.0, (0.3, 2.0))], ids=str)
@pytest.mark.parametrize("diffusion", [FLOW, EDM, {}], ids=["flow", "edm", "vp"])
def test_network_calls_are_those_of_the_network(tmp_path: Path, diffusion: Any, guided: Any) -> None:
    model = load(random_model(tmp_path, diffusion=diffusion))
    rows = []
    assert isinstance(model.denoiser.net, nn.Module)
    model.denoiser.net.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    for sampler in SAMPLERS:
        settings = Sample(sampler=sampler, steps=5, guidance=guided[0], guidance_interval=guided[1])
        rows.clear()
        used = settings.model_dump()
        model.sample(1, label="all", **used)
        assert network_calls(model, settings) == sum(rows), sampler
    assert network_calls(model, Sample(steps=7)) == 7


@pytest.mark.parametrize("budget", [1, 2, 9, 24])
def test_as_many_steps_as_the_target_allows(tmp_path: Path, budget: int) -> None:
    model = load(random_model(tmp_path, diffusion=FLOW))
    for sampler in ("dpmpp_2m", "heun", "euler_a"):
        for scale, interval in ((1.0, None), (2.0, None), (2.0, (0.3, 2.0))):
            settings = Sample(sampler=sampler, guidance=scale, guidance_interval=interval)
            found = fit_steps(model, settings, budget)
            more = settings.model_copy(update={"steps": found.steps + 1 if found else 1})
            assert found is None or network_calls(model, found) <= budget
            assert network_calls(model, more) > budget
    table = {"schedule": {"kind": "linear", "timesteps": 6}}
    few = load(random_model(tmp_path, diffusion=table))
    found = fit_steps(few, Sample(), 24)
    assert found is not None and found.steps == 6  # there are no more timesteps


def test_no_trial_takes_more_calls_than_the_target(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, lambda settings, weights: 1 / settings.steps)
    tried, outcome = searched(trained, Target(calls=9), dry_run=True, quick=False)
    assert len(tried) > 30 and {one.trial.calls <= 9 for one in tried} == {True}
    assert outcome.best.choice.settings.steps == 9 and outcome.best.calls == 9
    tried, outcome = searched(trained, dry_run=True)  # no target: what the present defaults take
    assert max(one.trial.calls for one in tried) == 6


def test_a_target_in_seconds(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, lambda settings, weights: 1 / settings.steps)
    clock = lambda model, repeats=3: 0.01 * network_calls(model, model.config.sample)  # noqa: E731
    monkeypatch.setattr(study, "seconds_of", clock)
    tried, outcome = searched(trained, Target(seconds=0.2), dry_run=True)
    assert max(one.trial.calls for one in tried) == 18  # nine tenths of it
    assert outcome.seconds == pytest.approx((0.06, 0.18)) and outcome.is_better
    with pytest.raises(ConfigError, match="too short"):
        searched(trained, Target(seconds=0.01), dry_run=True)
    # a machine that has become slower since
    slow = iter([0.06])
    monkeypatch.setattr(study, "seconds_of", lambda model, repeats=3: next(slow, 2 * clock(model)))
    _, outcome = searched(trained, Target(seconds=0.2), dry_run=True)
    assert outcome.seconds[1] <= 0.2 and outcome.best.choice.settings.steps == 10


def test_present_defaults_that_take_too_long_are_given_up_even_at_a_loss(
    moons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, lambda settings, weights: 1 / settings.steps)
    _, outcome = searched(moons, Target(calls=3))
    assert outcome.gain < 0 and outcome.written and "longer" in outcome.reason
    assert network_calls(load(moons), load(moons).settings()) <= 3


# --- what is found ---------------------------------------------------------------------------------------


def test_the_planted_length_is_found_and_published(moons: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(settings: Sample, weights: str) -> float:
        return (
            abs(math.log(float(weights.removeprefix("ema ").removesuffix(" of snapshots")) / 0.07))
            + 1 / settings.steps
        )

    plant(monkeypatch, loss)
    _, outcome = searched(moons, quick=False)
    assert outcome.written and outcome.best.choice.weights == "0.07"
    header = read_header(moons / "model.safetensors")
    assert header.weights == "ema 0.07 of snapshots" and header.config.sample == outcome.best.choice.settings
    wanted, written = average_of(moons, 0.07), read_tensors(moons / "model.safetensors")
    assert all(torch.equal(written[name], tensor) for name, tensor in wanted.items())
    assert load(moons).sample(3).settings["steps"] == outcome.best.choice.settings.steps


def test_the_planted_guidance_and_sampler_are_found(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(settings: Sample, weights: str) -> float:
        low, high = settings.guidance_interval or (0.0, 100.0)
        return abs(settings.guidance - 3) + abs(low - 0.4) + abs(high - 3) / 10 + (settings.sampler != "deis")

    plant(monkeypatch, loss)
    _, outcome = searched(trained, quick=False, dry_run=True)
    found = outcome.best.choice.settings
    assert (found.guidance, found.guidance_interval, found.sampler) == (3, (0.4, 3), "deis")
    assert found.eta == 0


def test_agreement_comes_before_distance(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guidance costs distance here and gives agreement: as little of it is chosen as reaches what is wanted."""
    plant(monkeypatch, lambda s, w: s.guidance, lambda s: min(1.0, 0.5 + 0.2 * s.guidance))
    for wanted, scale in ((0.75, 1.5), (0.95, 2.5), (0.6, 1.0)):
        _, outcome = searched(trained, Target(agreement=wanted), dry_run=True)
        assert outcome.best.choice.settings.guidance == scale
    choice = Choice("ema", Sample())
    ranks = [Trial(choice, 1, d, 0, a).rank(0.99) for a, d in ((1.0, 1), (0.99, 2), (0.9, 0), (0.8, 0))]
    assert ranks == sorted(ranks) and Trial(choice, 1, 3, 0, None).rank(0.99) == (0, 3)


def test_real_points_get_better_on_seeds_that_tune_never_saw(moons: Path) -> None:
    def distance(model: Model) -> float:
        real, _ = toy.points("moons", 2000, 123)
        return energy_distance(model.sample(2000, label="all", seed=10**6).values, real)

    model = load(moons)  # a little worse
    bad = model.config.model_copy(update={"sample": Sample(sampler="ddim", steps=4, guidance=3.0)})
    save_model(moons / "model.safetensors", model.denoiser.net, replace(model.header, config=bad))  # type: ignore[arg-type]
    before = distance(load(moons))
    _, outcome = searched(moons, Target(calls=16), n=300)
    after = distance(load(moons))
    assert outcome.written and after < 0.7 * before, (before, after)
    assert read_header(moons / "model.safetensors").config.sample == outcome.best.choice.settings
    # what is left of chance is no reason to write again
    kept = (moons / "model.safetensors").read_bytes()
    _, again = searched(moons, Target(calls=16), n=300)
    assert again.written or (moons / "model.safetensors").read_bytes() == kept
    assert distance(load(moons)) < 1.1 * after + 0.002


# --- what is written -------------------------------------------------------------------------------------


def test_luck_is_not_written(moons: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial has a distance of its own, which says nothing about other pictures of the same settings."""
    plant(monkeypatch, lambda settings, weights: 0.0)
    plain = study.look
    worlds: list[int] = []

    def lucky(model: Model, judge: Judge, n: int, seed: int, progress: Any, ranks: Ranks) -> Look:
        what = f"{model.config.sample} {model.header.weights} {seed} {len(worlds)}"
        random = torch.Generator().manual_seed(zlib.crc32(what.encode()))
        rows = plain(model, judge, n, seed, progress, ranks).rows
        return Look(rows + 0.3 * torch.randn(n, 1, generator=random), None)

    monkeypatch.setattr(study, "look", lucky)
    before = (moons / "model.safetensors").read_bytes()
    others, lost = 0, 0
    while len(worlds) < 5:
        worlds.append(len(worlds))
        (moons / "tune.json").unlink(missing_ok=True)
        _, outcome = searched(moons)
        others += outcome.best.choice != outcome.present.choice  # the best of many
        lost += outcome.written
        if not outcome.written and outcome.best.choice != outcome.present.choice:
            assert "noise" in outcome.reason
        assert outcome.written == ((moons / "model.safetensors").read_bytes() != before)
        (moons / "model.safetensors").write_bytes(before)
    assert others >= 3 and lost <= 1  # two standard errors: one time in 40


def test_a_dry_run_writes_nothing(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, lambda settings, weights: settings.guidance + (settings.sampler == "ddim"))
    before = contents(trained)
    _, outcome = searched(trained, dry_run=True)
    assert outcome.is_better and not outcome.written and contents(trained) == before


def test_trials_are_kept_and_not_made_again(moons: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = plant(monkeypatch, lambda settings, weights: 1 / settings.steps)
    model = (moons / "model.safetensors").read_bytes()
    first = tune(moons, Target(calls=12), n=100, quick=True)
    tried = [next(first) for _ in range(4)]
    first.close()  # as Ctrl-C does
    assert len(seen) == 4 and len(json.loads((moons / "tune.json").read_text())["trials"]) == 4
    assert (moons / "model.safetensors").read_bytes() == model
    rest, outcome = searched(moons, Target(calls=12))
    assert [one.trial for one in rest[:4]] == [one.trial for one in tried if isinstance(one, TrialDone)]
    trials = json.loads((moons / "tune.json").read_text())["trials"]
    assert len(seen) == len(trials) + 2  # and two looks for the comparison, on fresh seeds
    kept = json.loads((moons / "tune.json").read_text())
    assert kept["written"] == outcome.written and kept["found"]["steps"] == 12
    made = len(seen)
    searched(moons, Target(calls=12), seed=7)
    assert len(seen) > made + 10  # other pictures
    (moons / "tune.json").write_text('{"trials": [')
    made = len(seen)
    searched(moons, Target(calls=12))
    assert len(seen) > made + 10 and json.loads((moons / "tune.json").read_text())["trials"]


def test_what_cannot_be_written_leaves_the_file_as_it_was(
    moons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, lambda settings, weights: 1 / settings.steps)
    before = (moons / "model.safetensors").read_bytes()
    rename = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "model.safetensors":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunError, match="is unchanged"):
        searched(moons, Target(calls=20))
    assert (moons / "model.safetensors").read_bytes() == before
    assert not list(moons.glob(".*.tmp"))


def test_a_run_in_training_is_left_alone(moons: Path) -> None:
    with locked(moons), pytest.raises(ConfigError, match="another process"):
        searched(moons)


def test_a_model_alone_has_no_other_averages(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((trained / "model.safetensors").read_bytes())
    seen = plant(monkeypatch, lambda settings, weights: 1 / settings.steps)
    _, outcome = searched(copy, Target(calls=20))
    assert outcome.written and {weights for _, weights in seen} == {read_header(copy).weights}
    assert [path.name for path in tmp_path.iterdir()] == ["copy.safetensors"]
    assert load(copy).settings() == outcome.best.choice.settings


def test_without_classes_guidance_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = random_model(tmp_path, classes=(), diffusion=FLOW)
    seen = plant(monkeypatch, lambda settings, weights: 1 / settings.steps)
    searched(path)
    assert {settings.guidance for settings, _ in seen} == {1.0}
    assert {settings.sampler for settings, _ in seen} >= set(QUICK.samplers)


# --- the judge -------------------------------------------------------------------------------------------


def test_the_reference_is_of_training_pictures_that_the_judge_has_not_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def keys(images: Tensor) -> set[bytes]:
        return {image.numpy().tobytes() for image in images}

    splits: list[str] = []
    plain = tuning_judge.load_pictures

    def recorded(*words: Any, **settings: Any) -> Any:
        splits.append(settings.get("split") or "train")
        return plain(*words, **settings)

    monkeypatch.setattr(tuning_judge, "load_pictures", recorded)
    config = configuration.parse({"data": {"name": "digits"}})
    reference = training_reference(config.data, (1, 8, 8))
    assert splits == ["train"]
    source = open_source(config.data, CPU)
    held, _ = source.pictures.batch(source.held)  # type: ignore[union-attr]
    assert keys(held) <= keys(reference.images) and keys(reference.unseen) == keys(held)
    assert len(reference.images) == 898 and len(reference.learn) == 1797 - 898
    assert not keys(reference.images) & keys(reference.learn)


@pytest.mark.parametrize(
    ("classes", "splits", "holdout"),
    [(("a", "b"), ("",), 0.6), (("a", "b"), ("train", "test"), 0.05), ((), ("",), 0.05)],
    ids=["held out", "test split", "without classes"],
)
def test_evaluate_and_tune_have_one_judge(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    classes: tuple[str, ...],
    splits: tuple[str, ...],
    holdout: float,
) -> None:
    """What the first of them has trained, the second finds; and it has learned no picture of either reference."""
    trainings: list[Tensor] = []
    plain = classifier.train_classifier

    def recorded(images: Tensor, *words: Any, **settings: Any) -> Any:
        trainings.append(images)
        return plain(images, *words, **{**settings, "pictures_seen": 128})

    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(classifier, "train_classifier", recorded)
    monkeypatch.setattr(clusters, "train_classifier", recorded)
    monkeypatch.setattr("mezzotint.evaluate.reference.MIN_REFERENCE_PICTURES", 50)
    random = np.random.default_rng(0)
    for split in splits:
        for k in range(240 if split != "test" else 40):
            place = tmp_path / "data" / split / ("" if not classes else classes[k % 2])
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(place / f"{k}.png")
    data = {"name": "folder", "path": str(tmp_path / "data"), "size": 8, "holdout": holdout}
    model = load(random_model(tmp_path, classes=classes, data=data))
    reference = open_reference(model.config.data, (8, 8), 1)
    one = open_judge("auto", reference, CPU)
    count = len(trainings)
    other = tuning_judge.open_tuning_judge(model)
    assert count > 0 and len(trainings) == count, "trained once"
    images = torch.from_numpy(random.integers(0, 256, (4, 1, 8, 8), np.uint8))
    assert torch.equal(one(images).pool, other.see(images).pool)
    learned = {image.numpy().tobytes() for image in trainings[0]}
    choices = training_reference(model.config.data, (1, 8, 8)).images
    for images in (choices, reference.unseen):
        assert not learned & {image.numpy().tobytes() for image in images}


def test_wrong_words_are_refused(trained: Path) -> None:
    with pytest.raises(ConfigError, match="too few"):
        searched(trained, n=50)


def test_models_of_words_have_their_guidance_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes, whose judge knows exactly whether a picture is what was asked, and captions of a set of one's own."""
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    few = {"pictures_seen": 128}
    plain = clusters.train_classifier
    monkeypatch.setattr(
        clusters, "train_classifier", lambda *words, **settings: plain(*words, **(settings | few))
    )
    monkeypatch.setattr(tuning_judge, "drawn_scenes", lambda: drawn_scenes(60))
    net = {**UNET, "patch": 4, "attention": [4]}
    examples = ("a red cross", "a small blue circle")
    facts = Facts((3, 32, 32), (), "pictures", (), tuple(vocabulary()), LENGTH, examples)
    write_run(tmp_path / "scenes", facts, network=net, data={"name": "scenes"}, sample={"steps": 2})
    search = study.Search(
        tmp_path / "scenes" / "model.safetensors", None, Target(), 100, 0, QUICK, "cpu", SILENT
    )
    assert search.steerable
    scales = [choice.settings.guidance for choice in search.guidance(search.present)]
    assert len(scales) > 2 and max(scales) > 1
    trial = search.measure(search.present)
    assert trial.agreement == 0 and trial.distance > 0  # of random weights
    real = drawn_scenes(60)
    assert search.judge.right is not None and bool(search.judge.right(real.images).all())

    for k in range(40):
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 3 * k).save(tmp_path / "set" / f"{k}.png")
        (tmp_path / "set" / f"{k}.txt").write_text(f"grey {k % 8}")
    data = {"name": "folder", "path": str(tmp_path / "set"), "size": 8, "captions": True}
    facts = Facts((1, 8, 8), (), "pictures", (), (*"01234567", "grey"), 3, ("grey 1",))
    write_run(tmp_path / "own", facts, network={**net, "patch": 1, "attention": [1]}, data=data)
    model = load(tmp_path / "own")
    judge = tuning_judge.open_tuning_judge(model)
    asked = judge.ask(model, 12, 0, SILENT)
    assert asked.settings["prompt"] == "20 captions of folder" and judge.right is None
