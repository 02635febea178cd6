"""Making pictures on the page: what is asked for, the pictures emerging, and what is kept of them."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image

from mezzotint.conditions.labels import ALL, Label, apart
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.disk.names import bundled
from mezzotint.model import again
from mezzotint.model.cost import network_calls, seconds_a_call
from mezzotint.model.edits import Edits
from mezzotint.model.model import Model, Preview, Samples
from mezzotint.model.request import Request
from mezzotint.model.strips import spread_steps
from mezzotint.serve.http.results import encode
from mezzotint.serve.http.service import check_scans
from mezzotint.serve.http.settings import Limits

RECOMMENDED = ("dpmpp_2m", "ddim", "euler_a", "heun", "ddpm")
MAX_ROLL = 10**6  # of the dice: seeds that can be told on
UNASKED_SECONDS = 10.0  # of work at most, without being asked for it
WIDE = 720  # pixels that a sheet of small pictures is enlarged to
SHARE = 0.25  # of the time, at most, goes into drawing what emerges


@dataclass(frozen=True)
class Wish:
    """What somebody asks for; `settings` are sampler, steps and guidance, and of models that know words prompt and negative. picture: name and bytes of what it begins from."""

    n: int
    label: Label
    seed: int
    settings: dict[str, Any]
    picture: tuple[str, bytes] | None = None
    strength: float = 1.0


@dataclass(frozen=True)
class LastPictures:
    """The last pictures of a visitor: of which model file, and how the first of them came about."""

    path: Path
    samples: Samples
    wish: Wish
    seconds: float
    moments: list[Preview]
    note: str = ""  # on the file that they began from


def controls(model: Model, pressed: Callable[[], None]) -> Wish:
    """Class, Make and dice, and behind "Settings" sampler, steps, how many, guidance and seed; each model has its own, from
    its defaults on. pressed: called where pictures are asked for."""
    usual = model.settings()

    def key(name: str) -> str:
        return f"{name} of {model.source}"

    def roll() -> None:
        st.session_state[key("seed")] = random.randrange(MAX_ROLL)
        pressed()

    label: Label = None
    guidance = None
    if model.classes:
        words: dict[str, Label] = {
            apart("all, in turn", model.classes): ALL,
            apart("any", model.classes): None,
        }
        choice = st.selectbox("Class", [*words, *model.classes], key=key("class"))
        label = words.get(choice, choice)
    prompt = negative = None
    if model.language is not None:
        examples = model.facts.examples
        help = "what to show; without it, in turn: " + "; ".join(examples[:8]) if examples else "what to show"
        prompt = st.text_input("Prompt", key=key("prompt"), placeholder=(*examples, "")[0], help=help)
    a, b = st.columns([3, 1], wrap=False)
    a.button("Make", type="primary", width="stretch", key="make", on_click=pressed)
    b.button(":material/casino:", width="stretch", key="dice", on_click=roll, help="others: another seed")
    with st.expander("Settings"):
        sampler = _sampler(usual.sampler, key)
        a, b = st.columns(2, wrap=False)
        steps = a.number_input("Steps", 1, 1000, min(usual.steps, 1000), key=key("steps"))
        few = 16 if model.device.type == "cuda" else 8
        n = b.number_input("How many", 1, model.batch, max(few, model.medium.least), key=key("n"))
        if model.language is not None:
            negative = st.text_input(
                "Negative prompt", key=key("negative"), help="what guidance drives away from"
            )
        if model.guidable:
            guidance = st.number_input(
                "Guidance",
                0.0,
                100.0,
                usual.guidance,
                0.5,
                key=key("guidance"),
                help="1 is off; 2 to 4 is clearer, less varied",
            )
        st.session_state.setdefault(key("seed"), 0)  # the dice set it, too
        seed = st.number_input(
            "Seed",
            0,
            2**53 - 1,
            key=key("seed"),
            help="picture i is made from seed + i; the same seed, the same picture",
        )
    words = {name: text for name, text in (("prompt", prompt), ("negative", negative)) if text}
    wish = Wish(n, label, seed, {"sampler": sampler, "steps": steps, "guidance": guidance, **words})
    return _with_picture(wish, key) if model.facts.kind == "pictures" else wish


def _with_picture(wish: Wish, key: Callable[[str], str]) -> Wish:
    """The same from a picture that is uploaded, if one is."""
    megabytes = Limits().max_edit_body // 2**20
    file = st.file_uploader(
        "Begin from a picture",
        ["png", "jpg", "jpeg", "webp"],
        max_upload_size=megabytes,
        key=key("picture"),
        help="what is transparent in it is made anew, or without that all of it by a share",
    )
    if file is None:
        return wish
    strength = st.slider(
        "Strength",
        0.0,
        1.0,
        0.6,
        key=key("strength"),
        help="share of change: 0 leaves it as it is, 1 keeps nothing of it",
    )
    return replace(wish, picture=(file.name, file.getvalue()), strength=strength)


def _request(model: Model, wish: Wish) -> Request:
    words = {"n": wish.n, "label": wish.label, "seed": wish.seed, **wish.settings}
    if wish.picture is None:
        return model.request(**words)
    check_scans(wish.picture[1], "the picture")
    edits = Edits(model, Limits().max_edit_pixels)
    return edits.edit(wish.picture[1], strength=wish.strength, **words)


def _sampler(usual: str, key: Callable[[str], str]) -> str:
    """A few that are recommended, the model's own first, or all of them; below it, what it is good for."""
    place = st.container()
    names = [usual, *(name for name in RECOMMENDED if name != usual)]
    chosen = st.session_state.get(key("sampler"), usual)
    every = st.checkbox(f"All {len(SAMPLERS)} samplers", key=key("all samplers"))
    names += [name for name in SAMPLERS if name not in names and (every or name == chosen)]
    sampler: str = place.selectbox(
        "Sampler", names, key=key("sampler"), format_func=lambda name: f"{name}: {SAMPLERS[name].when}"
    )
    place.caption(SAMPLERS[sampler].paper)
    return sampler


def is_first(model: Model, wish: Wish) -> bool:
    """Whether a page that was just opened makes pictures unasked: where that takes no longer than people like to wait."""
    if st.session_state.get("opened"):
        return False
    st.session_state["opened"] = True
    calls = wish.n * network_calls(model, model.settings())
    return seconds_a_call(model, wish.n) * calls < UNASKED_SECONDS


def made(path: Path) -> LastPictures | None:
    """What this visitor made last, if it is this model's."""
    last: LastPictures | None = st.session_state.get("made")
    return last if last and last.path == path else None


def pictures(model: Model, path: Path, wish: Wish, order: Wish | None) -> None:
    """Makes what is ordered, and shows it, or else what was made before, dimmed where by now something else is wished
    for."""
    if order is not None:
        st.session_state.pop("made", None)
        st.session_state["made"] = _make(model, path, order)
    last = made(path)
    if last is None:
        st.info("Press Make: the pictures come out of noise here.")
        return
    samples, old = last.samples, last.wish != wish
    used = samples.settings
    if old:
        st.caption("**Made with other settings; press Make.**")
    with st.container(key="old" if old else "new"):
        st.image(screen(samples), width="stretch")
    seeds = f"seed {used['seed']}" + (f" to {used['seed'] + used['n'] - 1}" if used["n"] > 1 else "")
    guided = f", guidance {used['guidance']:g}" if model.guidable else ""
    st.caption(f"{used['sampler']}, {used['steps']} steps{guided}, {seeds} · {last.seconds:.1f} s")
    if last.note:
        st.caption(f"{last.note[0].upper()}{last.note[1:]}.")
    _downloads(model, samples)
    if typed := command(path, used):
        st.caption("The same on the command line:")
        st.code(typed, language="bash", wrap_lines=True)


def _downloads(model: Model, samples: Samples) -> None:
    """All of them in one PNG, and one alone."""
    used, single = samples.settings, len(samples) > 1 and samples.medium.table is None
    a, b = st.columns(2, wrap=False)
    a.download_button(
        "Download all" if single else "Download PNG",
        encode(samples, "png"),
        f"{model.source}-{used['seed']}.png",
        "image/png",
        key="download",
        on_click="ignore",
        icon=":material/download:",
        help="its settings are inside: mezzotint info reads them",
    )
    if not single:
        return
    with b.popover("Download one"):
        number = st.number_input("Picture", 1, len(samples), key="number", help="counted row by row")
        one = samples.alone(number - 1)
        st.image(screen(one), width=200)
        st.download_button(
            "Download it",
            encode(one, "png"),
            f"{model.source}-{one.settings['seed']}.png",
            "image/png",
            key="download one",
            on_click="ignore",
            icon=":material/download:",
        )


def _make(model: Model, path: Path, order: Wish) -> LastPictures:
    """Makes pictures, drawing them as they emerge."""
    bar, place = st.progress(0.0, "starting"), st.empty()
    request = _request(model, order)
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
    return LastPictures(path, samples, order, time.perf_counter() - began, kept, request.note)


def screen(samples: Samples) -> Image.Image:
    """A sheet large enough for a screen: four in a row, more where there are many; points as a scatter plot."""
    columns = min(len(samples), 4 if len(samples) <= 16 else 8)
    scale = max(1, WIDE // (columns * samples.values.shape[-1]))
    texts = samples.prompts if len(set(samples.prompts)) > 1 else ()
    if len(texts) == len(samples) > 1:
        return samples.medium.sheet(samples.values, samples.labels, columns, texts=texts)
    return samples.medium.sheet(samples.values, samples.labels, columns, scale)


def command(path: Path, used: dict[str, Any]) -> str | None:
    """What to type for the same pictures of a model file."""
    run = path.parent.name if path.parent.parent == Path("runs") else str(path)
    if path == bundled().get(path.stem) and not Path("runs", path.stem).is_dir():
        run = path.stem
    return again.command(used, run)
