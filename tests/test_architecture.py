"""Who may import whom. The plan is data; a new module joins it here, and its arrows are decided here."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "mezzotint"

# Every arrow runs down. A part is a module or a folder, and the longest name that fits is a file's part: `evaluate/page.py`
# is of "evaluate", `evaluate/metrics/share.py` of "evaluate.metrics". Who may import a folder may import what is in it.
GROUND = {"errors", "randomness", "cond", "cache", "nets", "plots"}
DATA = GROUND | {"media", "config", "conditions"}
BUILD = DATA | {"diffusion", "data", "train", "tasks"}
MODEL = BUILD | {"build", "disk"}
RUN = MODEL | {"model"}
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "randomness": set(),
    "cond": set(),
    "cache": set(),
    "nets": set(),
    "plots": {"errors"},
    "config": {"errors"},
    "media": {"plots", "errors"},
    "conditions": {"errors", "cond", "cache", "randomness"},
    "diffusion": {"cond", "randomness"},
    "data": DATA,
    "train": {"errors", "cond", "randomness", "diffusion"},  # knows no data
    "tasks": {"errors", "cond", "randomness", "diffusion"},
    "build": BUILD,
    "disk": {"errors", "config", "media", "train"},
    "model": MODEL,
    "run": RUN,
    "checking": {"cond", "randomness", "diffusion", "plots"},
    "evaluate.judges": {"errors", "cache", "nets", "media"},
    "evaluate.metrics": {"errors", "data", "evaluate.judges"},
    "evaluate": RUN | {"evaluate.judges", "evaluate.metrics"},
    "studies": set(),
    "studies.doctor": RUN | {"run", "evaluate", "studies"},
    "studies.report": RUN | {"run", "evaluate", "studies"},
    "studies.tune": RUN | {"run", "evaluate", "studies"},
    "studies.sweep": RUN | {"run", "evaluate", "studies"},
    "exchange": RUN | {"checking"},
    "exchange.web": RUN,
    "serve": {"serve.http"},
    "serve.engine": RUN,  # no HTTP
    "serve.http": RUN | {"serve.engine"},
    "__init__": RUN | {"checking", "exchange"},
    "cli": RUN | {"run", "evaluate", "studies", "checking", "exchange", "serve", "__init__"},
    "__main__": {"cli"},
}
TORCH_ALONE = {"diffusion", "nets"}  # beside the standard library
WITHOUT_TORCH = {"config", "errors"}
LOOSE = 5  # modules directly in the package, beside __init__ and __main__


def imported_modules(path: Path, package: Path) -> set[str]:
    """Full names of what a file imports, anywhere in it: `from x import y` counts as `x.y`."""
    names: set[str] = set()
    here = [package.name, *path.relative_to(package).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def part_of(name: str) -> str | None:
    """The part of a module or a symbol, "evaluate.metrics.share" -> "evaluate.metrics"; None where the plan has none."""
    words = name.split(".")
    names = (".".join(words[:count]) for count in range(len(words), 0, -1))
    return next((part for part in names if part in ARROWS), None)


def allowed(part: str, target: str) -> bool:
    """Whether a part may import another: itself, what the plan names, and what lies in a folder that it names."""
    words = target.split(".")
    return target == part or any(
        ".".join(words[:count]) in ARROWS[part] for count in range(1, len(words) + 1)
    )


def violations(package: Path) -> list[str]:
    """One line for every import in the package that the plan does not allow."""
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        part = part_of(".".join(place.with_suffix("").parts))
        if part is None:
            found.append(f"{place}: the part {place.parts[0].removesuffix('.py')!r} is not in the plan")
            continue
        for name in sorted(imported_modules(path, package)):
            top, _, rest = name.partition(".")
            if top != package.name:
                foreign = top not in sys.stdlib_module_names
                if (foreign and part in TORCH_ALONE and top != "torch") or (
                    part in WITHOUT_TORCH and top == "torch"
                ):
                    found.append(f"{place} imports {name}")
                continue
            if rest == "__version__":
                continue
            first = rest.split(".")[0]
            if not ((package / first).is_dir() or (package / f"{first}.py").is_file()):
                rest = "__init__"  # a public name of the package, not one of its parts
            target = part_of(rest)
            if target is None or not allowed(part, target):
                found.append(f"{place} imports {name}")
    return found


def test_the_tree_tells_the_parts() -> None:
    """One folder, one noun: few modules stand loose, and every folder says what it is."""
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(loose) <= LOOSE, loose
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [str(f) for f in folders if not (f / "__init__.py").read_text().startswith('"""')] == []


def test_tests_mirror_the_package() -> None:
    """tests/a/b has the tests of src/mezzotint/a/b; what is no test is called helpers_*."""
    tests = Path(__file__).parent
    folders = {p.parent.relative_to(tests) for p in tests.rglob("*.py")} - {Path(), Path("docs")}
    assert {str(f) for f in folders if not (PACKAGE / f).is_dir()} == set()
    names = {p.name for p in tests.rglob("*.py")}
    assert {n for n in names if not n.startswith(("test_", "helpers_")) and n != "conftest.py"} == set()


def test_every_import_is_in_the_plan() -> None:
    assert violations(PACKAGE) == []


def test_the_plan_has_no_circles() -> None:
    TopologicalSorter(ARROWS).prepare()
    assert set().union(*ARROWS.values()) <= set(ARROWS)


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("diffusion/hop.py", "from mezzotint.nets import unet"),
        ("diffusion/hop.py", "from ..nets.unet import UNet"),
        ("diffusion/hop.py", "from .. import nets"),
        ("diffusion/hop.py", "import numpy as np"),
        ("diffusion/hop.py", "from mezzotint import errors"),
        ("nets/unet.py", "import mezzotint.config"),
        ("nets/__init__.py", "from ..diffusion import hop"),
        ("config.py", "def f():\n    import torch"),
        ("plots.py", "from . import model"),
        ("train/loop.py", "from mezzotint import load"),
        ("train/loop.py", "import mezzotint"),
        ("evaluate/metrics/share.py", "from mezzotint.evaluate import page"),
        ("evaluate/metrics/share.py", "from ..page import keep"),
        ("serve/engine/engine.py", "from mezzotint.serve.http import jobs"),
        ("build.py", "from .model import load"),
        ("gadgets.py", "import torch"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, place: str, line: str) -> None:
    package = tmp_path / "mezzotint"
    for name in (
        "diffusion/hop.py",
        "evaluate/page.py",
        "evaluate/metrics/share.py",
        "serve/engine/engine.py",
        "serve/http/jobs.py",
        "nets/unet.py",
        "train/loop.py",
        "config.py",
        "model.py",
        "errors.py",
        place,
    ):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("import math\nimport torch\n" if "/" in name else "import math\n")
    (package / "diffusion" / "sampler.py").write_text("from . import hop\nfrom .hop import h\n")
    (package / "model.py").write_text("from . import __version__, config\nfrom .diffusion import hop\n")
    expected = 1 if place == "gadgets.py" else 0
    assert len(violations(package)) == expected
    with (package / place).open("a") as file:
        file.write(line + "\n")
    assert len(violations(package)) == 1
    assert violations(package)[0].startswith(place)


@pytest.mark.parametrize("module", ["config", "cli", "errors"])
def test_the_command_line_starts_without_torch(module: str) -> None:
    """`mezzotint --help` is instant because nothing heavy is imported before there is work to do."""
    if not ((PACKAGE / module).is_dir() or (PACKAGE / f"{module}.py").is_file()):
        pytest.skip(f"there is no mezzotint.{module} yet")
    heavy = {"torch", "numpy", "matplotlib", "PIL"}
    code = f"import sys, mezzotint.{module}; print(sorted({heavy} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
