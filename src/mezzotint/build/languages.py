"""How a model reads texts."""

from pathlib import Path

import torch

from mezzotint.conditions.frozen import Frozen
from mezzotint.conditions.text import Bytes, Language, Words
from mezzotint.config import Config
from mezzotint.media.facts import Facts


def language(
    config: Config, facts: Facts, device: torch.device, encoder: Path | None = None
) -> Language | None:
    """None for models that were trained without captions. encoder: where that of the texts lies, if no longer where training
    found it; it is opened when a text comes."""
    match facts.reading:
        case _ if not facts.length:
            return None
        case "bytes":
            return Bytes(facts.length)
        case "encoder":
            return Frozen(facts.digest, facts.width, facts.length, encoder or config.data.encoder, device)
        case _:
            return Words(facts.words, facts.length)
