"""How much memory does training take, and what do recompute and accumulate save at what price?

    python benchmarks/memory.py [--data FOLDER_OF_MNIST_PARQUET]

Each row is `mezzotint train mnist` in a fresh process, eager, with a sheet of samples and a checkpoint at its end: the most that
was resident at any time (ru_maxrss), and the pictures a second of its last reading. The first row is PyTorch and the
package, imported. Rows of a batch size take the same step: only where its memory is held differs.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measuring

GOAL_MB = 1200  # MB, at batch 128 with nothing else asked
VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "recompute": {"recompute": "true"},
    "accumulate 2": {"accumulate": 2},
    "accumulate 4": {"accumulate": 4},
    "recompute, accumulate 4": {"recompute": "true", "accumulate": 4},
}


def resident(command: Sequence[str]) -> float:
    """Peak resident memory of a process, in MB of 10^6 bytes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def train_run(
    folder: Path, batch: int, steps: int, options: dict[str, Any], data: Path | None
) -> dict[str, float]:
    words = ["train", "mnist", *measuring.digits_of_size(28, data), "--out", str(folder), "--name", "one"]
    words += ["--overwrite", "--no-compile", "--device", "cpu"]
    words += [
        "--steps",
        str(steps),
        "--batch-size",
        str(batch),
        f"train.log_every={max(1, steps // 2)} steps",
    ]
    for what in ("sample", "validate", "checkpoint", "snapshot"):
        words.append(f"train.{what}_every=100%")
    words += [f"train.{key}={value}" for key, value in options.items()]
    peak = resident([sys.executable, "-m", "mezzotint", *words])
    lines = (folder / "one" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rates = [row["images_per_second"] for row in map(json.loads, lines) if "images_per_second" in row]
    return {"mb": peak, "pictures_a_second": rates[-1]}


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--data", type=Path, help="MNIST as parquet; by default the bundled digits, enlarged")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    repetitions, batches = (1, (128,)) if options.quick else (options.repetitions, (128, 512))
    imported = resident([sys.executable, "-c", "import mezzotint.run.fit"])
    runs: dict[tuple[int, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(repetitions):
            for batch in batches:
                for variant, changes in VARIANTS.items():
                    steps = 4 if options.quick else 60 * 128 // batch
                    one = train_run(Path(name), batch, steps, changes, options.data)
                    runs.setdefault((batch, variant), []).append(one)
                    print(
                        f"batch {batch}, {variant}: {one['mb']:.0f} MB, {one['pictures_a_second']:.0f} pictures/s"
                    )
    rows, results = [["imports alone", "", f"{imported:.0f}", "", ""]], []
    for (batch, variant), ones in runs.items():
        plain_speeds = [one["pictures_a_second"] for one in runs[batch, "as it is"]]
        mb = measuring.spread([one["mb"] for one in ones])
        speed = measuring.ratio([one["pictures_a_second"] for one in ones], plain_speeds)
        results.append({"batch": batch, "variant": variant, "mb": mb, "speed": speed, "runs": ones})
        goal = str(GOAL_MB) if (batch, variant) == (128, "as it is") else ""
        rows.append(
            [variant, str(batch), measuring.format_spread(mb, 0), goal, measuring.format_spread(speed)]
        )
    head = ["training", "batch", "MB at most", "goal", "speed beside as it is"]
    print(measuring.markdown(head, rows))
    result = {"machine": machine, "imports_mb": imported, "goal_mb": GOAL_MB, "rows": results}
    measuring.keep(options.out, "memory", result, options.quick)


if __name__ == "__main__":
    main()
