# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # MNIST: digits from noise
#
# 60,000 handwritten digits, 28 by 28 pixels: large enough to be pictures, small enough for a laptop without a GPU. In
# five minutes of two processor cores, a network of 330,000 weights learns to write digits of which 99 in 100 are
# recognised.
#
# You will look at what the network sees, train, stop and go on, ask for digits by name and by seed, watch one being
# made, and have the result judged beside real digits.
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
# - `DATA`: a folder with `train.parquet` and `test.parquet`, or with a sub-folder of pictures for each digit. `None`
#   takes MNIST by its name from the dataset hub, a download of some 20 MB. From outside: `MEZZOTINT_DATA=FOLDER`.
# - `QUICK` makes everything tiny, to see that it runs; nothing is learned then. From outside: `MEZZOTINT_QUICK=1`.
# - `STEPS` of training: 2,500 are five minutes on two cores; with 600 the digits are legible.

# %%
import itertools
import os
from pathlib import Path

import torch

import mezzotint
from mezzotint import build, config, plots
from mezzotint.cond import Batch
from mezzotint.data import to_uint8
from mezzotint.disk.folder import read_metrics
from mezzotint.evaluate.evaluation import evaluate
from mezzotint.model.strips import denoising, noising, spread_steps
from mezzotint.run.events import Done, Note, Sheet, Tick
from mezzotint.run.fit import fit

DATA = os.environ.get("MEZZOTINT_DATA")
QUICK = os.environ.get("MEZZOTINT_QUICK") == "1"
STEPS = 10 if QUICK else 2500
N = 20 if QUICK else 1000  # pictures that are judged
RUN = Path("runs/notebook-mnist")
TINY = ["train.batch_size=8", "sample.steps=3"] if QUICK else []
TINY += ["train.sample_every=100%", "train.checkpoint_every=20%"] if QUICK else []

# %% [markdown]
# ## The data
#
# A recipe is the whole configuration of a run: data, network, noise, training, sampling. Any key can be changed when it
# is loaded. What you see are the pictures exactly as the network gets them.

# %%
every = max(1, STEPS // 100)
recipe = config.load("mnist", TINY, data__path=DATA, train__steps=STEPS, train__log_every=f"{every} steps")
source = build.source(recipe, torch.device("cpu"))
x0, cond = source.preview(50)
print(f"{source.count}; values from {x0.min():.0f} to {x0.max():.0f}; the first: {cond.label[:10].tolist()}")
plots.sheet(to_uint8(x0), columns=10)

# %% [markdown]
# Training destroys these pictures and asks the network to say what they were. On the left it is easy, on the right
# impossible, and in the middle, where one sees that there was a digit but hardly which, the most is to be learned.
# This recipe spends somewhat more of its time there.

# %%
noising(recipe, source.facts, source.codec, Batch(x0[:4]))

# %% [markdown]
# ## Training, and stopping on the way
#
# `fit` is a generator of events. Besides the loss it hands over the sheets of samples that it makes on the way: always
# from the same seeds, so that they show one and the same noise understood better and better. `stop` is asked after
# every step; here it says yes after two fifths. Everything is saved then, and the newest sheet is shown.
#
# When you stop a long run with the notebook's own stop button, at most the steps since the last checkpoint are lost,
# a tenth of the run.


# %%
sheets = []


def follow(events):
    """Shows what a run says, keeps its sheets, and returns its last word."""
    for event in events:
        match event:
            case Note(text):
                print(text)
            case Tick(step, until, loss, rate) if loss is not None:
                left = (until - step) * recipe.train.batch_size / rate
                print(f"\rstep {step:,} of {until:,}, loss {loss:.4f}, {left:.0f} s left   ", end="")
            case Sheet(_, _, image):
                sheets.append(image)
            case Done():
                print(f"\nstopped at step {event.step:,} of {event.until:,}")
    return event


asked = itertools.count(1)
halfway = follow(fit(recipe, RUN, overwrite=True, stop=lambda: next(asked) == STEPS * 2 // 5))
sheets[-1] if sheets else None

# %% [markdown]
# ## Going on
#
# The same call again goes on. The numbers show it: the row after the interruption follows the one before it, and the
# run ends where it would have ended anyway, in the same bits.

# %%
done = follow(fit(recipe, RUN))
rows = [row for row in read_metrics(RUN) if "loss" in row]
for row in rows:
    if abs(row["step"] - halfway.step) <= 2 * every:
        print(
            f"step {row['step']:5}  loss {row['loss']:.4f}",
            "after" if row["step"] > halfway.step else "before",
        )
plots.loss_curve(read_metrics(RUN))

# %% [markdown]
# ## Digits by name
#
# A column for each class. `seed` says which noise is begun with: picture *i* comes from seed + *i*, whatever it is made
# together with, and whichever machine makes it.

# %%
model = mezzotint.load(RUN)
model.sample(60, label="all", seed=0)

# %% [markdown]
# The class can also be a name, a number or a list, and the same seeds can be asked for different things: a row for
# each class, a column for each seed. What a seed keeps across the classes is slant, weight and size; the network has
# learned by itself that these are things apart from which digit it is.

# %%
seeds = 8
rows = [model.sample(seeds, label=digit, seed=100).values for digit in ("2", "3", "5", "8")]
plots.sheet(
    torch.cat(rows), columns=seeds, row_labels=list("2358"), captions=[f"{100 + i}" for i in range(seeds)]
)

# %% [markdown]
# ## Guidance
#
# In a tenth of training the class was hidden, so the network knows two things: what it believes of a picture, and what
# it believes of it as, say, a 4. Guidance goes further in the direction from the one to the other. 1 is off. Some of it
# mends digits that could be taken for others; too much adds strokes and specks that no hand would make. (This recipe
# guides only at medium noise, where the class is decided.)

# %%
scales = (1.0, 2.0, 4.0, 8.0)
rows = [model.sample(10, label="all", seed=40, guidance=scale).values for scale in scales]
plots.sheet(torch.cat(rows), columns=10, row_labels=[f"guidance {scale:g}" for scale in scales])

# %% [markdown]
# ## Watching one being made
#
# `stream` gives a preview after each step. Of each picture the upper row is its noisy state, and the lower is what the
# network believes it will be. The belief comes first: blurred, because it is a mean of all that is still possible.

# %%
way = [p for p in model.stream(3, label=["7", "4", "9"], seed=5) if p.step in spread_steps(p.steps)]
denoising(way)

# %% [markdown]
# ## How good are they?
#
# The package brings its own judge: a classifier, trained on the real digits once (a minute or two) and kept. It says
# which share of the samples is recognised as the digit that was asked for (*class agreement*), and how far the samples
# are from the real test digits in its features (*frechet distance*, 0 would be equal). Beside every number stands what
# real pictures get, and that is what to compare with. (They are not at 0 from each other because so few are
# compared. Samples may come even lower, since there are equally many of each class.) *copies* would be pictures handed
# out from the training set.
#
# Next to your model stands the one that comes with the package: the same recipe, once trained to its end.

# %%
mine, bundled = evaluate([str(RUN), "mnist"], n=N, data=DATA or "mnist")
print("against:", mine.reference, "\n")
print(f"{'':26}{'real':>9}{'yours':>9}{'bundled':>9}")
for number in mine.numbers:
    real = "" if number.real is None else f"{number.real:.3f}"
    print(f"{number.name:26}{real:>9}{number.value:9.3f}{bundled[number.name].value:9.3f}")

# %% [markdown]
# ## Where to go from here
#
# - `made = model.sample(64, label=7)`, then `made.save("sevens.png")`: the settings that made them are inside the PNG.
# - Other samplers and other numbers of steps: `model.sample(10, sampler="ddim", steps=50)`.
# - On the command line the same is `mezzotint train mnist`, `mezzotint sample` and `mezzotint evaluate`.
# - Colours: the notebook `cifar10`. Photographs, few of them: `flowers`.
