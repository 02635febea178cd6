"""Are thousands of orders made once each, to the byte, however often they are interrupted?

    python benchmarks/orders.py [--count 2000] [--kills 5] [--model digits]

A file of orders, of all classes, in two numbers of steps, is made by `mezzotint sample --batch-file` without a disturbance, and once more with
SIGKILL after a random part of the time, so many times. Every file must then be there, and be the same.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measuring


def write_orders(path: Path, count: int) -> None:
    """The file: seeds in turn, classes in turn, every third in 3 steps and the others in 2."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            order = {"name": f"order-{i}", "label": i % 10, "seed": i, "steps": 2 if i % 3 else 3}
            file.write(json.dumps(order) + "\n")


def started(model: str, orders: Path, out: Path) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "mezzotint", "sample", model, "--batch-file", orders, "--out", out]
    return subprocess.Popen([str(word) for word in words], text=True, stdout=subprocess.DEVNULL)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def main() -> None:
    arguments = measuring.parser(__doc__)
    arguments.add_argument("--count", type=int, default=2000)
    arguments.add_argument("--kills", type=int, default=5)
    arguments.add_argument("--model", default="digits")
    chosen = arguments.parse_args()
    measuring.use_threads(chosen.threads)
    luck = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_orders(folder / "orders.jsonl", chosen.count)
        began = time.perf_counter()
        if started(chosen.model, folder / "orders.jsonl", folder / "whole").wait():
            raise SystemExit("the undisturbed run failed")
        whole, seconds = files(folder / "whole"), time.perf_counter() - began
        print(f"{len(whole) - 1:,} files in {seconds:.0f} s, undisturbed")
        for kill in range(chosen.kills):
            process, there = started(chosen.model, folder / "orders.jsonl", folder / "killed"), 0
            wanted = int(len(whole) * (kill + luck.uniform(0.1, 0.9)) / (chosen.kills + 1))
            while process.poll() is None and there < wanted:  # by files, not by the clock of a busy machine
                time.sleep(0.01)
                there = sum(1 for _ in (folder / "killed").glob("*.png"))
            process.send_signal(signal.SIGKILL)
            print(f"killed with {there:,} files: {process.wait()}")
        if started(chosen.model, folder / "orders.jsonl", folder / "killed").wait():
            raise SystemExit("the last run failed")
        killed = files(folder / "killed")
        same = sum(killed.get(name) == content for name, content in whole.items())
        print(f"after {chosen.kills} kills: {len(killed) - 1:,} files, {same - 1:,} the same to the byte")
        if killed != whole:
            raise SystemExit("they differ")


if __name__ == "__main__":
    main()
