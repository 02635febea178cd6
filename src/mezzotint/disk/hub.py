"""Files of models from the hub, where the user has named one, owner/name. Only safetensors and JSON are fetched, and nothing is run."""

import importlib
from pathlib import Path
from typing import Any

from mezzotint.errors import MissingExtra, ModelError

TIMEOUT = 10.0  # seconds that the hub has to begin to answer


def fetch(name: str, files: list[str]) -> Path:
    """The folder, in the cache of the hub's own library, that holds those of the files that a model of the hub has.

    Raises MissingExtra where that library is not installed, ModelError where there is no such model, or no way to it.
    """
    client = _client()
    try:
        return Path(client.snapshot_download(name, allow_patterns=files, etag_timeout=TIMEOUT))
    except (client.utils.RepositoryNotFoundError, client.utils.HFValidationError) as error:
        raise ModelError(f"the hub has no public model {name!r}; check its name") from error
    except (
        Exception
    ) as error:  # no network, a proxy, a busy hub: each library below has types of its own for it
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200].rstrip(" .")
        raise ModelError(
            f"cannot get {name} from the hub ({reason}); download it elsewhere and give its folder"
        ) from error


def _client() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtra(
            'a model from the hub needs huggingface_hub, which is not installed; run: pip install "mezzotint[hub]"'
        ) from error


def name_of(path: Path) -> str | None:
    """The name of the model whose file lies in the cache, .../models--owner--name/snapshots/REVISION/file; None elsewhere."""
    parents = path.absolute().parents
    if len(parents) < 3 or parents[1].name != "snapshots" or not parents[2].name.startswith("models--"):
        return None
    return parents[2].name.rpartition("--")[2]
