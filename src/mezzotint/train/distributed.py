"""Several processes that share the work: `torchrun --nproc-per-node=N -m mezzotint train ...`, or sample, evaluate, tune, sweep.

**Training.** Every process has the whole network and computes its rows of the global batch; PyTorch's DistributedDataParallel
averages the gradients, so that all take the same step. Row i of the global batch belongs to rank i mod count: rows are
sorted by noise level, and every rank must have all levels.

**Everything else** is a list of items that do not depend on each other: batches of pictures, batches that a judge looks at,
cells of a sweep. Item i belongs to rank i mod count, and is worked on whole, by the same operations on the same rows as in a
single process: the results are equal to the bit, however many processes there are. What is decided (by a clock, a file that may
be there, a bootstrap) is decided once, by the first process, so that all go the same way.
"""

import atexit
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mezzotint.errors import RunError

T = TypeVar("T")
# That a process waits for the others where they work on something of their own: a cell of a sweep may take days. One
# that has ended is noticed at once, by its closed connections.
PATIENCE = timedelta(days=30)
_meetings: Any = None  # the group in which processes wait so long; training's own gives up after minutes


@dataclass
class Ranks:
    """The rank of this process and the number of processes. With one process, everything here does nothing."""

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
        """Whether it is true in any process; the same in all of them, without waiting for a GPU."""
        if self.count == 1:
            return flag
        shared = torch.tensor(int(flag))
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return bool(shared)

    def tell(self, number: float) -> float:
        """The first process's value, in all of them."""
        if self.count == 1:
            return number
        shared = torch.tensor(number, dtype=torch.float64)
        with _together():
            dist.broadcast(shared, 0, group=_meetings)
        return float(shared)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes below each other, rank by rank; all have the same number of them. On the CPU."""
        if self.count == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.count)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def span(self, total: int) -> range:
        """This process's part of `total` items, in one piece; parts are of equal size, so some items may be done twice."""
        each = -(-total // self.count)
        return range(self.rank * each, (self.rank + 1) * each)

    # --- work that is no training ----------------------------------------------------------------------------

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's items: one in `count`, from the one of its rank on."""
        return items[self.rank :: self.count]

    def spread(self, items: Sequence[T], work: Callable[[T], Sequence[Tensor]]) -> list[Sequence[Tensor]]:
        """The results of `work` for every item, in order, in all processes; each process works on its share.

        work: gives tensors on the CPU, of any shapes, as many for every item.
        """
        mine = [work(item) for item in self.share(items)]
        if self.count == 1:
            return mine
        named = {
            f"{i} {k}": part.contiguous() for i, parts in enumerate(mine) for k, part in enumerate(parts)
        }
        found = [load(content) for content in self._exchange(save(named))]
        width = 1 + max((int(name.split()[1]) for one in found for name in one), default=-1)
        return [
            tuple(found[i % self.count][f"{i // self.count} {k}"] for k in range(width))
            for i in range(len(items))
        ]

    def once(self, work: Callable[[], T]) -> T:
        """Runs in the first process only, while the others wait; all get the result, by way of JSON (but
        for the first one, a tuple becomes a list)."""
        if self.count == 1:
            return work()
        found = work() if self.first else None
        content = self._exchange(json.dumps(found).encode() if self.first else b"")[0]
        return cast(T, found if self.first else json.loads(content))

    def in_turn(self, work: Callable[[], T]) -> T:
        """Runs in every process, the others after the first, which fills the cache for them."""
        found = [work()] if self.first else []
        self.once(lambda: None)
        return found[0] if found else work()

    def equal(self, word: str, what: str) -> None:
        """Raises RunError where `word` is not the same in all processes. what: it stands for, and what to do about it."""
        words = [content.decode() for content in self._exchange(word.encode())] if self.count > 1 else [word]
        if len(set(words)) > 1:
            raise RunError(f"the processes do not agree on {what}")

    def _exchange(self, content: bytes) -> list[bytes]:
        """What every process has, in all of them."""
        size = torch.tensor([len(content)])
        sizes = [torch.empty_like(size) for _ in range(self.count)]
        with _together():
            dist.all_gather(sizes, size, group=_meetings)
            longest = max(map(int, sizes))
            mine = torch.zeros(longest, dtype=torch.uint8)
            mine[: len(content)] = (
                torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else mine[:0]
            )
            parts = [torch.empty_like(mine) for _ in range(self.count)]
            if longest:
                dist.all_gather(parts, mine, group=_meetings)
        return [bytes(part[: int(n)].numpy()) for part, n in zip(parts, sizes)]


ALONE = Ranks()  # a single process


@contextmanager
def _together() -> Iterator[None]:
    """Turns the end of another process into a RunError."""
    try:
        yield
    except RuntimeError as error:
        raise RunError("another of the processes has ended; its last message says why") from error


def start() -> Ranks:
    """Joins the process group that torchrun started; a single process needs none. On CUDA each process takes its own GPU.
    Called again, it is the same group."""
    global _meetings
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or not dist.is_available() or not {"RANK", "MASTER_ADDR"} <= os.environ.keys():
        return Ranks()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        _meetings = dist.new_group(backend="gloo", timeout=PATIENCE)
        atexit.register(leave)
    return Ranks(dist.get_rank(), count)


def leave() -> None:
    """Leaves the process group; called at exit, too."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        # Gloo's threads let go of the last tensors a moment after the wait for them is over, and need the interpreter
        # for it: were it ending already, the process would abort.
        time.sleep(0.2)


def first_to_fail(code: int) -> tuple[int, bool]:
    """Of a process that fails with an exit code: the code that all of them end with, and whether this is the first, which
    says why. The others fail because of it, or of the same; where nobody can be asked, each is its own first."""
    here = f"{os.environ.get('RANK')} {code}"
    try:
        store = dist.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=5),
        )
        key = f"mezzotint/failed/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
        said = store.compare_set(key, "", here).decode()
        return int(said.split()[1]), said == here
    except (KeyError, RuntimeError, ValueError):
        return code, True
