"""What is a student worth to a server?  Pictures a second of one server, of a model as it is and of its student in few calls.

    python benchmarks/fewcalls.py [--model mnist] [--student mnist_fast]

`mezzotint serve` with both models on loopback. 16 clients ask one after the other for one picture each: of the model by its
own defaults (17 network calls a picture of the bundled mnist), and of the student by 1, 2, 4 and 8 calls. The loads take
turns, in another order each round, and the ratios are of the same round (see measuring.py). Beside them what a picture costs the
server in milliseconds of computing, HTTP and PNG included, which does not mind other work on the machine.

From the shell, and where that time goes: python benchmarks/startup.py --model mnist_fast.
"""

import os
import sys
from typing import Any

import measuring
from serving import get, started
from sharing import calls, rate

CALLS = (1, 2, 4, 8)


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--model", default="mnist", help="the teacher: a bundled model, a run or a file")
    parser.add_argument("--student", default="mnist_fast", help="its student")
    parser.add_argument("--requests", type=int, default=128, help="of each load and round")
    parser.add_argument("--port", type=int, default=8170)
    options = parser.parse_args()
    machine = measuring.machine(options.threads)
    command = [sys.executable, "-m", "mezzotint", "serve", options.model, options.student]
    command += ["--port", str(options.port), "--max-per-client", "64", "--log", os.devnull, "--device", "cpu"]
    process = started(command, options.port, OMP_NUM_THREADS=str(options.threads))
    count, rounds = (32, 1) if options.quick else (options.requests, 5)
    shares: dict[str, float] = {}
    costs: dict[str, list[float]] = {}

    def computed() -> float:
        """Seconds of computing of the server so far."""
        lines = get(options.port, "/metrics")[1].decode().splitlines()
        return float(next(line for line in lines if line.startswith("process_cpu_seconds_total ")).split()[1])

    def load(model: str, **settings: Any) -> float:
        """Pictures a second; on the way, how many a network call has had."""
        before, began = calls(options.port), computed()
        wishes = [
            {"model": model, "seed": seed, "class": str(seed % 10), **settings} for seed in range(count)
        ]
        speed = rate(options.port, wishes)
        key = str(settings.get("steps", "teacher"))
        costs.setdefault(key, []).append(1000 * (computed() - began) / count)
        number, rows = (now - then for now, then in zip(calls(options.port), before))
        shares[key] = rows / number
        return speed

    contenders: dict[str, Any] = {"teacher": lambda: load(options.model)}
    for steps in CALLS:
        contenders[f"{steps}"] = lambda steps=steps: load(options.student, steps=steps)
    try:
        rates = measuring.by_turns(contenders, rounds)
    finally:
        process.terminate()
        process.wait(20)
    rows = [
        [
            "teacher" if name == "teacher" else f"student, {name} calls",
            measuring.format_spread(measuring.spread(values), 1),
            measuring.format_spread(measuring.ratio(values, rates["teacher"])),
            measuring.format_spread(measuring.spread(costs[name]), 1),
        ]
        for name, values in rates.items()
    ]
    print(
        measuring.markdown(
            ["", "pictures a second", "times the teacher's", "ms of computing a picture"], rows
        )
    )
    result = {
        "machine": machine,
        "model": options.model,
        "student": options.student,
        "requests": count,
        "pictures a second": {name: measuring.spread(values) for name, values in rates.items()},
        "times": {name: measuring.ratio(values, rates["teacher"]) for name, values in rates.items()},
        "ms of computing a picture": {name: measuring.spread(values) for name, values in costs.items()},
        "rows a call": shares,
    }
    measuring.keep(options.out, "fewcalls", result, options.quick)


if __name__ == "__main__":
    main()
