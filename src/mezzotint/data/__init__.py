"""Data: points in the plane, sets of pictures, and what happens to them on the device."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mezzotint.data.images import OnDemand, Pictures, load_pictures  # noqa: F401
    from mezzotint.data.known import KNOWN, flips_by_default  # noqa: F401
    from mezzotint.data.toy import TOYS, class_names, log_prob, points  # noqa: F401
    from mezzotint.errors import DataError, MissingExtra  # noqa: F401
    from mezzotint.media.pictures import augment, to_model, to_uint8  # noqa: F401

_WHERE = {
    "KNOWN": "data.known",
    "TOYS": "data.toy",
    "DataError": "errors",
    "MissingExtra": "errors",
    "OnDemand": "data.images",
    "Pictures": "data.images",
    "augment": "media.pictures",
    "class_names": "data.toy",
    "flips_by_default": "data.known",
    "load_pictures": "data.images",
    "log_prob": "data.toy",
    "points": "data.toy",
    "to_model": "media.pictures",
    "to_uint8": "media.pictures",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: a model that is sampled reads no set of pictures."""
    if name not in _WHERE:
        raise AttributeError(f"module 'mezzotint.data' has no attribute {name!r}")
    return getattr(import_module(f"mezzotint.{_WHERE[name]}"), name)
