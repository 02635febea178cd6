"""The look of every chart, and how it becomes a picture or a piece of a page.

Charts are drawn by matplotlib's Figure objects alone, never its pyplot state.
"""

import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

INK, FAINT = "#24292f", "#d8dee4"
# Okabe and Ito's colours, which colour-blind readers tell apart too
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
DPI = 160


def figure_of(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, list[Any]]:
    """An empty figure, in inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def log_axis(axes: Any, which: str, values: Iterable[float]) -> None:
    """Makes the x or y axis logarithmic, ticked in plain numbers, if the values span enough and none is negative."""
    from matplotlib.ticker import LogLocator, NullFormatter

    finite = [float(v) for v in values if math.isfinite(v)]
    positive = [v for v in finite if v > 0]
    if not positive or min(finite) < 0 or max(positive) < 3 * min(positive):
        return
    getattr(axes, f"set_{which}scale")("log", nonpositive="mask")
    scale = getattr(axes, f"{which}axis")
    decades = math.log10(max(positive) / min(positive))
    whole = all(v.is_integer() for v in finite)
    ticks: tuple[float, ...] = (1, 2, 5) if decades < 2.5 else (1,)
    if decades < 1:
        ticks = (1, 2, 3, 5, 7) if whole else (1, 1.5, 2, 3, 5, 7)
    scale.set_major_locator(LogLocator(subs=ticks))
    scale.set_major_formatter(lambda value, _: f"{value:g}")
    scale.set_minor_formatter(NullFormatter())


def whole_axis(axes: Any, values: Iterable[float]) -> None:
    """Ticks the x axis at whole numbers if all values are whole."""
    from matplotlib.ticker import MaxNLocator

    if all(float(v).is_integer() for v in values):
        axes.xaxis.set_major_locator(
            MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True, min_n_ticks=1)
        )


def render(figure: Any) -> Image.Image:
    """Draws a figure in the house style."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    _dress(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def svg(figure: Any, description: str) -> str:
    """The figure as an <svg> element for a page: its ink is the colour of the page's text, its faint lines
    var(--faint), and behind it is nothing, so that it is at home on light and dark pages. Letters stay letters.

    description: what it shows, for those who do not see it; without characters that are special in HTML.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    _dress(figure)
    figure.set_dpi(72)  # points, in which SVG is written
    for patch in (figure.patch, *(axis.patch for axis in figure.axes)):
        patch.set(facecolor="none", edgecolor="none")
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mezzotint"}):
        canvas = FigureCanvasSVG(figure)
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine(
            "none"
        )  # `savefig` would draw everything twice, the first time for the layout
        canvas.print_svg(file, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{description}"', 1)
    return text.replace(INK, "currentColor").replace(FAINT, "var(--faint)")


def _dress(figure: Any) -> None:
    for axis in figure.axes:
        axis.set_axisbelow(True)
        axis.grid(color=FAINT, linewidth=0.6)
        axis.tick_params(which="both", colors=INK, labelsize=9, length=0)
        axis.spines[:].set_color(FAINT)
        axis.spines[["top", "right"]].set_visible(False)
        for text in (axis.title, axis.xaxis.label, axis.yaxis.label):
            text.set(color=INK, fontsize=10)
