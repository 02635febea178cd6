"""Every way in which a model can fail is exposed by a metric, and real pictures pass them all."""

import pytest
import torch
from torch import Tensor

from mezzotint.evaluate.metrics.frechet import frechet_infinity
from mezzotint.evaluate.metrics.inception_score import inception_score
from mezzotint.evaluate.metrics.kernel import squared_mmd
from mezzotint.evaluate.metrics.memorization import memorization
from mezzotint.evaluate.metrics.precision_recall import precision_recall
from mezzotint.evaluate.metrics.share import agreement

N, D, K = 600, 12, 4
CENTRES = 6 * torch.eye(D)[:K]


def pictures(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % K
    return CENTRES[label] + torch.randn(n, D, generator=generator), label


def exposed(samples: Tensor, asked: Tensor) -> set[str]:
    """The metrics that see a fault."""
    (train, _), (held_out, _), (real, _) = (pictures(n, seed) for n, seed in ((64, 1), (N, 2), (N, 3)))
    scores = samples @ CENTRES.T
    region, usual = precision_recall(samples, held_out), precision_recall(real, held_out)
    verdicts = {
        "frechet": frechet_infinity(samples, held_out).low > 0,
        "kernel": squared_mmd(samples, held_out) > 5 * abs(squared_mmd(real, held_out)),
        "classes": inception_score(scores.softmax(1)).mean < K - 0.5,
        "agreement": agreement(scores, asked).high < 0.9,
        "precision": region.precision < usual.precision - 0.1,
        "recall": region.recall < usual.recall - 0.1,
        "memorization": memorization(samples, train, held_out).flagged,
    }
    return {name for name, found in verdicts.items() if found}


def test_real_pictures_pass() -> None:
    assert exposed(*pictures(N, 4)) == set()


@pytest.mark.parametrize("fault", ["copies", "one class", "blur", "noise"])
def test_faults(fault: str) -> None:
    samples, asked = pictures(N, 4)
    noise = torch.randn(N, D, generator=torch.Generator().manual_seed(5))
    match fault:
        case "copies":
            train, label = pictures(64, 1)
            found = exposed(train.repeat(10, 1)[:N] + 0.01 * noise, label.repeat(10)[:N])
            assert "memorization" in found and "precision" not in found
        case "one class":
            found = exposed(samples - CENTRES[asked] + CENTRES[0], asked)
            assert (
                found >= {"frechet", "kernel", "classes", "agreement", "recall"}
                and "memorization" not in found
            )
        case "blur":  # details lost: everything nearer its class's middle
            found = exposed(CENTRES[asked] + 0.7 * (samples - CENTRES[asked]), asked)
            assert found >= {"frechet", "recall"} and "memorization" not in found
        case _:  # faint: it widens a class by a fifth
            found = exposed(samples + 0.7 * noise, asked)
            assert "frechet" in found and "memorization" not in found
