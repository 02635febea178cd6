"""What the doctor says of the machine: its pace, five minutes of it, and what came of a recipe that had as much."""

from dataclasses import replace

import pytest
import torch

from mezzotint import config
from mezzotint.config import Config
from mezzotint.data.open import open_source
from mezzotint.model.device import kind_of
from mezzotint.studies.doctor import reach
from mezzotint.studies.doctor.reach import machine, reached
from mezzotint.studies.doctor.trial import StepCost, measure

CPU = torch.device("cpu")
COST = StepCost(0.1, 0.0, False, weights=1, activations=1, data=1)  # 0.1 s a step


def said(chosen: Config, cost: StepCost) -> str:
    (finding,) = machine(chosen, cost, CPU, torch.float32, None)
    assert (finding.level, finding.title) == ("ok", "machine")
    return finding.text


def test_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.1 s a step of 64 are 640 pictures a second; 94 % of five minutes are 2,820 steps, or 180,480 pictures."""
    monkeypatch.setattr(reach, "kind_of", lambda device: "cpu with AVX2, without bfloat16")
    text = said(config.load("mnist"), COST)
    assert text.startswith("cpu with AVX2, without bfloat16, ")
    assert (
        ", float32: 640 pictures a second in training, so 5 minutes are 2,820 steps of 64; after 160,000"
        in text
    )
    assert text.endswith("recognised as their class")
    slow = said(config.load("mnist"), replace(COST, computing=0.5, ours=0.12))
    assert (
        "are 564 steps of 64; after 32,000 pictures most digits could be read; other work leaves it 12%"
        in slow
    )
    assert "too few to say" in said(config.load("mnist"), replace(COST, computing=5.0))


def test_only_of_what_was_measured() -> None:
    """Budget, seed and place of the data change nothing of what is reached; what is learned with does."""
    for same in ((), ("train.images=160000",), ("train.seed=3",), ("data.path=elsewhere",)):
        assert reached(config.load("mnist", same), 10**6) == reach.REACHED["mnist"][-1][1]
    for other in ("network.width=16", "train.lr=1e-3", "diffusion.parameterization=eps", "data.name=digits"):
        assert reached(config.load("mnist", (other,)), 10**6) == ""
    assert reached(config.load("cifar10"), 10**6) == ""
    for name, measured in reach.REACHED.items():
        counts = [count for count, _ in measured]
        assert config.load(name) and counts == sorted(counts)


def test_this_machine() -> None:
    """Nothing faked: what was measured is what is said."""
    chosen = config.load("moons")
    source = open_source(chosen.data, CPU)
    cost = measure(chosen, source, CPU)
    assert 0 < cost.ours <= 1
    (finding,) = machine(chosen, cost, CPU, torch.float32, source)
    assert finding.text.startswith(f"{kind_of(CPU)}, {torch.get_num_threads()} thread")
    assert f"{chosen.train.batch_size / cost.a_step:,.0f} points a second" in finding.text
