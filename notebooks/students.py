# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Students: one call in place of twenty
#
# A diffusion model is asked many times for a picture. A *student* is asked once, or twice. Here is a bundled one beside its teacher, and then
# one that you train yourself, on points in the plane, where every step can be seen.
#
# The first cell installs the package where it is missing, as on a hosted notebook service. Locally it does nothing.

# %%
import importlib.util

if importlib.util.find_spec("mezzotint") is None:
    # %pip install -q "mezzotint @ git+ADDRESS-OF-THIS-REPOSITORY"
    pass

# %% [markdown]
# ## What can be changed
#
# `QUICK` makes everything tiny, to see in seconds that it runs; nothing is learned then.

# %%
import os
import time

import torch

import mezzotint
from mezzotint import Batch, plots
from mezzotint.diffusion import parameterization, solvers
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.flowmap import FlowMap
from mezzotint.diffusion.process import flow
from mezzotint.diffusion.schedule import grid
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.nets.mlp import MLP
from mezzotint.randomness import noise
from mezzotint.train import Ema, State, adamw, learning_rate, train
from mezzotint.train.flow_map import WalkLoss

QUICK = os.environ.get("MEZZOTINT_QUICK") == "1"
N = 2 if QUICK else 10  # pictures in a row
STEPS = 5 if QUICK else 600  # of training
POINTS = 50 if QUICK else 1000

teacher, student = (mezzotint.load(name, precision="fp32") for name in ("mnist", "mnist_fast"))

# %% [markdown]
# ## The same seeds
#
# The teacher by `ddim` in 1, 2, 4 and 8 steps. In one step it gives the mean of all digits of the class, which is no digit.

# %%
rows = [teacher.sample(N, label="all", sampler="ddim", steps=steps).values for steps in (1, 2, 4, 8)]
plots.sheet(torch.cat(rows), columns=N, row_labels=["1", "2", "4", "8"], scale=2)

# %% [markdown]
# And its student. It was shown where the teacher's walks end.

# %%
rows = [student.sample(N, label="all", steps=steps).values for steps in (1, 2, 4, 8)]
plots.sheet(torch.cat(rows), columns=N, row_labels=["1", "2", "4", "8"], scale=2)

# %% [markdown]
# ## How fast
#
# A call of both costs about the same. The teacher's default is 14 steps, six of them guided, which is 20 calls.


# %%
def seconds(model, **settings):
    model.sample(N, label="all", **settings)
    began = time.perf_counter()
    model.sample(N, label="all", **settings)
    return time.perf_counter() - began


usual, one = seconds(teacher), seconds(student, steps=1)
print(f"{N} digits: teacher {usual:.3f} s, student in one call {one:.3f} s, {usual / one:.1f} times as fast")

# %% [markdown]
# ## A student of your own
#
# The teacher is the bundled model of two moons. It walks 8 steps. The student is told how far a step goes (`span=True`), and learns from every walk
# the hops of 1, 1/2, 1/4 and 1/8 of it. Of the data it needs nothing.

# %%
moons = mezzotint.load("moons", precision="fp32")
stops = grid("time", 8, moons.schedule)
print("the walk's levels:", *(f"{float(level):.1f}" for level in stops))


def believed(x, level, cond):
    """What the teacher believes of points of no class."""
    return moons.denoiser(x, level, mezzotint.Cond(torch.full((len(x),), len(moons.classes))))


torch.manual_seed(0)
net = MLP(width=64, depth=3, span=True)
state = State(net, adamw(net), Ema(net, 0.1))
lesson = WalkLoss(FlowMap(net, flow, parameterization.velocity), believed, solvers.dpmpp_2m, stops)
empty = (Batch(torch.zeros(128, 2)) for _ in range(STEPS))
losses = [
    float(progress.loss) for progress in train(lesson, state, empty, until=STEPS, lr=learning_rate(1e-2))
]
print(f"loss at first {losses[0]:.3f}, at last {losses[-1]:.4f}")

# %% [markdown]
# ## The points
#
# Above the teacher, below the student, by 1, 2 and 4 calls.


# %%
def draw(denoise, steps, sampler="ddim"):
    stops = SAMPLERS[sampler].stops(grid("time", steps, moons.schedule))
    seeds = torch.arange(POINTS)
    walk = SAMPLERS[sampler].walk(
        flow, noise(seeds, 0, 0, (2,)), stops, lambda i, k: noise(seeds, i + 1, k, (2,))
    )
    *_, last = alone(denoise, walk)
    return last.x


learned = FlowMap(state.ema.net.eval(), flow, parameterization.velocity)
plots.scatter([(f"teacher, {n}", draw(believed, n), None) for n in (1, 2, 4)], limits=(-3, 3))

# %%
plots.scatter([(f"student, {n}", draw(learned, n), None) for n in (1, 2, 4)], limits=(-3, 3))

# %% [markdown]
# ## Up again
#
# More calls can be spent by going up: to clean, back up to the next level with fresh noise, to clean again (consistency sampling).

# %%
plots.scatter(
    [(f"up and down, {n}", draw(learned, n, "consistency"), None) for n in (1, 2, 4)], limits=(-3, 3)
)

# %% [markdown]
# ## Where to go from here
#
# - A student of your own model: `mezzotint distil RUN`, about a quarter of an hour for digits.
# - Why it works, and four published methods as one line: phase 8 of the guide.
