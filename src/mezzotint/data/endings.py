"""Which files below a folder are pictures, which are tables of pictures, and what the others are."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from mezzotint.errors import DataError

_AVIF = ("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()  # since Pillow 11.3
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", *_AVIF)  # some others of Pillow's run programs
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".jfif", ".jpe", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
)
HEIC = (".heic", ".heif", ".hif")
RAW = (
    ".nef",
    ".cr2",
    ".cr3",
    ".dng",
    ".arw",
    ".pef",
    ".srw",
    ".orf",
    ".rw2",
    ".raf",
)  # TIFF with a thumbnail
CAPTIONS = (".txt", ".caption")
TABLE_OF_CAPTIONS = ("captions.csv", "captions.jsonl", "metadata.jsonl", "metadata.csv")
SHOWN = 5  # names or endings in one line


@dataclass(frozen=True)
class Listing:
    """The files below a folder, in natural order ("2.png" before "10.png"), the same on every system.

    pictures: by their ending, or with another one by their bytes. tables: parquet files. notes: a line for each kind
    of file that is left out, or is read although its ending says nothing.
    """

    pictures: Sequence[Path]
    tables: Sequence[Path]
    notes: Sequence[str]


def listing(root: Path, more: Sequence[str] = ()) -> Listing:
    """All files below a folder but hidden ones. more: endings of what counts as a picture, too. Raises DataError where it cannot be
    listed.

    Links are followed; a folder that is reached twice is read once, by its own name rather than by that of a link.
    """
    aside: list[str] = []  # what was not entered: "hidden", or a link's path
    try:
        walk = sorted(_walk(root, aside), key=lambda file: [natural(part) for part in file.parts])
    except OSError as error:
        raise DataError(f"cannot list {spoken(root)}: {error}") from error
    tables = [file for file in walk if is_table(file)]
    seen, suffixes = set(tables), {*SUFFIXES, *more}
    others = [file for file in walk if file not in seen and file.suffix.lower() not in suffixes]
    unnamed = {file for file in others if file.suffix.lower() not in RAW and _is_picture(file)}
    pictures = [file for file in walk if file.suffix.lower() in suffixes or file in unnamed]
    rest = [file for file in others if file not in unnamed]
    notes = _notes(pictures, unnamed, rest)
    if hidden := aside.count("hidden"):
        notes.append(f"{count(hidden, 'hidden file or folder', 'hidden files and folders')} left out")
    if links := [name for name in aside if name != "hidden"]:
        notes.append(f"{count(len(links), 'link')} left out, to folders that are read already: {few(links)}")
    return Listing(pictures, tables, notes)


def is_table(file: Path) -> bool:
    """Whether a file is a parquet file, by its own ending or that of what a link points to."""
    if file.suffix.lower() == ".parquet":
        return True
    return not file.suffix and file.is_symlink() and os.path.realpath(file).lower().endswith(".parquet")


def _walk(folder: Path, aside: list[str]) -> Iterator[Path]:
    """All files below a folder that are not hidden. Folders come before links, so that they are read by their own names."""
    seen: set[tuple[int, int]] = set()
    links: list[Path] = []

    def enter(folder: Path) -> Iterator[Path]:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            aside.append(spoken(folder))
            return
        seen.add((status.st_dev, status.st_ino))
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith("."):
                aside.append("hidden")
            elif not entry.is_dir():
                yield entry
            elif entry.is_symlink():
                links.append(entry)
            else:
                yield from enter(entry)

    yield from enter(folder)
    while links:
        yield from enter(links.pop(0))


def _is_picture(file: Path) -> bool:
    """Whether the bytes of a file are those of a picture that is read."""
    try:
        with Image.open(file, formats=FORMATS):
            return True
    except Exception:  # Pillow raises nearly anything for what is no picture
        return False


def _notes(pictures: Sequence[Path], unnamed: set[Path], rest: Sequence[Path]) -> list[str]:
    """What is said of files whose endings are not those of pictures."""
    notes = []
    if unnamed:
        kinds = few(endings(unnamed))
        notes.append(
            f"{count(len(unnamed), 'file')} read as pictures by their bytes, not by their ending: {kinds}"
        )
    heic = [file for file in rest if file.suffix.lower() in HEIC or _starts_as_heic(file)]
    raw = [file for file in rest if file.suffix.lower() in RAW]
    known = {*heic, *raw}
    stems = {file.with_suffix("") for file in pictures}
    captions = [file for file in rest if file not in known and _is_caption(file, stems)]
    known |= {*captions}
    if heic:
        notes.append(
            f"{count(len(heic), 'HEIC picture')} left out ({few([spoken(file.name) for file in heic])}); "
            "convert them to JPEG or PNG, on a Mac with: sips -s format jpeg FILE --out FILE.jpg"
        )
    if raw:
        notes.append(
            f"{count(len(raw), 'camera raw file')} left out: {few(endings(raw))}; develop them to JPEG or PNG"
        )
    if captions:
        notes.append(f"captions are there, used only with data.captions=true: {few(endings(captions))}")
    if others := [file for file in rest if file not in known]:
        notes.append(f"{count(len(others), 'other file')} left out, no pictures: {few(endings(others))}")
    return notes


def _is_caption(file: Path, stems: set[Path]) -> bool:
    """Whether a file is the text to a picture of its name, or a table of such texts. stems: pictures without endings."""
    beside = file.suffix.lower() in CAPTIONS and file.with_suffix("") in stems
    return beside or file.name.lower() in TABLE_OF_CAPTIONS


def _starts_as_heic(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return (
                re.fullmatch(rb"....ftyp(heic|heix|hevc|hevx|heim|heis)", opened.read(12), re.DOTALL)
                is not None
            )
    except OSError:
        return False


def endings(files: Sequence[Path] | set[Path]) -> list[str]:
    """The endings of files with their numbers, the most frequent first: "3 .md"."""
    counts = Counter(spoken(file.suffix.lower()) or "without an ending" for file in files)
    return [
        f"{number} {ending}"
        for ending, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def count(number: int, one: str, more: str = "") -> str:
    """ "1 file", "2 files"."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def few(names: Sequence[str]) -> str:
    """The first names of a list, in one line."""
    return ", ".join(names[:SHOWN]) + (f", and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def spoken(name: str | os.PathLike[str]) -> str:
    """A name that any terminal and file takes: bytes of a path that are no UTF-8 are written out, as \\udcf1."""
    return os.fspath(name).encode("utf-8", "backslashreplace").decode()


def one_form(name: str) -> str:
    """A name in the one Unicode form that names are compared in (NFC): "é" may be written as one sign, or as two."""
    return spoken(unicodedata.normalize("NFC", name))


def natural(name: str) -> tuple[list[str | int], str]:
    """A sort key in which "2" comes before "10", and case matters last."""
    pieces = re.split("([0-9]+)", name.casefold())
    return [int(piece) if k % 2 else piece for k, piece in enumerate(pieces)], name
