"""What does it cost that several processes share one work?  Pictures by 1, 2, ... processes of torchrun, in turn.

    python benchmarks/ranks.py                       # mnist_fast, 512 pictures, 1 and 2 processes with a thread each
    python benchmarks/ranks.py --processes 1 8 --pictures 50000 --run latest

Seconds are those that the command says: from the first batch to the last one, without start-up. On a machine that does other
things they say little, so the CPU seconds of all processes stand beside them, less those of the same command for a single
picture, which are start-up: were sharing free, they would be the same for any number of processes, and then seconds fall in
proportion where every process has a core of its own.
"""

import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import measuring


def cpu_seconds() -> float:
    """Of all processes that were waited for so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sampled(run: str, count: int, pictures: int, batch: int, out: Path) -> tuple[float, float]:
    """Seconds from the first batch to the last, and CPU seconds from the beginning to the end, of `count` processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    words = ["-m", "mezzotint", "sample", run, "-n", str(pictures), "--batch", str(batch), "-o", str(out)]
    before = cpu_seconds()
    done = subprocess.run([sys.executable, *launcher, *words], capture_output=True, text=True, check=False)
    said = re.search(r"samples of .* in ([\d.]+) s", done.stdout)
    if done.returncode or said is None:
        raise SystemExit(done.stderr[-2000:])
    return float(said[1]), cpu_seconds() - before


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--run", default="mnist_fast")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.set_defaults(threads=1)
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    pictures, repetitions = (128, 1) if options.quick else (options.pictures, options.repetitions)
    seconds: dict[int, list[float]] = {count: [] for count in options.processes}
    cpu: dict[int, list[float]] = {count: [] for count in options.processes}
    with tempfile.TemporaryDirectory() as folder:
        files = {count: Path(folder) / f"{count}.npz" for count in options.processes}
        for _ in range(repetitions):
            for count in options.processes:
                _, start_up = sampled(options.run, count, 1, options.batch, files[count])
                took, used = sampled(options.run, count, pictures, options.batch, files[count])
                seconds[count].append(took)
                cpu[count].append(used - start_up)
        equal = len({file.read_bytes() for file in files.values()}) == 1
    first = options.processes[0]
    rows = [
        {
            "processes": count,
            "seconds": measuring.spread(seconds[count]),
            "CPU seconds": measuring.spread(cpu[count]),
            "CPU seconds over those of the first": measuring.ratio(cpu[count], cpu[first]),
        }
        for count in options.processes
    ]
    result = {"machine": machine, "run": options.run, "pictures": pictures, "equal": equal, "rows": rows}
    head = list(rows[0])
    print(f"{pictures} pictures of {options.run}; files {'equal to the bit' if equal else 'DIFFERENT'}")
    lines = [
        [row[key] if isinstance(row[key], int) else measuring.format_spread(row[key]) for key in head]
        for row in rows
    ]
    print(measuring.markdown(head, lines))
    measuring.keep(options.out, "ranks", result, options.quick)


if __name__ == "__main__":
    main()
