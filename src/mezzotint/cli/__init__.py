"""The command line. Thin: every command turns its words into calls that Python users have too.

Nothing here imports torch before a command needs it, so that --help answers at once.
"""

import sys
from typing import Any

import click
import typer

from mezzotint.cli.inspect import info, listing
from mezzotint.cli.sample import sample
from mezzotint.cli.show import show
from mezzotint.cli.train import train

app = typer.Typer(
    name="mezzotint",
    help="Train diffusion models on your own pictures, sample them, and see every step.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here:  mezzotint train digits   then   mezzotint sample digits -n 64 --class all",
)
app.command("train")(train)
app.command("sample")(sample)
app.add_typer(show, name="show")
app.command("info")(info)
app.command("list")(listing)


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and leaves with the design's exit codes: 0 done; 1 failed; 2 usage or config; 3 data, checkpoint
    or model; 4 an extra is not installed; 130 and 143 interrupted after saving."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbose = "--verbose" in words
    words = [word for word in words if word != "--verbose"]
    try:
        code = app(words, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if verbose:
            raise
        code, text = explain(error)
        print(f"mezzotint: {text}", file=sys.stderr)
        sys.exit(code)


def explain(error: Any) -> tuple[int, str]:
    """The exit code and the line for an error."""
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        where = f"; see {context.command_path} --help" if context else ""
        return 2, f"{' '.join(error.format_message().split())}{where}"
    from mezzotint.data import DataError, MissingExtra
    from mezzotint.errors import ConfigError, ModelError, RunError

    match error:
        case ConfigError():
            return 2, str(error)
        case DataError() | ModelError():
            return 3, str(error)
        case MissingExtra():
            return 4, str(error)
        case RunError():
            return 1, str(error)
        case MemoryError():
            return 1, "out of memory; lower train.batch_size, or raise train.accumulate"
        case ValueError():
            return 2, str(error)
        case _ if type(error).__name__ == "OutOfMemoryError":
            return 1, "the device is out of memory; lower train.batch_size, or raise train.accumulate"
        case _:
            first = str(error).strip().splitlines() or [""]
            return 1, f"{type(error).__name__}: {first[0]} (--verbose shows where)"
