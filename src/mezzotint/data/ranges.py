"""What is black and what is white in pictures whose format does not say: one range for a whole set."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from mezzotint.data.decode import FLOAT_RANGES, INT_RANGES, Range, fits
from mezzotint.data.endings import count

LOOKED_AT = 1024  # pictures of a set, evenly spread
NEARLY_ALL = 0.95  # of them decide
BYTES = (0.0, 255.0)


class Ranges:
    """The ranges of floating-point (F) and 32-bit (I) pictures of a set, found when the first of them is decoded.

    Of the usual ranges it is the first that nearly all of the pictures looked at lie in, or else that which most do; the
    others are then left out. Threads may call it at once.
    """

    def __init__(self, total: int, open: Callable[[int], Image.Image]) -> None:
        self.total, self.open = total, open
        self.notes: Sequence[str] = ()
        self._found: dict[str, Range | None] | None = None
        self._lock = threading.Lock()

    def __call__(self, mode: str) -> Range | None:
        """(black, white) of a mode, "F" or "I"; None where no usual range has any of the pictures looked at."""
        with self._lock:
            if self._found is None:
                self._found = self._look()
        return self._found.get(mode[:1])

    def _look(self) -> dict[str, Range | None]:
        extents: dict[str, list[tuple[float, float]]] = {}
        for i in np.unique(np.linspace(0, self.total - 1, LOOKED_AT).round().astype(int)).tolist():
            try:
                image = self.open(i)
                if image.mode in ("F", "I"):
                    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
                    extents.setdefault(image.mode, []).append((float(values.min()), float(values.max())))
            except Exception:  # what cannot be read is found, and said, when it is decoded
                continue
        found: dict[str, Range | None] = {}
        notes = []
        for mode, candidates, kind in (("F", FLOAT_RANGES, "floating-point"), ("I", INT_RANGES, "32-bit")):
            if not (seen := extents.get(mode)):
                continue
            inside = [sum(fits(low, high, of) for low, high in seen) for of in candidates]
            if not max(inside):
                continue
            shares = [(number, of == BYTES, of) for number, of in zip(inside, candidates)]
            many = [share for share in shares if share[0] >= NEARLY_ALL * len(seen)]
            number, _, (low, high) = many[0] if many else max(shares)
            found[mode] = (low, high)
            others = f", which {number:,} of {len(seen):,} fit" if number < len(seen) else ""
            notes.append(
                f"{count(len(seen), f'{kind} picture')} read as black at {low:g} and white at {high:g}{others}"
            )
        self.notes = notes
        return found
