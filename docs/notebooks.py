"""Makes notebooks/*.ipynb of notebooks/*.py, the scripts in which they are written.

    python docs/notebooks.py            write them all
    python docs/notebooks.py --check    change nothing; exit 1 and name those that are stale

The scripts are in the percent format: `# %%` begins a cell of code, `# %% [markdown]` one of text, and a commented magic
such as `# %pip` is a magic in the notebook. Notebooks have no outputs, and the same script always gives the same file.
"""

import sys
from pathlib import Path

import jupytext

ROOT = Path(__file__).resolve().parents[1]


def notebook(script: str) -> str:
    """The text of the .ipynb file of a script; cells are named by their place."""
    document = jupytext.reads(script, fmt="py:percent")
    for i, cell in enumerate(document.cells):
        cell["id"] = f"cell-{i + 1:02}"
    document.metadata.pop(
        "jupytext"
    )  # the script is the master: a notebook that is changed does not write it
    return jupytext.writes(document, fmt="ipynb").rstrip("\n") + "\n"


def pages(root: Path = ROOT) -> dict[Path, str]:
    """The text of every notebook, by the path of its file."""
    scripts = sorted((root / "notebooks").glob("*.py"))
    return {path.with_suffix(".ipynb"): notebook(path.read_text(encoding="utf-8")) for path in scripts}


def stale(root: Path = ROOT) -> list[Path]:
    """Notebooks that are not what their scripts say, or have no script any more."""
    expected = pages(root)
    existing = (root / "notebooks").glob("*.ipynb")
    old = {path for path, text in expected.items() if not path.exists() or path.read_text("utf-8") != text}
    return sorted(old | {path for path in existing if path not in expected})


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        found = stale()
        for path in found:
            print(f"{path.relative_to(ROOT)} is stale; run python3 make.py notebooks", file=sys.stderr)
        sys.exit(bool(found))
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
