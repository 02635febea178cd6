"""Pictures from shards that need fit neither memory nor disk, as batches for training.

The order is a function of (seed, list of shards): see `data.order.WindowedOrder` for how well it mixes. Two
windows of it are in memory, the second read while the first is used; a resume reads the window it begins in.

What it does not do: classes that lie sorted in blocks larger than a window stay apart, so write such sets shuffled;
a row group is read whole, so write small ones; of several processes each reads everything, and decodes its share; and
nothing is kept on the disk, so a distant set is fetched again every epoch.
"""

import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Batch
from mezzotint.conditions.text import Language
from mezzotint.config import Data
from mezzotint.data.batches import Augmentation, ahead, begins, check_ranks, positions
from mezzotint.data.decode import check_background
from mezzotint.data.held_out import held_out_count, shuffled
from mezzotint.data.images import PROBE, THREADS, WITHOUT, laid_over, try_decode
from mezzotint.data.known import KNOWN, usual_size
from mezzotint.data.order import Window, WindowedOrder
from mezzotint.data.shards import READERS, Shards, find_shards
from mezzotint.data.texts import CLASSES, columns, learn, named
from mezzotint.data.undecoded import Undecoded
from mezzotint.errors import ConfigError, DataError
from mezzotint.media.codec import Codec
from mezzotint.media.facts import Facts

WINDOW = 2**28  # bytes of encoded pictures that are shuffled together
LEAST = 2**12  # bytes that a picture counts for at least, so that a window holds 65,536 of the smallest
HELD_BLOCKS = 8  # that the held-out part is taken from


@dataclass
class StreamSource:
    """Pictures of shards, shuffled afresh every epoch within windows, and augmented on the device.

    Of several processes, each reads all blocks and decodes its own rows. A picture that cannot be read gives its place
    to the next one of its window, always the same one; a block that cannot be read is a DataError. The commit of a hub
    set is not kept: where shards change between a run and its resume, so does the order.
    """

    shards: Shards
    facts: Facts
    device: torch.device
    augmentation: Augmentation
    rows: list[int]  # of each block, how many to train on
    kept: dict[int, np.ndarray]  # and which, ascending, where that is not all of them
    held: "Read"  # pictures, their labels, and their captions
    codec: Codec
    language: Language | None = None  # of captions
    by_class: Sequence[str] = ()  # captions that are names of classes
    skipped: list[str] = field(default_factory=list)  # a line for every picture left out so far
    notes: Sequence[str] = ()  # lines on what was guessed or left out

    @property
    def total(self) -> int:
        return sum(self.rows)

    @property
    def count(self) -> str:
        files = len(self.shards.files)
        return (
            f"{self.total:,} to train on, {len(self.held.images):,} held out, streamed from {files:,} files"
        )

    def batches(self, seed: int, size: int, step: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches from optimiser step `step` on, without end; each a function of (seed, step) and the shards.

        Of `world` processes, each is given the rows rank, rank + world, ... of the same batch of `size`.
        """
        check_ranks(size, world)
        reader = _Reader(self, seed)

        def make(step: int) -> Batch:
            batch = self._batch(reader, seed, positions(step, size, rank, world))
            reader.go_ahead()
            return batch

        return ahead(make, step, reader.close)

    def held_out(self, size: int) -> list[Batch]:
        count = len(self.held.images)
        parts = torch.arange(count).split(size) if count else ()
        return [self._finish(self.held[part]) for part in parts]

    def preview(self, count: int) -> Batch:
        """Examples as the network sees them, augmented."""
        reader = _Reader(self, seed=0)
        try:
            return self._batch(reader, 0, positions(0, min(count, self.total)))
        finally:
            reader.close()

    def _batch(self, reader: "_Reader", seed: int, where: Tensor) -> Batch:
        read = reader(where)
        images = self.augmentation(read.images.to(self.device), seed, where)
        return self._finish(replace(read, images=images))

    def _finish(self, read: "Read") -> Batch:
        told = NO_COND
        if self.language is not None:
            of_class = [self.by_class[k] for k in read.labels.tolist()] if self.by_class else read.captions
            told = self.language.cond(of_class)
        cond = replace(told, label=read.labels if self.facts.classes else None)
        images = self.codec.encode(read.images.to(self.device))
        return Batch(images, cond.map(lambda column: column.to(self.device)))


@dataclass(frozen=True)
class Read:
    """Pictures that were read. images: uint8 (N, C, H, W). labels: (N,) int64, 0 where there are none. captions: "" where
    there are none."""

    images: Tensor
    labels: Tensor
    captions: Sequence[str]

    def __getitem__(self, index: Tensor) -> "Read":
        return Read(self.images[index], self.labels[index], [self.captions[i] for i in index.tolist()])


class _Reader:
    """What stands at positions of the order that never go back, by two sets of threads: some read blocks, and some
    decode. Only blocks of the window that was asked for last are kept, and of the next."""

    def __init__(self, source: StreamSource, seed: int) -> None:
        self.source, self.seed, self.blocks = source, seed, source.shards.blocks
        weights = [max(block.size, LEAST * block.rows) for block in self.blocks]
        self.order = WindowedOrder(source.rows, weights, WINDOW, seed)
        self.window: Window | None = None
        self.next: Window | None = None
        self.lock = threading.Lock()
        self.found: dict[tuple[int, int], Future[Undecoded]] = {}  # by the window's start and the block
        self.readers, self.decoders = ThreadPoolExecutor(READERS), ThreadPoolExecutor(THREADS)

    def __call__(self, where: Tensor) -> Read:
        """What stands at positions (B,), ascending."""
        images: list[np.ndarray] = []
        labels: list[int] = []
        captions: list[str] = []
        while len(where):
            window = self._at(int(where[0]))
            places = (where[where < window.stop] - window.start).tolist()
            for block in {window.block[place] for place in places}:
                self._block(window, block)  # asked for all at once, since most of reading may be waiting
            at = begins(self.seed, where[: len(places)]).tolist()
            for image, label, caption in self.decoders.map(partial(self._read, window), places, at):
                images.append(image)
                labels.append(label)
                captions.append(caption)
            where = where[len(places) :]
        return Read(torch.from_numpy(np.stack(images)), torch.tensor(labels), captions)

    def go_ahead(self) -> None:
        """Has the rest of this window and the next one read."""
        assert self.window is not None
        if self.next is None:
            self.next = self.order.window(self.window.stop)
            for window in (self.window, self.next):
                for block in set(window.block):
                    self._block(window, block)

    def close(self) -> None:
        """Reads no more than what it is at."""
        with self.lock:
            for future in self.found.values():
                future.cancel()

    def _at(self, position: int) -> Window:
        """The window of a position; forgets those before it."""
        if self.window is None or position >= self.window.stop:
            self.window = self.order.window(position)
            self.next = None
            with self.lock:
                for old in [key for key in self.found if key[0] < self.window.start]:
                    self.found.pop(old).cancel()
        return self.window

    def _block(self, window: Window, block: int) -> Future[Undecoded]:
        with self.lock:
            key = (window.start, block)
            if key not in self.found:
                self.found[key] = self.readers.submit(self.source.shards.read, self.blocks[block])
            return self.found[key]

    def _read(self, window: Window, place: int, at: float) -> tuple[np.ndarray, int, str]:
        """The picture at a place of a window, its label and its caption, or else the next one that can be read. at: of a clip, where
        the part of it begins, see `try_decode`."""
        channels, *size = self.source.facts.shape
        for step in range(len(window.block)):
            k = (place + step) % len(window.block)
            block, row = window.block[k], window.row[k]
            i = int(self.source.kept[block][row]) if block in self.source.kept else row
            there = self._block(window, block).result()
            image = try_decode(there, i, tuple(size), channels, at=at)
            if not isinstance(image, str):
                label = 0 if there.labels is None else int(there.labels[i])
                return image, label, "" if there.captions is None else there.captions[i]
            self._skip(image)
        raise DataError(f"none of {len(window.block)} pictures can be read: {self.source.skipped[0]}")

    def _skip(self, line: str) -> None:
        with self.lock:
            if line not in self.source.skipped:
                self.source.skipped.append(line)
                warnings.warn(f"skipped {line}", stacklevel=2)


def open_stream(data: Data, device: torch.device) -> StreamSource:
    """The shards of a configuration. Raises DataError or ConfigError in one line.

    The held-out part lies in a few blocks, evenly spread, so that little is read to begin with. It is a function of the
    shards alone, whatever the run's seed, so that runs compare.
    """
    if data.limit is not None or data.only is not None or (data.name in KNOWN and KNOWN[data.name].only):
        raise ConfigError(
            "a streamed set is always used whole; leave out data.stream, or data.limit and data.only (and the sets that are "
            "one class of another)"
        )
    check_background(data.background)
    by_class = data.captions == CLASSES
    wanted = None if by_class and data.labels is False else data.labels
    shards = find_shards(data.name, data.path, split=data.split, column=data.column, labels=wanted)
    shards = replace(shards, background=data.background, stride=data.stride)
    captions: Sequence[str] = ()
    lacking: Sequence[str] = ()
    if by_class:
        if not shards.classes:
            raise DataError(f"{data.name} has no classes, whose names could be captions; {shards.why}")
        captions = named(shards.classes)
    elif data.captions:
        shards, captions, lacking = shards.captions(data.captions)
    language, told = None, dict[str, Any]()
    if captions:
        language, cut = learn(data, captions, device)
        lacking = [*lacking, *cut]
        told = columns(language, captions, whole=by_class)
    _check_memory(shards, data.memory_gb)
    rows = [block.rows for block in shards.blocks]
    kept: dict[int, np.ndarray] = {}
    for b, each in enumerate(shards.blocks):
        if (without := shards.left_out.get((each.file, each.group))) is not None:
            kept[b] = np.setdiff1d(np.arange(rows[b]), without)
            rows[b] = len(kept[b])
    filled = np.flatnonzero(rows)
    chosen = np.unique(filled[np.linspace(0, len(filled) - 1, HELD_BLOCKS).round().astype(int)])
    block = np.repeat(chosen, [rows[b] for b in chosen])
    row = np.concatenate([kept.get(int(b), np.arange(rows[b])) for b in chosen])
    order = shuffled(len(row)).numpy()
    block, row = block[order], row[order]
    held = min(held_out_count(sum(rows), data.holdout), len(row))
    for b in map(int, chosen):
        kept[b] = np.setdiff1d(kept.get(b, np.arange(rows[b])), row[:held][block[:held] == b])

    size = (*([data.frames] if data.frames else []), *usual_size(data.name, data.size))
    looked_at, transparent = max(held, 0 if data.channels else PROBE), list[int]()
    images, labels, texts = _decode(
        shards, block[:looked_at], row[:looked_at], size, data.channels, transparent
    )
    good = [k for k, image in enumerate(images) if not isinstance(image, str)]
    if images and not good:
        raise DataError(f"none of {len(images)} pictures of the set can be read, the first is {images[0]}")
    channels = data.channels or max(len(images[k]) for k in good)
    use = [k for k in good if k < held]
    pictures = np.empty((len(use), channels, *size), np.uint8)
    for place, k in enumerate(use):
        pictures[place] = images[k]  # grey to all channels
    classes = () if by_class and not data.labels else tuple(shards.classes)
    facts = Facts((channels, *size), classes, **told)
    return StreamSource(
        shards,
        facts,
        device,
        Augmentation.of(data),
        rows=[len(kept.get(b, range(n))) for b, n in enumerate(rows)],
        kept=kept,
        held=Read(torch.from_numpy(pictures), torch.from_numpy(labels[use]), [texts[k] for k in use]),
        codec=facts.medium.codec,
        language=language,
        by_class=captions if by_class else (),
        skipped=[image for image in images[:held] if isinstance(image, str)],
        notes=[
            *shards.notes,
            *lacking,
            *([f"{WITHOUT}{shards.why}"] if shards.why else []),
            *shards.ranges.notes,
            *laid_over(data.background, len(transparent), f"{len(images):,} pictures looked at"),
        ],
    )


def _check_memory(shards: Shards, limit_gb: float) -> None:
    sizes = [block.size for block in shards.blocks]
    needed = 2 * min(WINDOW + max(sizes), sum(sizes)) / 2**30
    if needed > limit_gb:
        raise DataError(
            f"{shards.name} takes {needed:.2g} GB of memory to stream, its largest row group {max(sizes) / 2**30:.2g}; "
            "raise data.memory_gb, or write its files with smaller row groups"
        )


def _decode(
    shards: Shards,
    block: np.ndarray,
    row: np.ndarray,
    size: tuple[int, ...],
    channels: int | None,
    transparent: list[int],
) -> tuple[list[np.ndarray | str], np.ndarray, list[str]]:
    """The pictures at rows of blocks, or what is wrong with them, the labels, 0 where there are none, and the captions; see
    `try_decode`."""
    images: list[np.ndarray | str] = [""] * len(row)
    labels = np.zeros(len(row), np.int64)
    captions = [""] * len(row)
    with ThreadPoolExecutor(THREADS) as pool:
        for b in np.unique(block):  # one after the other, to hold no more than one
            there = shards.read(shards.blocks[b])
            mine = np.flatnonzero(block == b)
            decoded = pool.map(
                lambda i, there=there: try_decode(there, i, size, channels, transparent), row[mine].tolist()
            )
            for k, image in zip(mine, decoded):
                images[k] = image
            if there.labels is not None:
                labels[mine] = there.labels[row[mine]]
            if (texts := there.captions) is not None:
                for place, i in zip(mine.tolist(), row[mine].tolist()):
                    captions[place] = texts[i]
    return images, labels, captions
