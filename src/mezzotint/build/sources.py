"""The data that a configuration names, coded as its network sees it."""

from dataclasses import replace

import torch

from mezzotint.build.codecs import codec
from mezzotint.config import Config
from mezzotint.data.open import Source, open_source


def source(config: Config, device: torch.device) -> Source:
    """Raises DataError or ConfigError in one line."""
    opened = open_source(config.data, device)
    return replace(opened, codec=codec(config, opened.facts))
