"""Install, demo and checks with nothing but Python: `python3 make.py COMMAND` (the Makefile only calls this).

    install   make .venv and install the package with its development tools, or with other extras: `--extra serve`
    demo      sample a bundled model, train two small ones and sample them (installs the package alone if .venv is
              empty)
    test      format, lint, types and unit tests; `test lint`, `test types` or `test unit` for a part;
              what follows `--` goes to pytest
    format    rewrite the code in the house format
    notebooks make notebooks/*.ipynb of their scripts
    docs      build the documentation into out/docs, offline
    clean     remove caches and build outputs (keeps .venv, runs and out)

The build of torch: `--torch auto|cpu|cuda` or TORCH=... in the environment; auto takes the CUDA build where
`nvidia-smi` answers and a CPU build elsewhere. `--torch-index URL` or TORCH_INDEX=... names a package index
with builds of torch, used for torch alone.

Standard library only, in the syntax of Python 3.9: an old Python gets a clear message, not a syntax error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN, EXE = (VENV / "Scripts", ".exe") if os.name == "nt" else (VENV / "bin", "")
PYTHON, MEZZOTINT = BIN / f"python{EXE}", BIN / f"mezzotint{EXE}"
STAMP = VENV / "mezzotint.json"  # what was installed, so that nothing is installed twice
PYPROJECT, CONSTRAINTS = ROOT / "pyproject.toml", ROOT / "constraints.txt"

OLDEST = (3, 11)
TRIED = ("3.12", "3.11", "3.13", "3.14")  # Pythons looked for when the running one is too old, best first

DEMO = (  # command, and what is to be seen in its picture
    (
        "show reverse mnist -n 5 -o out/demo-mnist-from-noise.png",
        "digits of 28x28 pixels come out of noise (a bundled model); below each row what the model believes",
    ),
    ("sample mnist -n 60 --class all -o out/demo-mnist.png", "60 more of them, a column for each digit"),
    ("train moons --name demo-moons --overwrite", ""),
    ("sample demo-moons -n 2000 -o out/demo-moons.png", "2,000 points of two moons, just learned"),
    ("train digits --images 24000 --name demo-digits --overwrite", ""),
    (
        "sample demo-digits -n 50 --class all --guidance 2 -o out/demo-digits.png",
        "digits just learned, of 8x8 pixels each, enlarged: that is all the UCI set has",
    ),
)

# pip's words where there is no such build: alone, and held against constraints.txt
NO_SUCH_BUILD = ("No matching distribution found for torch", "ResolutionImpossible")

CHECKS = {  # part -> its checks: name, module and arguments
    "lint": [("format", "ruff format --check ."), ("lint", "ruff check .")],
    "types": [("types", "mypy")],
    "unit": [("unit", "pytest -n 2 --dist worksteal")],  # tests that share what they set up stay together
}


def say(line: str) -> None:
    print(line, flush=True)  # children write to the same stream


def stop(line: str, output: str = "") -> None:
    """Ends with one line, after the tail of the output of what failed."""
    tail = "\n".join(output.strip().splitlines()[-15:])
    sys.exit(f"{tail}\nmake.py: {line}" if tail else f"make.py: {line}")


def capture(*command: object) -> tuple[int, str]:
    """Runs a command in the project's folder; returns its exit code and everything that it wrote."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=str(ROOT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout


# --- the virtual environment -----------------------------------------------------------------------------


def works(*python: object) -> bool:
    """Whether this is a Python new enough (a name on the PATH may be a shim with nothing behind it)."""
    return capture(*python, "-c", f"import sys; sys.exit(sys.version_info < {OLDEST})")[0] == 0


def find_python() -> list[str]:
    """The command of a Python to make the environment with."""
    if sys.version_info[:2] >= OLDEST:
        return [sys.executable]
    for version in TRIED:
        command = ["py", "-" + version] if os.name == "nt" else ["python" + version]
        if shutil.which(command[0]) and works(*command):
            return command
    have, need = "{}.{}".format(*sys.version_info), "{}.{}".format(*OLDEST)
    stop(
        f"Python {have} is too old and no newer one is on the PATH: install Python {need} or newer, then try again"
    )
    raise AssertionError


def make_venv() -> None:
    """Makes .venv, or mends one without an interpreter or pip; leaves a sound one as it is."""
    if works(PYTHON) and capture(PYTHON, "-c", "import pip")[0] == 0:
        return
    python = find_python()
    say("make.py: creating the virtual environment .venv")
    code, output = capture(*python, "-m", "venv", VENV)
    if code:
        stop("Python could not make .venv (on Debian and Ubuntu: apt install python3-venv)", output)
    if not works(PYTHON):
        stop(".venv belongs to an older Python: delete that folder, then try again")


# --- what is installed in it -----------------------------------------------------------------------------


def pip(*arguments: object) -> tuple[int, str]:
    quiet = ("--quiet", "--disable-pip-version-check")
    return capture(PYTHON, "-m", "pip", "install", *quiet, "-c", CONSTRAINTS, *arguments)


def pinned_torch() -> str:
    """The version of torch in constraints.txt."""
    pin = re.search(r"^torch==(\S+)", CONSTRAINTS.read_text(), re.MULTILINE)
    assert pin, "constraints.txt pins torch"
    return pin.group(1)


def detect_torch() -> str:
    """The build that suits this machine: cuda where an NVIDIA driver answers, else cpu."""
    return "cuda" if shutil.which("nvidia-smi") and capture("nvidia-smi")[0] == 0 else "cpu"


def torch_candidates(build: str, version: str, index: str | None, platform: str) -> list[str]:
    """What to ask pip for, in order; the next is tried where pip finds no such build.

    `==` accepts any local version and prefers one (2.13.0+cpu over 2.13.0), `===` only the ordinary build.
    """
    plain = f"torch=={version}"
    if platform == "darwin":
        return [plain]
    if build == "cpu":
        return [f"torch=={version}+cpu", plain]
    return [plain] if index else [f"torch==={version}", plain]


def has_torch(build: str, version: str) -> bool:
    """Whether .venv holds the pinned torch in this build."""
    probe = "import torch; print(torch.__version__.split('+')[0], torch.version.cuda or torch.version.hip)"
    code, output = capture(PYTHON, "-c", probe)
    if code or not output.split():
        return False
    found, accelerator = output.split()[-2:]
    return found == version and (sys.platform == "darwin" or (accelerator == "None") == (build == "cpu"))


def install_torch(build: str, index: str | None) -> None:
    version = pinned_torch()
    if has_torch(build, version):
        return
    say(f"make.py: installing torch {version} for {build} (TORCH=cpu or TORCH=cuda forces the other)")
    output = ""
    for requirement in torch_candidates(build, version, index, sys.platform):
        if output and build == "cpu" and sys.platform == "linux":
            say(
                "make.py: pip finds no CPU build of torch and takes the ordinary one, which may bring several GB of "
                "CUDA packages on Linux; to avoid that, stop and name an index with CPU builds: TORCH_INDEX=URL"
            )
        # --upgrade: 2.13.0+cpu would satisfy a wish for the CUDA build of the same version
        code, output = pip("--upgrade", *(["--index-url", index] if index else []), requirement)
        if not code:
            break
        if not any(words in output for words in NO_SUCH_BUILD):
            stop("pip could not install torch", output)
    else:
        stop(f"pip finds no torch {version} for this Python and machine: see the lines above", output)
    if build == "cuda" and not has_torch(build, version):
        say(
            "make.py: this torch has no CUDA; name an index with CUDA builds: make install TORCH=cuda TORCH_INDEX=URL"
        )


def install(extra: str, torch: str, index: str | None) -> None:
    """Brings .venv up to date with pyproject.toml and constraints.txt. `extra`: "dev", or "" for the core."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        stamp = {}
    inputs = PYPROJECT.read_bytes() + CONSTRAINTS.read_bytes() + str(ROOT).encode()  # a moved clone is stale
    wanted = {
        "inputs": hashlib.sha256(inputs).hexdigest(),
        "torch": torch if torch != "auto" else stamp.get("torch") or detect_torch(),
        "index": index or stamp.get("index"),
        "extra": extra or stamp.get("extra", ""),
    }
    if wanted == stamp and PYTHON.exists():
        return
    start = time.monotonic()
    make_venv()
    STAMP.write_text(json.dumps({**wanted, "inputs": "unfinished"}))
    install_torch(wanted["torch"], wanted["index"])
    package = f".[{wanted['extra']}]" if wanted["extra"] else "."
    say(f"make.py: installing mezzotint{package[1:]}")
    code, output = pip("-e", package)
    if code:
        stop("pip could not install the packages", output)
    STAMP.write_text(json.dumps(wanted))
    say(f"make.py: installed in {time.monotonic() - start:.0f} s")


# --- the commands ----------------------------------------------------------------------------------------


def call(module_and_arguments: str, more: list[str], **environment: str) -> int:
    """Runs a tool of .venv with its output shown; returns its exit code."""
    command = [str(PYTHON), "-m", *module_and_arguments.split(), *more]
    return subprocess.call(command, cwd=str(ROOT), env={**os.environ, **environment})


def check(parts: list[str], pytest_arguments: list[str]) -> int:
    """Runs every check of the parts, also after one has failed; returns 1 if any did."""
    lines = []
    for name, tool in [each for part in parts for each in CHECKS[part]]:
        say(f"make.py: {tool}")
        start = time.monotonic()
        # One thread a process: torch's own threads would fight those of the other test workers. Files are UTF-8 on Windows, too.
        code = call(tool, pytest_arguments if name == "unit" else [], OMP_NUM_THREADS="1", PYTHONUTF8="1")
        lines.append(f"{name:8}{'FAILED' if code else 'ok':8}{time.monotonic() - start:.1f} s")
    say("\n" + "\n".join(lines))
    return int(any("FAILED" in line for line in lines))


def demo() -> int:
    start = time.monotonic()
    pictures = []
    for line, caption in DEMO:
        say(f"\n$ mezzotint {line}")
        code = subprocess.call([str(MEZZOTINT), *line.split()], cwd=str(ROOT))
        if code:
            return code
        if caption:
            pictures.append(f"  {ROOT / line.split(' -o ')[1]}\n    {caption}")
            say(pictures[-1])
    say(f"\nDone in {time.monotonic() - start:.0f} s. Look at:")
    for picture in pictures:
        say(picture)
    return 0


def docs() -> int:
    """Fills the code blocks from the source and builds the pages; a warning is an error."""
    code = subprocess.call([str(PYTHON), "docs/sources.py"], cwd=str(ROOT))
    code = code or call("sphinx -q -W --keep-going -E -b html docs out/docs", [])
    if not code:
        say(f"make.py: look at {ROOT / 'out' / 'docs' / 'index.html'}")
    return code


def clean() -> int:
    caches = [".mypy_cache", ".ruff_cache", ".pytest_cache", "build", "dist"]
    found = [ROOT / name for name in caches]
    found += [
        path for top in ("src", "tests", "examples", "docs") for path in (ROOT / top).rglob("__pycache__")
    ]
    for folder in found:
        shutil.rmtree(str(folder), ignore_errors=True)
    return 0


def main(words: list[str]) -> int:
    pytest_arguments = words[words.index("--") + 1 :] if "--" in words else []
    words = words[: words.index("--")] if "--" in words else words
    parser = argparse.ArgumentParser(
        prog="make.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = ["install", "demo", "test", *CHECKS, "format", "notebooks", "docs", "clean"]
    parser.add_argument("command", choices=commands, metavar="COMMAND", help=", ".join(commands))
    parser.add_argument("part", nargs="?", choices=list(CHECKS), help="with test: one part of it")
    parser.add_argument("--extra", default="dev", help="of pyproject.toml, for install: dev, or a,b")
    parser.add_argument("--torch", default=os.environ.get("TORCH") or "auto", help="auto, cpu or cuda")
    parser.add_argument("--torch-index", default=os.environ.get("TORCH_INDEX"), metavar="URL")
    if not words:
        parser.print_help()
        return 0
    options = parser.parse_args(words)
    if options.torch not in ("auto", "cpu", "cuda"):
        parser.error(f"TORCH={options.torch}: choose auto, cpu or cuda")
    if options.part and options.command != "test":
        parser.error(f"only test has parts: python3 make.py test {options.part}")
    if options.command == "clean":
        return clean()
    extra = {"demo": "", "install": options.extra}.get(options.command, "dev")
    install(extra, options.torch, options.torch_index or None)
    if options.command == "demo":
        return demo()
    if options.command == "format":
        return call("ruff check --fix-only --quiet .", []) or call("ruff format .", [])
    if options.command == "notebooks":
        return subprocess.call([str(PYTHON), "docs/notebooks.py"], cwd=str(ROOT))
    if options.command == "docs":
        return docs()
    if options.command == "install":
        say(f"make.py: ready; the command is {MEZZOTINT}")
        return 0
    parts = list(CHECKS) if options.command == "test" else [options.command]
    return check([options.part] if options.part else parts, pytest_arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
