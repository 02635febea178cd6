# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Two moons: all of diffusion in the plane
#
# A diffusion model learns to undo noise. Whoever can undo a little noise, again and again, can start from nothing but
# noise and end with something new. Here the "pictures" are points with two coordinates, so that every step of that can
# be drawn, and a model is trained in less than a minute.
#
# You will see the data dissolve, train a network, stop it and go on, draw new points, watch them find their way, and
# measure how good they are: for points the right answer is known exactly.
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
# `QUICK` makes everything tiny, to see in seconds that it runs; nothing is learned then. Set it here, or from outside
# with `MEZZOTINT_QUICK=1`. `RUN` is the folder that the trained model, its checkpoints and its curves go to.

# %%
import itertools
import os
from pathlib import Path

import torch

import mezzotint
from mezzotint import build, config, plots
from mezzotint.disk.folder import read_metrics
from mezzotint.evaluate.evaluation import evaluate
from mezzotint.model.strips import denoising, noising, spread_steps
from mezzotint.run.events import Done, Note, Tick
from mezzotint.run.fit import fit

QUICK = os.environ.get("MEZZOTINT_QUICK") == "1"
STEPS = 40 if QUICK else 3000  # of training
N = 200 if QUICK else 2000  # points drawn and measured
RUN = Path("runs/notebook-moons")
TINY = ["sample.steps=3", "train.sample_every=100%", "train.checkpoint_every=50%"] if QUICK else []

# %% [markdown]
# ## The data, and how it dissolves
#
# Two half circles with a little scatter; which of them a point belongs to is its class. After the data themselves, at
# u = 0, comes the same with more and more noise: each point moves on a straight line towards a place of its own, drawn
# from a normal distribution. At the end nothing of the moons is left, and that is what we want: this end can be made
# without any data.

# %%
recipe = config.load("moons", TINY, train__steps=STEPS, train__log_every=f"{STEPS // 20} steps")
source = build.source(recipe, torch.device("cpu"))
noising(recipe, source.facts, source.codec, source.preview(N))

# %% [markdown]
# ## Training, and stopping halfway
#
# The network is shown a noisy point and its level of noise and learns to say where the point came from. It cannot
# know; the best it can say is the mean of all places it may have come from, and that is just what sampling needs.
#
# `fit` is a generator. It yields what happens, and whoever calls it decides what to show: here a line with the loss
# and the time left. `stop` is asked after every step, and when it says yes, everything is saved. We say yes halfway.


# %%
def follow(events):
    """Shows what a run says, and returns its last word."""
    for event in events:
        match event:
            case Note(text):
                print(text)
            case Tick(step, until, loss, rate) if loss is not None:
                left = (until - step) * recipe.train.batch_size / rate
                print(f"\rstep {step:,} of {until:,}, loss {loss:.4f}, {left:.0f} s left   ", end="")
            case Done():
                print(f"\nstopped at step {event.step:,} of {event.until:,}")
    return event


asked = itertools.count(1)
halfway = follow(fit(recipe, RUN, overwrite=True, stop=lambda: next(asked) == STEPS // 2))

# %% [markdown]
# ## Going on
#
# The same call again goes on from where it stopped. Nothing is lost, whether the kernel was restarted in between or
# the machine lost its power: then it goes on from the last checkpoint, and those are written every tenth of the way.

# %%
done = follow(fit(recipe, RUN))

# %% [markdown]
# Was the interruption without consequences? The strictest test is to train once more without one and to compare. The
# losses are the same, and the weights too, bit for bit: every random number is a function of the seed and the step.

# %%
twin = RUN.with_name("notebook-moons-twin")
done = follow(fit(recipe, twin, overwrite=True))
first, second = ([row["loss"] for row in read_metrics(run)] for run in (RUN, twin))
same_file = (RUN / "model.safetensors").read_bytes() == (twin / "model.safetensors").read_bytes()
print(f"{len(first)} losses, all equal: {first == second}; the model files are equal: {same_file}")

# %%
plots.loss_curve(read_metrics(RUN))

# %% [markdown]
# The loss does not go to zero, and must not: where a noisy point came from cannot be known. What is left is the
# uncertainty of the task itself. It is smaller on held-out points for a simple reason: there the network is always told
# the class, and in this recipe's training only half of the time.
#
# ## New points
#
# `load` takes a run, a model file or the name of a model that comes with the package (such as `moons`). The colours
# are the classes that were asked for, here both in turn.

# %%
model = mezzotint.load(RUN)
print("classes:", ", ".join(model.classes))
made = model.sample(N, label="all", seed=0)
made.sheet()

# %% [markdown]
# Point *i* is made from seed + *i* alone, whatever it is made together with. So a single one of those above can be
# had again by its seed. (In another batch size the last digits may be rounded differently.)

# %%
again = model.sample(1, label=made.labels[7:8].tolist(), seed=7)
print("in the crowd:", made.values[7].tolist())
print("alone:       ", again.values[0].tolist())

# %% [markdown]
# ## The way from noise
#
# `stream` gives a preview after every step of sampling. Drawn is where the points are at that moment. At first the
# cloud only shrinks, since from far away the whole data set looks like one spot; then the halves part, and last of all
# the points settle on their arcs.

# %%
way = [p for p in model.stream(N, label="all", seed=0) if p.step in spread_steps(p.steps)]
denoising(way)

# %% [markdown]
# ## How many steps?
#
# Every step takes the straight line for the curved way that it should go. Fewer steps, larger mistakes. A single step
# ends at the mean of all that is possible, a spot for each class, in the one place where no data are. Three steps find
# the arcs but not their width. Ten can hardly be told from fifty. Heun's solver looks ahead and corrects itself, at two
# network calls a step in place of one, and after three steps leaves far fewer points between the arcs.

# %%
tried = [(f"{sampler}, {n}", sampler, n) for sampler in ("ddim", "heun") for n in (1, 3, 10, 50)]
plots.scatter(
    [
        (name, model.sample(N, label="all", sampler=sampler, steps=n).values, None)
        for name, sampler, n in tried
    ],
    limits=(-3, 3),
)

# %% [markdown]
# ## Guidance
#
# Guidance pushes points away from what the model would do without a class, towards what the class makes special. 1 is
# off. More of it gives points that nobody could take for the other class, and so the tips that come close to the other
# moon are lost. For pictures a little of that is welcome; as an account of the data it is wrong, and here one sees it.

# %%
scales = (1.0, 2.0, 4.0)
plots.scatter(
    [(f"guidance {g:g}", (s := model.sample(N, label="all", guidance=g)).values, s.labels) for g in scales],
    limits=(-3, 3),
)

# %% [markdown]
# ## How good are they?
#
# For points the density of the data is a formula, so there is nothing to argue about. The *energy distance* is 0 only
# for equal distributions, and the column "real" says what fresh points of the true data get from each other: that is
# the best anyone can do. The *log-likelihood* says how probable the points are under the true density. Less than real
# ones is bad, since points where there should be none cost much; more is no better, since it is had by leaving out
# what is rare.

# %%
(found,) = evaluate([str(RUN)], n=N)
print(f"{'':18}{'model':>9}{'real':>9}   95 % interval")
for number in found.numbers:
    print(f"{number.name:18}{number.value:9.4f}{number.real:9.4f}   {number.low:.4f} to {number.high:.4f}")

# %% [markdown]
# ## Where to go from here
#
# - Put `"checkerboard"`, `"rings"`, `"swiss_roll"` or `"mixture"` in place of the moons:
#   `config.load("moons", data__name="rings")`. Sharp edges are the hardest to learn.
# - Train longer, or with a smaller network (`network__width=16`), and measure again.
# - Then the same with pictures: the notebook `mnist`.
