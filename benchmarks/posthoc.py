"""Is an average of weights made afterwards the one that was not followed?  Several lengths, followed beside a real run.

    python benchmarks/posthoc.py [RECIPE] [key=value ...]      # digits by default

Prints, for each length, how far the average made from the run's ten snapshots lies from the one that was followed at every
step, as a share of the weights' change since the start.
"""

import sys
import tempfile
from pathlib import Path

from torch import Tensor

from mezzotint import config as configuration
from mezzotint.disk.snapshots import average_of, save_snapshot
from mezzotint.run.parts import Parts
from mezzotint.train.distributed import Ranks
from mezzotint.train.ema import Ema

LENGTHS = (0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.2)


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return sum(float((a[name].double() - b[name].double()).square().sum()) for name in a) ** 0.5


def main(recipe: str, overrides: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = Parts(configuration.load(recipe, overrides), folder, Ranks())
        net = run.state.net
        start = {key: value.clone() for key, value in net.state_dict().items()}
        followed = {length: Ema(net, length) for length in LENGTHS}
        until = run.fixed_budget() or 1000
        for progress in run.steps(until):
            for ema in followed.values():
                ema.update(net, progress.step)
            if progress.step % max(1, until // 10) == 0 or progress.step == until:
                save_snapshot(folder, run.state)
        for length, ema in followed.items():
            truth = ema.net.state_dict()
            share = distance(average_of(folder, length), truth) / distance(truth, start)
            print(f"length {length:<5} {share:.3%} of the weights' change")


if __name__ == "__main__":
    main(*(sys.argv[1:2] or ["digits"]), sys.argv[2:])
