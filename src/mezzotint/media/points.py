"""Points in the plane, and how they are shown."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from mezzotint import plots


def sheet(
    points: Tensor,
    labels: Tensor | None = None,
    columns: int | None = None,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
) -> Image.Image:
    """Points (N, 2) as a scatter plot, coloured by label (N,); it has one size, and no columns."""
    return plots.scatter([(f"{len(points):,} points", points, labels)], limits=(-3, 3))


def strip(frames: Sequence[Tensor], captions: Sequence[str], labels: Tensor | None = None) -> Image.Image:
    """The same points (N, 2) at several times, a panel for each."""
    return plots.scatter([(caption, points, labels) for caption, points in zip(captions, frames)])


def table(points: Tensor) -> str:
    """CSV."""
    return "x,y\n" + "".join(f"{x},{y}\n" for x, y in points.tolist())
