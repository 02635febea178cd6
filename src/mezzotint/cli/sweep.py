"""mezzotint sweep"""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import options
from mezzotint.cli.output import lasting, reserve, say, stopping, writing


@lasting()
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
    """Compares a grid of settings; run it again to continue.

    \b
    Examples:
      mezzotint sweep digits_schedules
      mezzotint sweep my_sweep.yaml --dry-run
      mezzotint sweep my_sweep.yaml --out sweeps/second
      torchrun --nproc-per-node=8 -m mezzotint sweep my_sweep.yaml

    All cells are scored with the features of one classifier, against the same real pictures. The folder gets table.csv, table.md,
    quality.png, loss.png, a sheet and an ordinary run of every trained cell. Under torchrun each process trains its own cells; the first one prints the progress of its own, and all results at the end.
    """
    from mezzotint.cli.bar import Bar
    from mezzotint.studies.sweep import cells as study
    from mezzotint.studies.sweep.plan import read_plan
    from mezzotint.studies.sweep.table import publish, text, verdict
    from mezzotint.train.distributed import start

    ranks = start()
    plan = read_plan(source)
    trained = sum(cell.config is not None for cell in plan.cells)
    say(
        f"{trained} cells to train, {len(plan.points)} ways to sample each, {plan.n:,} pictures a row; "
        "the time left is shown after the first cell"
    )
    if dry_run:
        for cell in plan.cells:
            say(f"  {cell.point.name}" + (f"  impossible: {cell.failed}" if cell.failed else ""))
        say("each sampled by: " + ", ".join(point.name for point in plan.points))
        return 0
    out = Path("sweeps") / Path(source).stem if out is None else out
    ranks.once(lambda: reserve(out, folder=True))
    with stopping("saving after this step or row; a second time stops at once") as received:
        with writing(out), Bar() as bar:
            for update in study.sweep(
                plan,
                out,
                extractor=extractor,
                device=device or "auto",
                stop=lambda: bool(received),
                progress=bar.show,
                ranks=ranks,
            ):
                left = (
                    ""
                    if update.left is None
                    else f"  {round(update.left) // 60}:{round(update.left) % 60:02} left"
                )
                bar.say(update.text + left)
        if not ranks.first:
            return 128 + received[0] if received else 0
        rows = study.read_rows(out)
        with writing(out):
            paths = publish(plan, rows, out)
    if received:
        return 128 + received[0]
    say("\n".join(["", *text(rows), "", verdict(rows), *map(str, paths)]))
    return 0
