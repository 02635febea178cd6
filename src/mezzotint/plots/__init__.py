"""Every picture this package draws: sheets and strips of samples, GIFs, scatter plots and curves.

Pictures come in as uint8 tensors and go out as PIL images. matplotlib is imported when the first chart or caption is
drawn.
"""

from mezzotint.plots.charts import curves, scatter, schedule_plot
from mezzotint.plots.files import KEY, MS_A_FRAME, check_ending, gif, png, read_png, read_settings, save_png
from mezzotint.plots.pictures import captioned, picture, sheet, strip
from mezzotint.plots.style import COLOURS
from mezzotint.plots.training import column, history, loss_curve
from mezzotint.plots.video import ffmpeg, mp4

__all__ = [
    "COLOURS",
    "KEY",
    "MS_A_FRAME",
    "captioned",
    "check_ending",
    "column",
    "curves",
    "ffmpeg",
    "gif",
    "history",
    "loss_curve",
    "mp4",
    "picture",
    "png",
    "read_png",
    "read_settings",
    "save_png",
    "scatter",
    "schedule_plot",
    "sheet",
    "strip",
]
