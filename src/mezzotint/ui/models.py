"""The models that the page offers, and how it says what goes wrong."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from mezzotint.config import MLP, DiT, Own, UNet, UNet2D, UNetSimple
from mezzotint.disk.checkpoint import last_checkpoint
from mezzotint.disk.names import bundled
from mezzotint.model.model import Model, load
from mezzotint.ui.start import Desk


def found(desk: Desk) -> dict[str, Path]:
    """Model files by name: those that were given, else of all runs, finished ones first, of these the newest, and before
    runs in training those that come with the package, digits that are easy to read first."""
    files = [Path(file) for file in desk.models]
    if not files:
        runs = sorted(Path(desk.runs).glob("*/model.safetensors"), key=lambda file: -file.stat().st_mtime)
        own = sorted(bundled().values(), key=lambda file: file.stem != "mnist")
        files = [file for file in runs if is_finished(file)] + own
        files += [file for file in runs if file not in files]
    names = [file.absolute().parent.name if file.name == "model.safetensors" else file.stem for file in files]
    names = [name if is_finished(file) else f"{name} (unfinished)" for name, file in zip(names, files)]
    return {name if names.count(name) == 1 else f"{name} ({file})": file for name, file in zip(names, files)}


def is_finished(file: Path) -> bool:
    """Whether the run that a model file lies in has used up its budget; true of files elsewhere."""
    newest = last_checkpoint(file.parent)
    if newest is None:
        return True
    try:
        state = json.loads((newest / "state.json").read_text(encoding="utf-8"))
        return bool(state["step"] >= state["until"])
    except (OSError, ValueError, KeyError, TypeError):
        return True


@st.cache_resource(max_entries=4, show_spinner="Loading the model")
def opened(path: str, mtime: int, device: str) -> Model:
    """One model for all visitors, read again when its file has changed."""
    return load(path, device=device)


def describe(model: Model) -> str:
    """The network, what it makes, and how far it was trained."""
    facts, header = model.facts, model.header
    match header.config.network:
        case MLP():
            kind = "MLP"
        case UNetSimple():
            kind = "Plain U-Net"
        case UNet(attention=attention):
            kind = "Attention U-Net" if attention else "Plain U-Net"
        case UNet2D():
            kind = "U-Net of diffusers"
        case DiT():
            kind = "Transformer"
        case Own(name=name):
            kind = name
    classes = f", {len(facts.classes)} classes" if facts.classes else ""
    count = sum(weight.numel() for weight in model.net.parameters())
    numbers = f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"
    return (
        f"**{kind}** · {numbers} parameters · {model.medium.words(facts.shape)} of {header.config.data.name}{classes} · "
        f"step {header.step:,} · on {model.device}"
    )


@contextmanager
def errors_shown() -> Iterator[None]:
    """Turns what goes wrong inside into one line on the page; the rest of the page goes on."""
    try:
        yield
    except Exception as error:
        line = " ".join(str(error).split())
        if isinstance(error, MemoryError) or "out of memory" in line:
            line = "Out of memory; make fewer at a time."
        known = isinstance(error, (ValueError, OSError, ImportError)) or line.startswith("Out of")
        st.error(line if known else f"{type(error).__name__}: {line}")
