"""The page: a Streamlit script, run from its top whenever somebody touches it. `ui.start` starts it.

On the left (on a phone: above) what to make, on the right what was made and how it comes about.
"""

import hmac
import json
import sys
from pathlib import Path

import streamlit as st
from PIL import Image

from mezzotint.ui import make as page_make
from mezzotint.ui import views as page_views
from mezzotint.ui.models import describe, errors_shown, found, opened
from mezzotint.ui.start import Desk

TABS = ("Pictures", "Denoising", "Forward process", "Training")


def page(desk: Desk) -> None:
    st.set_page_config(page_title="Mezzotint", page_icon=ICON, layout="wide")
    st.html(STYLE)
    if not _admitted(desk.token):
        return
    files = found(desk)
    if not files:
        _welcome(desk)
        return
    left, right = st.columns([1, 2], gap="large")
    model = None
    with left, errors_shown():
        st.markdown("### Mezzotint")
        path = files[st.selectbox("Model", list(files), key="model")]
        model = opened(str(path), path.stat().st_mtime_ns, desk.device)
        st.caption(describe(model))
        wish = page_make.controls(model, _to_pictures)
        if st.session_state.pop("pressed", False) or page_make.is_first(model, wish):
            st.session_state["order"] = wish
    if model is None:  # and the page says why
        return
    with right:
        tabs = dict(zip(TABS, st.tabs(TABS, key="tab", on_change="rerun")))
        (shown,) = [name for name, tab in tabs.items() if tab.open]
        with tabs[shown], errors_shown():
            match shown:
                case "Pictures":
                    page_make.pictures(model, path, wish, st.session_state.pop("order", None))
                case "Denoising":
                    page_views.denoising(page_make.made(path))
                case "Forward process":
                    page_views.forward(model, path)
                case "Training":
                    page_views.training(Path(desk.runs), path.parent.name)


def _to_pictures() -> None:
    st.session_state["tab"], st.session_state["pressed"] = "Pictures", True


def _welcome(desk: Desk) -> None:
    """Before there is a model."""
    st.markdown("### Mezzotint")
    st.info(
        f"There is no finished model under {Path(desk.runs).absolute()} yet. Train one, then reload this page:"
    )
    out = "" if desk.runs == "runs" else f" --out {desk.runs}"
    st.code(f"mezzotint train digits{out}", language="bash")
    with errors_shown():
        page_views.training(Path(desk.runs), None)


def _admitted(token: str | None) -> bool:
    """Asks a visitor for the token, once a session."""
    if token is None or st.session_state.get("admitted"):
        return True
    st.markdown("### Mezzotint")
    typed = st.text_input("Token", type="password", key="token", help="that this page was started with")
    if hmac.compare_digest(typed.encode(), token.encode()):
        st.session_state["admitted"] = True
        st.rerun()
    if typed:
        st.error("That is not the token of this page; ask who started it.")
    return False


ICON = Image.linear_gradient("L").resize((32, 32))  # a name of one would be fetched from the internet
# Streamlit's own margins are made for text, and on a phone would push the pictures off the screen.
STYLE = """<style>
.stMainBlockContainer{padding:1.5rem 1.5rem 3rem;max-width:1500px}
.st-key-old img{opacity:.3}
@media (max-width:640px){.stMainBlockContainer{padding:.5rem 1rem 2rem} .stMainBlockContainer [data-testid=stVerticalBlock]{gap:.6rem}}
</style>"""

if __name__ == "__main__":
    desk = json.loads(sys.argv[1])
    page(Desk(**{**desk, "models": tuple(desk["models"])}))
