"""A run directory: whose it is, and its metrics."""

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

from mezzotint import __version__
from mezzotint import config as configuration
from mezzotint.checkpoint import write, write_json
from mezzotint.config import Config
from mezzotint.errors import ConfigError, RunError

# What may change when a run goes on: where it computes, and how often it reports.
FREE = frozenset(
    f"train.{key}"
    for key in (
        "device",
        "compile",
        "log_every",
        "validate_every",
        "sample_every",
        "checkpoint_every",
        "keep",
    )
) | {"data.path", "data.memory_gb"}
BUDGET = frozenset(f"train.{key}" for key in configuration.BUDGETS)


def prepare(folder: Path, config: Config, *, overwrite: bool, resume: bool) -> bool:
    """Makes the run directory, or checks that a used one is this run's. True where there may be a checkpoint."""
    written = folder / "config.yaml"
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose another --name")
    if written.is_file() and overwrite:
        for name in ("checkpoints", "samples", "ema"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in ("config.yaml", "metrics.jsonl", "model.safetensors", "loss.png", "log.txt", "env.json"):
            (folder / name).unlink(missing_ok=True)
    used = written.is_file()
    if used:
        old = configuration.parse(yaml.safe_load(written.read_text(encoding="utf-8")))
        changes = configuration.difference(old, config, FREE | (BUDGET if resume else frozenset()))
        if changes:
            only_budget = all(change.partition(":")[0] in BUDGET for change in changes)
            remedy = "add --resume to go on with the new budget" if only_budget else "choose another --name"
            raise ConfigError(
                f"{folder} holds another run ({'; '.join(changes[:4])}); {remedy}, or --overwrite it"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and not a run; choose another --name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(written, configuration.dump(config).encode())
        write_json(folder / "env.json", _environment())
    except OSError as error:
        raise RunError(f"{folder} cannot be written ({error}); choose another --out") from error
    return used


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
