# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Clips: a model of pictures learns to move
#
# A clip is a picture at several times. The data here are digits that go straight on and bounce off the walls, without end, so that motion can be measured
# exactly. The model begins as the bundled one of still digits, which knows what digits look like and nothing of time.
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
# - `STEPS` of training: 300 are about five minutes of one core, and a beginning. Good clips want thousands: the page of
#   `bouncing` in docs/experiments tells of 8,000.
# - `QUICK` makes everything tiny, to see in seconds that it runs; nothing is learned then. From outside: `MEZZOTINT_QUICK=1`.

# %%
import os
from pathlib import Path

import torch

import mezzotint
from mezzotint import plots
from mezzotint.data.bouncing import bundled, clip
from mezzotint.disk.folder import read_metrics
from mezzotint.evaluate.metrics.motion import centres, straightness, travel
from mezzotint.run.events import Note, Sheet, Tick
from mezzotint.run.fit import fit
from mezzotint.run.start import beginning

QUICK = os.environ.get("MEZZOTINT_QUICK") == "1"
STEPS = 2 if QUICK else 300  # of training, 8 clips each
N = 2 if QUICK else 10  # clips that are made
RUN = Path("runs/notebook-clips")
TINY = ["train.batch_size=2", "sample.steps=1", "sample.guidance=1"] if QUICK else []
TINY += [f"train.{name}_every=100%" for name in ("sample", "validate", "checkpoint")] if QUICK else []


def strips(clips, every=2):
    """Clips uint8 (N, C, T, H, W) as rows, every second frame."""
    rows = clips[:, :, ::every]
    return plots.sheet(rows.transpose(1, 2).flatten(0, 1), columns=rows.shape[2])


# %% [markdown]
# ## The data
#
# Clip *i* of a seed is a function of (seed, *i*): which digit, where it begins, how fast it goes, which way. A row is a clip.

# %%
real = torch.stack([torch.from_numpy(clip(1, i, bundled()).pixels) for i in range(20)])
print("clips, channels, frames, height, width:", tuple(real.shape))
strips(real[:4])

# %% [markdown]
# ## Motion, measured
#
# The truth is known: a straight path, folded at the walls. `straightness` finds the best such path for a clip, and says how many pixels the digit is away from
# it. Put a judge on trial before you believe it: here real clips, the same frames in another order, and clips that stand still.
# A digit on one spot lies on a straight path, too, so `travel` stands beside it: how far the digit gets from its mean place.

# %%
order = torch.randperm(16, generator=torch.Generator().manual_seed(0))


def judged(name, clips):
    path, far = (float(measure(clips).median()) for measure in (straightness, travel))
    print(f"{name:9} {path:.2f} px from a straight path, {far:.1f} px from the mean place (medians)")


judged("real", real)
judged("shuffled", real[:, :, order])
judged("still", real[:, :, :1].expand_as(real))

# %% [markdown]
# ## Begin as a model of pictures
#
# The network for clips sees the frames as so many pictures; then the frames look at each other, at every position alone. What that adds starts
# at zero. So it takes over every weight of the model of still digits, and is that model at first: 16 frames that know nothing of each other.
# `data.known` shows half of the clips in training their first frames, so that it also learns to go on.

# %%
recipe = beginning("bouncing", TINY, name="mnist", train__steps=STEPS, train__minutes=None)
print("levels of noise in training:", recipe.diffusion.schedule)
print("those of still digits:      ", mezzotint.load("mnist").config.diffusion.schedule)

# %% [markdown]
# More noise than for pictures: sixteen frames that show one thing can be read under four times the noise that one can (phase 12 of the guide measures it).
#
# ## Train
#
# The sheets on the way are always of the same seeds.

# %%
sheets = []
for event in fit(recipe, RUN, overwrite=True):
    match event:
        case Note(text) if "weights" in text:
            print(text)
        case Tick(step, until, loss, rate) if loss is not None:
            print(f"\rstep {step:,} of {until:,}, loss {loss:.4f}, {rate:.1f} clips a second   ", end="")
        case Sheet(_, _, image):
            sheets.append(image)
sheets[0]

# %%
plots.loss_curve(read_metrics(RUN))

# %% [markdown]
# ## Clips by class
#
# Do the frames of a row show one digit, and does it get along? After 300 steps most rows are one digit, which trembles about one place. After 2,400 (with MNIST's
# digits) nearly every row was one digit throughout, and on its way; what takes longest is a path that is straight.

# %%
model = mezzotint.load(RUN)
samples = model.sample(N, label="all", seed=0)
strips(samples.values)

# %%
judged("real", real)
judged("made", samples.values)
print("of no ink:", int(straightness(samples.values).isinf().sum()))

# %% [markdown]
# ## Go on with a clip
#
# A clip of four frames is given, the model makes the others. The known ones stay as they are, to the bit. Above the real clip, below what the model makes of its beginning.

# %%
known = real[0, :, :4]
label = model.classes[clip(1, 0, bundled()).label]
gone_on = model.edit(known, label=label, n=2, seed=0)
print("known frames are equal:", bool((gone_on.values[:, :, :4] == known).all()))
strips(torch.cat([real[:1], gone_on.values]))

# %% [markdown]
# How far from the truth is the digit four frames later, and how far would it be if it just stood still? After 300 steps the model is no better than standing
# still.

# %%
(truth, made), still = (
    (centres(part)[0] for part in (real[:1], gone_on.values)),
    centres(known[None])[0][0, -1],
)
print(f"made {float((made[:, 7] - truth[0, 7]).norm(dim=-1).nanmean()):.1f} px, ", end="")
print(f"standing still {float((still - truth[0, 7]).norm()):.1f} px")

# %% [markdown]
# ## A file that plays
#
# A PNG of clips is an APNG, which browsers play; it carries its settings. From the command line also GIF and MP4.

# %%
samples.alone(0).save(RUN / "one.png")
print(RUN / "one.png", f"{(RUN / 'one.png').stat().st_size / 1000:.0f} kB, {len(samples.frames())} frames")

# %% [markdown]
# ## Where to go from here
#
# - The same for an hour, and judged: `mezzotint train bouncing --from mnist --data FOLDER_OF_MNIST --steps 8000`, then `mezzotint evaluate bouncing`.
# - Clips of your own, GIF, MP4 or folders of numbered pictures: `mezzotint train clips --data FOLDER`, see docs/clips.md.
# - Why clips need more noise, and how the judge can be fooled: phase 12 of the guide.
