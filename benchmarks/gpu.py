"""All that is not known without a GPU, by one command, in 9 minutes.

    python benchmarks/gpu.py --data FOLDER_OF_CIFAR10_PARQUET    # one GPU, 9 minutes
    python benchmarks/gpu.py --quick                             # the same on a CPU, at sizes that mean nothing

Parts, in this order; `--parts` names some of them:

- checks: does the device compute what a CPU computes (devices.py): networks and gradients, noise, pictures, losses, bfloat16, resume to the bit,
  torch.compile, CUDA graphs;
- memory: at most, in steps of training by batch, and in sampling;
- serving: pictures a second of the server's engine, by rows a network call, 1 to 256, of three models;
- throughput: training beside diffusers and denoising-diffusion-pytorch, equal network and batch, where they are installed
  (`python benchmarks/rivals.py` makes an environment; it is used if it is there);
- cifar10: the recipe cifar10_gpu for the time that is left, and its curve of Fréchet distance against seconds.

On a GPU each part is a process of its own, with a limit of seconds, so that a part that fails, hangs or leaves the device in a bad state is a row of
the table, and the others run. Without --data, bundled digits stand for CIFAR-10, and it is said. The exit code is 1 where something is
not as it should be.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import measuring
import rivals
from devices import Row
from gpu_parts import Setting, checks, cifar10, failed, memory, serving, throughput

TOTAL_SECONDS = 540.0
SPARE_SECONDS = 15.0  # for the table, and for processes to end


PARTS: dict[
    str, tuple[Callable[[Setting], Iterator[Row]], float]
] = {  # and the share of the time left that each may take
    "checks": (checks, 0.2),
    "memory": (memory, 0.12),
    "serving": (serving, 0.17),
    "throughput": (throughput, 0.3),
    "cifar10": (cifar10, 1.0),
}


def here(part: str, setting: Setting, keep: Callable[[list[Row]], object] = len) -> list[Row]:
    """The rows of a part, as many as there were before it failed, if it did. keep: is given all so far after each."""
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        keep(rows)
        print(f"{part}: {row.what}: {' '.join(filter(None, columns(row)))}", flush=True)

    try:
        for row in PARTS[part][0](setting):
            add(row)
    except Exception as error:
        add(failed(part, error))
    return rows


def apart(part: str, setting: Setting) -> list[Row]:
    """The same in a process of its own, by the rivals' Python if there is one, with a limit of time."""
    python = str(rivals.PYTHON) if rivals.PYTHON.exists() else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        words = [python, __file__, "--parts", part, "--inside", str(file), "--out", str(setting.out)]
        words += ["--seconds", f"{setting.seconds:.0f}", "--device", setting.device]
        words += ["--quick"] * setting.quick + (["--data", str(setting.data)] if setting.data else [])
        try:
            code = subprocess.run(words, timeout=setting.seconds, check=False).returncode
            ended = [] if code == 0 else [Row(part, None, note=f"its process ended with {code}", failed=True)]
        except subprocess.TimeoutExpired:
            ended = [Row(part, None, note=f"not done after {setting.seconds:.0f} s", failed=True)]
        rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
        return [*(Row(*row) for row in rows), *ended]


def main(words: list[str] | None = None) -> int:
    parser = measuring.parser(__doc__)
    parser.add_argument(
        "--data", type=Path, help="CIFAR-10 as parquet; by default bundled digits stand for it"
    )
    parser.add_argument("--parts", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--device", choices=("cuda", "cpu"), help="by default cuda; with --quick cpu")
    parser.add_argument("--seconds", type=float, default=TOTAL_SECONDS, help="for all parts")
    parser.add_argument(
        "--inside", type=Path, help=argparse.SUPPRESS
    )  # one part, for `apart`: a file for its rows
    options = parser.parse_args(words)
    import torch

    device = options.device or ("cpu" if options.quick else "cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "there is no GPU here; --quick runs everything on the CPU, at sizes that mean nothing"
        )
    measuring.use_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.inside:
        (part,) = options.parts
        setting = Setting(device, options.quick, options.data, options.seconds, options.out)

        def keep(rows: list[Row]) -> None:  # whole or not at all: the time may be over
            options.inside.with_suffix(".new").write_text(json.dumps(rows), encoding="utf-8")
            options.inside.with_suffix(".new").replace(options.inside)

        here(part, setting, keep)
        return 0
    began, machine = time.perf_counter(), measuring.machine(options.threads)
    found: dict[str, list[Row]] = {}
    for part in options.parts:
        left = options.seconds - SPARE_SECONDS - (time.perf_counter() - began)
        share = 1.0 if part == options.parts[-1] else PARTS[part][1]
        setting = Setting(device, options.quick, options.data, max(10.0, share * left), options.out)
        found[part] = (apart if device == "cuda" else here)(part, setting)
    table = [[part, row.what, *columns(row)] for part, rows in found.items() for row in rows]
    print(measuring.markdown(["part", "what", "value", "bound", "", "note"], table))
    bad = [row for rows in found.values() for row in rows if row.good is False]
    took = time.perf_counter() - began
    print(f"{took:.0f} s; {sum(map(len, found.values()))} rows, {len(bad)} not as they should be")
    content = {
        "machine": machine,
        "device": device,
        "seconds": took,
        "parts": {p: [r._asdict() for r in rows] for p, rows in found.items()},
    }
    measuring.keep(options.out, "gpu", content, options.quick)
    return 1 if bad else 0


def columns(row: Row) -> list[str]:
    value = "-" if row.value is None else f"{row.value:.4g} {row.unit}".rstrip()
    most = "" if row.most is None else f"at most {row.most:g}"
    return [value, most, {True: "ok", False: "NO", None: ""}[row.good], row.note]


if __name__ == "__main__":
    sys.exit(main())
