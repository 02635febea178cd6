"""The judges that are trained on the spot: how good they are, and that they are kept and come back the same."""

from pathlib import Path

import pytest
import torch
from helpers_judges import LEARNED, digits, judge

from mezzotint.data.images import load_pictures
from mezzotint.evaluate.judges import classifier, clusters
from mezzotint.evaluate.judges.classifier import (
    Classifier,
    augment,
    budget,
    cached_classifier,
    classifier_extractor,
    train_classifier,
)
from mezzotint.evaluate.judges.features import extract
from mezzotint.media.pictures import to_model

MNIST = Path(__file__).resolve().parents[4] / "shared" / "data" / "mnist"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def neighbours_agree(pool: torch.Tensor) -> float:
    """The share of the last 597 digits whose 5 nearest among the first 1,200 have their class by majority."""
    labels = digits()[1]
    near = torch.cdist(pool[LEARNED:], pool[:LEARNED]).topk(5, largest=False).indices
    return float((labels[near].mode(1).values == labels[LEARNED:]).float().mean())


def test_digits_are_recognised() -> None:
    images, labels = digits()
    found = extract(classifier_extractor(judge()), images[LEARNED:])
    assert found.logits is not None
    assert (found.logits.argmax(1) == labels[LEARNED:]).float().mean() > 0.97


def test_features_are_few_and_lead_to_the_logits() -> None:
    images, _ = digits()
    extractor = classifier_extractor(judge())
    found = extract(extractor, images[:20])
    assert found.pool.shape == (20, extractor.width) and extractor.width <= 128
    assert found.pool.dtype == torch.float32 and found.pool.min() >= 0
    assert found.logits is not None
    torch.testing.assert_close(found.logits, judge().head(found.pool))
    torch.testing.assert_close(found.logits, judge()(to_model(images[:20])), atol=1e-4, rtol=1e-4)


def test_a_picture_is_judged_alone() -> None:
    """Whatever lies beside it in a batch: the statistics of the norms are those of training."""
    images, _ = digits()
    extractor = classifier_extractor(judge())
    torch.testing.assert_close(
        extractor(images[:1]).pool, extractor(images[:50]).pool[:1], atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("side", [8, 15, 16, 28, 32, 64, 96])
def test_every_size_comes_down_to_a_few_cells(side: int) -> None:
    net = Classifier(3, side, 7)
    x = torch.zeros(2, 3, side, side + 3)
    assert net(x).shape == (2, 7)
    assert 2 <= net.body(x).shape[2] <= max(4, side // 8)


def test_the_same_seed_makes_the_same_judge() -> None:
    images, labels = digits()
    state = torch.random.get_rng_state()
    one, two, other = (
        train_classifier(images[:200], labels[:200], 10, seed=seed, pictures_seen=640).state_dict()
        for seed in (3, 3, 4)
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    assert torch.equal(state, torch.random.get_rng_state())  # the caller's own random numbers are left alone


def test_the_version_is_a_hash_of_the_weights() -> None:
    net = Classifier(1, 8, 10).eval()
    version = classifier_extractor(net).version
    assert version == classifier_extractor(net).version
    with torch.no_grad():
        net.head.bias[0] += 1
    assert version != classifier_extractor(net).version


def test_augmentation_keeps_pictures_where_they_are_and_flips_only_where_allowed() -> None:
    x = torch.zeros(400, 1, 16, 16)
    x[:, :, 4:12, 2:6] = 1  # left of the middle
    random = torch.Generator().manual_seed(0)
    columns = torch.arange(16.0) - 7.5

    def places(flip: bool) -> torch.Tensor:
        seen = augment(x, random, flip)
        return (seen.sum((1, 2)) @ columns) / seen.sum((1, 2, 3))

    still, mirrored = places(False), places(True)
    assert still.max() < -0.5 and abs(float(still.mean()) + 4) < 0.3
    assert 0.4 < float((mirrored > 0).float().mean()) < 0.6


def test_trained_once_for_the_same_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = digits()
    monkeypatch.setattr(classifier, "budget", lambda count: 640)
    told: list[tuple[int, int]] = []

    def get(labels: torch.Tensor = labels) -> str:
        judge = cached_classifier(images[:200], labels[:200], 10, report=lambda *step: told.append(step))
        return judge.version

    first = get()
    assert told[0] == (0, 640) and told[-1] == (640, 640)
    told.clear()
    assert get() == first and told == []  # it was kept
    assert get(labels.flip(0)) != first and told  # other labels, another judge
    (kept, _) = sorted(folder.iterdir())
    assert kept.suffix == ".safetensors" and len(list(folder.iterdir())) == 2


def test_k_means_finds_what_lies_together() -> None:
    random = torch.Generator().manual_seed(0)
    group = torch.arange(300) % 3
    x = torch.randn(300, 5, generator=random) * 0.1 + torch.eye(5)[group] * 3
    found = clusters.k_means(x, 3)
    assert all(len(found[group == k].unique()) == 1 for k in range(3)) and len(found.unique()) == 3


def test_a_judge_without_labels_knows_digits_better_than_pixels_do(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = digits()
    monkeypatch.setattr(clusters, "budget", lambda count: 10_000)
    judge = clusters.cached_clusters(images[:LEARNED])
    found = extract(judge, images)
    assert found.logits is None and not judge.labels and judge.name == "clusters"
    assert neighbours_agree(found.pool) > 0.95
    assert clusters.cached_clusters(images[:LEARNED]).version == judge.version


@pytest.mark.slow
def test_mnist_in_a_sixtieth_of_the_budget() -> None:
    """The whole, eight epochs, makes 99.7 % of the test pictures."""
    if not MNIST.is_dir():
        pytest.skip("needs shared/data/mnist beside the repository")
    train, test = (
        load_pictures("mnist", MNIST, split=split, limit=limit)
        for split, limit in (("train", 8_000), ("test", 2_000))
    )
    assert isinstance(train.images, torch.Tensor) and isinstance(test.images, torch.Tensor)
    assert train.labels is not None and test.labels is not None
    net = train_classifier(train.images, train.labels, 10, pictures_seen=8_000)
    found = extract(classifier_extractor(net), test.images)
    assert found.logits is not None
    assert (found.logits.argmax(1) == test.labels).float().mean() > 0.94


@pytest.mark.parametrize(
    ("count", "seen"),
    [(28, 25_600), (500, 50_000), (1797, 100_000), (20_000, 160_000), (60_000, 480_000), (10**6, 480_000)],
)
def test_small_sets_have_a_small_budget(count: int, seen: int) -> None:
    assert budget(count) == seen
