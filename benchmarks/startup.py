"""How long until something happens?  Help, the first training step, 64 pictures from the shell; and where the time goes.

    python benchmarks/startup.py [--model MODEL] [--data FOLDER_OF_MNIST_PARQUET]

The first step is that of `mezzotint train mnist` without compilation, data read and decoded, and shown to have been taken
by its line in metrics.jsonl. Imports are Python's own account (-X importtime), summed by package, in a process of their own.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import measuring

GOALS = {"first step": 10.0, "64 pictures from the shell": 4.0}


def imports(code: str) -> dict[str, float]:
    """Seconds that `code` spends on importing, by top-level package, the slowest ten, and in all."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )
    spent: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        if line.startswith("import time:") and "[us]" not in line:
            own, _, name = line.removeprefix("import time:").split("|")
            spent[name.strip().split(".")[0]] += int(own)
    return {
        "all": sum(spent.values()) / 1e6,
        **{name: microseconds / 1e6 for name, microseconds in spent.most_common(10)},
    }


def first_step(folder: Path, data: Path | None) -> float:
    """From the shell's command to the first line of metrics.jsonl."""
    words = ["train", "mnist", "--out", str(folder), "--name", "first", "--overwrite", "--no-compile"]
    words += [*measuring.digits_of_size(28, data), "train.log_every=1 step"]
    metrics = folder / "first" / "metrics.jsonl"
    metrics.unlink(missing_ok=True)
    began = time.perf_counter()
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", "mezzotint", *words], **silent)
    try:
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None or time.perf_counter() - began > 120:
                raise SystemExit("training did not begin; try the command: mezzotint " + " ".join(words))
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def shell_sample(model: str, folder: Path) -> float:
    path = folder / "made.png"
    return measuring.seconds(lambda: measuring.mezzotint("sample", model, "-n", 64, "-o", path))


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--model", default="mnist", help="a model file, a run, or a bundled model")
    parser.add_argument("--data", type=Path, help="MNIST as parquet; by default the bundled digits, enlarged")
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contenders: dict[str, Any] = {
            "python": lambda: measuring.seconds(
                lambda: subprocess.run([sys.executable, "-c", ""], check=True)
            ),
            "help": lambda: measuring.seconds(lambda: measuring.mezzotint("--help")),
            "import torch": lambda: measuring.seconds(
                lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True)
            ),
            "first step": lambda: first_step(folder, options.data),
            "64 pictures from the shell": lambda: shell_sample(options.model, folder),
        }
        times = measuring.by_turns(contenders, 1 if options.quick else 5)
    spent = {
        "import torch": imports("import torch"),
        "sampling": imports(f"from mezzotint import load; load({options.model!r}).sample(1)"),
    }
    result = {
        "machine": machine,
        "seconds": {name: measuring.spread(values) for name, values in times.items()},
        "goals": GOALS,
        "imports": spent,
    }
    rows = [
        [name, measuring.format_spread(measuring.spread(values)), GOALS.get(name, "")]
        for name, values in times.items()
    ]
    print(measuring.markdown(["until", "seconds", "at most"], rows))
    for what, parts in spent.items():
        print(f"imports of {what}: " + ", ".join(f"{name} {s:.2f} s" for name, s in parts.items()))
    measuring.keep(options.out, "startup", result, options.quick)


if __name__ == "__main__":
    main()
