"""What several processes compute, and one; started by test_distributed.py."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mezzotint import config
from mezzotint.cond import Batch, Cond
from mezzotint.data.toy import points
from mezzotint.diffusion.denoiser import Denoiser
from mezzotint.diffusion.loss import DenoisingLoss
from mezzotint.diffusion.parameterization import velocity
from mezzotint.diffusion.process import flow
from mezzotint.diffusion.schedule import lognormal
from mezzotint.nets.mlp import MLP
from mezzotint.run import allowance, fit
from mezzotint.train import Ema, State, adamw, held_out_loss, train
from mezzotint.train.distributed import Ranks, leave, start

RUN = {
    "data": {"name": "digits", "limit": 80, "flip": True},
    "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1},
    "train": {
        "steps": 12,
        "batch_size": 16,
        "precision": "fp32",
        "log_every": "3 steps",
        "checkpoint_every": "6 steps",
    },
    "sample": {"sampler": "ddim", "steps": 2},
}


def trained(ranks: Ranks, dtype: torch.dtype, accumulate: int) -> dict[str, torch.Tensor]:
    """Weights, averages and what was told, after 20 steps of global batches of 32."""
    torch.manual_seed(0)
    net = MLP(width=16, depth=2, classes=2).to(dtype)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    objective = DenoisingLoss(Denoiser(ranks.wrap(net), flow, velocity), lognormal(0.0, 1.0))
    state = State(net, adamw(net, 1e-2), Ema(net, 0.1))

    def batches() -> Iterator[Batch]:
        for step in count():
            x0, label = points("moons", 32, (0, step))
            mine = slice(ranks.rank, None, ranks.count)
            yield Batch(x0.to(dtype)[mine], Cond(label=label[mine]))

    told: list[Any] = list(
        train(
            objective, state, batches(), until=20, lr=lambda share: 1e-2, drop=0.3, null=Cond(label=torch.tensor([2])),
            accumulate=accumulate, ranks=ranks,
        )
    )  # fmt: skip
    sets = (points("moons", 32, (9, i)) for i in range(3))
    given = [Batch(x0.to(dtype), Cond(label=label)) for x0, label in sets]
    held = held_out_loss(
        DenoisingLoss(Denoiser(state.ema.net, flow, velocity), lognormal(0.0, 1.0)), given, ranks=ranks
    )
    return {
        **{f"net.{k}": v for k, v in net.state_dict().items()},
        **{f"ema.{k}": v for k, v in state.ema.net.state_dict().items()},
        "loss": torch.stack([p.loss for p in told]).double(),
        "levels": torch.stack([p.levels for p in told]).double(),
        "grad_norm": torch.stack([p.grad_norm for p in told]).double(),
        "held_out": torch.tensor([held.loss, *held.levels], dtype=torch.float64),
    }


def work_of_a_rank(out: Path) -> None:
    torch.set_num_threads(1)
    ranks = start()
    for name, dtype in (("double", torch.float64), ("single", torch.float32)):
        for accumulate in (1, 2):
            results = trained(Ranks(ranks.rank, ranks.count), dtype, accumulate)
            if ranks.first:
                contiguous = {k: v.contiguous().clone() for k, v in results.items()}
                save_file(contiguous, out / f"{name}-{accumulate}.safetensors")
    allowance.FREE_SECONDS = 1e6  # sheets are whole, whatever else this machine does
    for _ in fit.fit(config.parse(RUN), out / "run"):
        pass
    leave()
