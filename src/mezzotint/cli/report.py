"""mezzotint report"""

from typing import Annotated

import typer


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="name or folder of a run, or latest")],
) -> int:
    """One page about a run: findings, curves, samples.

    \b
    Example:
      mezzotint report digits
    """
    from mezzotint.disk.names import find_run
    from mezzotint.errors import RunError
    from mezzotint.studies.report.page import report as write_report

    folder = find_run(run)
    try:
        print(write_report(folder))
    except OSError as error:
        raise RunError(
            f"{folder}/report.html cannot be written ({error}); make room, then try again"
        ) from error
    return 0
