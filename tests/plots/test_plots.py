"""Sheets have an exact geometry, files give back what went in, and charts show what they were given."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from mezzotint import plots
from mezzotint.plots import charts


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def flat(n: int, channels: int = 1, height: int = 8, width: int = 8) -> Tensor:
    """Pictures of one value each: 10, 20, 30, ..."""
    return (10 * torch.arange(1, n + 1).to(torch.uint8))[:, None, None, None].expand(
        n, channels, height, width
    )


def has_colour(image: Image.Image, colour: str, near: int = 12) -> int:
    """How many pixels have about this colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((abs(pixels(image) - wanted).max(-1) <= near).sum())


# --- sheets ----------------------------------------------------------------------------------------------


def test_every_picture_has_its_place() -> None:
    image = plots.sheet(flat(5), columns=3, gap=2, scale=4)
    assert image.mode == "L"
    assert image.size == (2 + 3 * (32 + 2), 2 + 2 * (32 + 2))
    expected = np.full((70, 104), 255)
    for i in range(5):
        y, x = 2 + i // 3 * 34, 2 + i % 3 * 34
        expected[y : y + 32, x : x + 32] = 10 * (i + 1)
    assert (pixels(image) == expected).all()  # the gaps and the unused sixth place are white


def test_enlargement_repeats_pixels_and_keeps_colours() -> None:
    images = torch.randint(0, 256, (1, 3, 5, 7), dtype=torch.uint8)
    image = plots.sheet(images, gap=0, scale=3)
    assert image.mode == "RGB"
    assert (pixels(image)[1::3, 1::3] == images[0].permute(1, 2, 0).numpy()).all()
    assert (pixels(image) == images[0].permute(1, 2, 0).numpy().repeat(3, 0).repeat(3, 1)).all()


@pytest.mark.parametrize(
    ("height", "width", "scale"), [(8, 8, 8), (28, 28, 2), (32, 32, 2), (30, 42, 2), (64, 64, 1), (8, 300, 1)]
)
def test_only_tiny_pictures_are_enlarged(height: int, width: int, scale: int) -> None:
    image = plots.sheet(flat(1, 1, height, width), gap=0)
    assert image.size == (width * scale, height * scale)


@pytest.mark.parametrize(
    ("n", "height", "width"), [(1, 8, 8), (7, 8, 8), (64, 28, 28), (100, 32, 32), (24, 20, 60), (24, 60, 20)]
)
def test_a_sheet_is_about_square(n: int, height: int, width: int) -> None:
    image = plots.sheet(flat(1, 1, height, width).expand(n, 1, height, width))
    assert n < 3 or 0.5 < image.width / image.height < 2
    assert (
        image.width * image.height
        < 2.5 * n * (height + 2) * (width + 2) * max(1, round(64 / max(height, width))) ** 2
    )


def test_columns_are_no_more_than_pictures() -> None:
    assert plots.sheet(flat(2), columns=10).size == plots.sheet(flat(2), columns=2).size


def test_labels_stand_beside_pictures_that_stay_whole() -> None:
    bare = plots.sheet(flat(4), columns=2)
    image = plots.sheet(flat(4), columns=2, captions=["a", "b"], row_labels=["dog", "cat"])
    top, left = image.height - bare.height, image.width - bare.width
    assert top > 10 and left > 10
    assert (pixels(image)[top:, left:] == pixels(bare)).all()
    assert pixels(image)[:top, left:].min() < 100 and pixels(image)[top:, :left].min() < 100  # ink


def test_long_captions_do_not_overlap() -> None:
    image = pixels(plots.sheet(flat(2), columns=2, captions=["m" * 12, "m" * 12]))
    inked = np.flatnonzero((image[:20] < 200).any(0))
    assert np.diff(inked).max() >= 5  # a white space between the two words
    assert inked[0] > 0 and inked[-1] < image.shape[1] - 1


def test_a_strip_has_a_row_for_each_picture_and_a_column_for_each_time() -> None:
    frames = torch.stack([flat(2), flat(2) + 100, flat(2) + 200])  # (3, 2, 1, 8, 8)
    image = pixels(plots.strip(frames, ["t = 0", "t = 5", "t = 9"]))
    middles = image[image.shape[0] - 2 - 66 - 32 :: 66, 2 + 32 :: 66][:2, :3]
    assert middles.tolist() == [[10, 110, 210], [20, 120, 220]]


def test_the_same_pictures_make_the_same_bytes(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (6, 3, 9, 9), dtype=torch.uint8)
    for name in ("a.png", "b.png"):
        plots.save_png(plots.sheet(images, captions=["x", "y", "z"]), tmp_path / name, {"seed": 7})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (torch.zeros(2, 1, 8, 8), {}, "uint8"),
        (flat(2)[0], {}, r"\(N, C, H, W\)"),
        (flat(2, channels=2), {}, "C = 1"),
        (flat(2)[:0], {}, "no pictures"),
        (flat(2), {"columns": 0}, "columns >= 1"),
        (flat(2), {"scale": 0}, "scale >= 1"),
        (flat(2), {"columns": 2, "captions": ["a"]}, "1 captions for 2"),
        (flat(3), {"columns": 2, "row_labels": ["a"]}, "1 row labels for 2"),
    ],
)
def test_wrong_sheets_are_refused(images: Tensor, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.sheet(images, **options)


def test_a_strip_wants_a_caption_for_each_time() -> None:
    with pytest.raises(ValueError, match="T captions"):
        plots.strip(flat(2)[None], ["a", "b"])


def test_one_picture_keeps_its_size() -> None:
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    assert (pixels(plots.picture(image)) == image.permute(1, 2, 0).numpy()).all()
    assert plots.picture(image[:1]).mode == "L"


# --- files -----------------------------------------------------------------------------------------------


def test_settings_come_back(tmp_path: Path) -> None:
    settings = {"seed": 7, "class": "été 夏", "eta": 0.1, "weights": None, "classes": [1, 2]}
    path = tmp_path / "new" / "a.png"
    plots.save_png(plots.sheet(flat(3)), path, settings)
    assert plots.read_settings(path) == settings
    assert (pixels(plots.read_png(path)) == pixels(plots.sheet(flat(3)))).all()
    plots.save_png(plots.sheet(flat(3)), path, {})
    assert plots.read_settings(path) == {}
    plots.save_png(plots.sheet(flat(3)), path)
    assert plots.read_settings(path) is None
    assert list(path.parent.iterdir()) == [path]  # nothing temporary is left


def test_a_failed_write_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    plots.save_png(plots.sheet(flat(1)), path, {"seed": 1})

    def full(self: Image.Image, file: Path, *_: object, **__: object) -> None:
        file.write_bytes(b"half a pict")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="no space"):
        plots.save_png(plots.sheet(flat(2)), path, {"seed": 2})
    assert plots.read_settings(path) == {"seed": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_png_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("not a picture")
    with pytest.raises(ValueError, match=r"a\.png is not a PNG"):
        plots.read_settings(path)
    plots.sheet(flat(1)).save(path, "JPEG")
    with pytest.raises(ValueError, match="not a PNG"):
        plots.read_settings(path)
    plots.save_png(plots.sheet(torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)), path, {})
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged"):
        plots.read_settings(path)
    with pytest.raises(FileNotFoundError):
        plots.read_settings(tmp_path / "none.png")


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    from PIL import PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_text(plots.KEY, "{broken")
    plots.sheet(flat(1)).save(tmp_path / "a.png", pnginfo=text)
    with pytest.raises(ValueError, match=r"settings inside .*a\.png are damaged"):
        plots.read_settings(tmp_path / "a.png")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gif_holds_its_last_frame(tmp_path: Path, channels: int) -> None:
    frames = [plots.sheet(flat(1, channels) + 60 * k) for k in range(4)]
    plots.gif(frames, tmp_path / "a.gif", ms=50, hold=1000)
    with Image.open(tmp_path / "a.gif") as gif:
        seen = [
            (frame.info["duration"], pixels(frame.convert("L"))[30, 30])
            for frame in ImageSequence.Iterator(gif)
        ]
        assert gif.info["loop"] == 0
    assert seen == [(50, 10), (50, 70), (50, 130), (1000, 190)]


def test_a_gif_of_nothing_or_of_mixed_sizes_is_refused(tmp_path: Path) -> None:
    for frames in ([], [plots.sheet(flat(1)), plots.sheet(flat(2))]):
        with pytest.raises(ValueError, match="one size"):
            plots.gif(frames, tmp_path / "a.gif")


# --- charts ----------------------------------------------------------------------------------------------


def test_a_scatter_plot_shows_points_where_they_are() -> None:
    corner = 0.9 + 0.02 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    image = plots.scatter([("one", corner, None)], limits=(-1.0, 1.0))
    blue = (abs(pixels(image) - [0, 114, 178]).max(-1) < 60).nonzero()
    assert len(blue[0]) > 20
    assert blue[0].mean() < 0.25 * image.height and blue[1].mean() > 0.75 * image.width  # up and right


def test_panels_share_axes_and_labels_have_colours() -> None:
    square = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    labels = torch.tensor([0, 0, 1, 1])
    image = plots.scatter([("a", square, labels), ("b", square / 2, labels)], limits=(-2.0, 2.0))
    middle, spread = image.width // 2, []
    for half in (image.crop((0, 0, middle, image.height)), image.crop((middle, 0, *image.size))):
        grey = pixels(half).max(-1) - pixels(half).min(-1) < 60
        spread.append(np.ptp(np.flatnonzero(~grey.all(0))))
        left, right = half.crop((0, 0, middle // 2, half.height)), half.crop((middle // 2, 0, *half.size))
        reddish = [int((pixels(part)[..., 0] - pixels(part)[..., 2] > 60).sum()) for part in (left, right)]
        assert reddish[0] == 0 and reddish[1] > 20
    assert spread[1] / spread[0] == pytest.approx(0.5, abs=0.05)  # half as large, and shown so


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_any_number_of_panels(count: int) -> None:
    image = plots.scatter([(f"t = {k}", torch.randn(50, 2), None) for k in range(count)])
    assert 400 < image.width < 1600 and 200 < image.height < 1600


@pytest.mark.parametrize(
    "points",
    [
        torch.zeros(0, 2),
        torch.zeros(1, 2),
        torch.full((3, 2), math.nan),
        torch.tensor([[0.0, math.inf], [5e8, -3e-9]]),
    ],
)
def test_a_scatter_plot_survives(points: Tensor) -> None:
    assert plots.scatter([("odd", points, None)]).width > 400


def test_wrong_panels_are_refused() -> None:
    for panels in ([], [("a", torch.zeros(4, 3), None)]):
        with pytest.raises(ValueError, match=r"\(n, 2\)"):
            plots.scatter(panels)


def test_every_curve_is_drawn() -> None:
    x = [10.0, 20.0, 40.0]
    image = plots.curves(
        {"a": (x, [1, 0.1, 0.01]), "b": (x, [2, math.nan, 0.5]), "c": (x, [0, 1, 1])},
        xlabel="calls",
        ylabel="error",
        logx=True,
        logy=True,
    )
    for colour in plots.COLOURS[:3]:
        assert has_colour(image, colour) > 100
    assert has_colour(image, plots.COLOURS[3]) == 0


def test_a_power_law_is_a_straight_line_on_log_axes() -> None:
    x = np.geomspace(1, 100, 50)
    image = plots.curves({"a": (x, x**-2)}, xlabel="x", ylabel="y", logx=True, logy=True)
    rows, columns = (abs(pixels(image) - [0, 114, 178]).max(-1) < 40).nonzero()
    fit = np.polyval(np.polyfit(columns, rows, 1), columns)
    assert len(rows) > 500 and abs(rows - fit).max() < 6


def test_negative_values_are_not_hidden_by_a_logarithm() -> None:
    y = [-1.0, 0.1, 10.0]
    charts = [
        plots.curves({"a": ([1, 2, 3], y)}, xlabel="x", ylabel="y", logy=logy) for logy in (True, False)
    ]
    assert charts[0].tobytes() == charts[1].tobytes()


def rows(n: int) -> list[dict[str, Any]]:
    return [{"step": 10 * k, "loss": 1 / k, "lr": 1e-3, "images": 1280 * k} for k in range(1, n + 1)]


def test_a_loss_curve_has_both_losses() -> None:
    training = plots.loss_curve(rows(300))
    both = plots.loss_curve([*rows(300), {"step": 1000, "val_loss": 0.02}, {"step": 3000, "val_loss": 0.01}])
    assert has_colour(training, plots.COLOURS[0]) > 500 and has_colour(training, plots.COLOURS[1]) == 0
    assert has_colour(both, plots.COLOURS[0]) > 500 and has_colour(both, plots.COLOURS[1]) > 200


def test_rows_without_a_finite_loss_are_left_out() -> None:
    odd: list[dict[str, Any]] = [
        {"step": 15, "loss": math.nan},
        {"step": 16, "loss": math.inf},
        {"step": 17, "loss": None},
        {"step": 18, "lr": 1.0},
        {"step": 99_999, "images": 5},
    ]
    for n in (5, 300):  # with and without a running mean
        mixed = [*rows(n)[:2], *odd, *rows(n)[2:]]
        assert plots.loss_curve(mixed).tobytes() == plots.loss_curve(rows(n)).tobytes()


def test_loss_curves_of_next_to_nothing() -> None:
    none, one = plots.loss_curve([]), plots.loss_curve(rows(1))
    assert has_colour(none, plots.COLOURS[0]) == 0
    assert has_colour(one, plots.COLOURS[0]) > 20
    assert (
        plots.loss_curve([{"step": 1, "loss": -1.0}, {"step": 2, "loss": 0.0}]).size == none.size
    )  # no logarithm


def test_a_schedule_plot_shows_every_schedule_and_bears_infinity() -> None:
    u = torch.linspace(0, 1, 101, dtype=torch.float64)
    cosine = -2 * torch.log(torch.tan(math.pi / 2 * u))
    cosine[0], cosine[-1] = math.inf, -math.inf
    image = plots.schedule_plot({"cosine": (u, cosine), "linear": (u, 10 - 20 * u)})
    assert image.width > 2 * image.height
    for third in range(3):
        part = image.crop((third * image.width // 3, 0, (third + 1) * image.width // 3, image.height))
        assert all(has_colour(part, colour) > 100 for colour in plots.COLOURS[:2])


def test_charts_leave_no_global_state() -> None:
    import sys

    plots.curves({"a": ([0, 1], [0, 1])}, xlabel="x", ylabel="y")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_column_is_its_finite_values() -> None:
    odd: list[dict[str, Any]] = [
        {"step": 1, "a": 2.0, "b": [1.0, None]},
        {"step": 2, "a": math.nan, "b": [3.0]},
        {"step": 3, "b": None},
        {"step": 4, "a": 5},
    ]
    assert [part.tolist() for part in plots.column(odd, "a")] == [[1.0, 4.0], [2.0, 5.0]]
    assert [part.tolist() for part in plots.column(odd, "b/0")] == [[1.0, 2.0], [1.0, 3.0]]
    assert [part.tolist() for part in plots.column(odd, "b/1")] == [[], []]
    assert [part.tolist() for part in plots.column(odd, "c")] == [[], []]


def test_a_history_for_a_page_takes_the_colours_of_the_page() -> None:
    drawn = plots.history(rows(20), {"training": "loss"}, ylabel="loss", rule=("level", 0.3))
    assert drawn is not None
    assert drawn.startswith("<svg") and "currentColor" in drawn and "var(--faint)" in drawn
    assert plots.COLOURS[0] in drawn and "#24292f" not in drawn and "#d8dee4" not in drawn
    assert ">level</text>" in drawn  # letters stay letters
    assert drawn == plots.history(rows(20), {"training": "loss"}, ylabel="loss", rule=("level", 0.3))
    assert plots.history(rows(20), {"none": "nothing"}, ylabel="y", rule=("level", 0.3)) is None


def test_a_long_history_is_thinned_and_keeps_its_spike() -> None:
    """The spike reaches as high in the thinned chart as in a short one: its top is the top of the axis."""
    made = [{"step": k, "loss": 1.0 + (k == 17_003)} for k in range(20_000)]
    drawn = plots.history(made, {"training": "loss"}, ylabel="loss")
    assert drawn is not None and len(drawn) < 60_000
    flat = plots.history([{**row, "loss": 1.0} for row in made], {"training": "loss"}, ylabel="loss")
    assert flat is not None and drawn.count(">1.8</text>") == 1 and ">1.8</text>" not in flat


@pytest.mark.parametrize("steps", [[5.0], [5.0, 6.0], [1.0, 2.0, 4.0], [5.0, 10.0, 11.0], [1000.0, 90_000.0]])
def test_whole_numbers_are_ticked_at_whole_numbers(
    steps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep of one number of steps has no axis from 4.8 to 5.2."""
    ticks: list[float] = []

    def look(figure: Any) -> Image.Image:
        (axis,) = figure.axes
        low, high = axis.get_xlim()
        ticks.extend(t for t in axis.get_xticks() if low <= t <= high)
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(charts, "render", look)
    for logx in (False, True):
        plots.curves({"": (steps, [1.0] * len(steps))}, xlabel="steps", ylabel="distance", logx=logx)
        assert ticks and all(t == round(t) for t in ticks), ticks
    ticks.clear()
    plots.curves({"": ([0.1, 0.2], [1.0, 2.0])}, xlabel="share", ylabel="distance")
    assert any(t != round(t) for t in ticks), "shares stay shares"
