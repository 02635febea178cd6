"""Sets of clips as training data: animations, videos, folders of numbered pictures, tables of these, and arrays.

`data.frames` says how many frames a clip for the network has, `data.stride` how far apart they are taken. A longer clip gives another
part of itself every epoch: where it begins is a function of (seed, position), so that training goes on to the bit; held-out clips
give the part in their middle, always the same.
"""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mezzotint.cond import Batch, Cond
from mezzotint.config import Data
from mezzotint.data import cells, films, local
from mezzotint.data.batches import Augmentation, ahead, begins, check_ranks, positions
from mezzotint.data.decode import check_background, decode_to
from mezzotint.data.endings import FORMATS, Listing, count, few, spoken
from mezzotint.data.films import MIDDLE, VIDEOS, Film, check_length, stacked
from mezzotint.data.held_out import split_set
from mezzotint.data.images import THREADS, OnDemand, attempt, find, labelled, narrowed, told, try_decode
from mezzotint.data.known import usual_size
from mezzotint.data.order import Order
from mezzotint.data.splits import pictures_of
from mezzotint.data.undecoded import Keys, Undecoded
from mezzotint.errors import ConfigError, DataError
from mezzotint.media.codec import Codec
from mezzotint.media.facts import Facts

ANIMATIONS = (".gif", ".webp", ".png", ".avif")  # endings of what may have several frames
SOME = 16  # clips looked at to tell whether a large set is grey
NUMBERED = re.compile(r".*\d.*", re.DOTALL)
ARRAYS = ("images", "clips", "frames", "arr_0")  # in an npz file, the first that there is


@dataclass(frozen=True)
class Reels:
    """Clips of any length, all decoded. frames: uint8 (F, C, H, W), one clip after the other; starts: (N + 1,) int64, where each begins."""

    frames: Tensor
    starts: Tensor
    length: int
    stride: int

    def read(
        self, index: Tensor, part: Tensor | None = None, at: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Parts uint8 (B, C, T, H, W) of clips, and their numbers; as of `OnDemand.read`."""
        at = torch.full((len(index),), MIDDLE, dtype=torch.float64) if at is None else at
        begin, end = self.starts[index], self.starts[index + 1]
        places = end - begin - (self.length - 1) * self.stride  # that leave room, one at least
        begin = begin + torch.minimum((at * places).long(), places - 1)
        rows = begin[:, None] + self.stride * torch.arange(self.length)
        return self.frames[rows].transpose(1, 2), index


@dataclass(frozen=True)
class ClipSource:
    """Clips, shuffled afresh every epoch, of each a part that is as long as the network's."""

    name: str
    clips: Reels | OnDemand
    labels: Tensor | None
    facts: Facts
    device: torch.device
    augmentation: Augmentation
    kept: Tensor  # numbers of the clips to train on, ascending
    held: Tensor  # and of those held out
    codec: Codec
    skipped: list[str]
    notes: list[str]

    @property
    def total(self) -> int:
        return len(self.kept)

    @property
    def count(self) -> str:
        return f"{len(self.kept):,} to train on, {len(self.held):,} held out"

    def batches(self, seed: int, size: int, step: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches from optimiser step `step` on, without end; each a function of (seed, step).

        Of `world` processes, each is given the rows rank, rank + world, ... of the same batch of `size`.
        """
        check_ranks(size, world)
        order = Order(self.total, seed)

        def make(step: int) -> Batch:
            where = positions(step, size, rank, world)
            raw, used = self.clips.read(
                self.kept[order(step * size, size)[rank::world]], self.kept, begins(seed, where)
            )
            return self._batch(self.augmentation(raw.to(self.device), seed, where), used)

        return ahead(make, step)

    def held_out(self, size: int) -> list[Batch]:
        parts = [index for index in self.held.split(size) if len(index)]
        return [
            self._batch(raw.to(self.device), used)
            for raw, used in (self.clips.read(i, self.held) for i in parts)
        ]

    def preview(self, count: int) -> Batch:
        """Examples as the network sees them, augmented."""
        return next(self.batches(0, min(count, self.total), 0))

    def _batch(self, raw: Tensor, used: Tensor) -> Batch:
        label = None if self.labels is None else self.labels[used].to(self.device)
        return Batch(self.codec.encode(raw), Cond(label=label))


def check_keys(data: Data) -> None:
    """Raises ConfigError for keys that are for pictures."""
    for key in ("captions", "encoder", "enlarge", "window"):
        if getattr(data, key) != Data.model_fields[key].default:
            raise ConfigError(
                f"data.{key} is for pictures, and data.frames is for clips; leave one of them out"
            )


def check_still(data: Data) -> None:
    """Raises ConfigError for sets of clips, where pictures are compared."""
    if data.frames is not None or data.name == "bouncing":
        raise ConfigError(
            f"{data.name} has clips, which are not compared as pictures are; clips of bouncing are scored by: mezzotint evaluate RUN, without other options"
        )


def open_clips(data: Data, device: torch.device) -> ClipSource:
    """The clips of a configuration. Raises DataError, ConfigError or MissingExtra in one line."""
    check_keys(data)
    check_background(data.background)
    assert data.frames is not None
    limit, size = int(data.memory_gb * 2**30), usual_size(data.name, data.size)
    source, left_out = find_clips(data, limit)
    source = replace(source, background=data.background, stride=data.stride)
    source, only = narrowed(source, data.name, data.only, data.limit)
    source = labelled(source, data.name, data.labels, only, data.split)
    shape = (data.frames, *size)
    decoded = _all(source, shape, data.channels, limit)
    clips: Reels | OnDemand
    if decoded is None:
        channels = data.channels or _channels(source, shape)
        clips = OnDemand(source, shape, channels)
        kept, skipped = np.arange(source.count), clips.skipped
    else:
        clips, kept, skipped = decoded
        channels = clips.frames.shape[1]
    skipped.extend(left_out)
    labels = None if source.labels is None else torch.from_numpy(source.labels[kept])
    parts = split_set(len(kept), data.holdout)
    classes, empty = tuple(source.classes) if labels is not None else (), tuple[int, ...]()
    if labels is not None:
        counts = torch.bincount(labels[parts.train], minlength=len(classes))
        empty = tuple((counts == 0).nonzero()[:, 0].tolist())
    facts = Facts((channels, *shape), classes, empty=empty)
    notes = list(told(source))
    return ClipSource(
        data.name, clips, labels, facts, device, Augmentation.of(data), *parts, facts.medium.codec, skipped, notes
    )  # fmt: skip


# --- where they are ---------------------------------------------------------------------------------------


def find_clips(data: Data, memory_limit: int) -> tuple[Undecoded, list[str]]:
    """The clips of a set, not decoded yet, and lines on files that belong to none."""
    path = None if data.path is None else Path(data.path).expanduser()
    if path is not None and path.suffix.lower() == ".npz" and path.is_file():
        return _arrays(path, data.labels, memory_limit), []
    if path is not None and path.is_dir():
        there = local.listed(path, VIDEOS)
        if not there.tables:
            return _folder(there, path, data)
    return find(data.name, path, data.split, memory_limit, Keys(data.column, data.labels)), []


def _folder(there: Listing, path: Path, data: Data) -> tuple[Undecoded, list[str]]:
    """Animations, videos, and folders of numbered pictures; the folder that each lies in is its class."""
    for key in ("column", "labels"):
        if isinstance(getattr(data, key), str):
            raise DataError(f"{spoken(path)} is a folder of clips and has no columns; leave data.{key} out")
    frames, left_out = gathered(there.pictures)
    places = list(frames)
    if not places:
        more = f": {left_out[0]}" if left_out else f" ({there.notes[0]})" if there.notes else ""
        raise DataError(
            f"{spoken(path)} holds no clips (animations, {', '.join(VIDEOS)}, or folders of numbered pictures){more}; check --data"
        )
    files, notes = pictures_of(places, path, data.split)
    as_places = replace(there, pictures=places)
    found = local.folder(files, local.class_depth(as_places, path, files, data.split))
    if folders := [place for place in files if len(frames[place]) > 1 or frames[place][0] != place]:
        notes = [
            *notes,
            f"{count(len(folders), 'folder')} of numbered pictures read as a clip each: {few([spoken(f.name) for f in folders])}",
        ]
    found = replace(
        found, open=lambda i: _film(files[i], frames[files[i]]), notes=[*there.notes, *notes, *found.notes]
    )
    return found, left_out


def gathered(files: Sequence[Path]) -> tuple[dict[Path, list[Path]], list[str]]:
    """Picture and video files in natural order -> the clips that they are, by place: a file that moves is one, and so are all
    numbered pictures of a folder where nothing moves, by the name of the folder. And a line for each file that is of none."""
    clips: dict[Path, list[Path]] = {}
    left_out: list[str] = []
    for folder, inside in groupby(files, key=lambda file: file.parent):
        group = list(inside)
        moving = [file for file in group if moves(file)]
        still = [file for file in group if file not in set(moving)]
        clips |= {file: [file] for file in moving}
        for file in still if moving else ():
            left_out.append(f"{spoken(file)}: a single picture, beside clips")
        if not moving:
            numbered = [file for file in still if NUMBERED.fullmatch(file.stem)]
            if numbered:
                clips.setdefault(folder, []).extend(numbered)
            for file in still:
                if file not in set(numbered):
                    left_out.append(
                        f"{spoken(file)}: a single picture, whose name has no number, and so no frame of a clip"
                    )
    return clips, left_out


def moves(file: Path) -> bool:
    """Whether a file is a clip of its own: a video, or an animation."""
    if file.suffix.lower() in VIDEOS:
        return True
    if file.suffix.lower() not in ANIMATIONS:
        return False
    try:
        with Image.open(file, formats=FORMATS) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # named when its turn comes
        return file.suffix.lower() == ".gif"


def _film(place: Path, files: Sequence[Path]) -> Film:
    if files[0] != place:
        return films.pictures([file.read_bytes for file in files])
    if place.suffix.lower() in VIDEOS:
        return films.video(place)
    return films.film(place.read_bytes())


def _arrays(path: Path, labels: Any, memory_limit: int) -> Undecoded:
    """An npz file as `mezzotint sample -o FILE.npz` writes them: uint8 (N, T, H, W) or (N, T, H, W, C), and perhaps labels and classes."""
    try:
        with np.load(path, allow_pickle=False) as file:
            name = next((key for key in ARRAYS if key in file.files), None)
            if name is None:
                raise DataError(
                    f"{spoken(path)} has no array called {', '.join(ARRAYS)}; its arrays are {few(file.files)}"
                )
            stack = file[name]
            numbers = (
                file["labels"].astype(np.int64) if "labels" in file.files and labels is not False else None
            )
            classes = [str(one) for one in file["classes"]] if "classes" in file.files else []
    except DataError:
        raise
    except Exception as error:  # zip, numpy and the file system have a dozen types for a damaged file
        raise DataError(
            f"{spoken(path)} cannot be read as npz ({cells.line(error)}); save it again"
        ) from error
    if (
        stack.dtype != np.uint8
        or stack.ndim not in (4, 5)
        or (stack.ndim == 5 and stack.shape[-1] not in (1, 3))
    ):
        raise DataError(
            f"{spoken(path)} holds {stack.dtype} of shape {stack.shape}; clips are uint8 (N, T, H, W) or (N, T, H, W, 1 or 3)"
        )
    if stack.nbytes > memory_limit:
        raise DataError(
            f"{spoken(path)} takes {stack.nbytes / 2**30:.2g} GB of memory; raise data.memory_gb, or write parquet files"
        )
    if numbers is not None and (numbers.shape != stack.shape[:1] or numbers.min(initial=0) < 0):
        raise DataError(
            f"{spoken(path)} has labels of shape {numbers.shape} for {len(stack)} clips, or below 0; correct them, or set data.labels=false"
        )
    if numbers is not None and numbers.max(initial=-1) >= len(classes):
        classes = [str(k) for k in range(int(numbers.max(initial=-1)) + 1)]
    return Undecoded(
        len(stack),
        lambda i: films.array(stack[i]),
        lambda i: f"clip {i} of {spoken(path)}",
        labels=numbers,
        classes=classes if numbers is not None else (),
    )


# --- into memory ------------------------------------------------------------------------------------------


def _all(
    source: Undecoded, shape: tuple[int, int, int], channels: int | None, limit: int
) -> tuple[Reels, np.ndarray, list[str]] | None:
    """All readable clips at their full length, their numbers, and a line about each of the others; None where they take more than
    `limit` bytes."""
    length, height, width = shape
    reels: list[np.ndarray] = []
    kept: list[int] = []
    skipped: list[str] = []
    size, most = 0, channels or 1
    with ThreadPoolExecutor(THREADS) as pool:
        for begin in range(
            0, source.count, THREADS
        ):  # no more of them at a time than threads, since one may be long
            numbers = range(begin, min(begin + THREADS, source.count))
            for i, found in zip(
                numbers, pool.map(partial(_whole, source, shape, channels, limit - size), numbers)
            ):
                if found is None:
                    return None
                if isinstance(found, str):
                    skipped.append(found)
                    continue
                most = max(most, len(found))
                size += found.nbytes
                if size > limit:
                    return None
                reels.append(found)
                kept.append(i)
    if not kept:
        raise DataError(f"none of {source.count} clips can be used, the first is {skipped[0]}")
    starts = torch.tensor(list(accumulate((reel.shape[1] for reel in reels), initial=0)))
    if size * most // min(map(len, reels)) > limit:
        return None
    frames = torch.empty(int(starts[-1]), most, height, width, dtype=torch.uint8)
    for k, begin in enumerate(starts[:-1].tolist()):
        frames[begin : begin + reels[k].shape[1]] = torch.from_numpy(reels[k]).transpose(0, 1)
        reels[k] = reels[k][:, :0]  # let go
    return Reels(frames, starts, length, source.stride), np.array(kept), skipped


def _whole(
    source: Undecoded, shape: tuple[int, int, int], channels: int | None, room: int, i: int
) -> np.ndarray | str | None:
    """Clip i at its full length, uint8 (C, T, H, W); a line where it cannot be read or is too short, None where it takes more room."""
    length, height, width = shape

    def decoded() -> np.ndarray | None:
        frames: list[np.ndarray] = []
        for frame in films.film(source.open(i) if source.cell is None else source.cell(i)).read():
            frames.append(decode_to(frame, (height, width), channels, background=source.background))
            if len(frames) * frames[-1].size > room:
                return None
        check_length(len(frames), length, source.stride)
        return stacked(frames)

    return attempt(source, i, decoded)


def _channels(source: Undecoded, shape: tuple[int, int, int]) -> int:
    """1 if all readable ones of some clips, evenly spread over the set, are grey, else 3."""
    index = np.unique(np.linspace(0, source.count - 1, SOME).astype(int))
    found = [try_decode(source, int(i), shape, None) for i in index]
    channels = [len(one) for one in found if not isinstance(one, str)]
    if not channels:
        raise DataError(f"none of {len(index)} clips of the set can be used, the first is {found[0]}")
    return max(channels)
