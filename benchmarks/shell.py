"""From the shell to 64 pictures in a PNG: where the seconds go, on this processor and held to what an older one has.

    python benchmarks/shell.py [--model MODEL]          # five times each, in turn
    python benchmarks/shell.py --quick                  # once

The command is `mezzotint sample MODEL -n 64 -o FILE` in a process of its own, whole, with a look at the clock between its parts.
What is counted are seconds of computing (user and system), which do not grow while others use the machine as the
wall clock does; where two hardware threads share a core they still do, by up to a half or so, so look at the lowest. Held back:
AVX2 and float32, by ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2. One thread, unless --threads says otherwise.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import measuring

GOAL = 3.0  # seconds under AVX2, of the whole
PARTS = ("python", "command line", "torch", "mezzotint", "model", "sampling", "file", "leaving")
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
# The real command, with what it imports brought forward in parts, and a look at the clock where one part ends.
CODE = """
import json, sys, time

marks = [("python", time.process_time())]


def passed(name):
    marks.append((name, time.process_time()))


import mezzotint.cli
from mezzotint.cli.imports import imports

passed("command line")
with imports():
    import torch

    passed("torch")
    import rich.console
    import rich.progress

    import mezzotint.model.loading
    from mezzotint.model.samples import Samples

passed("mezzotint")
load, save = mezzotint.model.loading.load, Samples.save


def loading(*words, **options):
    model = load(*words, **options)
    passed("model")
    return model


def saving(*words, **options):
    passed("sampling")
    save(*words, **options)
    passed("file")


mezzotint.model.loading.load, Samples.save = loading, saving
try:
    mezzotint.cli.main(sys.argv[2:])
finally:
    with open(sys.argv[1], "w") as file:
        json.dump([marks, torch.backends.cpu.get_cpu_capability()], file)
"""


def sample(model: str, folder: Path, environment: dict[str, str]) -> tuple[dict[str, float], str]:
    """Seconds of computing of every part of the command and of the whole, and what torch calls the processor."""
    marks, picture = folder / "marks.json", folder / "made.png"
    words = ["sample", model, "-n", "64", "-o", str(picture)]
    before = os.times()
    subprocess.run(
        [sys.executable, "-c", CODE, str(marks), *words],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = os.times()
    whole = after.children_user + after.children_system - before.children_user - before.children_system
    passed, isa = json.loads(marks.read_text())
    ends = dict(passed) | {"leaving": whole}
    spent, last = {}, 0.0
    for name in PARTS:
        spent[name], last = ends[name] - last, ends[name]
    assert picture.stat().st_size
    return {**spent, "whole": whole}, isa


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--model", default="mnist_fast", help="a model file, a run, or a bundled model")
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    machines: dict[str, dict[str, str]] = {"as it is": {}, "held to AVX2": AVX2}
    times: dict[str, list[dict[str, float]]] = {name: [] for name in machines}
    called: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        for repetition in range(1 if options.quick else 5):
            for kind in list(machines)[:: 1 if repetition % 2 == 0 else -1]:
                spent, called[kind] = sample(options.model, Path(name), machines[kind])
                times[kind].append(spent)
    parts = {
        kind: {part: measuring.spread([one[part] for one in all_]) for part in (*PARTS, "whole")}
        for kind, all_ in times.items()
    }
    result: dict[str, Any] = {
        "machine": measuring.machine(options.threads),
        "model": options.model,
        "capability": called,
        "seconds_of_computing": parts,
        "goal": GOAL,
    }
    rows = [
        [part, *(f"{parts[kind][part]['low']:.2f} ({parts[kind][part]['median']:.2f})" for kind in machines)]
        for part in (*PARTS, "whole")
    ]
    print("Seconds of computing, the lowest (median):")
    print(measuring.markdown(["part", *(f"{kind}: {called[kind]}" for kind in machines)], rows))
    measuring.keep(options.out, "shell", result, options.quick)


if __name__ == "__main__":
    main()
