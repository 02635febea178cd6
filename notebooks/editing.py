# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Editing: one model, many uses
#
# A model that was trained to make pictures can change them, too: by a share, in a part, to a larger size, from one to another. Nothing is trained
# here. All of it is the usual sampler with other beginnings and corrected answers.
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
# `QUICK` makes everything tiny, to see in seconds that it runs.

# %%
import os

import torch

import mezzotint
from mezzotint import plots
from mezzotint.tasks.morph import slerp

QUICK = os.environ.get("MEZZOTINT_QUICK") == "1"
STEPS = 2 if QUICK else 12  # of sampling
N = 2 if QUICK else 8  # pictures of each kind

model = mezzotint.load("mnist", precision="fp32")
four = model.sample(1, label=4, seed=3).values[0]  # the picture that is edited; any file will do as well
model.sample(1, label=4, seed=3)

# %% [markdown]
# ## By a share
#
# Noise is laid over the picture up to some level, and sampled away again, under another class. Strength is that level: 0 gives the picture back, to the
# bit, 1 has never seen it.

# %%
strengths = (0.0, 0.4, 0.6, 0.7, 0.8, 1.0)
edited = [model.edit(four, strength=s, label=9, seed=5, steps=STEPS).values for s in strengths]
print("strength 0 changes", int((edited[0][0].int() - four.int()).abs().max()), "grey levels")
plots.sheet(torch.cat(edited), columns=len(strengths), captions=[f"{s:g}" for s in strengths], scale=2)

# %% [markdown]
# Without another class these are variations.

# %%
model.vary(four, strength=0.5, n=N, steps=STEPS).sheet(columns=N)

# %% [markdown]
# ## In a part
#
# White in the mask is made anew. The rest stays, to the bit.

# %%
mask = torch.zeros(28, 28, dtype=torch.uint8)
mask[:, 14:] = 255
halves = model.edit(four, mask, n=N, steps=STEPS)
changed = (halves.values[..., :14].int() - four[..., :14].int()).abs().max()
print("known pixels changed by", int(changed), "grey levels")
halves.sheet(columns=N)

# %% [markdown]
# How often each stretch is walked (`returns`) decides how well the halves agree. Once, and four times:

# %%
rows = [model.edit(four, mask, n=N, returns=returns, steps=STEPS).values for returns in (1, 4)]
plots.sheet(torch.cat(rows), columns=N, row_labels=["once", "4 times"], scale=2)

# %% [markdown]
# ## To a larger size
#
# Of a picture of 14x14 pixels the means of 2x2 blocks are known. They come out exactly.

# %%
small = four[0].float().unflatten(1, (14, 2)).unflatten(0, (14, 2)).mean((1, 3)).round().to(torch.uint8)
large = model.enlarge(small, 2, n=N, steps=STEPS)
means = large.values[:, 0].float().unflatten(2, (14, 2)).unflatten(1, (14, 2)).mean((2, 4))
print("means of blocks are off by", float((means - small).abs().max()), "grey levels")
large.sheet(columns=N)

# %% [markdown]
# ## To its noise
#
# Every picture is made from some noise. Here it is found: walked backwards, each step solved until it leads forward again. Then the same noise makes the
# same picture, and under another class another one, of the same slant and weight.

# %%
found = model.invert(four, label=4, steps=5 if QUICK else 20)
print(f"residual {found.residual:.0e} of a range of 2")
again = [model.answer(model.edits.from_noise(found, label=k)).values for k in (4, 9, 7, 1)]
plots.sheet(
    torch.cat([four[None], *again]), columns=5, captions=["picture", "as 4", "as 9", "as 7", "as 1"], scale=2
)

# %% [markdown]
# ## To another one
#
# Noises of two pictures are mixed on the sphere where noise lies; a straight line would pass through weaker noise.

# %%
a, b = torch.randn(2, 1, 784)
middle = torch.tensor([0.5])
print(
    f"variance in the middle: line {float(((a + b) / 2).var()):.2f}, sphere {float(slerp(a, b, middle).var()):.2f}"
)
model.morph(3, 7, 3 if QUICK else 10, label=["4", "9"], steps=STEPS).sheet()

# %% [markdown]
# ## Where to go from here
#
# - On the command line: `mezzotint edit`, `vary`, `enlarge`, `colour`, `morph`, `invert`, see docs/editing.md.
# - How it works, and what each can promise: phase 10 of the guide.
