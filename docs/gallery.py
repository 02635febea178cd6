"""Writes gallery.md: what every recipe makes, from the pages of runs in docs/experiments and the first lines of the recipes.

    python docs/gallery.py            write it, and the pictures that are cut for it
    python docs/gallery.py --check    change nothing; exit 1 and name what is stale

Nothing is said here that those do not say: title, sentence, commands, hardware and time are a page's own, the result is its row of
experiments/index.md, and a recipe without a page stands in a list with what its header knows.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 100_000  # of a picture
CUTS = {  # width and height in pixels of what is kept of a larger picture: whole rows and columns of it
    "bouncing": (1058, 332),
    "cifar10": (662, 134),
    "emoji": (1096, 326),
    "flowers": (398, 134),
    "scenes": (1096, 528),
    "upscale": (400, 400),
    "vae": (522, 394),
}
HEAD = """# Gallery

What every recipe makes, with its command, time and hardware. The pictures are the first samples of real runs, none picked out; a larger
picture is cut. Each has a page that tells all of it.

<!-- generated: live -->
"""
REST = """
## Without a page

Recipes that were not run to an end: for want of a GPU, of their data, or because they are for pictures of your own. What is said of
each is all that is known.

"""
TAIL = """
This page is written by `python docs/gallery.py` from [the pages of experiments](experiments/index.md) and the headers of the recipes.
"""


class Run(NamedTuple):
    """What the page of a run says. picture: relative to docs; facts: its first table."""

    name: str
    title: str
    sentence: str
    block: str
    facts: dict[str, str]
    caption: str
    picture: str


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def read(path: Path) -> Run:
    """The page of a run; ValueError where one of its parts is not there."""
    text = path.read_text(encoding="utf-8")

    def part(pattern: str) -> re.Match[str]:
        found = re.search(pattern, text, re.MULTILINE)
        if found is None:
            raise ValueError(f"{path.name}: nothing is like {pattern}")
        return found

    opening = part(r"\A# (.+)\n\n((?:.+\n)+)")
    block = part(r"(?:^<!-- not run: .+ -->\n)?^```bash\n(?:.*\n)+?```\n")
    table = part(r"^\|.+\|\n\|[-|]+\|\n((?:\|.+\|\n)+)")
    sample = part(r"!\[([^]]+)\]\((pictures/\w+-samples\.png)\)")
    rows = [cells(line) for line in table[1].splitlines()]
    facts = {row[0]: "; ".join(cell for cell in row[1:] if cell != "the same") for row in rows}
    sentence = opening[2].strip().replace("](../", "](")
    return Run(path.stem, opening[1], sentence, block[0], facts, sample[1], f"experiments/{sample[2]}")


def results(docs: Path) -> dict[str, str]:
    """Name of a page -> its result, in the order of the index of experiments."""
    rows = re.findall(
        r"^\| \[\w+\]\((\w+)\.md\) (\|.+\|)$", (docs / "experiments/index.md").read_text("utf-8"), re.M
    )
    return {name: cells(row)[-1] for name, row in rows}


def picture(docs: Path, run: Run, write: bool) -> tuple[str, str]:
    """The picture of a run, cut where it is large, and what is wrong with it, or ""."""
    if run.name not in CUTS:
        large = (docs / run.picture).stat().st_size > MAX_BYTES
        return run.picture, f"{run.picture} has more than 100 kB: say in CUTS what to keep" if large else ""
    place = f"pictures/gallery-{run.name}.png"
    with Image.open(docs / run.picture) as whole:
        part = whole.crop((0, 0, *CUTS[run.name]))
    if write:
        part.save(docs / place, optimize=True)
    elif not (docs / place).exists():
        return place, f"{place} is not there"
    with Image.open(docs / place) as stored:
        same = stored.size == part.size and stored.tobytes() == part.tobytes()
    small = (docs / place).stat().st_size <= MAX_BYTES
    return place, "" if same and small else f"{place} is {'stale' if small else 'too large'}"


def section(run: Run, place: str, result: str) -> str:
    rows = {"result": result} | {
        key: run.facts[key] for key in ("hardware", "time", "parameters") if key in run.facts
    }
    table = "".join(f"| {key} | {value} |\n" for key, value in rows.items())
    return (
        f"\n## {run.title}\n\n![{run.caption}]({place})\n\n{run.sentence}\n\n{run.block}\n"
        f"| | |\n|---|---|\n{table}\n[All about it](experiments/{run.name}.md)\n"
    )


def header(path: Path) -> tuple[str, str, str]:
    """What a recipe makes, the first command that trains it, and what else its header says."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#"))
    words = [line.strip() for line in lines]
    command = next(line for line in words if line.startswith(f"mezzotint train {path.stem}"))
    rest = " ".join(line for line in words[1:] if not re.match(r"mezzotint ", line))
    return words[0], re.split(r"\s{3,}", command)[0], rest or "No run of it is kept."


def page(root: Path = ROOT, write: bool = False) -> tuple[str, list[str]]:
    """The text of the gallery, and what is wrong with its pictures, a line each."""
    docs, wrong = root / "docs", []
    text, trained = HEAD, set()
    for name, result in results(docs).items():
        run = read(docs / "experiments" / f"{name}.md")
        place, problem = picture(docs, run, write)
        wrong += [problem] if problem else []
        text += section(run, place, result)
        trained |= set(re.findall(r"mezzotint train (\w+)", run.block))
    text += REST
    for path in sorted((root / "src/mezzotint/recipes").glob("*.yaml")):
        if path.stem not in trained:
            what, command, known = header(path)
            text += f"- **{path.stem}**: {what.rstrip('.')}. {known} `{command}`\n"
    return text + TAIL, wrong


if __name__ == "__main__":
    check = sys.argv[1:] == ["--check"]
    text, found = page(write=not check)
    file = ROOT / "docs" / "gallery.md"
    if not check:
        file.write_text(text, encoding="utf-8")
    elif not file.exists() or file.read_text(encoding="utf-8") != text:
        found.append("gallery.md is stale; run python docs/gallery.py")
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    sys.exit(bool(found))
