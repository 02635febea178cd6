# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Flowers: photographs, and few of them
#
# A few thousand photographs of flowers, 64 by 64 pixels. This is what most people's own data is like: real, in
# colour, and too little of it. Two things can go wrong with such sets that do not show in the loss: a noise schedule
# that never quite reaches noise, and a model that hands out the pictures it was trained on. Both are looked at here.
#
# Between them the model is trained, killed in the middle, and brought back.
#
# The first cell installs the package where it is missing, as on a hosted notebook service. Locally it does nothing.

# %%
import importlib.util

if importlib.util.find_spec("mezzotint") is None:
    # %pip install -q "mezzotint[hub] @ git+ADDRESS-OF-THIS-REPOSITORY"
    pass

# %% [markdown]
# ## What can be changed
#
# - `DATA`: a folder with `train.parquet` and perhaps `test.parquet`, or with a sub-folder of photographs for each kind,
#   in any size and format. `None` takes flowers by their name from the dataset hub, which are cut square and made
#   small here. From outside: `MEZZOTINT_DATA=FOLDER`.
# - `QUICK` makes everything tiny, to see that it runs; nothing is learned then. From outside: `MEZZOTINT_QUICK=1`.
# - `STEPS` of training: 1,500 are a quarter of an hour on two processor cores and give colours and soft shapes. With a
#   GPU take 20,000.

# %%
import os
from pathlib import Path

import torch
from PIL import ImageFilter

import mezzotint
from mezzotint import build, config, plots
from mezzotint.cond import Batch
from mezzotint.data import to_uint8
from mezzotint.disk.folder import read_metrics
from mezzotint.evaluate.evaluation import evaluate
from mezzotint.model.strips import denoising, noising, spread_steps
from mezzotint.run.events import Done, Logged, Note, Tick
from mezzotint.run.fit import fit

DATA = os.environ.get("MEZZOTINT_DATA")
QUICK = os.environ.get("MEZZOTINT_QUICK") == "1"
STEPS = 10 if QUICK else 1500
N = 20 if QUICK else 500  # pictures that are judged
RUN = Path("runs/notebook-flowers")
TINY = ["train.batch_size=8", "network.width=32", "sample.steps=3"] if QUICK else []
TINY += ["train.sample_every=100%", "train.checkpoint_every=20%"] if QUICK else []


# %% [markdown]
# ## The data

# %%
every = f"{max(1, STEPS // 100)} steps"
recipe = config.load("flowers_attention", TINY, data__path=DATA, train__steps=STEPS, train__log_every=every)
source = build.source(recipe, torch.device("cpu"))
x0, cond = source.preview(24)
print(f"{source.count}; {len(source.facts.classes)} kinds: {', '.join(source.facts.classes[:10])}")
plots.sheet(to_uint8(x0), columns=8)

# %% [markdown]
# ## A schedule that never reaches noise
#
# Many a tutorial trains such pictures with 300 timesteps and the noise added per step that was once chosen for 1,000.
# Then the last timestep still shows a fifth of the picture. The network learns that there is always something to see;
# when it is asked to begin with pure noise, it sees something in that too, and the pictures come out grey.

# %%
original = config.load("flowers_original", data__path=DATA)
u = (torch.arange(300, dtype=torch.float64) + 0.5) / 300
plots.schedule_plot(
    {
        "300 timesteps as they are": (u, build.make_schedule(original)(u)),
        "rescaled to end in pure noise": (u, build.make_schedule(recipe)(u)),
    }
)

# %% [markdown]
# With one's own eyes: the last column of the first strip looks like noise alone. But half close them, or let a filter
# blur it, and what is random cancels out while the picture stays: the flowers are still there at u = 1. In the last
# strip, with the schedule of the recipe, they are not. (Here are the four pictures with the strongest contrast; u is
# the share of the way.)

# %%
times = (0, 0.2, 0.4, 0.6, 0.8, 1)
strong = x0[x0.std(dim=(1, 2, 3)).topk(4).indices]
strip = noising(original, source.facts, source.codec, Batch(strong), times)
strip

# %%
strip.filter(ImageFilter.GaussianBlur(4))

# %%
noising(recipe, source.facts, source.codec, Batch(strong), times).filter(ImageFilter.GaussianBlur(4))

# %% [markdown]
# ## Training, and a sudden end
#
# `fit` yields what happens. We leave the loop at about half and close it, without giving it a chance to save: this is
# what a machine does that is switched off. The losses up to there are kept in a list, for comparison.


# %%
def show(event):
    """Prints what a run says."""
    match event:
        case Note(text):
            print(text)
        case Tick(step, until, loss, rate) if loss is not None:
            left = (until - step) * recipe.train.batch_size / rate
            print(f"\rstep {step:,} of {until:,}, loss {loss:.4f}, {left:.0f} s left   ", end="")
        case Done():
            print(f"\nstopped at step {event.step:,} of {event.until:,}")


lost = {}
events = fit(recipe, RUN, overwrite=True)
for event in events:
    show(event)
    if isinstance(event, Logged) and "loss" in event.row:
        lost[event.row["step"]] = event.row["loss"]
    if isinstance(event, Tick) and event.step >= 0.57 * event.until:
        break
events.close()
print("\nlights out at step", event.step)

# %% [markdown]
# ## Back again
#
# The same call finds the last checkpoint, forgets what was written after it, and goes on. A few steps are done a second
# time. Their losses are the same as the first time, to the last digit, because every random number is a function of
# the seed and the step: the run that was interrupted is the run that was not.

# %%
for event in fit(recipe, RUN):
    show(event)
    if isinstance(event, Logged) and event.row["step"] in lost and "loss" in event.row:
        step, loss = event.row["step"], event.row["loss"]
        print(f"\nstep {step:,}: loss {lost[step]:.6f} before, {loss:.6f} again, equal: {lost[step] == loss}")
plots.loss_curve(read_metrics(RUN))

# %% [markdown]
# Of few pictures, watch the held-out loss: where it turns up while the other falls, the model begins to copy the
# pictures (it memorizes).
#
# ## Flowers by kind
#
# All kinds in turn, a column for each where there are not many; then the same seeds with more and more guidance.

# %%
model = mezzotint.load(RUN)
model.sample(20, label="all", seed=0)

# %%
scales = (1.0, 2.0, 4.0)
kinds = list(model.classes[:2])
rows = [model.sample(8, label=kinds, seed=30, guidance=scale).values for scale in scales]
plots.sheet(torch.cat(rows), columns=8, row_labels=[f"guidance {scale:g}" for scale in scales])

# %% [markdown]
# On the way from noise the belief, in the lower of each two rows, is at first the mean flower of its kind: a spot of
# its colour in the middle of its usual ground.

# %%
way = [p for p in model.stream(2, label=kinds, seed=30) if p.step in spread_steps(p.steps)]
denoising(way)

# %% [markdown]
# ## How good, and whose?
#
# The judge is a classifier of the kinds, trained on the real pictures once (a few minutes on a processor) and kept.
# Beside every number stands what real pictures get. Two numbers are about copies: *copies* is the share of samples
# suspiciously near to one training picture, beside what held-out pictures get by the same rule. *nearest in training
# set* is the share whose nearest picture of all is one that was trained on, beside what is to be expected of a model
# that has never seen either. Far above that, the model remembers more than it has understood.

# %%
(evaluation,) = evaluate([str(RUN)], n=N)
print("against:", evaluation.reference, "\n")
print(f"{'':26}{'real':>9}{'yours':>9}")
for number in evaluation.numbers:
    real = "" if number.real is None else f"{number.real:.3f}"
    between = "" if number.low is None else f"   {number.low:.3f} to {number.high:.3f}"
    print(f"{number.name:26}{real:>9}{number.value:9.3f}{between}")
print("\nthis model copies its training pictures" if evaluation.copying else "\nno copies to speak of")

# %% [markdown]
# Numbers may be wrong, eyes less often. Above ten samples, below the training picture that is nearest to each. The
# least suspicious reason for likeness is that both are blurred; the most suspicious is a stem with the same bend.

# %%
samples = evaluation.samples
plots.sheet(
    torch.cat([samples.values[:10], samples.nearest[:10]]), columns=10, row_labels=["sample", "nearest"]
)

# %% [markdown]
# ## Where to go from here
#
# - Your own photographs: `config.load("folder", data__path="my/photos")`, one sub-folder for each kind, or none.
# - To go on after the end, say more steps and `fit(..., resume=True)`; without it, another budget is taken for a
#   mistake.
# - Against copies: more pictures, `data__crop=4`, `data__colour=0.1`, `network__dropout=0.1`, and fewer steps.
# - What goes wrong and why: `docs/troubleshooting.md`.
