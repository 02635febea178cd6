"""The notebooks run from their first cell to the last, show their pictures, and are what their scripts say.

They are worked through as a notebook does it, cell by cell in one namespace, and what stands last in a cell is shown;
only on less data, with `MEZZOTINT_QUICK=1`, and with a judge that is trained for a moment.
"""

import ast
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers_modules import module_of
from PIL import Image

from mezzotint.data import drawn
from mezzotint.evaluate.judges import classifier

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
FEWER = {"train": 160, "test": 60}  # pictures
PICTURES = {"moons": 6, "mnist": 7, "cifar10": 9, "flowers": 10}  # shown at least
BUNDLED = {"students": 5, "words": 6, "editing": 8, "clips": 5}  # those of models that come with the package


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return module_of(ROOT / "docs" / "notebooks.py")


def cells(path: Path, kind: str = "code") -> list[str]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def shown(sources: list[str]) -> Iterator[Any]:
    """Runs cells one after the other; yields what each shows, None where it shows nothing."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for i, source in enumerate(sources):
        plain = source.replace("%pip", "# %pip")
        body = ast.parse(plain)
        last = body.body.pop() if isinstance(body.body[-1], ast.Expr) else None
        exec(compile(body, f"cell {i + 1}", "exec"), namespace)
        value = ast.Expression(last.value) if isinstance(last, ast.Expr) else ast.parse("None", mode="eval")
        yield eval(compile(value, f"cell {i + 1}", "eval"), namespace)


def cut_down(name: str, folder: Path) -> None:
    """The first pictures of a set."""
    parquet = pytest.importorskip("pyarrow.parquet")
    for split, count in FEWER.items():
        table = parquet.read_table(SHARED / name / f"{split}.parquet")
        every = len(table) // count  # classes may be in order
        parquet.write_table(table.take(list(range(0, every * count, every))), folder / f"{split}.parquet")


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes everything small for a notebook, in a folder of its own and without a network."""

    def prepare(name: str) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MEZZOTINT_QUICK", "1")
        monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.delenv("MEZZOTINT_DATA", raising=False)
        monkeypatch.setattr(classifier, "budget", lambda count: 256)
        monkeypatch.setattr(drawn, "MAX_HELD_OUT", 32)  # frames: 2 clips
        if name != "moons":
            if not (SHARED / name).is_dir():
                pytest.skip(f"needs shared/data/{name} beside the repository")
            (tmp_path / "data").mkdir()
            cut_down(name, tmp_path / "data")
            monkeypatch.setenv("MEZZOTINT_DATA", str(tmp_path / "data"))

    return prepare


@pytest.mark.parametrize("name", PICTURES)
def test_it_runs_and_shows_its_pictures(name: str, quick: Callable[[str], None]) -> None:
    quick(name)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        values = list(shown(cells(ROOT / "notebooks" / f"{name}.ipynb")))
    pictures = [value for value in values if isinstance(value, Image.Image) or hasattr(value, "_repr_png_")]
    assert len(pictures) >= PICTURES[name]
    assert all(value is None or value in pictures for value in values)  # nothing else is spilled
    assert all(value._repr_png_().startswith(b"\x89PNG") for value in pictures)
    text = said.getvalue()
    assert "resuming from step" in text and " real" in text
    match name:
        case "moons":
            assert "all equal: True; the model files are equal: True" in text
        case "mnist":
            assert "before\nstep" in text and "after\n" in text
        case "flowers":
            assert "equal: True" in text and "equal: False" not in text


@pytest.mark.parametrize("name", BUNDLED)
def test_those_of_bundled_models_run(name: str, quick: Callable[[str], None]) -> None:
    quick("moons")  # no data are needed
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        values = list(shown(cells(ROOT / "notebooks" / f"{name}.ipynb")))
    pictures = [value for value in values if isinstance(value, Image.Image) or hasattr(value, "_repr_png_")]
    assert len(pictures) >= BUNDLED[name]
    assert all(value is None or value in pictures for value in values)
    text = said.getvalue()
    match name:
        case "words":
            assert "does not know the word 'rad'; did you mean red" in text and "own captions: 100%" in text
        case "editing":
            assert "strength 0 changes 0 grey" in text and "known pixels changed by 0 grey" in text
            assert "off by 0.0 grey" in text
        case "students":
            assert "times as fast" in text
        case "clips":
            assert "known frames are equal: True" in text and "16 frames" in text


@pytest.mark.parametrize("name", [*PICTURES, *BUNDLED])
def test_it_is_a_lesson(name: str) -> None:
    path = ROOT / "notebooks" / f"{name}.ipynb"
    assert 8 <= len(cells(path)) <= 14 and len(cells(path, "markdown")) >= 8
    compile((ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8"), name, "exec")
    first = cells(path)[0]
    assert 'find_spec("mezzotint") is None:\n    %pip install' in first  # never over a package that is there
    assert all(not cell.get("outputs") for cell in json.loads(path.read_text())["cells"])


def test_they_are_what_their_scripts_say(tool: ModuleType) -> None:
    assert tool.stale() == [], "run: python3 make.py notebooks"
    assert {path.stem for path in tool.pages()} == {*PICTURES, *BUNDLED}


def test_make_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    make = module_of(ROOT / "make.py")
    called: list[list[str]] = []
    monkeypatch.setattr(make, "install", lambda *_: None)

    def call(command: list[str], cwd: str) -> int:
        called.append(command)
        return 0

    monkeypatch.setattr(make.subprocess, "call", call)
    assert make.main(["notebooks"]) == 0
    assert called == [[str(make.PYTHON), "docs/notebooks.py"]]


def test_stale_notebooks_are_found(tool: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    script, made = folder / "a.py", folder / "a.ipynb"
    script.write_text("# %% [markdown]\n# # Title\n\n# %%\nif True:\n    # %pip install a\n    pass\n")
    assert tool.stale(tmp_path) == [made]
    made.write_text(tool.notebook(script.read_text()))
    assert tool.stale(tmp_path) == []
    assert cells(made) == ["if True:\n    %pip install a\n    pass"] and cells(made, "markdown") == [
        "# Title"
    ]
    script.write_text(script.read_text() + "\n# %%\n1 + 1\n")
    assert tool.stale(tmp_path) == [made]
    script.unlink()
    assert tool.stale(tmp_path) == [made]
