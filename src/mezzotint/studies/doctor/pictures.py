"""What a set of pictures may do to a run: the part of the doctor that looks at pictures and labels.

A check is a generator of findings about an `Survey`, which is gathered once. Thresholds are rules of thumb where no
paper is named beside them: they are set so that sets known to be good pass.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import ExifTags
from torch import Tensor

from mezzotint.config import Data
from mezzotint.data import KNOWN, OnDemand
from mezzotint.data.decode import decode_to
from mezzotint.data.endings import count, few
from mezzotint.data.images import WITHOUT, find
from mezzotint.data.open import PictureSource
from mezzotint.data.stream import StreamSource
from mezzotint.data.undecoded import Keys
from mezzotint.media.facts import Facts

READ = 256  # pictures that are looked at of a set on demand, evenly spread over it
FILES = 64  # files whose size and colours are looked at, likewise
CLASSES = "samples-ignore-the-class"
FLAT = 16  # of 256 grey levels between the darkest and the brightest pixel: there is nothing to see

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    text: what was seen, with figures. remedy: what to do, by a config key or a command; "" where all is well.
    anchor: the heading of the troubleshooting page that explains it; "" where all is well.
    """

    level: Level
    title: str
    text: str
    remedy: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Original:
    """A picture before it is fitted: upright size, and whether any pixel has a colour."""

    height: int
    width: int
    colour: bool


@dataclass(frozen=True)
class Survey:
    """What the checks of pictures look at.

    pictures: uint8 (N, C, H, W), as they are before augmentation: all of a set in memory, READ of a larger one, the
    held-out ones of a stream. label: theirs, (N,) int64, or None. held: (N,) bool, those held out. counts: of training
    pictures by class; empty where nobody has counted. originals: of up to FILES files. notes: lines on what was guessed
    or left out on the way from files to pictures, "what; what to do about it". skipped: a line for each picture that
    cannot be read.
    """

    data: Data
    facts: Facts
    total: int
    pictures: Tensor
    label: Tensor | None
    held: Tensor
    counts: list[int]
    originals: list[Original]
    skipped: list[str]
    notes: Sequence[str] = ()


def gather(source: PictureSource | StreamSource, data: Data) -> Survey:
    """Looks at a set once."""
    names, counts = source.facts.classes, list[int]()
    originals = _originals(source, data)
    if isinstance(source, StreamSource):
        raw, label = source.held.images, source.held.labels if source.facts.classes else None
        held = torch.ones(len(raw), dtype=torch.bool)
    else:
        pictures = source.pictures
        numbers = torch.arange(len(pictures))
        if isinstance(pictures.images, OnDemand):
            numbers = torch.linspace(0, len(pictures) - 1, READ).long().unique()
        where = pictures.images.device if isinstance(pictures.images, Tensor) else numbers.device
        raw, label = pictures.batch(numbers.to(where))
        held = torch.isin(numbers, source.held)
        if names and pictures.labels is not None:
            counts = torch.bincount(pictures.labels.cpu()[source.kept], minlength=len(names)).tolist()
    label = label.cpu() if names and label is not None else None
    return Survey(
        data,
        source.facts,
        source.total,
        raw.cpu(),
        label,
        held,
        counts,
        originals,
        source.skipped,
        source.notes,
    )


def _originals(source: PictureSource | StreamSource, data: Data) -> list[Original]:
    """Pictures as they lie there, those that can be read."""
    if isinstance(source, StreamSource):
        raw = source.shards.read(source.shards.blocks[0])
    else:
        memory_limit = int(data.memory_gb * 2**30)
        raw = find(data.name, data.path, data.split, memory_limit, Keys(data.column, data.labels))
    found = []
    for i in torch.linspace(0, raw.count - 1, min(FILES, raw.count)).long().tolist():
        try:
            image = raw.open(i)
            height, width = image.height, image.width
            if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:  # lies on its side
                height, width = width, height
            shown = decode_to(image, (64, 64), None, raw.ranges, background=data.background)
            found.append(Original(height, width, len(shown) == 3))
        except Exception:  # Pillow raises nearly anything; what cannot be read is counted by `skipped`
            continue
    return found


def examine(source: PictureSource | StreamSource, data: Data) -> Iterator[Finding]:
    """All findings about a set of pictures."""
    survey = gather(source, data)
    for check in (reading, unreadable, channels, sizes, repeated, flat, classes, mirrored):
        yield from check(survey)


def reading(survey: Survey) -> Iterator[Finding]:
    """What was guessed or left out on the way from files to pictures; a warning where something can be done about it."""
    for note in survey.notes:
        text, _, remedy = note.partition("; ")
        if text.startswith(WITHOUT):
            text = f"none: {text.removeprefix(WITHOUT)}"
            yield Finding("warning", "classes", text, remedy or "set data.labels=false", anchor=CLASSES)
        elif remedy:
            yield Finding("warning", "reading", text, remedy, anchor="pictures-are-skipped")
        else:
            yield Finding("ok", "reading", text)


def unreadable(survey: Survey) -> Iterator[Finding]:
    """Pictures that cannot be decoded."""
    bad = len(survey.skipped)
    if not bad:
        yield Finding("ok", "pictures", f"all {len(survey.pictures):,} that were read are intact")
        return
    level: Level = "error" if bad > len(survey.pictures) else "warning"
    text = f"{count(bad, 'picture')} cannot be read and will be left out; the first is {survey.skipped[0]}"
    remedy = "remove or repair these, or train without them"
    yield Finding(level, "pictures", text, remedy, anchor="pictures-are-skipped")


def channels(survey: Survey) -> Iterator[Finding]:
    """Grey pictures in three channels, and colour that is thrown away."""
    found, coloured = survey.facts.shape[0], sum(original.colour for original in survey.originals)
    share = coloured / max(len(survey.originals), 1)
    if found == 1 and share > 0.5:
        text = f"{share:.0%} of the pictures have colours, which data.channels=1 throws away"
        yield Finding("warning", "channels", text, "set data.channels=3", anchor="wrong-colours")
    elif found == 3 and share < 0.05:
        text = (
            f"three channels, yet {1 - share:.0%} of the pictures are grey: samples may get tints of colour"
        )
        yield Finding("warning", "channels", text, "set data.channels=1", anchor="wrong-colours")
    else:
        yield Finding("ok", "channels", f"{found}; {share:.0%} of the pictures have colours")


def sizes(survey: Survey) -> Iterator[Finding]:
    """Pictures that must be enlarged, and pictures of which a good part is cut off."""
    _, height, width = survey.facts.shape
    scales = [min(o.height / height, o.width / width) for o in survey.originals]
    kept = [s**2 * height * width / (o.height * o.width) for s, o in zip(scales, survey.originals)]
    total, fine = max(len(scales), 1), True
    if (small := sum(scale < 0.75 for scale in scales) / total) > 0.1:
        fine = False
        shorter = sorted(min(o.height, o.width) for o in survey.originals)[len(scales) // 10]
        text = (
            f"{small:.0%} of the pictures are smaller than {height}x{width} and are enlarged, hence blurred"
        )
        remedy = f"set data.size={shorter}, which nine of ten pictures reach, or leave small ones out"
        yield Finding("warning", "sizes", text, remedy, anchor="blurry-samples")
    if (cut := sum(part < 0.6 for part in kept) / total) > 0.25:
        fine = False
        text = f"{cut:.0%} of the pictures lose more than 40 % of their area to fit into {height}x{width}"
        remedy = "set data.size=[HEIGHT, WIDTH] to the shape of the pictures, or crop them where it suits"
        yield Finding("warning", "sizes", text, remedy, anchor="wrong-crops")
    if fine and survey.originals:
        sides = [side for o in survey.originals for side in (o.height, o.width)]
        alike = {(o.height, o.width) for o in survey.originals}
        if alike == {(height, width)}:
            text = f"all {height}x{width}, used as they are"
        elif len(alike) == 1:
            text = f"all {max(o.height for o in survey.originals)}x{max(o.width for o in survey.originals)}"
            text += f", fitted into {height}x{width}"
        else:
            text = f"sides of {min(sides)} to {max(sides)} pixels, fitted into {height}x{width}"
        yield Finding("ok", "sizes", text)


def repeated(survey: Survey) -> Iterator[Finding]:
    """Pictures that occur more than once, byte for byte; also under two labels, or on both sides of the hold-out."""
    digests = [hashlib.blake2b(p.tobytes(), digest_size=16).digest() for p in survey.pictures.numpy()]
    times = Counter(digests)
    again = sum(n - 1 for n in times.values())
    text = f"{again:,} of {len(digests):,} are exact copies of another" if again else "no exact copies"
    if again <= 0.01 * len(digests):
        yield Finding("ok", "duplicates", text)
    else:
        trained = {digest for digest, held in zip(digests, survey.held.tolist()) if not held}
        leaked = sum(digest in trained for digest, held in zip(digests, survey.held.tolist()) if held)
        if leaked:
            text += f"; {count(leaked, 'held-out picture is', 'held-out pictures are')} trained on, too, which flatters val_loss"
        remedy = "remove them: what is seen more often is copied sooner"
        yield Finding("warning", "duplicates", text, remedy, anchor="copies-of-the-training-set")
    if survey.label is not None:
        labels: dict[bytes, set[int]] = {}
        for digest, label in zip(digests, survey.label.tolist()):
            labels.setdefault(digest, set()).add(label)
        if conflicting := sum(len(of_it) > 1 for of_it in labels.values()):
            text = f"{conflicting:,} times the same picture is in two or more classes"
            remedy = "keep each in its own class"
            yield Finding("warning", "labels", text, remedy, anchor=CLASSES)


def flat(survey: Survey) -> Iterator[Finding]:
    """Pictures of nearly one colour: blank pages, failed exports."""
    per_channel = survey.pictures.flatten(2)
    spread = (per_channel.amax(2).int() - per_channel.amin(2).int()).amax(1)
    blank, total = int((spread < FLAT).sum()), len(spread)
    if blank <= 0.005 * total:
        yield Finding("ok", "blank pictures", f"{blank:,} of {total:,}")
        return
    text = f"{blank:,} of {total:,} are nearly of one colour"
    remedy = "remove them, unless the model is to make blank ones"
    yield Finding("warning", "blank pictures", text, remedy, anchor="grey-or-washed-out-pictures")


def classes(survey: Survey) -> Iterator[Finding]:
    """Empty, rare and far too many classes."""
    names, counts = survey.facts.classes, survey.counts
    if not names:
        if not any(note.startswith(WITHOUT) for note in survey.notes):
            yield Finding("ok", "classes", "none")
        return
    if not counts:
        yield Finding("ok", "classes", f"{len(names)}; a streamed set is not counted")
        return
    fine = True
    if empty := [name for name, count in zip(names, counts) if not count]:
        fine = False
        have = "has" if len(empty) == 1 else "have"
        text = f"{len(empty)} of {len(names)} classes {have} no picture to train on: {few(empty)}"
        remedy = "add pictures of these, or leave them out of the set"
        yield Finding("warning", "classes", text, remedy, anchor=CLASSES)
    present = sorted(count for count in counts if count)
    each = f"{len(names)}, of {present[0]:,} to {present[-1]:,} pictures each"
    if len(present) > 1 and survey.total < 2 * len(present):
        fine = False
        text = f"{len(present)} classes for {survey.total:,} pictures: the labels may number the pictures"
        remedy = "check the label column or the folders, or set data.labels=false"
        yield Finding("warning", "labels", text, remedy, anchor=CLASSES)
    elif len(present) > 1 and survey.total < 5 * len(present):
        fine = False
        text = f"{each}: too few to learn what a class looks like"
        remedy = "add pictures, or set data.labels=false to train without classes"
        yield Finding("warning", "classes", text, remedy, anchor=CLASSES)
    elif present[-1] > 10 * present[0]:
        fine = False
        rare = names[counts.index(present[0])]
        text = f"from {present[0]:,} pictures ({rare}) to {present[-1]:,}"
        remedy = "add pictures of the rare ones, or take fewer of the others"
        yield Finding("warning", "class balance", text, remedy, anchor=CLASSES)
    if fine:
        yield Finding("ok", "classes", each)


def mirrored(survey: Survey) -> Iterator[Finding]:
    """Flips that were asked for where mirrored pictures are not pictures of the set."""
    if not survey.data.flip:
        return
    name, signs = survey.data.name, survey.facts.classes
    reads = len(signs) > 1 and all(len(sign) == 1 for sign in signs)  # classes 0 to 9, A to Z
    if reads or (name in KNOWN and not KNOWN[name].flip):
        text = f"data.flip=true mirrors {name}" + (
            ", whose classes look like letters or digits" if reads else ""
        )
        yield Finding("warning", "flips", text, "set data.flip=false", anchor="mirrored-pictures")
