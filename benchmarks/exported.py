"""What exporting costs and gives: PyTorch beside onnxruntime, with weights of float32, float16 and int8, and with int8 arithmetic.

    python benchmarks/exported.py [--model mnist] [--n 64] [--repetitions 5]

Size of the file; the largest error of the network's answer against PyTorch, over batches of 1, 3 and 64; the mean and the largest
difference of pictures of the same seeds, in grey levels; pictures a second by the model's own sampler, in turn, and how many times as
fast as PyTorch. `static int8` has its convolutions in int8: onnxruntime's quantize_static, calibrated on what the network is given while it
samples. `opset 21` has norms as one operation each, which the exporter takes apart by default. Then networks of every kind, with
random weights: the error alone.
"""

import copy
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch

from mezzotint import build, config
from mezzotint.disk.model_file import Header
from mezzotint.exchange.graph import export
from mezzotint.exchange.graph.packed import packed
from mezzotint.exchange.graph.program import inputs, program
from mezzotint.exchange.graph.sample import sample, told
from mezzotint.exchange.sampler import sampler_table
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model

BATCHES = (1, 3, 64)
KINDS: list[tuple[str, Facts, dict[str, Any]]] = [
    (
        "unet, attention of 4 and of 256 positions",
        Facts((3, 16, 16), ("a", "b")),
        {"kind": "unet", "width": 16, "multipliers": [1, 2, 2, 2], "blocks": 1, "attention": [1, 8]},
    ),
    (
        "unet, linear attention, patch 2, odd size",
        Facts((1, 18, 13)),
        {
            "kind": "unet",
            "width": 16,
            "multipliers": [1, 2],
            "attention": [2],
            "linear_attention": True,
            "patch": 2,
        },
    ),
    ("unet_simple", Facts((1, 16, 16), ("a",)), {"kind": "unet_simple", "width": 8}),
    (
        "unet_simple, batch norm, strides",
        Facts((1, 15, 15)),
        {"kind": "unet_simple", "width": 8, "norm": "batch", "down": "stride"},
    ),
    (
        "unet2d",
        Facts((3, 16, 16), ("a", "b")),
        {
            "kind": "unet2d",
            "widths": [16, 32],
            "attention_down": [2],
            "attention_up": [1],
            "groups": 4,
            "middle_groups": 4,
            "padding": 0,
            "modulation": "scale_shift",
        },
    ),
    (
        "unet2d, a table of the level",
        Facts((1, 8, 8)),
        {"kind": "unet2d", "widths": [16], "groups": 4, "middle_groups": None, "time": "table"},
    ),
    ("dit", Facts((3, 16, 16), ("a", "b")), {"kind": "dit", "width": 32, "depth": 2, "head_channels": 16}),
    ("mlp", Facts((2,), ("a", "b")), {"kind": "mlp", "width": 32}),
]


def random_model(facts: Facts, network: dict[str, Any]) -> Model:
    chosen = config.parse({"network": network, "train": {"precision": "fp32"}})
    torch.manual_seed(0)
    net = build.network(chosen, facts).eval().requires_grad_(False)
    for weight in net.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    return Model(Header(chosen, facts, 0, "raw"), build.denoiser(chosen, net), torch.device("cpu"), "random")


def session(content: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def questions(model: Model, rows: int) -> dict[str, torch.Tensor]:
    """Random noisy things, at random levels."""
    torch.manual_seed(rows)
    given = inputs(model, rows)
    given["x"], given["c_noise"] = torch.randn_like(given["x"]), 999 * torch.rand(rows)
    if "label" in given:
        given["label"] = torch.arange(rows) % (len(model.classes) + 1)
    return given


@torch.no_grad()
def error(model: Model, runs: Any) -> float:
    """The largest, over all batches, of an answer."""
    worst = 0.0
    for rows in BATCHES:
        given = questions(model, rows)
        (answer,) = runs.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        args = given.pop("x"), given.pop("c_noise")
        worst = max(worst, float(np.abs(answer - model.net(*args, **given).numpy()).max()))
    return worst


def at_opset(exported: Any, opset: int) -> Any:
    before, export.OPSET = export.OPSET, opset
    try:
        return export.as_onnx(exported)
    finally:
        export.OPSET = before


class Watched:
    """A session that remembers what it was given."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.given = inner, []  # type: ignore[var-annotated]

    def run(self, names: None, given: dict[str, np.ndarray]) -> Any:
        self.given.append(given)
        return self.inner.run(names, given)


def static_int8(content: bytes, given: list[dict[str, np.ndarray]]) -> bytes:
    """The network with its convolutions in int8 arithmetic: a scale for each channel of weights, and one for each layer's numbers, found on
    what the network was given."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest: Iterator[Any] = iter(given)

        def get_next(self) -> Any:
            return next(self.rest, None)

    with tempfile.TemporaryDirectory() as folder:
        whole, ready, small = (Path(folder) / name for name in ("a.onnx", "b.onnx", "c.onnx"))
        whole.write_bytes(content)
        quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(small),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
        )
        return small.read_bytes()


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--model", default="mnist")
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    measuring.use_threads(arguments.threads)
    n, repetitions = (4, 1) if arguments.quick else (arguments.n, arguments.repetitions)

    model = load(arguments.model, device="cpu", precision="fp32")
    table = json.loads(json.dumps(sampler_table(model)))
    exported = program(model)
    whole = export.as_onnx(exported)
    files = {
        f"onnxruntime, {weights}": packed(copy.deepcopy(whole), weights)
        for weights in ("float32", "float16", "int8")
    }
    files["onnxruntime, float32, opset 21"] = packed(at_opset(exported, 21), "float32")
    watched = Watched(session(files["onnxruntime, float32"], arguments.threads))
    label = np.arange(n) % max(1, len(model.classes))
    others = np.arange(10**6, 10**6 + n, dtype=np.uint64)
    sample(watched, table, others, *told(table, others, label))
    files["onnxruntime, static int8"] = static_int8(files["onnxruntime, float32"], watched.given)

    sessions = {name: session(content, arguments.threads) for name, content in files.items()}
    seeds = np.arange(n, dtype=np.uint64)
    asked = [model.classes[k] for k in label] if model.classes else None
    made: dict[str, Any] = {}

    def torch_makes() -> float:
        def work() -> None:
            made["PyTorch"] = model.sample(n, label=asked, batch=n).values.numpy()

        return measuring.seconds(work)

    def makes(name: str) -> Any:
        def work() -> None:
            codes = sample(sessions[name], table, seeds, *told(table, seeds, label))
            made[name] = model.codec.decode(torch.from_numpy(codes)).numpy()

        return lambda: measuring.seconds(work)

    state = measuring.machine(arguments.threads)
    times = measuring.by_turns({"PyTorch": torch_makes, **{name: makes(name) for name in files}}, repetitions)
    weights = 4 * sum(weight.numel() for weight in model.net.parameters())
    result: dict[str, Any] = {
        "machine": state,
        "model": arguments.model,
        "n": n,
        "calls": len(table["moves"]),
        "rows": {},
    }
    for name in times:
        off = np.abs(made[name].astype(np.float64) - made["PyTorch"].astype(np.float64))
        result["rows"][name] = {
            "bytes": len(files[name]) if name in files else weights,
            "error": error(model, sessions[name]) if name in files else 0.0,
            "greys_mean": float(off.mean()),
            "greys_most": float(off.max()),
            "a_second": measuring.spread([n / t for t in times[name]]),
            "times_pytorch": measuring.ratio(times["PyTorch"], times[name]),
        }
    head = ["", "MB", "error of an answer", "greys off, mean and most", "pictures a second", "times PyTorch"]
    rows = [
        [
            name,
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['error']:.0e}",
            f"{row['greys_mean']:.2f}, {row['greys_most']:.0f}",
            measuring.format_spread(row["a_second"], 0),
            measuring.format_spread(row["times_pytorch"]),
        ]
        for name, row in result["rows"].items()
    ]
    print(measuring.markdown(head, rows))
    measuring.keep(arguments.out, "exported", result, arguments.quick)

    result["kinds"] = {}
    for name, facts, network in itertools.islice(KINDS, 1 if arguments.quick else None):
        one = random_model(facts, network)
        content = packed(export.as_onnx(program(one)), "float32")
        result["kinds"][name] = error(one, session(content, arguments.threads))
        print(f"{name}: {result['kinds'][name]:.0e}", flush=True)
    measuring.keep(arguments.out, "exported", result, arguments.quick)


if __name__ == "__main__":
    main()
