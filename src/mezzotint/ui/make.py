"""Making pictures on the page: what is asked for, the pictures emerging, and what is kept of them."""

import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image

from mezzotint.diffusion.table import SAMPLERS
from mezzotint.disk.names import bundled
from mezzotint.model.model import Model, Preview, Samples
from mezzotint.model.strips import spread_steps
from mezzotint.serve.http.results import encode

ANY, ALL = "any", "all, in turn"
WIDE = 720  # pixels that a sheet of small pictures is enlarged to
SHARE = 0.25  # of the time, at most, goes into drawing what emerges


@dataclass(frozen=True)
class Wish:
    """What somebody asks for; `settings` are sampler, steps and guidance."""

    n: int
    label: str | None
    seed: int
    settings: dict[str, Any]


@dataclass(frozen=True)
class LastPictures:
    """The last pictures of a visitor: of which model file, and how the first of them came about."""

    path: Path
    samples: Samples
    seconds: float
    moments: list[Preview]


def controls(model: Model) -> Wish:
    """Sampler, steps, class, guidance, seed and how many; each model has its own, from its defaults on."""
    usual = model.settings()

    def key(name: str) -> str:
        return f"{name} of {model.source}"

    names = [name for name, row in SAMPLERS.items() if row.shown or name == usual.sampler]
    names += [name for name in SAMPLERS if name not in names]
    sampler = st.selectbox("Sampler", names, index=names.index(usual.sampler), key=key("sampler"))
    st.caption(f"{SAMPLERS[sampler].when} ({SAMPLERS[sampler].paper})")
    a, b = st.columns(2, wrap=False)
    steps = a.number_input("Steps", 1, 1000, min(usual.steps, 1000), key=key("steps"))
    few = 16 if model.device.type == "cuda" else 8
    n = b.number_input("How many", 1, model.batch, max(few, model.medium.least), key=key("n"))
    label, guidance = None, None
    if model.classes:
        a, b = st.columns(2, wrap=False)
        label = a.selectbox("Class", [ALL, ANY, *model.classes], key=key("class"))
        guidance = b.number_input(
            "Guidance",
            0.0,
            100.0,
            usual.guidance,
            0.5,
            key=key("guidance"),
            help="1 is off; 2 to 4 is clearer, less varied",
        )
    seed = st.number_input(
        "Seed",
        0,
        2**53 - 1,
        0,
        key=key("seed"),
        help="picture i is made from seed + i; the same seed, the same picture",
    )
    label = {ANY: None, ALL: "all"}.get(label, label) if label else None
    return Wish(n, label, seed, {"sampler": sampler, "steps": steps, "guidance": guidance})


def made(path: Path) -> LastPictures | None:
    """What this visitor made last, if it is this model's."""
    last: LastPictures | None = st.session_state.get("made")
    return last if last and last.path == path else None


def pictures(model: Model, path: Path, order: Wish | None) -> None:
    """Makes what is ordered, and shows it, or else what was made before."""
    if order is not None:
        st.session_state.pop("made", None)
        st.session_state["made"] = _make(model, path, order)
    last = made(path)
    if last is None:
        st.info("Press Make: the pictures come out of noise here.")
        return
    samples = last.samples
    used = samples.settings
    st.image(screen(samples), width="stretch")
    seeds = f"seed {used['seed']}" + (f" to {used['seed'] + used['n'] - 1}" if used["n"] > 1 else "")
    guided = f", guidance {used['guidance']:g}" if model.classes else ""
    st.caption(f"{used['sampler']}, {used['steps']} steps{guided}, {seeds} · {last.seconds:.1f} s")
    st.download_button(
        "Download PNG",
        encode(samples, "png"),
        f"{model.source}-{used['seed']}.png",
        "image/png",
        key="download",
        on_click="ignore",
        icon=":material/download:",
        help="its settings are inside: mezzotint info reads them",
    )
    st.caption("The same on the command line:")
    st.code(command(path, used), language="bash", wrap_lines=True)


def _make(model: Model, path: Path, order: Wish) -> LastPictures:
    """Makes pictures, drawing them as they emerge."""
    bar, place = st.progress(0.0, "starting"), st.empty()
    request = model.request(order.n, label=order.label, seed=order.seed, **order.settings)
    rows = max(4, model.medium.least)  # that the strip shows
    kept, shown = [], spread_steps(request.steps)
    began = drawn = time.perf_counter()
    pause = 0.0
    for preview in model.previews(request):
        if preview.step in shown:
            kept.append(replace(preview, x=preview.x[:rows], x0=preview.x0[:rows]))
        now = time.perf_counter()
        if now - drawn >= pause or preview.step == preview.steps:
            left = (now - began) / preview.step * (preview.steps - preview.step)
            said = f"step {preview.step} of {preview.steps}, {left:.0f} s left"
            bar.progress(preview.step / preview.steps, said)
            place.image(screen(model.finish(request, preview.state)), width="stretch")
            drawn = time.perf_counter()
            pause = max((drawn - now) / SHARE, 0.1)
    samples = model.finish(request, preview.belief)
    bar.empty()
    place.empty()
    return LastPictures(path, samples, time.perf_counter() - began, kept)


def screen(samples: Samples) -> Image.Image:
    """A sheet large enough for a screen: four in a row, more where there are many; points as a scatter plot."""
    columns = min(len(samples), 4 if len(samples) <= 16 else 8)
    scale = max(1, WIDE // (columns * samples.values.shape[-1]))
    return samples.medium.sheet(samples.values, samples.labels, columns, scale)


def command(path: Path, used: dict[str, Any]) -> str:
    """What to type for the same pictures."""
    run = path.parent.name if path.parent.parent == Path("runs") else str(path)
    if path == bundled().get(path.stem) and not Path("runs", path.stem).is_dir():
        run = path.stem
    words = ["mezzotint", "sample", run, "-n", used["n"]]
    words += ["--sampler", used["sampler"], "--steps", used["steps"], "--seed", used["seed"]]
    if used["label"] is not None:
        words += ["--class", used["label"]]
    if used["guidance"] != 1 or used["label"] is not None:
        words += ["--guidance", f"{used['guidance']:g}"]
    return shlex.join(map(str, words))
