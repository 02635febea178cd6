"""The data that a configuration names, coded as its network sees it."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from mezzotint.build.codecs import codec
from mezzotint.config import Config

if TYPE_CHECKING:
    from mezzotint.data.open import Source


def source(config: Config, device: torch.device) -> "Source":
    """Raises DataError or ConfigError in one line."""
    from mezzotint.data.open import open_source  # here: whoever samples a model opens no data

    opened = open_source(config.data, device)
    return replace(opened, codec=codec(config, opened.facts))
