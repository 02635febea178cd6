"""Data: points in the plane, sets of pictures, and what happens to them on the device."""

from mezzotint.data.images import OnDemand, Pictures, load_pictures
from mezzotint.data.known import KNOWN, flips_by_default
from mezzotint.data.toy import TOYS, class_names, log_prob, points
from mezzotint.errors import DataError, MissingExtra
from mezzotint.media.pictures import augment, to_model, to_uint8

__all__ = [
    "KNOWN",
    "TOYS",
    "DataError",
    "MissingExtra",
    "OnDemand",
    "Pictures",
    "augment",
    "class_names",
    "flips_by_default",
    "load_pictures",
    "log_prob",
    "points",
    "to_model",
    "to_uint8",
]
