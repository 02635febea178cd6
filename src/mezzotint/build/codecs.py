"""The codec between things and what the network sees."""

from mezzotint.config import Config
from mezzotint.media.codec import Codec
from mezzotint.media.facts import Facts


def codec(config: Config, facts: Facts) -> Codec:
    """The usual codec of the medium."""
    return facts.medium.codec
