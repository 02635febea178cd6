"""Evaluations as people get them: every way to fail is exposed, unequal numbers are refused, and numbers are repeatable."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint import config as configuration
from mezzotint.data import toy
from mezzotint.data.images import load_pictures
from mezzotint.errors import ConfigError, DataError, ModelError
from mezzotint.evaluate.evaluation import Evaluation, evaluate, judge_samples, refuse_unequal
from mezzotint.evaluate.judges import classifier
from mezzotint.evaluate.judges.classifier import classifier_extractor, train_classifier
from mezzotint.evaluate.judges.features import Extractor
from mezzotint.evaluate.metrics.numbers import Number
from mezzotint.evaluate.page import page
from mezzotint.evaluate.points import point_numbers
from mezzotint.evaluate.reference import Reference, open_judge, open_reference
from mezzotint.evaluate.sample_set import SampleSet, read_samples

CPU = torch.device("cpu")
LEARNED, N = 620, 600


@pytest.fixture(autouse=True, scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEZZOTINT_CACHE", str(tmp_path_factory.mktemp("kept")))
        yield


@pytest.fixture(scope="module")
def world() -> tuple[Reference, Extractor, Tensor, Tensor]:
    """The bundled digits in three parts: a model's training set, the reference, and what an excellent model makes."""
    pictures = load_pictures("digits")
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    images, labels = pictures.batch(order)
    assert labels is not None
    train, reference = slice(0, LEARNED), slice(LEARNED, LEARNED + N)
    net = train_classifier(images[train], labels[train], 10, pictures_seen=15_000)
    real = Reference(
        name="digits",
        words="held-out digits",
        images=images[reference],
        labels=labels[reference],
        learn=images[train],
        learn_labels=labels[train],
        train=images[train],
        unseen=images[reference],
        classes=tuple(pictures.classes),
        flip=False,
    )
    rest = slice(LEARNED + N, None)
    return real, classifier_extractor(net), images[rest], labels[rest]


def spoilt(fault: str, real: Reference, images: Tensor, labels: Tensor) -> Tensor:
    """Pictures that were asked to be of the classes `labels`, as a model makes them that has a fault."""
    n = len(labels)
    random = torch.Generator().manual_seed(1)
    match fault:
        case "none":
            return images
        case "copies":
            assert real.learn_labels is not None
            places = [torch.where(real.learn_labels == label)[0] for label in labels]
            return real.train[torch.stack([some[i % len(some)] for i, some in enumerate(places)])]
        case "one class":
            ones = images[labels == 3]
            noise = torch.randint(-8, 9, (n, 1, 8, 8), generator=random)
            return (ones.repeat(n // len(ones) + 1, 1, 1, 1)[:n] + noise).clamp(0, 255).to(torch.uint8)
        case "blur":
            return F.avg_pool2d(F.pad(images.float(), (1, 1, 1, 1), mode="replicate"), 3, 1).to(torch.uint8)
        case "noise":
            noise = 30 * torch.randn(images.shape, generator=random)
            return (images + noise).clamp(0, 255).to(torch.uint8)
    raise AssertionError(fault)


def faults(one: Evaluation) -> set[str]:
    """The metrics that say no: by their intervals, against what real pictures get."""
    found = set()
    for number in one.numbers:
        low, high = number.low, number.high
        assert low is not None or number.name == "density"
        if number.name in ("frechet, infinite n", "kernel distance"):
            wrong = low > 0
        elif number.name in ("precision", "recall", "class agreement", "inception score"):
            wrong = high < (0.7 if number.real is None else number.real - 0.02)
        else:
            continue
        if wrong:
            found.add(number.name)
    return found | ({"memorization"} if one.copying else set())


@pytest.mark.parametrize(
    ("fault", "exposed_by"),
    [
        ("none", set()),
        ("copies", {"memorization"}),
        (
            "one class",
            {"frechet, infinite n", "kernel distance", "recall", "class agreement", "inception score"},
        ),
        ("blur", {"frechet, infinite n", "kernel distance"}),
        ("noise", {"frechet, infinite n"}),
    ],
)
def test_every_fault_is_exposed(
    fault: str, exposed_by: set[str], world: tuple[Reference, Extractor, Tensor, Tensor]
) -> None:
    real, judge, images, labels = world
    one = judge_samples(SampleSet(fault, spoilt(fault, real, images, labels), labels), judge, real)
    found = faults(one)
    assert found >= exposed_by, (found, one.numbers)
    if fault in ("none", "copies"):
        assert found == exposed_by, (found, one.numbers)


def test_numbers_say_what_they_depend_on_and_unequal_ones_are_refused(
    world: tuple[Reference, Extractor, Tensor, Tensor],
) -> None:
    real, judge, images, labels = world
    one = judge_samples(SampleSet("one", images, labels), judge, real)
    assert (one.n, one.judge, one.data) == (len(images), str(judge), real.version)
    refuse_unequal([one, replace(one, source="two", seconds=3.0)])
    for what, words, value in (
        ("n", "n", 10),
        ("judge", "the network of the features", "classifier f00, 96 features, resize none"),
        ("data", "the reference's hash", "f00"),
    ):
        with pytest.raises(ConfigError, match=f"one and two cannot be compared: {words} is"):
            refuse_unequal([one, replace(one, source="two", **{what: value})])
    other = judge_samples(SampleSet("two", images[:300], labels[:300]), judge, real)
    with pytest.raises(ConfigError, match="n is"):
        refuse_unequal([one, other])


def test_json_and_back(world: tuple[Reference, Extractor, Tensor, Tensor]) -> None:
    real, judge, images, labels = world
    one = judge_samples(SampleSet("one", images, labels, {"steps": 3}), judge, real)
    again = Evaluation.from_json(json.loads(json.dumps(one.as_json())))
    assert again == replace(one, seconds=again.seconds)
    for wrong in ({}, {"numbers": 3}, {"numbers": {"a": {}}}, {"numbers": {"a": {"value": 1}}, "words": 2}):
        with pytest.raises(ModelError, match="not an evaluation"):
            Evaluation.from_json(wrong)


def test_what_lacks_is_left_out(world: tuple[Reference, Extractor, Tensor, Tensor]) -> None:
    """Few pictures, no labels, no logits: fewer numbers, and none that is made up."""
    real, judge, images, labels = world
    few = judge_samples(SampleSet("few", images[:60], None), judge, real)
    names = {number.name for number in few.numbers}
    assert "frechet distance" in names
    assert not {"frechet, infinite n", "class agreement", "inception score"} & names
    blind = replace(judge, labels=False, compute=lambda x: judge(x)._replace(logits=None))
    names = {number.name for number in judge_samples(SampleSet("m", images, labels), blind, real).numbers}
    assert {"frechet, infinite n", "recall"} <= names and "class agreement" not in names


@pytest.mark.parametrize("m", [1, 2, 3])
def test_of_few_real_pictures_only_what_can_be_said_is(
    m: int, world: tuple[Reference, Extractor, Tensor, Tensor]
) -> None:
    real, judge, images, labels = world
    assert real.labels is not None
    few = replace(real, images=real.images[:m], labels=real.labels[:m], unseen=real.images[:m])
    one = judge_samples(SampleSet("m", images[:120], labels[:120]), judge, few)
    names = {number.name for number in one.numbers}
    assert {"inception score", "class agreement"} <= names
    assert ("frechet distance" in names) == (m > 1)
    assert not {"frechet, infinite n", "kernel distance", "precision", "copies"} & names
    assert all(np.isfinite(number.value) for number in one.numbers) and one.copying is None
    assert "m</" in page([one])


def test_a_test_split_of_two_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the files to the numbers, with the judge that is learned of what there is."""
    monkeypatch.setattr(classifier, "budget", lambda count: 256)
    path = TestReference().folder(tmp_path / "a", {"train/x": 3, "train/y": 3, "test/x": 1, "test/y": 1})
    random = np.random.default_rng(1)
    np.savez(tmp_path / "a.npz", images=random.integers(0, 256, (20, 8, 8, 1), np.uint8))
    (one,) = evaluate([str(tmp_path / "a.npz")], n=20, data=str(path), device="cpu")
    assert one.reference == "test split of folder, 2 pictures"
    assert {number.name for number in one.numbers} == {"frechet distance"}


def test_page_has_numbers_pictures_and_the_verdict(
    world: tuple[Reference, Extractor, Tensor, Tensor],
) -> None:
    real, judge, images, labels = world
    copied = judge_samples(SampleSet("<copier>", spoilt("copies", real, images, labels), labels), judge, real)
    html = page([copied, replace(copied, source="from json", samples=None, copies=None)])
    assert "&lt;copier&gt;" in html and "<copier>" not in html
    assert html.count("data:image/png;base64,") == 2 and "This model copies its training pictures" in html
    assert real.version in html and judge.version in html and "://" not in html


class TestReference:
    def data(self, **keys: object) -> configuration.Data:
        return configuration.parse({"data": {"name": "folder", **keys}}).data

    def folder(self, path: Path, counts: dict[str, int]) -> Path:
        from PIL import Image

        random = np.random.default_rng(0)
        for name, count in counts.items():
            (path / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(path / name / f"{i}.png")
        return path

    def test_a_test_split_comes_first(self, tmp_path: Path) -> None:
        path = self.folder(tmp_path / "a", {"train": 60, "test": 25, "val": 30})
        found = open_reference(self.data(path=str(path), size=8))
        assert found.words == "test split of folder, 25 pictures"
        assert len(found.images) == len(found.unseen) == 25 and len(found.learn) == 30
        assert len(found.train) == 57  # 5 % are held out of training

    def test_a_test_split_is_labelled_by_the_names_of_training(self, tmp_path: Path) -> None:
        """Whichever it lacks or adds: by its own numbers, real pictures would be of the wrong classes."""
        lacks = {"train/a": 4, "train/b": 4, "train/c": 4, "test/b": 2, "test/c": 3}
        found = open_reference(self.data(path=str(self.folder(tmp_path / "lacks", lacks)), size=8))
        assert found.classes == ("a", "b", "c") and found.labels.tolist() == [1, 1, 2, 2, 2]
        adds = {"train/a": 4, "train/b": 4, "test/a": 2, "test/aa": 3, "test/b": 1}
        found = open_reference(self.data(path=str(self.folder(tmp_path / "adds", adds)), size=8))
        assert found.classes == ("a", "b") and found.labels.tolist() == [0, 0, 1]
        assert "without 3 of classes that were not trained on (aa)" in found.words

    def test_then_a_validation_split(self, tmp_path: Path) -> None:
        path = self.folder(tmp_path / "a", {"train": 60, "val": 30})
        assert open_reference(self.data(path=str(path), size=8)).words.startswith("validation split")

    def test_then_what_is_held_out(self, tmp_path: Path) -> None:
        path = self.folder(tmp_path / "a", {"x": 1200})
        found = open_reference(self.data(path=str(path), size=8, holdout=0.5))
        assert "held out of training, 600 pictures" in found.words
        together = torch.cat([found.images, found.train]).flatten(1)
        assert len(together.unique(dim=0)) == 1200
        learn, train = (part.flatten(1).unique(dim=0) for part in (found.learn, found.train))
        assert torch.equal(learn, train), "the same pictures, in an order of their own"

    def test_and_else_all_which_is_said(self) -> None:
        found = open_reference(configuration.parse({"data": {"name": "digits"}}).data)
        assert (
            "all 1,797 pictures of digits, training pictures included" in found.words
            and len(found.images) == 1797
        )
        assert len(found.unseen) == 90 and len(found.train) == 1707

    def test_judges_by_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(classifier, "budget", lambda count: 256)
        monkeypatch.setattr("mezzotint.evaluate.judges.clusters.budget", lambda count: 256)
        digits = open_reference(configuration.parse({"data": {"name": "digits"}}).data)
        assert open_judge("auto", digits, CPU).name == "classifier"
        plain = replace(digits, learn_labels=None, classes=())
        assert open_judge("auto", plain, CPU).name == "clusters"
        for kind, words in (
            ("classifier", "no classes"),
            ("inception", "inception=pt_"),
            ("vgg", "is not one of auto"),
        ):
            with pytest.raises(ConfigError, match=words):
                open_judge(kind, plain, CPU)


class TestRead:
    def test_npz_as_sampled(self, tmp_path: Path) -> None:
        images = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), np.uint8)
        np.savez(tmp_path / "a.npz", images=images, labels=np.arange(5))
        found = read_samples(str(tmp_path / "a.npz"), classes=tuple("abcde"))
        assert torch.equal(found.values, torch.from_numpy(images).permute(0, 3, 1, 2))
        assert found.labels is not None and found.labels.tolist() == [0, 1, 2, 3, 4]
        assert read_samples(str(tmp_path / "a.npz"), classes=("a",)).labels is None  # of other classes
        np.savez(tmp_path / "b.npz", images)
        assert torch.equal(read_samples(str(tmp_path / "b.npz")).values, found.values)

    def test_npz_of_other_numbers_is_joined_by_name(self, tmp_path: Path) -> None:
        images = np.zeros((4, 8, 8, 1), np.uint8)
        np.savez(tmp_path / "a.npz", images=images, labels=[0, 1, 2, 1], classes=["cat", "ant", "bee"])
        found = read_samples(str(tmp_path / "a.npz"), classes=("ant", "bee", "cat"))
        assert found.labels is not None and found.labels.tolist() == [2, 0, 1, 0]
        assert read_samples(str(tmp_path / "a.npz"), classes=("ant", "bee", "cow")).labels is None

    def test_folders_of_classes(self, tmp_path: Path) -> None:
        TestReference().folder(tmp_path / "a", {"two": 2, "one": 3})
        found = read_samples(str(tmp_path / "a"), (1, 8, 8), ("zero", "one", "two"))
        assert found.values.shape == (5, 1, 8, 8)
        assert found.labels is not None and sorted(found.labels.tolist()) == [1, 1, 1, 2, 2]
        assert read_samples(str(tmp_path / "a"), (1, 8, 8), ("x", "y")).labels is None

    def test_fewer_than_asked_for(self) -> None:
        made = SampleSet("m", torch.arange(20).view(10, 1, 1, 2).to(torch.uint8), torch.arange(10))
        assert made.first(10) is made
        half = made.first(5).labels
        assert half is not None and half.tolist() == [0, 2, 4, 6, 8]
        with pytest.raises(DataError, match=r"m has 10, fewer than n = 11; add -n 10"):
            made.first(11)

    @pytest.mark.parametrize("content", ["text", "nothing", "float", "objects"])
    def test_other_files(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "a.npz"
        match content:
            case "text":
                path.write_text("no")
            case "float":
                np.savez(path, images=np.zeros((2, 4, 4, 3)))
            case "objects":
                np.savez(path, images=np.array([{}, None]), allow_pickle=True)
        with pytest.raises(DataError, match=r"a\.npz"):
            read_samples(str(path))


class TestPoints:
    def numbers(self, points: Tensor, name: str = "moons") -> dict[str, Number]:
        return {number.name: number for number in point_numbers(points, name)}

    def test_real_points_are_as_real_points(self) -> None:
        found = self.numbers(toy.points("moons", 2000, 1)[0])
        energy, likely = found["energy distance"], found["log-likelihood"]
        assert energy.low < energy.real < energy.high
        assert abs(likely.value - likely.real) < 2 * (likely.high - likely.value)
        assert "share where there is no data" not in found

    def test_others_are_not(self) -> None:
        x, label = toy.points("moons", 2000, 1)
        one = self.numbers(x[label == 0])
        assert one["energy distance"].low > 2 * one["energy distance"].real
        wide = self.numbers(x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))
        assert wide["log-likelihood"].high < wide["log-likelihood"].real - 0.1

    def test_points_where_nothing_is(self) -> None:
        x = toy.points("checkerboard", 1000, 1)[0]
        x[:250] = 9.0
        found = self.numbers(x, "checkerboard")
        assert found["share where there is no data"].value == pytest.approx(0.25)
        assert np.isfinite(found["log-likelihood"].value)


def test_sources_that_cannot_be_evaluated(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((20, 8, 8, 1), np.uint8))
    npz = str(tmp_path / "a.npz")
    for sources, options, words in (
        ([npz], {}, "give real ones to compare with: --data NAME"),
        ([npz], {"metrics": ["fid"]}, "fid is not a metric"),
        ([npz], {"n": 3}, "too few"),
        ([npz], {"n": 20, "data": "mixture"}, "holds pictures"),
    ):
        with pytest.raises(ConfigError, match=words):
            evaluate(sources, **options)
    with pytest.raises(ModelError, match="no run and no model file"):
        evaluate(["nowhere"])
