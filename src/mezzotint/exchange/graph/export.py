"""A model as a folder with a network of ONNX, a table that samples, and a program of a page that does."""

import importlib
import json
from pathlib import Path
from typing import Any, Literal

import torch

from mezzotint.disk.files import write
from mezzotint.errors import MissingExtra
from mezzotint.exchange.graph.packed import packed
from mezzotint.exchange.graph.program import decoder, program, quiet
from mezzotint.exchange.sampler import sampler_table
from mezzotint.exchange.whole import whole_folder
from mezzotint.model.model import Model

Weights = Literal["float32", "float16", "int8"]
OPSET = (
    18  # from 21 on norms are one operation each, which onnxruntime computes more slowly (docs/exchange.md)
)
EXAMPLE = Path(__file__).with_name("sample.py")


def export_onnx(model: Model, folder: Path, weights: Weights = "float32", **settings: Any) -> int:
    """Writes denoiser.onnx, sampler.json and sample.py into a new folder, and decoder.onnx for a model of an autoencoder's codes, whole or not
    at all; returns the bytes. settings: of `Model.sample`, by which it samples. Raises ConfigError for a model that cannot be exported, MissingExtra without onnx."""
    table = sampler_table(model, **settings)
    require()
    contents = {"denoiser.onnx": packed(as_onnx(program(model)), weights)}
    if (way_back := decoder(model)) is not None:
        contents["decoder.onnx"] = packed(as_onnx(way_back, ("z",), "x"), weights)
    with whole_folder(folder) as place:
        for name, content in contents.items():
            write(place / name, content)
        write(place / "sampler.json", json.dumps(table).encode())
        write(place / "sample.py", EXAMPLE.read_bytes())
        return sum(file.stat().st_size for file in place.iterdir())


def as_onnx(
    exported: torch.export.ExportedProgram, first: tuple[str, ...] = ("x", "c_noise"), output: str = "F"
) -> Any:
    """The ModelProto, whose first inputs and whose output are called so; other inputs have the names of `program.inputs`."""
    names = [spec.arg.name for spec in exported.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    names = [*first, *names[len(first) :]]
    with torch.no_grad(), quiet():
        made = torch.onnx.export(
            exported,
            dynamo=True,
            input_names=names,
            output_names=[output],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert made is not None
    return made.model_proto


def require() -> None:
    """Raises MissingExtra where a library is not there that exporting needs."""
    for name in ("onnx", "onnxscript"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtra(f'{name} is not installed; run: pip install "mezzotint[export]"') from error
