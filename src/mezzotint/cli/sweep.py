"""mezzotint sweep"""

import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from mezzotint.cli import options


def sweep(
    source: Annotated[
        str, typer.Argument(metavar="SWEEP.yaml", help="file of a sweep, or name of a bundled one")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="folder of the sweep; sweeps/NAME by default")
    ] = None,
    extractor: Annotated[
        str,
        typer.Option(
            "--extractor",
            help="network whose features are compared: auto, classifier, clusters, inception=FILE, dinov2[=PLACE], clip[=PLACE]",
        ),
    ] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list of the cells; nothing is written")] = False,
    device: options.Device = None,
) -> int:
    """Compares a grid of settings; goes on where it stopped.

    \b
    Examples:
      mezzotint sweep digits_schedules
      mezzotint sweep my_sweep.yaml --dry-run
      mezzotint sweep my_sweep.yaml --out sweeps/second

    One judge (a classifier whose features are compared) and one reference for all. The folder gets table.csv, table.md, quality.png, loss.png, a sheet and an
    ordinary run of every trained cell.
    """
    from mezzotint.cli.bar import Bar
    from mezzotint.cli.output import reserve, writing
    from mezzotint.studies.sweep import cells as study
    from mezzotint.studies.sweep.plan import read_plan
    from mezzotint.studies.sweep.table import publish, text, verdict

    plan = read_plan(source)
    trained = sum(cell.config is not None for cell in plan.cells)
    print(
        f"{trained} cells to train, {len(plan.points)} ways to sample each, {plan.n:,} pictures a row; "
        "the time left is shown after the first cell",
        flush=True,
    )
    if dry_run:
        for cell in plan.cells:
            print(f"  {cell.point.name}" + (f"  impossible: {cell.failed}" if cell.failed else ""))
        print("each sampled by: " + ", ".join(point.name for point in plan.points))
        return 0
    out = Path("sweeps") / Path(source).stem if out is None else out
    reserve(out, folder=True)
    received: list[int] = []

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt
        with suppress(OSError):  # not print, which a signal may have interrupted
            os.write(2, b"\nsaving after this step or row; once more stops at once\n")

    previous = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with writing(out), Bar() as bar:
            for update in study.sweep(
                plan,
                out,
                extractor=extractor,
                device=device or "auto",
                stop=lambda: bool(received),
                progress=bar.show,
            ):
                left = (
                    ""
                    if update.left is None
                    else f"  {round(update.left) // 60}:{round(update.left) % 60:02} left"
                )
                bar.say(update.text + left)
        rows = study.read_rows(out)
        with writing(out):
            paths = publish(plan, rows, out)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if received:
        return 128 + received[0]
    print("\n".join(["", *text(rows), "", verdict(rows), *map(str, paths)]))
    return 0
