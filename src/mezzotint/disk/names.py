"""What the name of a model or a run stands for."""

from pathlib import Path

from mezzotint.disk import hub
from mezzotint.errors import ModelError

MODEL, CONFIG = "model.safetensors", "config.yaml"  # of a run directory
ADAPTER = "adapter.safetensors"  # of one with train.lora
BUNDLED = Path(__file__).parents[1] / "models"


def bundled() -> dict[str, Path]:
    """The models that come with the package, by name; beside each lies a card."""
    return {path.stem: path for path in sorted(BUNDLED.glob("*.safetensors"))}


def find(name: str | Path, runs: Path = Path("runs")) -> Path:
    """The model file that a name stands for: a file, a run directory, the name of a run, "latest", a model that
    comes with the package, or owner/name, one of the hub. A run wins over a bundled model of its name.

    Raises ModelError with what there is instead.
    """
    path = Path(name)
    if str(name) == "latest":
        finished = _runs(runs, MODEL)
        if not finished:
            raise ModelError(f"there is no finished run under {runs}; train one: mezzotint train digits")
        return finished[-1] / MODEL
    for folder in (runs / path, path):
        if folder.is_dir():
            if (folder / MODEL).is_file():
                return folder / MODEL
            raise ModelError(f"{folder} holds no {MODEL}; if it is a run, let it reach its first checkpoint")
    if path.is_file():
        return path
    if str(name) in bundled():
        return bundled()[str(name)]
    nothing = f"no run and no model file is called {str(name)!r}"
    if _is_of_the_hub(path, runs):
        try:
            return _of_the_hub(str(name))
        except ModelError as error:
            raise ModelError(f"{nothing}, and {error}") from error
    raise ModelError(f"{nothing}; {_what_there_is(runs, MODEL)}; bundled: {', '.join(bundled()) or 'none'}")


def _of_the_hub(name: str) -> Path:
    file = hub.fetch(name, [MODEL]) / MODEL
    if not file.is_file():
        raise ModelError(
            f"the hub's {name} holds no {MODEL}; if it is a folder of diffusers: mezzotint import diffusers {name}"
        )
    return file


def spoken(path: Path) -> str:
    """What a model file is called: by its run's name, or its own where it stands alone."""
    if name := hub.name_of(path):
        return name
    return path.absolute().parent.name if path.name == MODEL else path.stem


def _is_of_the_hub(path: Path, runs: Path) -> bool:
    """Whether a path that leads nowhere is written as the hub's names are: owner/name."""
    parent = path.parent
    return len(path.parts) == 2 and path.suffix != ".safetensors" and parent != runs and not parent.exists()


def find_run(name: str | Path, runs: Path = Path("runs")) -> Path:
    """The run directory that a name stands for: a directory, the name of a run, or "latest"; it needs no model yet."""
    there = _runs(runs, CONFIG)
    if str(name) == "latest" and there:
        return there[-1]
    for folder in (runs / name, Path(name)):
        if (folder / CONFIG).is_file():
            return folder
    raise ModelError(f"there is no run {str(name)!r}; {_what_there_is(runs, CONFIG)}")


def check_runs(runs: Path, usual: Path | None = None) -> Path:
    """The same folder, which may be empty. usual: the one that may be missing still, since it comes with the first run.
    Raises ModelError where it is none that can be read."""
    if runs == usual and not runs.exists():
        return runs
    try:
        next(runs.iterdir(), None)
    except OSError as error:
        raise ModelError(
            f"{runs} is not a folder of runs ({error.strerror}); give the folder that holds them, such as runs"
        ) from error
    return runs


def _runs(runs: Path, file: str) -> list[Path]:
    """The directories under `runs` that hold a file, the one that was changed last at the end: by that file's time for
    models, by whatever was written last for runs that may still be training."""

    def changed(path: Path) -> float:
        files = [path] if file == MODEL else path.parent.iterdir()
        return max(each.stat().st_mtime for each in files)

    return [path.parent for path in sorted(runs.glob(f"*/{file}"), key=changed)]


def _what_there_is(runs: Path, file: str) -> str:
    names = ", ".join(sorted(folder.name for folder in _runs(runs, file)))
    return f"runs here: {names}" if names else f"no runs under {runs}; train one: mezzotint train digits"


def usual(runs: Path = Path("runs")) -> str:
    """What to serve where nobody names a model: "latest", or, where nothing was trained yet, a bundled one, of those of two calls."""
    return "latest" if any(runs.glob(f"*/{MODEL}")) or not bundled() else "mnist_fast"
