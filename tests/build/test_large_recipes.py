"""Recipes for a GPU train at their full shape, within memory that everyone has."""

import subprocess
import sys

import pytest

STEPS = """
import gc, resource, sys, torch
from mezzotint import build, config
from mezzotint.cond import Batch, Cond
from mezzotint.media.facts import Facts
from mezzotint.model.device import find_precision
from mezzotint.train.ema import Ema
from mezzotint.train.loop import State, train

shape = (3, 256, 256)
# What Muon computes is not looked at here, only the memory that it takes: its products, a third of the time, are sums of that shape.
torch.baddbmm = lambda x, a, b, beta, alpha=1: torch.add(x * beta, x, alpha=alpha)
for recipe in sys.argv[1:]:
    made = config.load(recipe, codec__network={"kind": "vae"} if recipe.startswith("latent") else None)
    torch.manual_seed(0)
    net = build.network(made, Facts(shape, ("a", "b")))
    objective = build.objective(made, build.denoiser(made, net, dtype=find_precision("auto", torch.device("cpu"))))
    state = State(net, build.optimizer(made, net), Ema(net, made.train.ema))
    before = net.leave.weight.clone()
    # The moments of a first step lie beside the gradients of the second, so the first can do with any gradients and a tiny rate.
    for weight in net.parameters():
        weight.grad = torch.ones_like(weight)
    for group in state.optimizer.param_groups:
        group["lr"] = 1e-6
    state.optimizer.step()
    assert not net.leave.weight.equal(before)
    # The second move of the weights takes most of a step here, and added 3 % to the memory of two.
    state.optimizer.step = lambda: None
    batches = [Batch(torch.randn(1, *build.codec(made, Facts(shape)).shape(shape)), Cond(label=torch.tensor([1])))]
    losses = [float(one.loss) for one in train(objective, state, batches, until=1, lr=lambda share: made.train.lr)]
    assert len(losses) == 1 and 0 < losses[0] < 10, losses
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    print(recipe, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30)
    del made, net, objective, state, before, weight, batches
    gc.collect()
"""


@pytest.mark.slow
def test_they_train_at_their_full_shape_within_8_gb() -> None:
    """One after the other, the smaller first: what is measured is the largest so far. That for 128 pixels is smaller."""
    pytest.importorskip("resource", reason="needs the largest memory of a process")
    command = [sys.executable, "-c", STEPS, "pictures256_gpu", "latent256_gpu"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    told = dict(line.split() for line in run.stdout.splitlines())
    assert list(told) == command[3:]
    assert all(1 < float(size) < 8 for size in told.values()), told
