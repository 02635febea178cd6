"""mezzotint report"""

from functools import partial
from typing import Annotated

import typer


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="name or folder of a run, or latest")],
    copies: Annotated[
        bool,
        typer.Option("--copies", help="check for copies of training pictures first, which short runs skip"),
    ] = False,
) -> int:
    """One page about a run: findings, curves, samples.

    \b
    Examples:
      mezzotint report digits
      mezzotint report digits --copies
    """
    from mezzotint.cli.output import Patience, say
    from mezzotint.disk.names import find_run
    from mezzotint.errors import RunError
    from mezzotint.studies.report.page import report as write_report

    folder, patience = find_run(run), Patience(partial(say, error=True))
    try:
        if copies:
            from mezzotint.evaluate.copies import look_for_copies

            with patience.during("checking for copies of the training pictures"):
                found = look_for_copies(folder)
            if found is None:
                say(f"{run} has no pictures, or too few held out, to check for copies", error=True)
        with patience.during("writing the report"):
            path = write_report(folder)
        print(path)
    except OSError as error:
        raise RunError(
            f"{folder}/report.html cannot be written ({error}); make room, then try again"
        ) from error
    return 0
