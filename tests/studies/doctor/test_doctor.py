"""Every finding is there where its fault was planted, and absent from a set and a configuration without it."""

import io
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import BaseModel
from torch import Tensor, nn

from mezzotint import build, config
from mezzotint.cond import Batch, Cond
from mezzotint.config import Config
from mezzotint.data.open import open_source
from mezzotint.media.facts import Facts
from mezzotint.nets import MLP
from mezzotint.studies.doctor import pictures as doctor_data
from mezzotint.studies.doctor import trial as doctor_trial
from mezzotint.studies.doctor.diagnose import budget, diagnose, planned_steps, seen
from mezzotint.studies.doctor.pictures import Finding, Survey
from mezzotint.studies.doctor.trial import Learner, StepCost, by_heart, measure, memory, speed
from mezzotint.studies.report.rules import Topic

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "troubleshooting.md"
CPU = torch.device("cpu")
GOOD = ("data.size=16", "train.batch_size=2", "train.steps=600", "network.patch=1", "network.width=8")


def worries(findings: list[Finding]) -> set[tuple[str, str, str]]:
    """(level, title, anchor) of all that is not ok."""
    return {(f.level, f.title, f.anchor) for f in findings if f.level != "ok"}


def picture(seed: int, height: int = 16, width: int = 16, channels: int = 1) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels.squeeze())


def save(folder: Path, name: str, image: Image.Image) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    image.save(folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eighty good pictures in two classes."""
    for k in range(80):
        save(tmp_path, f"{'cats' if k % 2 else 'dogs'}/{k}.png", picture(k))
    return tmp_path


def of_folder(folder: Path, *overrides: str) -> list[Finding]:
    return list(diagnose(config.load("folder", [*GOOD, f"data.path={folder}", *overrides]), quick=True))


def of_digits(*overrides: str) -> list[Finding]:
    return list(diagnose(config.load("digits", overrides), quick=True))


class TestGood:
    def test_the_digits_recipe(self) -> None:
        began = time.monotonic()
        found = list(diagnose(config.load("digits")))
        assert worries(found) == set() and time.monotonic() - began < 30
        assert {"range", "pictures", "classes", "budget", "machine", "time", "memory", "learning"} <= {
            f.title for f in found
        }
        assert all(f.remedy == f.anchor == "" for f in found)
        text = {f.title: f.text for f in found}
        assert text["range"].startswith("float32 from -1.00 to 1.00, mean -0.39, standard deviation 0.75")
        assert text["classes"] == "10, of 165 to 175 pictures each"
        assert text["budget"].startswith("625 steps, each of 1,707 pictures about 47 times")

    def test_a_folder(self, folder: Path) -> None:
        assert worries(of_folder(folder)) == set()

    def test_points(self) -> None:
        found = list(diagnose(config.load("moons"), quick=True))
        assert worries(found) == set() and "pictures" not in {f.title for f in found}

    def test_sets_of_the_recipes(self) -> None:
        """MNIST passes whole, and decoded on demand or streamed as well as from memory."""
        data = ROOT.parent / "shared" / "data" / "mnist" / "train.parquet"
        if not data.is_file():
            pytest.skip("shared/data/mnist is not here")
        for more in ("data.limit=3000", "data.memory_gb=0.04", "data.stream=true"):
            chosen = config.load("mnist", [f"data.path={data}", more])
            assert worries(list(diagnose(chosen, quick=True))) == set()


def bad_file(folder: Path) -> None:
    (folder / "cats" / "bad.png").write_text("not a picture")


def all_colour(folder: Path) -> None:
    for k, path in enumerate(folder.rglob("*.png")):
        picture(k, channels=3).save(path)


def one_colour(folder: Path) -> None:
    picture(1, channels=3).save(folder / "dogs" / "0.png")


def panoramas(folder: Path) -> None:
    for k, path in enumerate(folder.rglob("*.png")):
        picture(k, 16, 40).save(path)


def copies(folder: Path) -> None:
    for k in range(0, 80, 20):
        picture(k).save(folder / "dogs" / f"again-{k}.png")


def two_classes(folder: Path) -> None:
    picture(4).save(folder / "cats" / "dog.png")


def blank(folder: Path) -> None:
    for k in range(3):
        Image.new("L", (16, 16), 100 + k).save(folder / "dogs" / f"blank-{k}.png")


def dim(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        image = Image.open(path)
        Image.fromarray(np.asarray(image) // 8).save(path)


def rare(folder: Path) -> None:
    for k in range(42, 80, 2):
        (folder / "dogs" / f"{k}.png").unlink()
    for k in range(6, 42, 2):
        (folder / "dogs" / f"{k}.png").unlink()


def numbered(folder: Path) -> None:
    for path in list(folder.rglob("*.png")):
        save(folder, f"{path.stem}/{path.name}", Image.open(path))
        path.unlink()


def beside(folder: Path) -> None:
    picture(99).save(folder / "z.png")


COPIES, CLASS = "copies-of-the-training-set", "samples-ignore-the-class"
# what is done to the set, overrides, and all findings that follow
DATA: list[tuple[Callable[[Path], None], tuple[str, ...], set[tuple[str, str]]]] = [
    (bad_file, (), {("pictures", "pictures-are-skipped")}),
    (all_colour, ("data.channels=1",), {("channels", "wrong-colours")}),
    (one_colour, (), {("channels", "wrong-colours")}),
    (panoramas, (), {("sizes", "wrong-crops")}),
    (copies, (), {("duplicates", COPIES)}),
    (two_classes, (), {("duplicates", COPIES), ("labels", CLASS)}),
    (blank, (), {("blank pictures", "grey-or-washed-out-pictures")}),
    (dim, (), {("range", "grey-or-washed-out-pictures")}),
    (rare, ("train.batch_size=1",), {("class balance", CLASS), ("memorization", COPIES)}),
    (numbered, (), {("labels", CLASS), ("classes", CLASS)}),  # those held out leave empty classes
    (beside, (), {("classes", CLASS)}),
]


@pytest.mark.parametrize(("spoil", "overrides", "expected"), DATA, ids=[case[0].__name__ for case in DATA])
def test_faults_of_data(
    folder: Path, spoil: Callable[[Path], None], overrides: tuple[str, ...], expected: set[tuple[str, str]]
) -> None:
    spoil(folder)
    found = of_folder(folder, *overrides)
    assert worries(found) == {("warning", title, anchor) for title, anchor in expected}
    assert all(f.remedy for f in found if f.level != "ok")
    say_something_new(found, config.load("folder", [*GOOD, f"data.path={folder}", *overrides]))


def say_something_new(found: list[Finding], chosen: Config) -> None:
    """No remedy sets a key to the value that it has."""
    for finding in found:
        for key, value in re.findall(r"([a-z]+(?:\.[a-z_]+)+)=(\[.*?\]|[\w.+-]+)", finding.remedy):
            now: Any = chosen
            for part in key.split("."):
                now = getattr(now, part, None)
            assert str(now) != value or re.search(rf"(lower|raise) {key}", finding.remedy), finding


VP = "diffusion.process=vp"
LINEAR, COSINE = "diffusion.schedule.kind=linear", "diffusion.schedule.kind=cosine"
T = "diffusion.schedule.timesteps"
EDM = ("diffusion.process=ve", "diffusion.parameterization=edm", "diffusion.schedule.kind=karras")
DIT = ("network.kind=dit", "network.width=64", "data.limit=400", "train.steps=500")
# what is wrong, what makes it right, and the finding
CHOICES: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, str]]] = [
    (("data.flip=true",), ("data.flip=false",), ("flips", "mirrored-pictures")),
    ((VP, LINEAR, f"{T}=300"), (VP, LINEAR, f"{T}=1000"), ("noisiest level", "wrong-colours")),
    (
        (VP, COSINE, "sample.spacing=leading"),
        (VP, COSINE, "sample.spacing=trailing"),
        ("noisiest level", "wrong-colours"),
    ),
    (
        (*EDM, "diffusion.sigma_data=0.75", "diffusion.schedule.sigma_max=3"),
        (*EDM, "diffusion.sigma_data=0.75"),
        ("noisiest level", "wrong-colours"),
    ),
    ((VP, COSINE, f"{T}=20"), (VP, COSINE, f"{T}=100"), ("timesteps", "noise-remains")),
    (EDM, (*EDM, "diffusion.sigma_data=0.8"), ("sigma of the data", "blurry-samples")),
    (
        ("network.patch=2", "network.multipliers=[1,1,1,1]"),
        ("network.patch=2", "network.multipliers=[1,1]"),
        ("network", "slow"),
    ),
    (
        ("data.limit=400", "train.steps=500", "network.attention=[1]", "data.size=72"),
        ("data.limit=400", "train.steps=500", "network.attention=[2]", "data.size=72"),
        ("attention", "slow"),
    ),
    (
        ("network.patch=4",),
        ("network.patch=4", "diffusion.parameterization=x0"),
        ("patches", "noise-remains"),
    ),
    (
        (*DIT, "network.patch=8"),
        (*DIT, "network.patch=8", "diffusion.parameterization=x0", "diffusion.weight=jit"),
        ("patches", "noise-remains"),
    ),
    (
        (*DIT, "network.patch=1", "data.size=40"),
        (*DIT, "network.patch=2", "data.size=40"),
        ("attention", "slow"),
    ),
    (
        ("network.kind=unet_simple", "network.norm=batch", "train.accumulate=16"),
        ("network.kind=unet_simple", "network.norm=batch"),
        ("network", "the-loss-does-not-fall"),
    ),
    (
        ("data.labels=false",),
        ("data.labels=false", "sample.guidance=1"),
        ("guidance", "samples-ignore-the-class"),
    ),
    (
        ("train.label_drop=0",),
        ("train.label_drop=0", "sample.guidance=1"),
        ("guidance", "samples-ignore-the-class"),
    ),
    (
        ("data.limit=70", "train.steps=600", "train.batch_size=90"),
        ("data.limit=70", "train.steps=600", "train.batch_size=2"),
        ("batch size", "copies-of-the-training-set"),
    ),
    (("train.steps=400",), ("train.steps=600",), ("budget", "blurry-samples")),
    (("train.epochs=500",), ("train.epochs=50",), ("memorization", "copies-of-the-training-set")),
    (("train.ema=0.25",), ("train.ema=0.05",), ("EMA", "blurry-samples")),
    (("train.ema=0.01",), ("train.ema=0.05",), ("EMA", "noise-remains")),
    (("train.ema_decay=0.8",), ("train.ema_decay=0.999",), ("EMA", "noise-remains")),
    (("data.channels=3",), ("data.channels=1",), ("channels", "wrong-colours")),
    (("data.size=16",), ("data.size=10",), ("sizes", "blurry-samples")),
]


@pytest.mark.parametrize(
    ("wrong", "right", "expected"), CHOICES, ids=[f"{c[2][0]}-{c[0][0]}" for c in CHOICES]
)
def test_faults_of_configuration(
    wrong: tuple[str, ...], right: tuple[str, ...], expected: tuple[str, str]
) -> None:
    found = of_digits(*wrong)
    assert ("warning", *expected) in worries(found)
    say_something_new(found, config.load("digits", wrong))
    assert ("warning", *expected) not in worries(of_digits(*right))


class TestSingleChecks:
    def test_what_no_file_can_hold(self) -> None:
        facts, chosen = Facts((1, 4, 4)), Config()
        x0 = torch.linspace(-1, 1, 64).reshape(4, 1, 4, 4)
        assert worries(list(seen(chosen, x0, facts))) == set()
        assert worries(list(seen(chosen, 255 * x0, facts))) == {("error", "range", "wrong-colours")}
        x0[0, 0, 0, 0] = torch.nan
        assert worries(list(seen(chosen, x0, facts))) == {("error", "range", "nan-or-infinite-loss")}
        far = 50 * torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        assert worries(list(seen(chosen, far, Facts((2,))))) == {
            ("warning", "range", "the-loss-does-not-fall")
        }

    def test_empty_classes_and_held_out_copies(self, folder: Path) -> None:
        chosen = config.load("folder", [*GOOD, f"data.path={folder}"])
        source = open_source(chosen.data, CPU)
        survey: Survey = doctor_data.gather(source, chosen.data)  # type: ignore[arg-type]
        assert len(survey.originals) == doctor_data.FILES and survey.counts == [38, 38]
        (empty,) = doctor_data.classes(replace(survey, counts=[0, 76]))
        assert (empty.level, empty.text) == ("warning", "1 of 2 classes has no picture to train on: cats")
        pictures = survey.pictures.clone()
        trained, held = (int(which.nonzero()[0]) for which in (~survey.held, survey.held))
        pictures[held] = pictures[trained]
        copied = next(doctor_data.repeated(replace(survey, pictures=pictures, label=None)))
        assert "1 of 80 are exact copies" in copied.text
        assert "1 held-out picture is trained on, too" in copied.text

    def test_few_pictures_of_a_class_are_not_called_numbers(self, folder: Path) -> None:
        for k in range(8, 80):
            (folder / ("cats" if k % 2 else "dogs") / f"{k}.png").unlink()
        save(folder, "eels/a.png", picture(100))
        found = [f for f in of_folder(folder, "train.batch_size=1") if "classes" in (f.title, f.text)]
        (few,) = [f for f in found if f.level != "ok"]
        assert few.text == "3, of 1 to 4 pictures each: too few to learn what a class looks like"
        assert "number" not in few.text + few.remedy

    def test_remedies_do_not_contradict(self, folder: Path) -> None:
        """Too few steps of too few pictures: more steps and fewer steps are not both the remedy."""
        found = {f.title: f for f in of_folder(folder, "train.steps=400", "train.batch_size=16")}
        assert "too few" in found["budget"].text and found["memorization"].level == "warning"
        assert found["budget"].remedy.startswith("add pictures")
        assert "fewer steps" not in found["memorization"].remedy
        alone = {f.title: f for f in of_digits("train.steps=20", "train.batch_size=8")}["budget"]
        assert "train.steps=1000" in alone.remedy and "batch_size" not in alone.remedy, "steps stay steps"
        by_images = {f.title: f for f in of_digits("train.images=2000", "train.batch_size=8")}["budget"]
        assert "smaller train.batch_size" in by_images.remedy

    def test_pictures_of_a_table_are_not_called_files(self, tmp_path: Path) -> None:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        cells = [io.BytesIO() for _ in range(80)]
        for k, cell in enumerate(cells):
            picture(k, 10, 40, channels=3).save(cell, "PNG")
        pq.write_table(pa.table({"image": [cell.getvalue() for cell in cells]}), tmp_path / "a.parquet")
        for more in ((), ("data.channels=1",)):
            found = of_folder(tmp_path, *more)
            assert {"channels", "sizes"} <= {f.title for f in found}
            assert not [f for f in found if "files" in f.text + f.remedy]

    def test_most_files_bad_is_an_error(self, folder: Path) -> None:
        for k in range(100):
            (folder / "cats" / f"bad-{k}.png").write_text("not a picture")
        (found,) = (f for f in of_folder(folder) if f.title == "pictures")
        assert found.level == "error" and found.text.startswith("100 pictures cannot be read")

    def test_bfloat16_without_hardware(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chosen = config.load("digits", ["train.precision=bf16"])
        for best, expected in ((torch.float32, {("warning", "precision", "slow")}), (torch.bfloat16, set())):
            monkeypatch.setattr(doctor_trial, "find_precision", lambda *asked, best=best: best)
            assert worries(list(doctor_trial.precision(chosen, CPU))) == expected


class TestBudget:
    def test_steps(self) -> None:
        def steps(*overrides: str, a_step: float | None = None) -> int | None:
            return planned_steps(config.load("digits", ["train.batch_size=100", *overrides]), 1000, a_step)

        assert steps("train.steps=7") == 7
        assert steps("train.images=1001") == 11
        assert steps("train.epochs=3") == 30
        assert planned_steps(Config(), 1280, None) == 200, "20 epochs unless told otherwise"
        assert steps("train.minutes=2") is None
        assert steps("train.minutes=2", a_step=0.5) == 240

    def test_minutes_that_were_not_measured(self) -> None:
        chosen = config.load("digits", ["train.minutes=2"])
        assert [f.level for f in budget(chosen, open_source(chosen.data, CPU), None)] == ["ok"]


class TestTrial:
    def trial(self, **changes: Any) -> StepCost:
        return replace(
            StepCost(0.1, 0.02, False, weights=10**6, activations=3 * 10**6, data=10**6), **changes
        )

    def test_time(self) -> None:
        (plain,) = speed(self.trial(), 1000, Config())
        assert (plain.level, plain.text) == ("ok", "a step takes 120 ms; 1,000 steps about 2.0 min")
        assert self.trial(beside=True).a_step == 0.1
        assert worries(list(speed(self.trial(), 10**6, Config()))) == {("warning", "time", "slow")}
        (decoding,) = speed(self.trial(beside=True, loading=0.3), None, Config())
        assert decoding.level == "warning" and "data.memory_gb" in decoding.remedy
        streamed = config.parse({"data": {"name": "mnist", "stream": True}})
        (decoding,) = speed(self.trial(beside=True, loading=0.3), None, streamed)
        assert "memory_gb" not in decoding.remedy, "of a stream nothing is kept"
        for patch, wanted in ((1, "network.patch=2"), (4, "network.patch=8")):
            chosen = config.load("folder", ["data.path=x", f"network.patch={patch}", "network.attention=[]"])
            (long,) = speed(self.trial(), 10**6, chosen)
            assert wanted in long.remedy

    def test_memory(self) -> None:
        for limit, level in (
            (20 * 10**6, "ok"),
            (12 * 10**6, "warning"),
            (10 * 10**6, "error"),
            (None, "ok"),
        ):
            (found,) = memory(self.trial(), limit, Config())
            assert found.level == level and "about 11.0 MB" in found.text
        (found,) = memory(self.trial(data=10**8), 10**7, Config())
        assert "data.memory_gb" in found.remedy
        assert (doctor_trial.memory_of(CPU) or 10**9) > 10**8

    def test_a_slow_network_is_measured_and_extrapolated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        broken(monkeypatch, lambda x, *others: (time.sleep(0.02), x)[1])
        monkeypatch.setattr(doctor_trial, "PATIENCE", 0.05)
        chosen = config.load("moons", ["train.batch_size=64", *SMALL])
        found = measure(chosen, open_source(chosen.data, CPU), CPU)
        assert 8 * 0.02 < found.computing < 8 * 0.2, "of 64 rows, by a step of 8"

    def test_the_run_that_is_judged_is_the_run_that_is_trained(self) -> None:
        """Its optimiser, decay, precision and device, step by step: the weights after three steps are training's."""
        for optimizer, decay in (("adamw", 0.3), ("muon", 0.1)):
            chosen = config.load(
                "digits", [f"train.optimizer={optimizer}", f"train.weight_decay={decay}", "network.width=8"]
            )
            source = open_source(chosen.data, CPU)
            learner = Learner(chosen, source.facts, CPU)
            torch.manual_seed(chosen.train.seed)
            net = build.network(chosen, source.facts)
            theirs = build.optimizer(chosen, net)
            assert type(learner.optimizer) is type(theirs)
            batch = source.preview(8)
            objective = build.objective(
                chosen, build.denoiser(chosen, net, dtype=learner.objective.denoiser.dtype)
            )
            for _ in range(3):
                learner.step(batch, 1e-3)
                for group in theirs.param_groups:
                    group["lr"] = 1e-3
                theirs.zero_grad()
                objective(
                    batch.x0, learner._eps(batch.x0), learner._u(batch.x0), batch.cond
                ).mean().backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), learner.clip)
                theirs.step()
            for mine, other in zip(learner.net.parameters(), net.parameters()):
                assert torch.equal(mine, other), optimizer

    def test_activations_are_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """exp keeps its result for the way back: one more costs its bytes exactly, whatever ran before."""
        chosen = config.load("moons", SMALL)
        batch = Batch(torch.zeros(1000, 2), Cond(label=torch.zeros(1000, dtype=torch.int64)))
        counted = []
        for times in (0, 1, 3):
            with monkeypatch.context() as patch:
                broken(patch, lambda x, *others, times=times: exps(x, times))
                counted.append(Learner(chosen, Facts((2,), ("a", "b")), CPU).saved(batch))
        assert counted[1] - counted[0] == 8000 and counted[2] - counted[0] == 3 * 8000


SMALL = ("network.width=32", "network.depth=2")


def exps(x: Tensor, times: int) -> Tensor:
    for _ in range(times):
        x = x.exp()
    return x


def broken(monkeypatch: pytest.MonkeyPatch, last: Callable[..., Tensor], **before: Any) -> None:
    """Networks from now on are small MLPs whose answer passes through `last(answer, x, c_noise, label)`."""

    class Broken(nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.net = MLP(2, 32, 2, classes)

        def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
            given = {"x": x, "c_noise": c_noise, "label": label}
            given |= {key: change(given[key]) for key, change in before.items()}
            return last(self.net(**given), x, c_noise, label)

    monkeypatch.setattr(build, "network", lambda chosen, facts: Broken(len(facts.classes)))


def learns(*overrides: str) -> Finding:
    chosen = config.load("moons", [*SMALL, *overrides])
    return by_heart(chosen, open_source(chosen.data, CPU), CPU)


def same(answer: Tensor, *others: Tensor) -> Tensor:
    return answer


class TestByHeart:
    def test_a_healthy_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert learns().level == "ok"
        broken(monkeypatch, same)
        assert learns().level == "ok"

    @pytest.mark.parametrize(
        ("last", "before", "says", "anchor"),
        [
            (lambda y, *others: y.detach(), {}, "no gradient reaches", "the-loss-does-not-fall"),
            (lambda y, *others: y * torch.nan, {}, "not finite from the start", "nan-or-infinite-loss"),
            (lambda y, *others: 2 * y.detach() - y, {}, "nor at train.lr=0.001", "the-loss-does-not-fall"),
            (same, {"x": torch.zeros_like}, "ignores the picture", "the-loss-does-not-fall"),
            (same, {"c_noise": torch.zeros_like}, "ignores the noise level", "the-loss-does-not-fall"),
            (same, {"label": torch.zeros_like}, "ignores the class", "samples-ignore-the-class"),
        ],
    )
    def test_a_broken_network(
        self,
        monkeypatch: pytest.MonkeyPatch,
        last: Callable[..., Tensor],
        before: dict[str, Any],
        says: str,
        anchor: str,
    ) -> None:
        broken(monkeypatch, last, **before)
        found = learns()
        assert (found.level, found.anchor) == ("error", anchor) and says in found.text, found

    def test_a_learning_rate_too_high_or_too_low(self) -> None:
        high, low = learns("train.lr=100"), learns("train.lr=1e-7")
        assert (high.level, high.remedy) == ("error", "lower train.lr=100, which is too high")
        assert low.level == "warning" and low.remedy.startswith("raise train.lr=1e-07")

    def test_what_is_too_slow_is_tried_smaller(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor_trial, "SECONDS", 0.02)
        found = learns()
        assert found.level == "ok" and "of 4 pictures" in found.text and "network.width=16" in found.text
        assert "too slow to tell" in found.text


class TestPage:
    def headings(self) -> set[str]:
        """Anchors as code hosts and Sphinx make them."""
        titles = re.findall(r"^#+ (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    def test_has_every_anchor(self) -> None:
        everything = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
        anchors = {topic.value for topic in Topic}
        for text in everything:
            anchors |= set(re.findall(r"troubleshooting\.md#([\w-]+)", text))
            anchors |= set(re.findall(r'\banchor="([\w-]+)"', text)) if "Finding(" in text else set()
        assert len(anchors) > 10 and anchors <= self.headings()
        assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE.read_text(encoding="utf-8"))) <= self.headings()

    def test_keys_exist_and_take_the_values_given(self) -> None:
        words = re.findall(
            r"\b(?:data|network|diffusion|train|sample)\.[a-z_.]+(?:=(?:'[^']+'|\[[\d,]+\]|[\w.%-]*\w%?))?",
            PAGE.read_text(encoding="utf-8"),
        )
        assert len(words) > 50
        for word in words:
            assert word.partition("=")[0].rstrip(".") in keys(Config), word
            if "=" in word:
                kind = ["network.kind=unet_simple"] if word.startswith("network.norm") else []
                config.load("digits", [VP, COSINE, *kind, word])

    def test_remedies_name_keys_that_exist(self) -> None:
        for path in (ROOT / "src" / "mezzotint" / "studies").glob("doctor*.py"):
            text = re.sub(r'"\n\s*f?"', "", path.read_text(encoding="utf-8"))
            for word in re.findall(r"\b(?:data|network|diffusion|train|sample)\.[a-z_.]+=", text):
                assert word.rstrip("=") in keys(Config), word


def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Every dotted key of a tree, of all its kinds; groups too."""
    found = set()
    for name, field in model.model_fields.items():
        found.add(prefix + name)
        for member in members(field.annotation):
            found |= keys(member, f"{prefix}{name}.")
    return found


def members(annotation: Any) -> list[type[BaseModel]]:
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return [member for part in get_args(annotation) for member in members(part)]
    is_group = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return [annotation] if is_group else []
