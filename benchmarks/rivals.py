"""Makes a virtual environment for the rivals: diffusers, denoising-diffusion-pytorch and smalldiffusion.

    python benchmarks/rivals.py                # makes .venv-rivals, which git ignores, and says what it holds

Two of them require torchvision, which cannot be imported beside a CPU build of PyTorch and would make pip replace it.
They use it only to read pictures from files, and here batches come from memory. So they are installed without their
dependencies, beside a stand-in module of that name. The environment sees the packages of the one it was made from
(PyTorch, numpy, this project), so that all contenders run on the very same PyTorch, installed once.

What could not be installed is written into results/rivals.json, and is missing from the tables.
"""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from measuring import RESULTS, ROOT

FOLDER = ROOT / ".venv-rivals"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
NEEDED = ("accelerate==1.15.0", "einops==0.8.2", "ema-pytorch==0.8.3", "psutil==7.2.2")
RIVALS = {
    "diffusers": "diffusers==0.42.1",
    "denoising_diffusion_pytorch": "denoising-diffusion-pytorch==2.3.4",
    "smalldiffusion": "smalldiffusion==0.5.0",
}
STAND_IN = '''"""Stands in for torchvision: whatever is asked of it is there, and does nothing."""

import sys
from types import ModuleType


class _Anything(ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **options: None


transforms = _Anything("torchvision.transforms")
utils = _Anything("torchvision.utils")
sys.modules["torchvision.transforms"], sys.modules["torchvision.utils"] = transforms, utils
'''


def make() -> dict[str, str]:
    """The environment, made anew. Returns the version of each rival, or why it is missing."""
    venv.create(FOLDER, clear=True, with_pip=False)
    (FOLDER / ".gitignore").write_text("*\n", encoding="utf-8")
    ask = [str(PYTHON), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    # addsitedir and not a mere path, for the .pth files there: an editable install of this project is one
    ours = sysconfig.get_path("purelib")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n", encoding="utf-8")
    (packages / "torchvision.py").write_text(STAND_IN, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "--quiet", "--no-deps"]
    failures: dict[str, str] = {}
    for requirement in (*NEEDED, *RIVALS.values()):
        done = subprocess.run([*pip, requirement], capture_output=True, text=True, check=False)
        if done.returncode:
            failures[requirement.split("=")[0]] = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    return {name: failures.get(pinned.split("=")[0]) or _tried(name) for name, pinned in RIVALS.items()}


def _tried(name: str) -> str:
    """The version of a package that can be imported, else its error."""
    code = f"import {name}; from importlib.metadata import version; print(version('{name}'))"
    done = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=False)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return ("missing: " if done.returncode else "") + (lines[-1] if lines else "no answer")


def main() -> dict[str, str]:
    versions = make()
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "rivals.json").write_text(json.dumps(versions, indent=1) + "\n", encoding="utf-8")
    for name, version in versions.items():
        print(f"{name}: {version}")
    return versions


def continue_there() -> None:
    """Goes on with this command in the rivals' environment, which is made where there is none."""
    if Path(sys.prefix).resolve() == FOLDER.resolve():
        return
    if not PYTHON.exists():
        main()
    os.execv(PYTHON, [str(PYTHON), *sys.argv])


if __name__ == "__main__":
    main()
