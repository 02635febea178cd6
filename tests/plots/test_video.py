"""MP4: what is written is what is read, sides that are odd are padded and never stretched, and settings travel along."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint import plots
from mezzotint.errors import ConfigError, MissingExtra


def test_even_and_odd_sides(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    ramp = np.linspace(0, 200, 31)[:, None] + np.linspace(0, 50, 27)
    for height, width, note in ((30, 26, ""), (31, 27, "27x31 is padded to 28x32")):
        frames = [Image.fromarray((ramp[:height, :width] + k).astype(np.uint8)) for k in range(5)]
        path = tmp_path / "film.mp4"
        said = plots.mp4(frames, path, {"seed": 3, "label": "é"}, hold=3 * plots.MS_A_FRAME)
        assert note in said and bool(note) == bool(said)
        reader = ffmpeg.read_frames(str(path))
        assert next(reader)["size"] == (width + width % 2, height + height % 2)
        read = [
            np.frombuffer(raw, np.uint8).reshape(height + height % 2, -1, 3)[:height, :width, 0]
            for raw in reader
        ]
        assert len(read) == 7  # the last one stands three times
        assert all(np.abs(a.astype(int) - np.asarray(b)).mean() < 3 for a, b in zip(read, frames))
        assert plots.read_settings(path) == {"seed": 3, "label": "é"}
    plots.mp4(frames, path)
    assert plots.read_settings(path) is None
    assert [each.name for each in tmp_path.iterdir()] == ["film.mp4"]


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Image.new("L", (4, 4))
    with pytest.raises(ConfigError, match=r"end it in \.mp4"):
        plots.mp4([one], tmp_path / "a.png")
    with pytest.raises(ValueError, match="all frames of one size"):
        plots.mp4([one, Image.new("L", (6, 4))], tmp_path / "a.mp4")
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingExtra, match=r'pip install "mezzotint\[video\]"'):
        plots.mp4([one], tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())
