"""Pictures on the dataset hub, read by `datasets` of the extra [hub]."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mezzotint.data.captions import of_column
from mezzotint.data.cells import encoded_in, extra, line
from mezzotint.data.columns import choose_columns, schema_of
from mezzotint.data.tables import joined
from mezzotint.data.undecoded import Keys, Undecoded
from mezzotint.errors import DataError

HUB_TIMEOUT = 10.0  # seconds to wait for the hub's first answer


def pictures(name: str, split: str, keys: Keys) -> Undecoded:
    """A set of the dataset hub, by its id "owner/set": downloaded once, then read from the cache.

    Where the hub does not answer, a cached copy is used if there is one; otherwise it is a DataError at once.
    """
    with _asking_hub(name) as datasets:
        dataset = datasets.load_dataset(name, split=split)
    table = dataset.data.table
    schema = schema_of(dataset.features.arrow_schema, name)
    chosen = choose_columns(
        [schema],
        keys.column,
        keys.labels,
        lambda key: encoded_in(table.column(key)[0].as_py()) if len(table) else None,
    )
    captions = keys.captions
    if captions is True:
        captions = "caption" if "caption" in table.column_names else "text"
    texts, lacking = of_column([table], captions, [name]) if captions else (None, [])
    notes = [*chosen.notes, *lacking]
    return joined(
        [table], [schema], chosen.image, chosen.label, [name], keys.labels, notes, chosen.why, texts
    )


def tables(name: str, split: str) -> list[str]:
    """Addresses (hf://...@commit/...) of the parquet files of a split of a set of the hub; nothing else is fetched.

    Where the set itself is kept in another format, they are those that the hub has converted it to.
    """
    with _asking_hub(name) as datasets:
        builder = datasets.load_dataset_builder(name)
        if builder.name != "parquet":
            builder = datasets.load_dataset_builder(name, revision="refs/convert/parquet")
        files = builder.config.data_files or {}
        if split not in files:
            raise ValueError(f"Unknown split {split!r}. Should be one of {sorted(map(str, files))}.")
        return [str(file) for file in files[split]]


@contextmanager
def _asking_hub(name: str) -> Iterator[Any]:
    """The library `datasets`, offline at once where the hub does not answer, with its errors as DataError."""
    datasets, client = extra("datasets"), extra("huggingface_hub")
    offline = datasets.config.HF_HUB_OFFLINE
    try:
        if not offline:
            client.HfApi().dataset_info(name, timeout=HUB_TIMEOUT)
    except (client.utils.RepositoryNotFoundError, client.utils.HFValidationError) as error:
        raise DataError(f"the hub has no public data set {name!r}; check its name") from error
    except Exception:  # no network, a proxy, a busy hub: each library below has types of its own for it
        datasets.config.HF_HUB_OFFLINE = True  # spares load_dataset its half minute of retries
    try:
        yield datasets
    except ValueError as error:  # an unknown split, or several configurations
        raise DataError(f"{name}: {line(error)}") from error
    except Exception as error:
        raise DataError(
            f"cannot get {name} from the dataset hub ({line(error)}); "
            "download it elsewhere and point --data at a folder of its pictures or parquet files"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
