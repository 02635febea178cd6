"""Small models of random weights in memory, of every kind of network and codec."""

from typing import Any

import numpy as np
import torch
from torch import nn

from mezzotint import build, config
from mezzotint.conditions.text import BYTES
from mezzotint.disk.model_file import Header
from mezzotint.exchange.web.export import three_bytes
from mezzotint.media.facts import Facts
from mezzotint.model.model import Model


def filled(module: nn.Module) -> nn.Module:
    """The same with random weights, each of three bytes, as the page has them; networks would start silent."""
    module.eval().requires_grad_(False)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.randn_like(tensor).abs())  # variances stay positive
            raw = np.frombuffer(three_bytes(tensor), np.uint8).reshape(-1, 3)
            full = np.pad(raw, ((0, 0), (1, 0))).copy().view("<f4").reshape(tensor.shape)
            tensor.copy_(torch.from_numpy(full.copy()))
    return module


def tiny(shape: tuple[int, ...], classes: int = 0, words: int = 0, seed: int = 0, **tree: Any) -> Model:
    """A model of random weights."""
    parsed = config.parse({"train": {"precision": "fp32"}, "sample": {"steps": 4}, **tree})
    vocabulary: dict[str, Any] = {
        "words": tuple(f"w{i:02}" for i in range(words)),
        "length": 6,
        "examples": ("w01 w00",),
    }
    if words == BYTES:
        vocabulary = {"reading": "bytes", "length": 12, "examples": ("ABC",)}
    facts = Facts(shape, tuple("abcdefgh"[:classes]), **(vocabulary if words else {}))
    torch.manual_seed(seed)
    net = filled(build.network(parsed, facts))
    codec = build.codec(parsed, facts)
    if codec.weights is not None:
        filled(codec.weights)
    header = Header(parsed, facts, 9, "raw")
    return Model(header, build.denoiser(parsed, net), torch.device("cpu"), "tiny", codec=codec)
