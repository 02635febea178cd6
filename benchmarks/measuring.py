"""What the benchmarks share: measuring by turns, ratios with their spread, the machine, results as JSON.

A machine is never quite quiet. So contenders take turns within a repetition, in another order each time, and what is
compared is the ratio within a repetition: a busy minute slows all of them. Its median and its range are reported.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    arguments = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--quick", action="store_true", help="a look whether it works; the numbers mean nothing"
    )
    arguments.add_argument("--threads", type=int, default=_threads(), help="of PyTorch; default: all cores")
    arguments.add_argument("--out", type=Path, default=RESULTS, help="the folder for JSON and pictures")
    return arguments


def cores() -> int:
    """That this process may use."""
    ask = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(ask(0)) if ask else os.cpu_count() or 1


def _threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or cores())


def use_threads(count: int) -> None:
    """In this process and in those it starts."""
    import torch

    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)


def digits_of_size(side: int = 28, data: Path | None = None) -> list[str]:
    """Overrides that make the mnist recipe learn from MNIST at `data`, or where that is None from the bundled digits,
    enlarged: the clock does not look at the pictures."""
    if data is not None:
        return [f"data.path={data}", f"data.size={side}"]
    return ["data.name=digits", f"data.size={side}"]


def by_turns(contenders: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """What each contender measures, `repetitions` times, in turn; who begins changes. One round before is not counted."""
    names, times = list(contenders), {name: [] for name in contenders}
    for name in names:
        contenders[name]()
    for repetition in range(repetitions):
        at = repetition % len(names)
        for name in names[at:] + names[:at]:
            times[name].append(contenders[name]())
    return times


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """Of values measured in the same repetitions."""
    return spread([a / b for a, b in zip(over, under)])


def format_spread(one: Mapping[str, float], digits: int = 2) -> str:
    return f"{one['median']:.{digits}f} ({one['low']:.{digits}f} to {one['high']:.{digits}f})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = [[str(word) for word in row] for row in (head, *rows)]
    wide = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(word.ljust(w) for word, w in zip(row, wide)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in wide) + "|", *lines[1:]])


def machine(threads: int) -> dict[str, Any]:
    """What the numbers depend on. load: of the last minute, before measuring; a quiet machine has nearly 0."""
    import torch

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    return {
        "cpu": name,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": cores(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 2),
    }


def keep(folder: Path, name: str, result: Mapping[str, Any], quick: bool) -> None:
    """Writes NAME.json. Quick results go beside the real ones, not over them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_name(name, quick)}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{path}")


def file_name(name: str, quick: bool) -> str:
    return f"{name}-quick" if quick else name


def mezzotint(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, as the shell starts it. Raises SystemExit with its error."""
    command = [sys.executable, "-m", "mezzotint", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done
