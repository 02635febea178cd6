"""Several processes at once, as torchrun starts them, but forked: what PyTorch takes to import is paid once."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch.distributed as dist
from helpers_workshop import Answer, leave

SECONDS = 240.0  # that they may take together


def together(
    count: int, folder: Path, *commands: Sequence[object], cwd: Sequence[Path] = ()
) -> list[list[Answer]]:
    """What every process gives for every command, given one after the other in one process group. folder: for what they say. cwd: of
    each process, by default where the caller is."""
    folder.mkdir(parents=True)

    def work(rank: int) -> None:
        if cwd:
            os.chdir(cwd[rank])
        for number, words in enumerate(commands):
            _kept(folder / f"{number}-{rank}", *words)

    processes(count, work)
    return [[_read(folder / f"{number}-{rank}") for rank in range(count)] for number in range(len(commands))]


def processes(count: int, work: Callable[[int], None]) -> list[int]:
    """Calls `work` with the rank in every process of a group; returns their exit codes, 1 after an exception. The caller keeps the
    store, as torchrun's agent does."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    sys.stdout.flush()
    sys.stderr.flush()
    children = []
    for rank in range(count):
        child = os.fork()
        if not child:
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
            }
            code = 1
            try:
                work(rank)
                code = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(code)
        children.append(child)
    return _wait(children)


def _kept(path: Path, *words: object) -> None:
    with path.with_suffix(".out").open("w") as sys.stdout, path.with_suffix(".err").open("w") as sys.stderr:
        code = leave(*words)
    path.with_suffix(".code").write_text(str(code))


def _read(path: Path) -> Answer:
    """What a process said; code -1 where it had ended before."""
    code, out, err = (path.with_suffix(ending) for ending in (".code", ".out", ".err"))
    there = code.is_file()
    return Answer(
        int(code.read_text()) if there else -1, *(p.read_text() if p.is_file() else "" for p in (out, err))
    )


def _wait(children: list[int]) -> list[int]:
    until, left, codes = time.monotonic() + SECONDS, set(children), {}
    while left:
        for child in [*left]:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
                left.remove(child)
        if time.monotonic() > until:
            for child in left:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            raise AssertionError(f"{len(left)} of {len(children)} processes do not come to an end")
        time.sleep(0.02)
    return [codes[child] for child in children]
