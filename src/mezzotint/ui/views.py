"""What the page shows beside the pictures: the way back from noise, the way into noise, and a run in training."""

import time
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image

from mezzotint import build, plots
from mezzotint import config as configuration
from mezzotint.cond import Batch, Cond
from mezzotint.conditions.labels import ALL
from mezzotint.data import KNOWN, TOYS
from mezzotint.disk.folder import read_metrics
from mezzotint.model.device import find_device
from mezzotint.model.model import Model
from mezzotint.model.strips import denoising as denoising_strip
from mezzotint.model.strips import noising
from mezzotint.ui.make import LastPictures
from mezzotint.ui.models import errors_shown

ROWS = 6  # pictures of the forward process
EVERY = 5  # seconds between looks at a run in training


def denoising(made: LastPictures | None) -> None:
    """How the last pictures came out of noise."""
    if made is None:
        st.info("Make pictures first; this shows how they came out of noise.")
        return
    pictures = made.samples.medium.table is None
    below = "; top: the noisy picture, below: the network's guess at the clean one" if pictures else ""
    st.caption(f"From noise on the left to the result on the right{below}.")
    st.image(denoising_strip(made.moments), width="stretch")


def forward(model: Model, path: Path) -> None:
    """Examples of the data, with more and more noise; pictures of the model itself where the data is not at hand.
    Data that would have to be fetched are only read when told to."""
    data = model.config.data
    bundled = data.name in TOYS or (data.name in KNOWN and not KNOWN[data.name].hub)
    agreed = f"read {data.name}"
    if bundled or (data.path is not None and data.path.exists()) or st.session_state.get(agreed):
        with errors_shown():
            strip = _noised(configuration.dump(model.config), model.config)
            st.caption(
                "What the network learns from: examples with more and more noise, at places u of its schedule."
            )
            st.image(strip, width="stretch")
            return
    st.caption(
        f"Pictures of the model itself, with more and more noise, at places u of its schedule: {data.name}, which it learned from, is not "
        "at hand."
    )
    st.image(_own(str(path), path.stat().st_mtime_ns, model), width="stretch")
    if data.path is None and st.button(f"Read {data.name} from the dataset hub", key="read"):
        st.session_state[agreed] = True
        st.rerun()


@st.cache_data(max_entries=16, show_spinner="Reading the data")
def _noised(key: str, _config: configuration.Config) -> Image.Image:
    source = build.source(_config, find_device("cpu"))
    return noising(_config, source.facts, source.codec, source.preview(max(ROWS, source.facts.medium.least)))


@st.cache_data(max_entries=16, show_spinner="Making pictures")
def _own(path: str, mtime: int, _model: Model) -> Image.Image:
    n = max(ROWS, _model.medium.least)
    samples = _model.sample(n, label=ALL if _model.classes else None)
    batch = Batch(_model.codec.encode(samples.values), Cond(label=samples.labels))
    return noising(_model.config, _model.facts, _model.codec, batch)


def training(runs: Path, preferred: str | None) -> None:
    """Losses and sample sheets of a run, which may still be training. preferred: the run that is shown at first."""
    files = sorted(runs.glob("*/metrics.jsonl"), key=lambda file: file.stat().st_mtime, reverse=True)
    names = [file.parent.name for file in files]
    if not names:
        st.info(f"No run under {runs} has losses yet; start one: mezzotint train digits")
        return
    chosen = st.selectbox("Run", names, index=names.index(preferred) if preferred in names else 0, key="run")
    _watch(runs / chosen)


@st.fragment(run_every=EVERY)
def _watch(folder: Path) -> None:
    """Looks again every few seconds."""
    with errors_shown():
        changed = (folder / "metrics.jsonl").stat().st_mtime_ns
        rows, curve = _losses(str(folder), changed)
        st.caption(f"{_summary(rows)} · last line {_ago(time.time() - changed / 1e9)}")
        st.image(curve, width="stretch")
        sheets = sorted((folder / "samples").glob("step-*.png"))
        if not sheets:
            st.info("No samples yet; they come at a fifth of the training.")
            return
        steps = [int(sheet.stem.removeprefix("step-")) for sheet in sheets]
        st.caption("Samples from the same seeds as the training goes on.")
        step = steps[-1]
        if len(steps) > 1:
            step = st.select_slider(
                "After step", steps, value=step, key=f"sheet of {folder.name}, {len(steps)}"
            )
        st.image(plots.read_png(sheets[steps.index(step)]))


@st.cache_data(max_entries=16, show_spinner=False)
def _losses(folder: str, changed: int) -> tuple[list[dict[str, Any]], Image.Image]:
    rows = read_metrics(Path(folder))
    return rows, plots.loss_curve(rows)


def _summary(rows: list[dict[str, Any]]) -> str:
    said = [f"step {rows[-1]['step']:,}"] if rows else ["no steps yet"]
    for key, what in (("loss", "loss"), ("val_loss", "held out")):
        values = plots.column(rows, key)[1]
        if len(values):
            said.append(f"{what} {values[-1]:.4f}")
    return " · ".join(said)


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} seconds ago"
