"""Who may import whom. The plan is data; a new module joins it here, and its arrows are decided here."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "mezzotint"

# Leaves do not know each other; every other part knows what lies below it. `__init__` is the package itself.
BUILD = {"errors", "diffusion", "nets", "data", "config"}
CHECKPOINT = BUILD | {"build", "train"}  # it stores and restores the state of training
MODEL = CHECKPOINT | {"checkpoint", "snapshots", "tasks", "plots", "device", "samples"}
FIT = MODEL | {"model", "source", "stream", "rundir", "sheets", "strips", "run", "events"}
STUDIES = FIT | {"fit", "evaluate"}
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "diffusion": set(),
    "nets": set(),
    "data": set(),
    "config": {"errors"},
    "plots": {"errors"},
    "train": {"errors", "diffusion"},
    "tasks": {"errors", "diffusion"},
    "track": {"errors", "data"},
    "device": {"errors"},
    "evaluate": {"errors", "diffusion", "nets", "data", "tasks"},
    "build": BUILD | {"train"},
    "batches": BUILD | {"train"},
    "stream": BUILD | {"build", "train", "batches"},
    "source": BUILD | {"build", "train", "batches", "stream"},
    "events": set(),
    "rundir": CHECKPOINT | {"checkpoint"},
    "checkpoint": CHECKPOINT,
    "snapshots": CHECKPOINT | {"checkpoint"},
    "samples": {"data", "plots"},
    "model": MODEL,
    "sheets": MODEL | {"model"},
    "strips": MODEL | {"model"},
    "run": MODEL | {"model", "batches", "source"},
    "fit": FIT,
    "studies": STUDIES,
    "serve": STUDIES,
    "__init__": STUDIES,
    "cli": STUDIES | {"studies", "serve", "track", "__init__"},
    "__main__": {"cli"},
}
TORCH_ALONE = {"diffusion", "nets"}  # beside the standard library
WITHOUT_TORCH = {"config", "errors"}


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


def violations(package: Path) -> list[str]:
    """One line for every import in the package that the plan does not allow."""
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        part = place.parts[0].removesuffix(".py")
        if part not in ARROWS:
            found.append(f"{place}: the part {part!r} is not in the plan")
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
            target = rest.split(".")[0]
            if target == "__version__":
                continue
            if not ((package / target).is_dir() or (package / f"{target}.py").is_file()):
                target = "__init__"  # a public name of the package, not one of its parts
            if target != part and target not in ARROWS[part]:
                found.append(f"{place} imports {name}")
    return found


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
        ("build.py", "from .model import load"),
        ("gadgets.py", "import torch"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, place: str, line: str) -> None:
    package = tmp_path / "mezzotint"
    for name in (
        "diffusion/hop.py",
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
