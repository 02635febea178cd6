"""What the name of a model or a run stands for."""

from pathlib import Path

from mezzotint.errors import ModelError

BUNDLED = Path(__file__).parents[1] / "models"


def bundled() -> dict[str, Path]:
    """The models that come with the package, by name; beside each lies a card."""
    return {path.stem: path for path in sorted(BUNDLED.glob("*.safetensors"))}


def find(name: str | Path, runs: Path = Path("runs")) -> Path:
    """The model file that a name stands for: a file, a run directory, the name of a run, "latest", or a model that
    comes with the package. A run wins over a bundled model of its name.

    Raises ModelError with what there is instead.
    """
    path = Path(name)
    if str(name) == "latest":
        found = sorted(runs.glob("*/model.safetensors"), key=lambda f: f.stat().st_mtime)
        if not found:
            raise ModelError(f"there is no finished run under {runs}; train one: mezzotint train digits")
        return found[-1]
    for candidate in (runs / path, path):
        if candidate.is_dir():
            if (candidate / "model.safetensors").is_file():
                return candidate / "model.safetensors"
            raise ModelError(
                f"{candidate} holds no model.safetensors; if it is a run, let it reach its first checkpoint"
            )
    if path.is_file():
        return path
    if str(name) in bundled():
        return bundled()[str(name)]
    names = sorted(f.parent.name for f in runs.glob("*/model.safetensors"))
    there = (
        f"runs here: {', '.join(names)}"
        if names
        else f"no runs under {runs}; train one: mezzotint train digits"
    )
    raise ModelError(
        f"no run and no model file is called {str(name)!r}; {there}; bundled: {', '.join(bundled()) or 'none'}"
    )


def usual(runs: Path = Path("runs")) -> str:
    """What to take where nobody names a model: "latest", or, where nothing was trained yet, a bundled one."""
    return "latest" if any(runs.glob("*/model.safetensors")) or not bundled() else "mnist"


def find_run(name: str | Path, runs: Path = Path("runs")) -> Path:
    """The run directory that a name stands for: a directory, the name of a run, or "latest"; it needs no model yet."""
    there = sorted(
        runs.glob("*/config.yaml"), key=lambda f: max(g.stat().st_mtime for g in f.parent.iterdir())
    )
    if str(name) == "latest" and there:
        return there[-1].parent
    for folder in (runs / name, Path(name)):
        if (folder / "config.yaml").is_file():
            return folder
    names = ", ".join(sorted(f.parent.name for f in there))
    hint = f"runs here: {names}" if there else f"no runs under {runs}; train one: mezzotint train digits"
    raise ModelError(f"no run is called {str(name)!r}; {hint}")
