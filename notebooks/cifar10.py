# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # CIFAR-10: colour, and how to watch a model learn
#
# 50,000 colour pictures of 32 by 32 pixels in ten classes, from aeroplanes to lorries. Much harder than digits: a
# laptop's processor gets to colours and layout in ten minutes, a GPU to objects.
#
# That makes it the right place to look at training itself: what is learned first, which noise levels get better, why
# the average of the weights beats the weights, and what a sampler makes of the same network.
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
# - `DATA`: a folder with `train.parquet` and `test.parquet`, or with a sub-folder of pictures for each class. `None`
#   takes CIFAR-10 by its name from the dataset hub, a download of some 150 MB. From outside: `MEZZOTINT_DATA=FOLDER`.
# - `QUICK` makes everything tiny, to see that it runs; nothing is learned then. From outside: `MEZZOTINT_QUICK=1`.
# - `BUDGET` of training: here minutes of this machine. Steps, pictures or epochs do as well: `train__epochs=100`.

# %%
import os
from pathlib import Path

import numpy as np
import torch

import mezzotint
from mezzotint import build, config, plots
from mezzotint.cond import Batch
from mezzotint.data import to_uint8
from mezzotint.disk.folder import read_metrics
from mezzotint.evaluate.evaluation import evaluate
from mezzotint.model.strips import denoising, noising, spread_steps
from mezzotint.run.events import Done, Note, Tick
from mezzotint.run.fit import fit

DATA = os.environ.get("MEZZOTINT_DATA")
QUICK = os.environ.get("MEZZOTINT_QUICK") == "1"
BUDGET = {"train__steps": 10} if QUICK else {"train__minutes": 10}
N = 20 if QUICK else 1000  # pictures that are judged
RUN = Path("runs/notebook-cifar10")
TINY = ["train.batch_size=8", "network.width=32", "sample.steps=3"] if QUICK else []
TINY += ["train.sample_every=100%", "train.checkpoint_every=20%"] if QUICK else []


# %% [markdown]
# ## The data
#
# These are the pictures exactly as the network gets them: half of them are mirrored at random, since a mirrored dog is
# a dog. (Digits are not mirrored. The package knows this of the sets that it knows by name; for your own set you say
# it, `data__flip=True`.)

# %%
recipe = config.load("cifar10", TINY, data__path=DATA, train__log_every="10 steps", **BUDGET)
source = build.source(recipe, torch.device("cpu"))
x0, cond = source.preview(40)
print(f"{source.count}; classes: {', '.join(source.facts.classes)}")
plots.sheet(to_uint8(x0), columns=10)

# %% [markdown]
# In noise, the fine things go first and the large areas of colour last. Sampling goes the other way: it decides on
# light and colour first, on the layout next, and on whiskers last.

# %%
noising(recipe, source.facts, source.codec, Batch(x0[:4]))

# %% [markdown]
# ## Training against the clock
#
# A budget in minutes is turned into steps once, after a short measurement on this machine, and written down. All that
# follows is a function of the step, which is why such a run can be interrupted, too.
#
# `watch=True` makes a sheet from the same seeds at 1, 2, 5, 10, 20 ... % of the budget. `stop` is asked after every
# step; here it says yes at a third.


# %%
def follow(events):
    """Shows what a run says, and returns its last word."""
    global now
    for event in events:
        match event:
            case Note(text):
                print(text)
            case Tick(step, until, loss, rate):
                now = event
                if loss is not None:
                    left = (until - step) * recipe.train.batch_size / rate
                    print(f"\rstep {step:,} of {until:,}, loss {loss:.4f}, {left:.0f} s left   ", end="")
            case Done():
                print(f"\nstopped at step {event.step:,} of {event.until:,}")
    return event


stopped = follow(fit(recipe, RUN, overwrite=True, watch=True, stop=lambda: now.step >= now.until / 3))

# %% [markdown]
# ## Going on
#
# The same call goes on. The number of steps is the one that was measured first, not a new one. The two last lines
# before the interruption and the two first after it stand in one file, `metrics.jsonl`.

# %%
done = follow(fit(recipe, RUN, watch=True))
rows = read_metrics(RUN)
losses = [row for row in rows if "loss" in row]
cut = sum(row["step"] <= stopped.step for row in losses)
for row in losses[max(0, cut - 2) : cut + 2]:
    print(
        f"step {row['step']:6,}   loss {row['loss']:.4f}   {row['images_per_second']:,.0f} pictures a second"
    )

# %% [markdown]
# ## What was learned when
#
# The same sixteen seeds in the course of training. First the right brightness, then colours that go together, then
# things in front of a background.

# %%
frames = sorted((RUN / "samples" / "watch").glob("*.png"))
frames = [frames[i] for i in np.linspace(0, len(frames) - 1, 4).round().astype(int)]
images = [torch.from_numpy(np.array(plots.read_png(f))).permute(2, 0, 1) for f in frames]
plots.sheet(torch.stack(images), columns=1, gap=8, row_labels=[f"step {int(f.stem):,}" for f in frames])

# %% [markdown]
# The loss on pictures that were held out, apart for eight ranges of noise from clean (0) to nearly pure noise (7). The
# ranges end at quite different values, since in much noise the picture cannot be known; what counts is whether each
# still falls. Where training is too long for so few pictures, the clean ones begin to rise.

# %%
levels = len(next(row["val_loss_by_level"] for row in rows if "val_loss_by_level" in row))
plots.curves(
    {f"level {k}": plots.column(rows, f"val_loss_by_level/{k}") for k in range(levels)},
    xlabel="optimiser steps",
    ylabel="held-out loss",
    logy=True,
)

# %% [markdown]
# ## The weights and their average
#
# What is sampled is not the network of the last step but an average over its last part of training. Here are the same
# seeds from the last weights, from the average of the recipe, and from one as long as a quarter of training, which is
# made afterwards from snapshots. On a run as short as this one a long average still remembers the beginning. (The rate
# of learning falls to zero at the end, so the last weights are calm as well; in a run at a constant rate they are not.)

# %%
kinds = {"last": "raw", "average": "ema", "long average": "0.25"}
rows_of = [
    mezzotint.load(RUN, weights=kind).sample(10, label="all", seed=20).values for kind in kinds.values()
]
plots.sheet(torch.cat(rows_of), columns=10, row_labels=list(kinds))

# %% [markdown]
# ## Samples: classes, seeds, guidance
#
# A column for each class. Colour and ground already tell the classes apart: sky and water, meadow, asphalt.

# %%
model = mezzotint.load(RUN)
model.sample(60, label="all", seed=0)

# %%
scales = (1.0, 2.0, 4.0)
names = ["airplane", "horse", "ship", "truck"]
rows_of = [model.sample(8, label=names, seed=60, guidance=scale).values for scale in scales]
plots.sheet(torch.cat(rows_of), columns=8, row_labels=[f"guidance {scale:g}" for scale in scales])

# %% [markdown]
# From row to row the same seeds: guidance makes contrast and colour stronger and the class clearer. Beyond 3 or so
# colours become garish.
#
# ## One network, several samplers
#
# A sampler is only a way to follow the same curve. These had about equally many network calls, twelve, and the last
# row had a hundred: what the others ought to look like.

# %%
ways = {"ddim": 12, "dpmpp_2m": 12, "heun": 6, "euler_a": 12, "heun, 100 calls": 50}
rows_of = [
    model.sample(10, label="all", seed=20, sampler=name.partition(",")[0], steps=3 if QUICK else steps).values
    for name, steps in ways.items()
]
plots.sheet(torch.cat(rows_of), columns=10, row_labels=list(ways))

# %% [markdown]
# `euler_a` throws fresh noise in at every step, so it ends in different pictures than the others, who all follow one
# curve from the seed to its picture.

# %%
way = [p for p in model.stream(3, label=names[1:], seed=60) if p.step in spread_steps(p.steps)]
denoising(way)

# %% [markdown]
# ## How good are they?
#
# The judge is a classifier that is trained on the real pictures, once; on a processor this takes some minutes, after
# that it is kept. Beside every number stands what real pictures get, and the interval of 95 %.

# %%
(found,) = evaluate([str(RUN)], n=N)
print("against:", found.reference, "\n")
print(f"{'':26}{'real':>9}{'yours':>9}")
for number in found.numbers:
    real = "" if number.real is None else f"{number.real:.3f}"
    between = "" if number.low is None else f"   {number.low:.3f} to {number.high:.3f}"
    print(f"{number.name:26}{real:>9}{number.value:9.3f}{between}")

# %% [markdown]
# ## Where to go from here
#
# - A GPU: `config.load("cifar10_gpu")` is a recipe for ten minutes of one, with a network five times as large.
# - `mezzotint.load(RUN).sample(64).save("sheet.png")`; or, on the command line, `mezzotint serve` and `mezzotint ui`.
# - Few pictures instead of many, and larger ones: the notebook `flowers`.
