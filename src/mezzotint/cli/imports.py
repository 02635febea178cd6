"""Importing torch, sooner."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imports() -> Iterator[None]:
    """Around the imports of a command that needs torch. Hundreds of thousands of objects are made then, and none of them is garbage:
    the collector, which looks for some again and again while they come and once more when the process leaves, would take a fifth or
    more of a short command. So it rests meanwhile, and never looks at them afterwards. Where torch is there already, nothing
    is changed."""
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
