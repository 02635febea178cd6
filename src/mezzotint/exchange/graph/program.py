"""A network as a program of torch.export: a graph of operations with its weights, for batches of any size."""

import inspect
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import UserError

from mezzotint.diffusion.flowmap import FlowMap
from mezzotint.disk.files import write
from mezzotint.errors import ConfigError
from mezzotint.exchange.whole import check_new
from mezzotint.media.codec import Latents, folded, unfolded
from mezzotint.model.model import Model

ROWS = 4  # of the example; with one, the size of a batch would be taken for a constant


def inputs(model: Model, rows: int) -> dict[str, Tensor]:
    """What the network is given, zeros on the CPU: x (n, *code), c_noise (n,), label (n,) int64 where there are classes, span (n,)
    of flow maps, text (n, length) int64 where there are captions."""
    code = model.codec.shape(model.facts.shape)
    given = {"x": torch.zeros(rows, *code), "c_noise": torch.zeros(rows)}
    if model.classes:
        given["label"] = torch.zeros(rows, dtype=torch.int64)
    if isinstance(model.denoiser, FlowMap):
        given["span"] = torch.zeros(rows)
    if model.facts.length:
        given["text"] = torch.ones(rows, model.facts.length, dtype=torch.int64)
    return given


def program(model: Model) -> torch.export.ExportedProgram:
    """The network F of a model on the CPU, called as F(x, c_noise, label=..., span=..., text=...) with those of `inputs`; see
    `sampler.sampler_table` for what is made of it."""
    given = inputs(model, ROWS)
    return _traced(model.net, (given.pop("x"), given.pop("c_noise")), given)


class Decoder(nn.Module):
    """Codes z (n, *code), as they are sampled, to pictures of about [-1, 1] (n, *shape)."""

    def __init__(self, codec: Latents) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, z: Tensor) -> Tensor:
        raw = folded(z) * self.codec.std + self.codec.mean
        return unfolded(self.codec.coder.decode(raw), z)


def decoder(model: Model) -> torch.export.ExportedProgram | None:
    """The way back from codes, where an autoencoder made them; None where a code is the thing itself."""
    if not isinstance(model.codec, Latents):
        return None
    return _traced(Decoder(model.codec), (torch.zeros(ROWS, *model.codec.shape(model.facts.shape)),), {})


def _traced(
    net: nn.Module, args: tuple[Tensor, ...], given: dict[str, Tensor]
) -> torch.export.ExportedProgram:
    """For batches of any size. Raises ConfigError."""
    any_size = {0: torch.export.Dim.DYNAMIC}
    parameters = list(inspect.signature(net.forward).parameters)
    names = [*parameters[: len(args)], *given]  # the first ones by whatever the network calls them
    shapes = dict.fromkeys(names, any_size)
    try:
        with torch.no_grad(), quiet():
            exported = torch.export.export(net.eval(), args, given, dynamic_shapes=shapes)
    except UserError as error:  # such as a batch whose size is a constant to the code, by len(x)
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"torch.export cannot trace this network for batches of any size: {reason}"
        ) from error
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, which are nobody's business
    return exported


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say to their own developers."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(before)


def save_program(exported: torch.export.ExportedProgram, table: dict[str, Any], path: Path) -> int:
    """Writes a .pt2 file with sampler.json inside, whole or not at all; returns its bytes. Raises ConfigError where it is there."""
    check_new(path)
    buffer = io.BytesIO()
    exported.example_inputs = None  # which would be a pickle inside
    with quiet():
        torch.export.save(exported, buffer, extra_files={"sampler.json": json.dumps(table)})
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, buffer.getvalue())
    return path.stat().st_size
