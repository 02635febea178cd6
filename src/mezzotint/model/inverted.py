"""The noise that a picture is made from, and its file."""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint.disk.files import write
from mezzotint.errors import ModelError

KEPT = ("sampler", "steps", "spacing", "guidance", "clip", "label")  # of the settings, for sampling it again


@dataclass(frozen=True, eq=False)
class Inverted:
    """noise: (1, *D) float32 on the CPU, to be sampled with `settings`, which include "label". residual: the largest difference,
    in the range [-1, 1] of codes, between the picture and the sample from this noise."""

    noise: Tensor
    settings: dict[str, Any]
    residual: float

    @property
    def digest(self) -> str:
        """SHA-256 of the noise."""
        return hashlib.sha256(self.noise.numpy().tobytes()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Writes an npz file: noise (1, *D) float32, settings as JSON, residual."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            noise=self.noise.numpy(),
            settings=np.array(json.dumps(self.settings)),
            residual=np.array(self.residual),
        )
        write(Path(path), buffer.getvalue())

    @staticmethod
    def load(path: str | Path) -> "Inverted":
        """Reads what `save` wrote. Raises ModelError in one line."""
        try:
            with np.load(Path(path).expanduser(), allow_pickle=False) as file:
                noise = torch.from_numpy(file["noise"].astype(np.float32, casting="safe"))
                settings, residual = json.loads(str(file["settings"])), float(file["residual"])
        except FileNotFoundError:
            raise ModelError(f"{path} does not exist; `mezzotint invert` makes such a file") from None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ModelError(
                f"{path} is damaged or not a file of `mezzotint invert`; make it again"
            ) from error
        if not isinstance(settings, dict) or not noise.isfinite().all():
            raise ModelError(f"{path} is damaged: its settings are missing, or its noise is not finite")
        return Inverted(noise, {name: settings[name] for name in KEPT if name in settings}, residual)
