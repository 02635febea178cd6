# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Words: asking, and measuring what comes
#
# The bundled model `scenes` draws coloured shapes by captions. It is small, so everything here takes seconds. You will ask it,
# look at what it reads out of a sentence before it draws, and count how often it does what was said, by the pixels alone.
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
# `QUICK` makes everything tiny, to see in seconds that it runs. Set it here, or from outside with `MEZZOTINT_QUICK=1`.

# %%
import os

import torch
import torch.nn.functional as F

import mezzotint
from mezzotint import plots
from mezzotint.data.scenes import scene
from mezzotint.evaluate.metrics.scenes import judge, shares
from mezzotint.media.pictures import to_uint8

QUICK = os.environ.get("MEZZOTINT_QUICK") == "1"
STEPS = 2 if QUICK else 20  # of sampling
N = 4 if QUICK else 8  # pictures of a prompt
ASKED = 4 if QUICK else 100  # captions that are measured

model = mezzotint.load("scenes", precision="fp32")

# %% [markdown]
# ## Ask
#
# A prompt is a text of the words that its captions had. Several prompts are taken in turn. Seed by seed, the pictures of two prompts
# begin at the same noise.

# %%
prompts = ["a large red circle left of a large blue square", "a large blue square left of a large red circle"]
model.sample(2 * N, prompt=prompts, steps=STEPS).sheet()

# %% [markdown]
# A word that no caption had is refused, with what is near. Capitals and full stops do not matter.

# %%
try:
    model.sample(1, prompt="A large rad circle.", steps=STEPS)
except mezzotint.errors.ConfigError as error:
    print(error)

# %% [markdown]
# ## From words to numbers
#
# Each word has a number; 1 begins a text, 0 fills up. This is all that the network is given.

# %%
numbers = model.language.cond(prompts).text
for prompt, row in zip(prompts, numbers):
    print(prompt, "->", row[: len(prompt.split()) + 1].tolist())

# %% [markdown]
# ## What a sentence means before there is a picture
#
# At pure noise the best answer to a text is the mean of all pictures that it could mean. A part of the network says this mean in 4x4 cells, from the
# words alone. Left and right are in it. Compare the two sentences: they have the same words.

# %%
texts = [*prompts, "a small white cross above a large yellow triangle", "two large green circles"]
with torch.no_grad():
    sketches = model.net.sketch(*model.net.encoder(model.language.cond(texts).text))
large = to_uint8(F.interpolate(sketches, (32, 32), mode="nearest"))
plots.sheet(large, columns=4, scale=3)

# %% [markdown]
# ## The same noise, another word
#
# One word is changed at a time. What the word does not say tends to stay.

# %%
colours = ["red", "green", "blue", "yellow", "white", "pink"]
pictures = [model.sample(1, prompt=f"a large {colour} square", seed=1, steps=STEPS) for colour in colours]
plots.sheet(torch.cat([one.values for one in pictures]), columns=6, captions=colours, scale=2)

# %% [markdown]
# ## Away from something
#
# Guidance drives towards the prompt and away from nothing asked, or from a negative prompt. Too much of it spoils counts: "three" becomes more than two.

# %%
scales = (1.0, 2.0, 5.0)
rows = [
    model.sample(N, prompt="three small red circles", guidance=scale, steps=STEPS).values for scale in scales
]
plots.sheet(torch.cat(rows), columns=N, row_labels=[f"guidance {scale:g}" for scale in scales], scale=2)

# %% [markdown]
# A negative prompt is a prompt: it works where it is said as captions say it. "small" alone does nothing here, since no caption was just that.

# %%
model.sample(N, prompt="a yellow circle", negative="a small yellow circle", guidance=4, steps=STEPS).sheet(
    columns=N
)

# %% [markdown]
# ## Measure
#
# Captions of scenes can be checked by the pixels: pieces that hang together, their colour, their shape, where they lie. First the judge is put on trial
# itself, with drawn scenes under their own captions and under those of others. Then the model.

# %%
scenes = [scene(1, i) for i in range(ASKED)]
drawn = torch.stack([torch.from_numpy(one.pixels) for one in scenes])
own = [one.caption for one in scenes]
for name, captions in (("own captions", own), ("those of others", own[1:] + own[:1])):
    found = shares(judge(drawn, captions))["all"]
    print(f"drawn scenes, {name}: {found.value:.0%} ({found.low:.0%} to {found.high:.0%})")

# %%
asked = [str(one.whole) for one in scenes]
samples = model.sample(ASKED, prompt=asked, steps=STEPS)
for name, share in shares(judge(samples.values, asked)).items():
    print(f"{name:11}{share.value:.0%}   {share.low:.0%} to {share.high:.0%}")

# %% [markdown]
# Which are wrong? To look at failures teaches more than a number.

# %%
verdicts = judge(samples.values, asked)
order = sorted(range(ASKED), key=lambda i: verdicts[i].all)[: 6 if not QUICK else 2]
for place, i in enumerate(order):
    wrong = [
        name for name in ("valid", "count", "attributes", "relation") if getattr(verdicts[i], name) is False
    ]
    print(place + 1, asked[i], "| wrong:", ", ".join(wrong) or "nothing")
plots.sheet(samples.values[order], columns=len(order))

# %% [markdown]
# ## Where to go from here
#
# - Captions of your own: `mezzotint train folder --data FOLDER data.captions=true`, see docs/words.md.
# - How it works, step by step: phase 9 of the guide.
