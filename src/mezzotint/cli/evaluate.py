"""mezzotint evaluate"""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import options
from mezzotint.cli.bar import progress
from mezzotint.cli.output import lasting, reserve, say, say_json, writing
from mezzotint.errors import printable

if TYPE_CHECKING:
    from mezzotint.evaluate.evaluation import Evaluation
    from mezzotint.model.model import Model
    from mezzotint.train.distributed import Ranks

USUAL = 2000  # pictures of each source


def evaluate(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|MODEL|FOLDER|NPZ...",
            help="pictures to measure: of runs, models or files; several give one table",
        ),
    ],
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            help="number of pictures of each (default 2000, of clips 200); numbers with different n cannot be compared",
        ),
    ] = None,
    extractor: Annotated[
        str,
        typer.Option(
            "--extractor",
            help="network whose features are compared: auto, classifier, clusters, inception=FILE, dinov2[=PLACE], clip[=PLACE]",
        ),
    ] = "auto",
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="real pictures to compare with: name of a set, a folder or a parquet file"
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            help="metrics with commas: frechet,kernel,score,precision,agreement,memorization,vlb,ode",
        ),
    ] = None,
    weak: options.Weak = None,
    guidance: options.Guidance = None,
    seed: options.Seed = 0,
    report: Annotated[
        Path | None, typer.Option("--report", help="page with numbers and pictures: FILE.html")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="JSON in place of the table; saved to a file, it can replace its source later"
        ),
    ] = False,
    device: options.Device = None,
    encoder: options.Encoder = None,
) -> int:
    """Measures how good pictures are, against real ones.

    Fréchet distance (FID with the features of another network), precision and recall, class agreement, copies.

    \b
    Examples:
      mezzotint evaluate mnist
      mezzotint evaluate runs/a runs/b real.json -n 5000 --report a-b.html
      mezzotint evaluate my/pictures --data cifar10 --extractor inception=pt_inception-2015-12-05-6726825d.pth
      mezzotint evaluate mnist --metrics vlb,ode --json > mnist-bits.json
      mezzotint evaluate runs/scenes --weak 800 --guidance 3
      torchrun --nproc-per-node=8 -m mezzotint evaluate latest -n 50000

    Works offline: the first call trains a classifier on the data set, whose features are compared (minutes); it is kept in
    $MEZZOTINT_CACHE or ~/.cache/mezzotint.
    Autoencoders are measured by how well they reconstruct held-out pictures: PSNR and Fréchet distance, beside trivial codecs of
    the same rate. Models of captioned scenes are given captions, and a program judges their pictures, without any network. Clips of
    bouncing digits are judged by the position and class of the digit in every frame.
    --weak and --guidance apply to all models. Their numbers are not saved in the runs' folders, since a run's report is about its own settings. vlb and ode, the bits/dim of real pictures under the model, take minutes and are measured only where --metrics names them.
    """
    from mezzotint.errors import ConfigError
    from mezzotint.evaluate import evaluation as study
    from mezzotint.evaluate.page import keep, page
    from mezzotint.evaluate.reconstruction import is_autoencoder
    from mezzotint.evaluate.table import table
    from mezzotint.train.distributed import start

    ranks = start()
    if n is not None and n < 1:
        raise ConfigError(f"-n must be at least 1, not {n}; the default is {USUAL}, for clips 200")
    options.check_encoder(encoder, sources)
    settings = {} if guidance is None else {"guidance": guidance}
    changed = weak is not None or bool(settings)
    if any(map(is_autoencoder, sources)):
        if metrics or data or report or changed or not all(map(is_autoencoder, sources)):
            raise ConfigError(
                "an autoencoder makes no samples: evaluate it alone, on its own data, without --metrics, --data, --report, --weak and "
                "--guidance"
            )
        return ranks.once(
            lambda: _autoencoders(sources, USUAL if n is None else n, extractor, device, as_json)
        )
    if metrics is None and data is None and report is None and (name := _judged_exactly(sources)):
        opened = [_opened(source, weak, device, encoder) for source in sources]
        return _exactly(name, opened, n, seed, settings, as_json, ranks)
    n = USUAL if n is None else n
    if report is not None:
        if report.suffix.lower() != ".html":
            raise ConfigError(f"--report {report}: give it a name that ends in .html")
        ranks.once(lambda: reserve(report))
    files = [name for name in sources if name.endswith(".json")]
    sources_to_measure = [name for name in dict.fromkeys(sources) if name not in files]
    evaluations = [one for name in files for one in _read(Path(name))]
    if changed and not any(map(study.model_file, sources_to_measure)):
        raise ConfigError("--weak and --guidance are for models, and none of these is one; leave them out")
    if sources_to_measure:
        names = study.DEFAULT_METRICS if metrics is None else [word.strip() for word in metrics.split(",")]
        with lasting(), _Progress() as bars:
            evaluations += study.evaluate(
                [
                    _opened(name, weak, device, encoder)
                    if weak is not None and study.model_file(name)
                    else name
                    for name in sources_to_measure
                ],
                n=n,
                seed=seed,
                extractor=extractor,
                data=data,
                metrics=names,
                device=device or "auto",
                encoder=encoder,
                progress=bars,
                ranks=ranks,
                **settings,
            )
    study.refuse_unequal(evaluations)
    if not ranks.first:
        return 0
    for one in () if changed else evaluations:
        with suppress(OSError):  # somebody else's run
            keep(one)
    if report is not None:
        from mezzotint.disk.files import write

        with writing(report):
            write(report, printable(page(evaluations)).encode())
        say(f"{report}: {_contents(evaluations)}", error=True)
    if as_json:
        say_json([one.as_json() for one in evaluations])
    else:
        with lasting():
            say("\n".join(table(evaluations)))
    return 0


def _judged_exactly(sources: "Sequence[str]") -> str | None:
    """The data set that all models were trained on, where its things can be judged by what they should be."""
    from mezzotint.disk.model_file import read_header
    from mezzotint.disk.names import find
    from mezzotint.errors import ModelError

    try:
        names = {read_header(find(source)).config.data.name for source in sources}
    except ModelError:
        return None
    return names.pop() if len(names) == 1 and names <= {"scenes", "bouncing"} else None


def _opened(source: str, weak: str | None, device: str | None, encoder: Path | None) -> "Model":
    """A model, guided by a weak one where that is wanted."""
    from mezzotint.model.loading import load, with_weak

    opening: dict[str, Any] = {"device": device or "auto", "encoder": encoder}
    model = load(source, **opening)
    return model if weak is None else with_weak(model, source, weak, **opening)


def _exactly(
    name: str,
    models: "Sequence[Model]",
    n: int | None,
    seed: int,
    settings: dict[str, Any],
    as_json: bool,
    ranks: "Ranks",
) -> int:
    from mezzotint.evaluate import clips, scenes
    from mezzotint.model.by_weak import told

    with lasting(), _Progress() as bars:
        if name == "scenes":
            scored = [
                scenes.evaluate_scenes(model, USUAL if n is None else n, seed, bars, ranks=ranks, **settings)
                for model in models
            ]
            lines = scenes.table(scored)
        else:
            judged = [
                clips.evaluate_clips(model, clips.CLIPS if n is None else n, seed, bars, ranks, **settings)
                for model in models
            ]
            lines = clips.table(judged)
    if as_json:
        rows = [one.as_json() for one in (scored if name == "scenes" else judged)]
        ways = [{**model.settings(**settings).model_dump(), "weak": model.weak} for model in models]
        say_json([{**row, "settings": way} for row, way in zip(rows, ways)])
    else:
        guided = [f"{model.source} was sampled {told(model.weak)}" for model in models if model.weak]
        say("\n".join([*lines, *guided]))
    return 0


def _autoencoders(sources: "Sequence[str]", n: int, extractor: str, device: str | None, as_json: bool) -> int:
    from mezzotint.evaluate.reconstruction import evaluate_autoencoder, table

    with lasting(), _Progress() as bars:
        found = [
            evaluate_autoencoder(source, n=n, extractor=extractor, device=device or "auto", progress=bars)
            for source in sources
        ]
    if as_json:
        say_json([one.as_json() for one in found])
    else:
        say("\n".join(table(found)))
    return 0


def _contents(evaluations: "Sequence[Evaluation]") -> str:
    """What is on a page of evaluations."""
    if any(one.copies is not None for one in evaluations):
        return "numbers, samples, and the training pictures nearest to them"
    return "numbers and samples" if any(one.samples is not None for one in evaluations) else "numbers"


def _read(path: Path) -> "list[Evaluation]":
    """Evaluations that --json has written."""
    from mezzotint.errors import ModelError
    from mezzotint.evaluate.evaluation import Evaluation

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"there is no file {path}; check the name") from error
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({error}); write it again with --json") from error
    return [Evaluation.from_json(one) for one in (content if isinstance(content, list) else [content])]


class _Progress:
    """What is being done and how long it will take: bars on a terminal, elsewhere a line for the estimate. To stderr, so
    that --json stays clean."""

    def __init__(self) -> None:
        self.bars = progress(error=True)
        self.tasks: dict[str, Any] = {}
        self.first: dict[str, tuple[int, float]] = {}  # parts done, and when: the first one is slower

    def __enter__(self) -> "_Progress":
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.perf_counter()
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
        elif done and what not in self.first:
            self.first[what] = done, now
        elif what in self.first and self.first[what][0]:
            done_then, then = self.first[what]
            self.first[what] = 0, now  # said once
            left = (now - then) / (done - done_then) * (total - done)
            if left > 2:
                say(f"{what}: about {_clock(left)}", error=True)
        self.bars.update(self.tasks[what], completed=done)


def _clock(seconds: float) -> str:
    return f"{round(seconds) // 60}:{round(seconds) % 60:02}"
