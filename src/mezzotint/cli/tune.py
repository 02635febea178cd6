"""mezzotint tune"""

from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.cli import options
from mezzotint.cli.bar import Bar
from mezzotint.cli.output import lasting, say

if TYPE_CHECKING:
    from mezzotint.studies.tune.trials import Outcome, Trial, TrialDone

NAMES = {"frechet": "Fréchet distance", "energy": "energy distance"}


@lasting()
def tune(
    run: options.Run,
    calls: Annotated[
        int | None,
        typer.Option(
            "--calls",
            help="limit: network calls per picture (NFE); a guided step counts twice (default: as many as now)",
            min=1,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", help="limit: seconds for 64 pictures on this machine", min=1e-3),
    ] = None,
    agreement: Annotated[
        float,
        typer.Option(
            "--agreement",
            help="least share of pictures that a classifier recognises as the requested class, for models with classes",
            min=0,
            max=1,
        ),
    ] = 0.99,
    n: Annotated[int, typer.Option("-n", help="number of pictures (or points) in a trial", min=100)] = 1000,
    seed: options.Seed = 0,
    quick: Annotated[bool, typer.Option("--quick", help="smaller search, fewer trials")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="search alone; nothing is written")] = False,
    device: options.Device = None,
    encoder: options.Encoder = None,
) -> int:
    """Finds the best sampler, steps, guidance, EMA for a given cost.

    \b
    Examples:
      mezzotint tune digits
      mezzotint tune runs/mnist --calls 20
      mezzotint tune latest --seconds 0.5 --agreement 0.995 -n 2000
      mezzotint tune moons --quick --dry-run
      torchrun --nproc-per-node=8 -m mezzotint tune latest -n 5000

    The interval of guidance is tuned, too. The length of the EMA, the average of the weights, is tuned for runs only. Settings are
    judged on the training split. They become the defaults of the model file if they are better by more than chance. The
    test split is left for mezzotint evaluate. A run keeps the trials in its tune.json: after an interruption, the same command resumes.
    """
    from mezzotint.studies.tune.search import tune as search
    from mezzotint.studies.tune.trials import Outcome, Target, TrialDone
    from mezzotint.train.distributed import start

    options.check_encoder(encoder, [run])
    ranks = start()
    best: TrialDone | None = None
    with _Progress() as progress:
        try:
            events = search(
                run,
                Target(calls, seconds, agreement),
                n=n,
                seed=seed,
                quick=quick,
                dry_run=dry_run,
                device=device or "auto",
                encoder=encoder,
                progress=progress,
                ranks=ranks,
            )
            for event in events:
                match event:
                    case TrialDone():
                        best = event if event.best else best
                        progress.say(line(event))
                    case Outcome():
                        progress.clear()
                        say("\n".join(table(event)))
        except KeyboardInterrupt:
            if best is not None:
                progress.say(f"stopped; the best so far, not written: {describe(best.trial)}")
            raise
    return 0


def line(event: "TrialDone") -> str:
    """A trial, as one line."""
    left = f"{round(event.left) // 60}:{round(event.left) % 60:02} left"
    mark = "  best so far" if event.best else ""
    return f"{event.done:3}/{event.total}  {describe(event.trial)}  {left}{mark}"


def describe(trial: "Trial") -> str:
    """What was tried, and how good it was."""
    settings, weights = trial.choice.settings, trial.choice.weights
    words = [
        "present EMA" if weights == "ema" else f"EMA {weights}",
        f"{settings.sampler} {settings.steps} steps",
    ]
    if settings.guidance != 1:
        words.append(f"guidance {settings.guidance:g}{_interval(settings.guidance_interval)}")
    words += [f"{trial.calls} calls (NFE)", f"distance {trial.distance:.4g} ± {trial.error:.2g}"]
    if trial.agreement is not None:
        words.append(f"agreement {trial.agreement:.1%}")
    return ", ".join(words)


def _interval(interval: tuple[float, float | None] | None) -> str:
    return "" if interval is None else f" for sigma {_ends(interval)}"


def _ends(interval: tuple[float, float | None]) -> str:
    low, high = interval
    return f"{low:g} to {'inf' if high is None else format(high, 'g')}"


def table(outcome: "Outcome") -> list[str]:
    """Lines: the present defaults, the best ones found, and whether these were written."""
    columns = []
    for head, trial, seconds in zip(
        ("now", "best"), (outcome.present, outcome.best), outcome.seconds, strict=True
    ):
        settings = trial.choice.settings
        columns.append(
            [
                head,
                settings.sampler,
                str(settings.steps),
                "off" if settings.guidance == 1 else f"{settings.guidance:g}",
                "all" if settings.guidance_interval is None else _ends(settings.guidance_interval),
                "the model file's" if trial.choice.weights == "ema" else trial.choice.weights,
                str(trial.calls),
                f"{seconds:.2f} s",
                f"{trial.distance:.4g} ± {trial.error:.2g}",
                "-" if trial.agreement is None else f"{trial.agreement:.1%}",
            ]
        )
    names = [
        "",
        "sampler",
        "steps",
        "guidance",
        "of sigma / alpha",
        "EMA length",
        "network calls a picture (NFE)",
    ]
    names += ["64 pictures take", NAMES[outcome.kind], "class agreement"]
    widths = [max(map(len, column)) for column in (names, *columns)]
    lines = ["", f"on fresh seeds, against {outcome.words}", ""]
    for row in zip(names, *columns, strict=True):
        lines.append("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
    if outcome.written:
        end = f"{outcome.path}: these are its defaults now, since {outcome.reason}"
    elif outcome.is_better:
        end = f"better, since {outcome.reason}; nothing is written in a dry run"
    else:
        end = f"nothing is written: {outcome.reason}"
    return [*lines, "", end]


class _Progress(Bar):
    """The bar is of what goes on within a trial; the trials are lines."""

    def __init__(self) -> None:
        super().__init__()
        self.what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self.what:
            self.what = what
            if not self.bar.console.is_terminal and not what.startswith("sampling"):
                say(what)
        self.show(what, done, total)

    def clear(self) -> None:
        self.bar.stop()
