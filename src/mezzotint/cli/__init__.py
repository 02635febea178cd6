"""The command line. Thin: every command turns its words into calls that Python users have too.

Nothing here imports torch before a command needs it, so that --help answers at once.
"""

import sys
import warnings
from typing import Any

import typer

from mezzotint import __version__
from mezzotint.cli.distil import distil
from mezzotint.cli.doctor import doctor
from mezzotint.cli.edit import colour, edit, enlarge, invert, morph, vary
from mezzotint.cli.evaluate import evaluate
from mezzotint.cli.export import export
from mezzotint.cli.importing import importing
from mezzotint.cli.inspect import info, listing
from mezzotint.cli.output import give_up, keep_numbers, say, say_once
from mezzotint.cli.report import report
from mezzotint.cli.sample import sample
from mezzotint.cli.serve import serve
from mezzotint.cli.show import show
from mezzotint.cli.sweep import sweep
from mezzotint.cli.train import train
from mezzotint.cli.tune import tune
from mezzotint.cli.ui import ui
from mezzotint.errors import printable

app = typer.Typer(
    name="mezzotint",
    help="Train diffusion models on your own pictures, sample them, and see every step.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Start here:  mezzotint train digits
       then  mezzotint sample digits -n 64 --class all
With --verbose any command shows where an error came from.""",
)
app.command("train")(train)
app.command("distil")(distil)
app.command("sample")(sample)
app.command("edit")(edit)
app.command("vary")(vary)
app.command("enlarge")(enlarge)
app.command("colour")(colour)
app.command("morph")(morph)
app.command("invert")(invert)
app.command("serve")(serve)
app.command("ui")(ui)
app.command("evaluate")(evaluate)
app.command("tune")(tune)
app.command("sweep")(sweep)
app.add_typer(show, name="show")
app.add_typer(export, name="export")
app.add_typer(importing, name="import")
app.command("doctor")(doctor)
app.command("report")(report)
app.command("info")(info)
app.command("list")(listing)


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and leaves with the design's exit codes: 0 done; 1 failed; 2 usage or config; 3 data, checkpoint
    or model; 4 an extra is not installed; 129, 130 and 143 interrupted after saving."""
    keep_numbers()
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbose = "--verbose" in words
    words = [word for word in words if word != "--verbose"] or ["--help"]
    if words == ["--version"]:
        say(f"mezzotint {__version__}")
        sys.exit(0)
    for stream in (sys.stdout, sys.stderr):  # a file's name may hold what the terminal cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *where: f"mezzotint: {printable(str(message))}\n"
    try:
        code = app(words, prog_name="mezzotint", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt) as error:
        code = 130
        if isinstance(error.__cause__, EOFError):  # a file's, which typer takes for that of what is typed
            code, text = explain(error.__cause__)
            say(f"mezzotint: {text}", error=True)
    except Exception as error:
        if verbose:
            raise
        code, text = explain(error)
        code = say_once(code, f"mezzotint: {text}")
    if give_up(sys.stdout) and not code:
        say("mezzotint: the output cannot be written; free disk space, or send it elsewhere", error=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def explain(error: Exception) -> tuple[int, str]:
    """The exit code and the line for an error."""
    from mezzotint.errors import ConfigError, DataError, MissingExtra, ModelError, RunError

    line = " ".join(str(error).split())
    if hasattr(error, "format_message"):  # typer's own, of which it shows us no common class
        context = getattr(error, "ctx", None)
        where = f"; see {context.command_path} --help" if context else ""
        said = " ".join(error.format_message().split()).rstrip(".")
        return 2, said + where
    match error:
        case ConfigError():
            return 2, line
        case BrokenPipeError():
            return 1, "the program that read the output has ended"
        case DataError() | ModelError():
            return 3, line
        case MissingExtra():
            return 4, line
        case RunError():
            return 1, line
        case _ if isinstance(error, MemoryError) or _no_memory(error):
            return (
                1,
                "out of memory; lower train.batch_size or raise train.accumulate, or sample with a lower --batch",
            )
        case ValueError():
            return 2, line
        case OSError():
            return (
                1,
                f"{error.filename or 'a file'}: {error.strerror or line}; check the name, the folder and the permissions",
            )
        case _:
            return 1, f"{type(error).__name__}: {line} (--verbose shows where)"


def _no_memory(error: Any) -> bool:
    """PyTorch raises a RuntimeError, a class of its own on GPUs, that says so in words."""
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("out of memory", "not enough memory", "can't allocate memory")
    )
