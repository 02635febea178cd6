"""A run directory: whose it is, and its metrics."""

import errno
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from mezzotint import __version__
from mezzotint import config as configuration
from mezzotint.config import Config
from mezzotint.disk.files import write, write_json
from mezzotint.errors import ConfigError, ModelError

# What may change when a run goes on: where it computes, how often it reports, and where its data lie; that they are the
# same is known by their checksum, or by the codec's digest.
FREE = frozenset(
    f"train.{key}"
    for key in (
        "device",
        "compile",
        "log_every",
        "validate_every",
        "sample_every",
        "evaluate_every",
        "checkpoint_every",
        "keep",
        "keep_every",
        "snapshot_every",
        "recompute",
        "nonfinite",
    )
) | {"data.path", "data.split", "data.column", "data.memory_gb", "codec.file"}
LOCK, SOFT_LOCK = ".lock", ".softlock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
FILES = (
    "metrics.jsonl",
    "model.safetensors",
    "adapter.safetensors",
    "loss.png",
    "log.txt",
    "env.json",
    "report.html",
    "memorization.json",
    "memorization.png",
    "evaluation.json",
    "tune.json",
)
BUDGET = frozenset(f"train.{key}" for key in configuration.BUDGETS)


def check_free(folder: Path, config: Config, *, overwrite: bool, resume: bool) -> None:
    """Writes nothing. Raises ConfigError where a directory is not this run's to use, with the difference."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"the name {folder} is not UTF-8, which model files need; choose another --name or --out"
        ) from error
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose another --name")
    if not _used(folder):
        if folder.is_dir() and any(path.name not in (LOCK, SOFT_LOCK) for path in folder.iterdir()):
            raise ConfigError(f"{folder} is not empty and not a run; choose another --name")
        return
    if overwrite:
        return
    changes = configuration.difference(
        read_config(folder), config, FREE | (BUDGET if resume else frozenset())
    )
    if changes:
        only_budget = all(change.partition(":")[0] in BUDGET for change in changes)
        remedy = "add --resume to go on with the new budget" if only_budget else "choose another --name"
        shown = "; ".join(changes[:4]) + (f"; and {len(changes) - 4} more" if len(changes) > 4 else "")
        raise ConfigError(f"{folder} holds another run ({shown}); {remedy}, or --overwrite it")


@contextmanager
def locked(folder: Path) -> Iterator[str | None]:
    """Holds a run directory, made if need be, so that no second process writes into it. The lock goes with the process,
    however it ends. Where the file system has no locks, a file stands for one, and the line that is given says so.
    Raises ConfigError where another holds it, or where nothing can be written."""
    lock: BaseFileLock = FileLock(folder / LOCK)
    line = None
    remedy = "wait for it, or choose another --name"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise
            lock = SoftFileLock(folder / SOFT_LOCK)
            remedy += f"; if there is none any more, delete {folder / SOFT_LOCK}"
            lock.acquire(blocking=False)
            line = f"{folder} is on a file system without locks; the file {SOFT_LOCK} stands for one"
    except Timeout as error:
        raise ConfigError(f"another process is training into {folder}; {remedy}") from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield line
    finally:
        lock.release()


def empty(folder: Path) -> None:
    """Forgets the run that a directory holds, files of others excepted."""
    try:
        for name in ("checkpoints", "samples", "ema", "tensorboard", "wandb"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def claim(folder: Path, config: Config) -> None:
    """Writes whose directory this is: config.yaml and env.json."""
    try:
        write(folder / "config.yaml", configuration.dump(config).encode())
        write_json(folder / "env.json", _environment())
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{folder} cannot be written ({error.strerror}); choose another --out")


def _used(folder: Path) -> bool:
    return (folder / "config.yaml").is_file()


def read_config(folder: Path) -> Config:
    """The configuration that a run directory was made with. Raises ModelError in one line."""
    path = folder / "config.yaml"
    try:
        return configuration.parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ModelError(f"{folder} is not a run: it has no config.yaml; give the name of a run") from None
    except (ConfigError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path} is damaged ({reason}); restore it, choose another --name, or --overwrite it"
        ) from error


def _environment() -> dict[str, Any]:
    """What a result may depend on."""
    try:
        here = Path(__file__).parent
        revision = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        revision = ""
    return {
        "mezzotint": __version__,
        "git": revision.strip() or None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "command": sys.argv,
    }


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl; a half-written last line is left out."""
    path = folder / "metrics.jsonl"
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def log_metrics(folder: Path, row: dict[str, Any]) -> None:
    """Appends a row to metrics.jsonl."""
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def cut_metrics(folder: Path, step: int) -> None:
    """Forgets rows beyond the checkpoint that a run goes on from."""
    rows = [row for row in read_metrics(folder) if row["step"] <= step]
    write(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
