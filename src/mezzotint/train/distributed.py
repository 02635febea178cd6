"""Several processes that train one network: `torchrun --nproc-per-node=N -m mezzotint train ...`.

Every process has the whole network and computes its rows of the global batch; PyTorch's DistributedDataParallel
averages the gradients, so that all take the same step. Row i of the global batch belongs to rank i mod count: rows are
sorted by noise level, and every rank must have all levels.
"""

import atexit
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass
class Ranks:
    """Which of how many processes this is. Alone, everything here does nothing."""

    rank: int = 0
    count: int = 1
    # gradients stay local inside: for all but the last part of an accumulated batch
    local: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def wrap(self, net: nn.Module) -> nn.Module:
        """The network as training must call it."""
        if self.count == 1:
            return net
        device = next(net.parameters()).device
        wrapped = DistributedDataParallel(net, device_ids=[device] if device.type == "cuda" else None)
        self.local = wrapped.no_sync
        return wrapped

    def sum(self, x: Tensor) -> Tensor:
        """The sum over all processes, on the device."""
        if self.count > 1:
            dist.all_reduce(x)
        return x

    def any(self, flag: bool) -> bool:
        """Whether it holds in any process; the same answer in all of them, without waiting for a GPU."""
        if self.count == 1:
            return flag
        shared = torch.tensor(int(flag))
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return bool(shared)

    def tell(self, number: float) -> float:
        """What the first process has here, in all of them."""
        if self.count == 1:
            return number
        shared = torch.tensor(number, dtype=torch.float64)
        dist.broadcast(shared, 0)
        return float(shared)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes below each other, rank by rank; all have the same number of them. On the CPU."""
        if self.count == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.count)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def span(self, total: int) -> range:
        """Which of `total` things are this process's, in one piece; some may be done twice so that all have as many."""
        each = -(-total // self.count)
        return range(self.rank * each, (self.rank + 1) * each)


def start() -> Ranks:
    """Joins the process group that torchrun started; a single process needs none. On CUDA each process takes its own GPU."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or not dist.is_available():
        return Ranks()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(leave)
    return Ranks(dist.get_rank(), count)


def leave() -> None:
    """Leaves the process group; called at exit, too."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        # Gloo's threads let go of the last tensors a moment after the wait for them is over, and need the interpreter
        # for it: were it ending already, the process would abort.
        time.sleep(0.2)
