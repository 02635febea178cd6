"""Do our objectives of few-step models teach what public code of the same papers teaches?  One network, the same pictures.

    git clone https://github.com/Kinyugo/consistency_models ../consistency
    git clone https://github.com/haidog-yaqub/MeanFlow ../meanflow
    git clone https://github.com/Gsunshine/py-meanflow ../py-meanflow
    python benchmarks/students.py --data MNIST --kinyugo ../consistency --haidog ../meanflow --gsunshine ../py-meanflow

From random weights and without a teacher: consistency training beside the improved consistency training of
Kinyugo/consistency_models; MeanFlow beside those of haidog-yaqub/MeanFlow (improved) and Gsunshine/py-meanflow (original). All
of a kind begin with the same weights of the mnist recipe's network and see the same pictures of the same classes in the same
order, in one loop with one optimiser and one average. So the *objective* is compared, which is the part of them that is
called; noise and levels are drawn by each for itself, and each samples as its own code does, in 1, 2 and 4 calls.

What the adapters do: theirs of consistency gets c_in = 1 / sqrt(sigma^2 + sigma_data^2), without which a network is given
numbers of 80; haidog's network has a second head for the velocity, for which ours is asked at r = t, and its guidance is off, as
it is off in ours; Gsunshine's is told the class where it is told of augmentation.

A second table, with --own, has the same objectives under the optimisers of their examples (Adam at 1e-4), whose warm-up is shortened
to its share of the training.

The judge is that of digits.py: 2,000 pictures of all classes in turn, recognised as the class asked for, and the Fréchet
distance in its features to the test split over that of real pictures. CPU seconds are of training.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import measuring
import rivals

CALLS = (1, 2, 4)
SEED = 50_000
BATCH = 64
PART = 250  # pictures a call, in sampling
Sampler = Callable[
    [Any, Any, Any, int], Any
]  # (network, noise (B, 1, 28, 28), labels (B,), calls) -> [-1, 1]


@dataclass(frozen=True)
class Side:
    """One objective. objective: None for ours, which the configuration says; else made of the network, to be called as
    `mezzotint.train.objectives.Objective`. sample: None for ours. own: its example's optimiser and learning rate by the share of
    the training done."""

    name: str
    config: tuple[str, ...]
    objective: Callable[[Any], Any] | None = None
    sample: Sampler | None = None
    own: Callable[[Any], tuple[Any, Callable[[float], float]]] | None = None


CONSISTENCY = ("objective=consistency", "sample.sampler=consistency", "sample.guidance=1")
MEANFLOW = ("objective=meanflow", "sample.sampler=ddim", "sample.guidance=1")


def module_of(checkout: Path, name: str) -> Any:
    """A module of another project's checkout, imported from there."""
    sys.path.insert(0, str(checkout))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(checkout))


def whole(loss: Any, x0: Any) -> Any:
    """A mean over the batch as a loss for every row, whose mean it is."""
    return loss.expand(len(x0))


def kinyugo(checkout: Path) -> Side:
    import torch

    theirs = module_of(checkout, "consistency_models.consistency_models")

    class Net(torch.nn.Module):
        """Theirs is given x and sigma as they are, and is F of c_skip x + c_out F."""

        def __init__(self, net: Any) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any, sigma: Any, label: Any) -> Any:
            told = 1000 * sigma / (1 + sigma)
            return self.net(x / (sigma**2 + 0.25).sqrt()[:, None, None, None], told, label=label)

    class Objective:
        def __init__(self, net: Any) -> None:
            self.net, self.training, self.step, self.until = (
                Net(net),
                theirs.ImprovedConsistencyTraining(),
                0,
                1,
            )

        def at(self, step: int, until: int, *, learns: bool = True) -> None:
            self.step, self.until = step, until

        def __call__(self, x0: Any, eps: Any, u: Any, cond: Any) -> Any:
            made = self.training(self.net, x0, self.step, self.until, label=cond.label)
            loss = theirs.pseudo_huber_loss(made.predicted, made.target) * made.loss_weights
            return loss.flatten(1).mean(1)

    def sample(net: Any, noise: Any, label: Any, calls: int) -> Any:
        sigmas = {1: (80.0,), 2: (80.0, 0.661), 4: (80.0, 24.4, 5.84, 0.661)}[calls]
        return theirs.ConsistencySamplingAndEditing()(
            Net(net), noise, sigmas, clip_denoised=True, label=label
        )

    def own(net: Any) -> tuple[Any, Callable[[float], float]]:
        return torch.optim.Adam(
            net.parameters(), betas=(0.9, 0.995)
        ), lambda share: 1e-4 * min(1.0, share / 0.1)

    return Side("Kinyugo/consistency_models", CONSISTENCY, Objective, sample, own)


def haidog(checkout: Path) -> Side:
    import numpy as np
    import torch

    theirs = module_of(checkout, "meanflow")
    flow = theirs.MeanFlow(image_size=28, normalizer=["minmax", None, None], cfg_scale=None, cfg_ratio=0.0)

    class Net(torch.nn.Module):
        """Theirs says both the mean velocity of (r, t) and the velocity at t."""

        def __init__(self, net: Any) -> None:
            super().__init__()
            self.net = net

        def forward(
            self, x: Any, t: Any, r: Any, y: Any, w: Any, return_v: bool = True, **options: Any
        ) -> Any:
            mean = self.net(x, t, span=t - r, label=y)
            return (mean, self.net(x, t, span=torch.zeros_like(t), label=y)) if return_v else mean

    class Objective:
        def __init__(self, net: Any) -> None:
            self.net = Net(net)

        def at(self, step: int, until: int, *, learns: bool = True) -> None:
            np.random.seed(step)  # theirs draws its times there

        def __call__(self, x0: Any, eps: Any, u: Any, cond: Any) -> Any:
            return whole(flow.loss(self.net, (x0 + 1) / 2, cond.label)[0], x0)

    def sample(net: Any, noise: Any, label: Any, calls: int) -> Any:
        # theirs draws its own noise, and takes the classes as they come
        made = flow.sample_each_class(
            Net(net), 1, classes=label.tolist(), sample_steps=calls, device=noise.device
        )
        return 2 * made - 1

    def own(net: Any) -> tuple[Any, Callable[[float], float]]:
        def rate(share: float) -> float:
            warm = 2500 / 200_000
            return 1e-4 * min(1.0, share / warm) * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))

        return torch.optim.AdamW(net.parameters(), weight_decay=0.0), rate

    return Side("haidog-yaqub/MeanFlow", MEANFLOW, Objective, sample, own)


def gsunshine(checkout: Path) -> Side:
    import torch

    theirs = module_of(checkout / "meanflow", "models.meanflow")
    settings = {"P_mean_t": -0.6, "P_std_t": 1.6, "P_mean_r": -4.0, "P_std_r": 1.6, "ratio": 0.75}
    settings |= {"tr_sampler": "v1", "norm_p": 0.75, "norm_eps": 1e-3, "ema_decay": 0.9999, "ema_decays": []}

    class Net(torch.nn.Module):
        """Theirs is told (t, t - r) and how a picture was augmented."""

        def __init__(self, net: Any) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any, times: Any, label: Any) -> Any:
            return self.net(x, times[0], span=times[1], label=label)

    class Objective:
        def __init__(self, net: Any) -> None:
            self.flow = theirs.MeanFlow(torch.nn.Identity, SimpleNamespace(**settings), {})
            self.flow.net = Net(net)

        def __call__(self, x0: Any, eps: Any, u: Any, cond: Any) -> Any:
            return whole(self.flow.forward_with_loss(x0, cond.label), x0)

    def sample(net: Any, noise: Any, label: Any, calls: int) -> Any:
        # theirs samples in one call; in more by the same rule again
        for step in range(calls, 0, -1):
            t = torch.full((len(noise),), step / calls)
            noise = noise - net(noise, t, span=torch.full_like(t, 1 / calls), label=label) / calls
        return noise

    def own(net: Any) -> tuple[Any, Callable[[float], float]]:
        warm = 200 / 16_000
        return torch.optim.Adam(
            net.parameters(), betas=(0.9, 0.999)
        ), lambda share: 6e-4 * min(1.0, share / warm)

    return Side("Gsunshine/py-meanflow", MEANFLOW, Objective, sample, own)


def learned(
    side: Side, data: Path, steps: int, folder: Path, own: bool
) -> tuple[Callable[[int, int], Any], float]:
    """Trains. Returns what makes pictures, (calls, n) -> (n, 1, 28, 28) uint8, and CPU seconds of training."""
    from throughput import our_run

    from mezzotint.train.loop import State, train
    from mezzotint.train.optim import learning_rate

    config = [f"train.steps={steps}", f"train.batch_size={BATCH}", "train.lr=2e-3", "train.label_drop=0"]
    run = our_run(folder, *side.config, *config, data=data)
    state, objective = run.state, run.objective
    rate = learning_rate(run.config.train.lr, run.config.train.warmup, run.config.train.decay)
    if side.objective is not None:
        objective = side.objective(state.net)
    if own and side.own is not None:
        optimizer, rate = side.own(state.net)
        state = State(state.net, optimizer, state.ema)
    began = time.process_time()
    for progress in train(objective, state, run.batches(0), until=steps, lr=rate, seed=run.config.train.seed):
        if progress.step % 50 == 0:
            print(f"  {side.name}: step {progress.step}, loss {float(progress.loss):.4f}", flush=True)
    spent = time.process_time() - began
    return lambda calls, n: pictures(side, run, calls, n), spent


def pictures(side: Side, run: Any, calls: int, n: int) -> Any:
    """n pictures of all classes in turn by the average of weights, uint8."""
    import torch

    from mezzotint.media.pictures import to_uint8

    if side.sample is None:
        return run.model.sample(n, label="all", seed=SEED, batch=PART, steps=calls).values
    torch.manual_seed(SEED)
    parts, net = [], run.state.ema.net
    with torch.no_grad():
        for first in range(0, n, PART):
            label = torch.arange(first, min(first + PART, n)) % 10
            noise = torch.randn(len(label), 1, 28, 28)
            parts.append(to_uint8(side.sample(net, noise, label, calls)))
    return torch.cat(parts)


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="MNIST as parquet")
    parser.add_argument("--kinyugo", type=Path, help="a checkout of Kinyugo/consistency_models")
    parser.add_argument("--haidog", type=Path, help="a checkout of haidog-yaqub/MeanFlow")
    parser.add_argument("--gsunshine", type=Path, help="a checkout of Gsunshine/py-meanflow")
    parser.add_argument("--steps", type=int, default=400, help=f"of {BATCH} pictures")
    parser.add_argument("--own", action="store_true", help="theirs by their own optimisers, too")
    options = parser.parse_args()
    rivals.continue_there()
    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    import torch
    from judging import Panel

    from mezzotint import config as configuration

    steps, n = (8, 200) if options.quick else (options.steps, 2000)
    sides = [Side("mezzotint, consistency", CONSISTENCY), Side("mezzotint, meanflow", MEANFLOW)]
    for make, checkout in (
        (kinyugo, options.kinyugo),
        (haidog, options.haidog),
        (gsunshine, options.gsunshine),
    ):
        if checkout is not None:
            sides.insert(1 if make is kinyugo else len(sides), make(checkout.resolve()))
    panel = Panel(configuration.load("mnist", [f"data.path={options.data}"]).data, n, ["own"])
    judge, asked = panel.judges["own", "equal"], torch.arange(n) % 10  # as in `Side.made`
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            for own in (False, True) if options.own and side.own else (False,):
                made, spent = learned(side, options.data, steps, Path(folder), own)
                row: dict[str, Any] = {"objective": side.name, "own optimiser": own, "seconds": spent}
                for calls in CALLS:
                    row[str(calls)] = asdict(judge(made(calls, n), asked))
                rows.append(row)
                print(json.dumps(row), flush=True)
    head = ["objective", "optimiser", "CPU s", *(f"{calls} calls" for calls in CALLS)]
    table = [
        [row["objective"], "its own" if row["own optimiser"] else "ours", f"{row['seconds']:.0f}"]
        + [f"{row[str(c)]['ratio']:.1f}, {row[str(c)]['right']:.1%}" for c in CALLS]
        for row in rows
    ]
    print(measuring.markdown(head, table))
    result = {"machine": machine, "pictures": steps * BATCH, "n": n, "real": judge.floor, "rows": rows}
    measuring.keep(options.out, "students", result, options.quick)


if __name__ == "__main__":
    main()
