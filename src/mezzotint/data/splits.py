"""Which files are of which split: by folders called train/ or test/, and by the hub's patterns for parquet files.

Without a split asked for it is guessed what to train on, and a line says so. Where a wrong guess would train on test
pictures or take classes for splits, it is refused with the key that decides: data.split.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mezzotint.data.endings import count, few, one_form, spoken
from mezzotint.errors import DataError

SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "eval", "evaluation"),
    "validation": ("validation", "valid", "val", "dev"),
}
WORDS = {word: split for split, words in SPLITS.items() for word in words}
ALL = "all"
# train.parquet, train-00000-of-00002.parquet, with a checksum behind it in older sets; also train-0, train_1
SHARD = re.compile(r"(?P<split>.+?)([-_.]?\d+)?([-_]of[-_]\d+)?(-[0-9a-f]{16})?", re.DOTALL)
PAIR = re.compile(
    r"(?P<set>.+)[-_.](?P<split>[^-_.]+)", re.DOTALL
)  # cifar-train.parquet beside cifar-test.parquet


def split_of(word: str) -> str:
    """The split that a word stands for, "val" for validation; any other word stands for itself."""
    word = one_form(word).casefold()
    return WORDS.get(word, word)


def folders_of(file: Path, root: Path) -> list[str]:
    """The folders below `root` that a file lies in, as they are compared."""
    return [one_form(part).casefold() for part in file.relative_to(root).parts[:-1]]


def split_place(file: Path, root: Path) -> int | None:
    """How many folders below `root` lie above the one that is called as a split; None where there is none."""
    return next((k for k, part in enumerate(folders_of(file, root)) if part in WORDS), None)


def pictures_of(files: Sequence[Path], root: Path, split: str | None) -> tuple[Sequence[Path], list[str]]:
    """The picture files of a split, by the folders they lie in, and what is to be said of it.

    split: a name, "all", or None to guess what is to be trained on. Raises DataError.
    """
    folders = {file: folders_of(file, root) for file in files}
    tags = {
        file: next((WORDS[part] for part in parts if part in WORDS), None) for file, parts in folders.items()
    }
    tagged = {tag for tag in tags.values() if tag}
    if split == ALL or (not tagged and split in (None, "train")):
        return files, []
    if split is None:
        if not _guessed_splits(files, root, tags):
            return files, [
                f"{spoken(root)}: train/ is taken as a class, since there is no test/ beside it; "
                "if it is a split, set data.split=train"
            ]
        wanted = "train"
    else:
        wanted = split_of(split)
    if wanted in WORDS.values():
        found = [file for file in files if tags[file] == wanted]
    else:
        found = [file for file in files if wanted in folders[file]]
    if wanted == "train" and not found:  # asked for: all but the other splits
        found = [file for file in files if tags[file] is None] if split else []
    if not found:
        raise DataError(_missing(root, split or "train", sorted(tagged)))
    notes = []
    if left := _left_out(files, found, root, tags):
        notes.append(f"{_place(found, root)} read as the split {wanted!r}, and left out {left}")
        if split is None and all(len(folders[file]) == 1 for file in found):
            notes[0] += "; if these folders are classes, set data.split=all"
    return found, notes


def _guessed_splits(files: Sequence[Path], root: Path, tags: dict[Path, str | None]) -> bool:
    """Whether folders called train/ or test/ are splits. Raises DataError where that cannot be told."""
    named = {tag for tag in tags.values() if tag}
    others = [file for file in files if tags[file] is None]
    if not others or {"train"} < named:
        return True
    if "train" not in named:
        raise DataError(
            f"{spoken(root)} has {_places(files, root, tags)} beside {_tops(others, root)}: splits or classes? Set "
            "data.split=train to train on all but these, or data.split=all where each folder is a class"
        )
    inside = _inside([file for file in files if tags[file]], root)
    if len(inside) < 2 or None in inside:
        return False
    beside = _inside(others, root)
    if beside == {None} or inside & beside:
        return True
    raise DataError(
        f"{spoken(root)} has train/ beside {_tops(others, root)}: a split or a class? Set data.split=train or data.split=all"
    )


def _inside(files: Sequence[Path], root: Path) -> set[str | None]:
    """The folders right below the topmost ones; None where a file lies in the topmost itself."""
    parts = [file.relative_to(root).parts for file in files]
    return {one_form(names[1]) if len(names) > 2 else None for names in parts}


def _left_out(files: Sequence[Path], found: Sequence[Path], root: Path, tags: dict[Path, str | None]) -> str:
    """What lies beside the files of a split, with numbers."""
    taken = set(found)
    left = [file for file in files if file not in taken]
    counts = Counter(
        f"split {tags[file]!r}" if tags[file] else _top(file, root) if file.parent != root else "in no folder"
        for file in left
    )
    kinds = few([f"{name} ({count(number, 'picture')})" for name, number in counts.items()])
    return f"{count(len(left), 'picture')}: {kinds}"


def _top(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts
    return spoken(parts[0]) + ("/" if len(parts) > 1 else "")


def _tops(files: Sequence[Path], root: Path) -> str:
    return few(list(dict.fromkeys(_top(file, root) for file in files)))


def _places(files: Sequence[Path], root: Path, tags: dict[Path, str | None]) -> str:
    """The folders that are called as splits."""
    words = (
        next(part for part in file.relative_to(root).parts if one_form(part).casefold() in WORDS)
        for file in files
        if tags[file]
    )
    return few([f"{word}/" for word in dict.fromkeys(words)])


def _place(found: Sequence[Path], root: Path) -> str:
    return few(list(dict.fromkeys(_top(file, root) for file in found)))


def tables_of(files: Sequence[Path], root: Path, split: str | None) -> tuple[Sequence[Path], list[str]]:
    """The parquet files of a split, by the hub's patterns, and what is to be said of it: see `pictures_of`."""
    tags = _table_tags(files, root)
    named = {tag for tag in tags.values() if tag in WORDS.values()}
    notes = []
    if split == ALL or (not named and split in (None, "train")):
        if len(files) > 1:
            why = "" if split else ", none named after a split"
            notes.append(f"{count(len(files), 'parquet file')} read{why}: {_names(files, root)}")
        return files, notes
    wanted = split_of(split or "train")
    found = [
        file
        for file in files
        if tags[file] == wanted or (wanted not in WORDS.values() and wanted in folders_of(file, root))
    ]
    if split and wanted == "train" and not found:
        found = [file for file in files if tags[file] not in WORDS.values()]
    if not found:
        raise DataError(_missing(root, split or "train", sorted(named)))
    taken = set(found)
    if left := [file for file in files if file not in taken]:
        splits = Counter(tag if (tag := tags[file]) in WORDS.values() else "" for file in left)
        said = [f"split {tag!r} ({count(number, 'file')})" for tag, number in splits.items() if tag]
        if strays := [file for file in left if tags[file] not in WORDS.values()]:
            said.append(_names(strays, root))
        notes.append(f"{_names(found, root)} read as the split {wanted!r}, and left out: {few(said)}")
    return found, notes


def _table_tags(files: Sequence[Path], root: Path) -> dict[Path, str]:
    """What each file is named after, a split or another word: the name of the file counts, else the nearest folder."""
    pairs: dict[Path, tuple[Path, str]] = {}
    for file in files:
        match = PAIR.fullmatch(_stem(file))
        if match and (word := one_form(match["split"]).casefold()) in WORDS:
            pairs[file] = (file.parent / match["set"], WORDS[word])
    partners = Counter(of_set for of_set, _ in set(pairs.values()))
    tags = {}
    for file in files:
        stem = one_form(_stem(file)).casefold()
        folders = [
            part.removeprefix("partial-") for part in reversed(folders_of(file, root))
        ]  # cut short by the hub
        if stem in WORDS:
            tags[file] = WORDS[stem]
        elif file in pairs and partners[pairs[file][0]] > 1:
            tags[file] = pairs[file][1]
        else:
            tags[file] = next((WORDS[part] for part in folders if part in WORDS), stem)
    return tags


def _stem(file: Path) -> str:
    """The name of a file without its ending and its number among others."""
    match = SHARD.fullmatch(file.name.removesuffix(file.suffix))
    return match["split"] if match else file.stem


def _names(files: Sequence[Path], root: Path) -> str:
    return few([spoken(file.relative_to(root)) for file in files])


def _missing(root: Path, split: str, there: Sequence[str]) -> str:
    known = f"it has {', '.join(there)}: set data.split, or " if there else ""
    return f"{spoken(root)} has no split {split!r}; {known}name files or folders after it, or point --data straight at it"
