"""mezzotint doctor"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from mezzotint.studies.doctor.pictures import Finding


def doctor(
    source: options.Source,
    overrides: options.Overrides = None,
    data: options.Data = None,
    device: options.Device = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="no trial training: time, memory and learning are not checked")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="findings as JSON")] = False,
) -> int:
    """Checks data and configuration, with a short trial training.

    Estimates the time of a step and of the whole run, and the memory, at this picture size (data.size).

    Nothing is written. The exit code is 1 where there is an error, such as a network that cannot learn.

    \b
    Examples:
      mezzotint doctor digits
      mezzotint doctor folder --data my/photos data.size=128 train.images=100000
      mezzotint doctor mnist --data pictures/mnist --quick --json
    """
    from rich.console import Console

    from mezzotint import config as configuration
    from mezzotint.studies.doctor.diagnose import diagnose

    config = configuration.load(
        source, overrides or [], data__path=None if data is None else str(data), train__device=device
    )
    console = Console(highlight=False)
    findings = diagnose(config, quick=quick)
    if as_json:
        results = list(findings)
        print(json.dumps([asdict(finding) for finding in results], indent=1, ensure_ascii=False))
    elif console.is_terminal:
        results = _table(console, findings)
    else:
        results = list(_lines(findings))
    counts = {level: sum(finding.level == level for finding in results) for level in ("error", "warning")}
    if not as_json:
        words = [f"{n} {level}{'s' * (n > 1)}" for level, n in counts.items() if n]
        print(f"{len(results)} findings: {' and '.join(words) or 'nothing to worry about'}")
    return 1 if counts["error"] else 0


def _lines(findings: Iterable["Finding"]) -> Iterator["Finding"]:
    """Prints one line a finding, as they come."""
    for finding in findings:
        print(f"{finding.level:8}{finding.title}: {finding.text}{_advice(finding, '; ')}", flush=True)
        yield finding


def _table(console: "Console", findings: Iterable["Finding"]) -> list["Finding"]:
    """Prints a table once all is known, and meanwhile what is being looked at."""
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "warning": "yellow", "error": "bold red"}
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    results = []
    with console.status("looking at the data") as status:
        for finding in findings:
            results.append(finding)
            status.update(f"{len(results)} checks done, {finding.title} the last")
            advice = _advice(finding, "\n")
            table.add_row(
                f"[{colours[finding.level]}]{finding.level}[/]",
                escape(finding.title),
                escape(finding.text) + (f"[bold]{escape(advice)}[/]" if advice else ""),
            )
    console.print(table)
    return results


def _advice(finding: "Finding", before: str) -> str:
    page = f" (docs/troubleshooting.md#{finding.anchor})" if finding.anchor else ""
    return f"{before}{finding.remedy}{page}" if finding.remedy else ""
