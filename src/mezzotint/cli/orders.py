"""Orders in a file, one a line: what `mezzotint sample RUN --batch-file ORDERS.jsonl --out DIR` reads and writes."""

import difflib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.cli.bar import Bar
from mezzotint.cli.output import reserve, say, writing
from mezzotint.config import Sample
from mezzotint.errors import ConfigError

if TYPE_CHECKING:
    from mezzotint.model.model import Model
    from mezzotint.model.orders import Part
    from mezzotint.model.request import Request
    from mezzotint.model.samples import Samples
    from mezzotint.train.distributed import Ranks

OWN = (
    "name",
    "n",
    "label",
    "prompt",
    "negative",
    "seed",
)  # keys of a line beside those of the group `sample`
MARK = "orders.json"  # in the folder: what its pictures are of
SPOKEN_SECONDS = 10.0  # between lines where there is no bar
MAX_NAME_BYTES = 200  # which all file systems have room for, with number and ending
MAX_FAULTS = 10  # that are named


@dataclass(frozen=True)
class Order:
    """A line: what its files are called, and what it asks for. files: one a picture; one for all points."""

    line: int
    name: str
    request: "Request"
    files: tuple[str, ...]


def read_orders(path: Path, model: "Model", usual: Mapping[str, Any]) -> list[Order]:
    """All lines of a file, checked by the model. usual: settings of lines that do not say their own.

    Raises ConfigError that names every line with a fault, up to ten.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--batch-file {path} cannot be read ({error}); it has one JSON object a line"
        ) from error
    orders: list[Order] = []
    faults: list[str] = []
    taken: dict[str, int] = {}  # by which line, names as file systems that know no case tell them apart
    width = len(str(len(lines)))
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            order = _order(number, line, model, usual, width)
            for file in order.files:
                if (other := taken.setdefault(file.casefold(), number)) != number:
                    raise ConfigError(f"its file {file} is also that of line {other}; give it another name")
            orders.append(order)
        except ConfigError as error:
            faults.append(f"line {number}: {error}")
    if faults:
        more = f"; and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        raise ConfigError(f"{path}, {'; '.join(faults[:MAX_FAULTS])}{more}; nothing was made")
    if not orders:
        raise ConfigError(f'{path} has no line with an order, such as {{"label": 7, "seed": 1}}')
    return orders


def _order(number: int, line: str, model: "Model", usual: Mapping[str, Any], width: int) -> Order:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ConfigError('an order is an object, such as {"label": 7, "seed": 1}')
    known = [*OWN, *Sample.model_fields]
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(known)}"
            raise ConfigError(f"unknown key {key!r}; {hint}")
    words = {**usual, **{key: value for key, value in content.items() if value is not None}}
    name = words.pop("name", f"{number:0{width}d}")
    n, seed = (_whole(words.pop(key, default), key) for key, default in (("n", 1), ("seed", 0)))
    if (
        not isinstance(name, str)
        or not name
        or name.startswith(".")
        or Path(name).name != name
        or "\0" in name
    ):
        raise ConfigError(f"name must be the name of a file, not {name!r}")
    if len(name.encode(errors="replace")) > MAX_NAME_BYTES:
        raise ConfigError(f"name has more than {MAX_NAME_BYTES} bytes; take a shorter one")
    _check_texts(words)
    request = model.request(n, seed=seed, **words)
    return Order(number, name, request, _files(name, n, model))


def _whole(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{key} must be a whole number, not {value!r}")
    return value


def _check_texts(words: Mapping[str, Any]) -> None:
    for key in ("label", "prompt", "negative"):
        values = words.get(key)
        for value in values if isinstance(values, list) and key != "negative" else [values]:
            kinds = (str, int) if key == "label" else (str,)
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                raise ConfigError(
                    f"{key} must be a text{' or a number' if key == 'label' else ''}, not {value!r}"
                )


def _files(name: str, n: int, model: "Model") -> tuple[str, ...]:
    if model.medium.table is not None:
        return (f"{name}.csv",)
    return (f"{name}.png",) if n == 1 else tuple(f"{name}-{i:0{len(str(n - 1))}d}.png" for i in range(n))


def make_orders(
    model: "Model", path: Path, folder: Path, usual: Mapping[str, Any], batch: int | None, ranks: "Ranks"
) -> int:
    """Makes what is ordered and not there yet; of several processes each makes and writes its groups. Returns the exit code."""
    import time

    import torch

    orders = read_orders(path, model, usual)
    batch = batch or model.batch
    ranks.once(lambda: _claim(folder, _mark(model, orders, batch)))
    groups = _due(model, orders, folder, batch, ranks)
    total = sum(order.request.n for order in orders)
    due = sum(end - begin for group in groups for _, begin, end in group)
    mine = ranks.share(groups)
    wanted, done, began = sum(end - begin for group in mine for _, begin, end in group), 0, time.monotonic()
    say(f"{path}: {len(orders):,} orders of {total:,} samples; {total - due:,} are there, {due:,} to make")
    spoken = began
    with Bar() as bar:
        for group in mine:
            for so_far in _make(model, orders, group, folder):
                bar.show("sampling", done + so_far, wanted)
                now = time.monotonic()
                if not bar.shown and now - spoken > SPOKEN_SECONDS and done + so_far:
                    left = (now - began) / (done + so_far) * (wanted - done - so_far)
                    say(f"{done + so_far:,} of {wanted:,}, {left:,.0f} s left")
                    spoken = now
            done += sum(end - begin for _, begin, end in group)
    every = ranks.spread(range(ranks.count), lambda _: [torch.tensor(done)])  # when all are done
    shared = f" by {ranks.count} processes" if ranks.count > 1 else ""
    say(f"{folder}: {sum(int(one) for (one,) in every):,} made in {time.monotonic() - began:.1f} s{shared}")
    return 0


def _mark(model: "Model", orders: Sequence[Order], batch: int) -> dict[str, Any]:
    """What the bytes of pictures depend on, beside the machine."""
    sha = hashlib.sha256()
    for order in orders:
        written = order.request.written(model.header, model.source)
        sha.update(json.dumps([order.files[0], written]).encode())
    for name, weight in model.net.state_dict().items():
        sha.update(name.encode() + weight.detach().cpu().contiguous().reshape(-1).view(_bytes()).numpy().data)
    return {"orders": sha.hexdigest()[:32], "batch": batch, "model": model.source}


def _bytes() -> Any:
    import torch

    return torch.uint8


def _claim(folder: Path, mark: dict[str, Any]) -> None:
    """Raises ConfigError where a folder holds the pictures of other orders or of another model."""
    from mezzotint.disk.files import write

    reserve(folder, folder=True)
    try:
        there = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        with writing(folder):
            write(folder / MARK, json.dumps(mark).encode())
        return
    except (OSError, ValueError):
        there = None
    if there != mark:
        raise ConfigError(
            f"{folder} holds pictures of other orders, of another model or --batch; choose another --out, or delete {folder / MARK} to "
            "keep what is there as it is"
        )


def _due(
    model: "Model", orders: Sequence[Order], folder: Path, batch: int, ranks: "Ranks"
) -> "list[list[Part]]":
    """The groups of which not all files are there, as the first process saw it: others may look when some are made."""
    from mezzotint.model.orders import grouped

    groups = grouped([order.request for order in orders], batch, model.medium.table is not None)

    def missing() -> list[int]:
        there = {entry.name for entry in folder.iterdir()}
        return [
            number
            for number, group in enumerate(groups)
            if any(not there.issuperset(_of_part(orders[part.order], part)) for part in group)
        ]

    return [groups[number] for number in ranks.once(missing)]


def _of_part(order: Order, part: Any) -> Sequence[str]:
    return order.files if len(order.files) < order.request.n else order.files[part.begin : part.end]


def _make(model: "Model", orders: Sequence[Order], group: Any, folder: Path) -> Iterator[int]:
    """Makes a group as a whole, and writes what of it is missing."""
    from mezzotint.model.orders import answered

    requests = [orders[part.order].request.part(part.begin, part.end) for part in group]
    for news in answered(model, requests):
        if isinstance(news, int):
            yield news
            continue
        with writing(folder):
            for part, samples in zip(group, news):
                _write(samples, _of_part(orders[part.order], part), folder)


def _write(samples: "Samples", files: Sequence[str], folder: Path) -> None:
    from mezzotint.disk.files import write

    table: Callable[[Any], str] | None = samples.medium.table
    for i, file in enumerate(files):
        if (folder / file).exists():
            continue
        if table is not None:
            write(folder / file, table(samples.values).encode())
        else:
            samples.alone(i).save(folder / file)
