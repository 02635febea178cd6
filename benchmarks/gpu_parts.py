"""The parts of gpu.py: each gives rows, one after the other, so that what was measured before a failure is kept."""

import copy
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import measuring
from devices import CHECKS, Row

ROWS = (1, 4, 16, 64, 256)  # of a network call of the server
BATCHES = (128, 512, 1024)  # in training, for memory


@dataclass(frozen=True)
class Setting:
    """device: "cuda" or "cpu". quick: sizes that show that it works. data: CIFAR-10 as parquet. seconds: of this part. out: the
    folder for curves."""

    device: str
    quick: bool
    data: Path | None
    seconds: float
    out: Path

    @property
    def file(self) -> Path:
        """Without ending, of what is written."""
        return self.out / measuring.file_name("gpu", self.quick)


def failed(what: str, error: BaseException) -> Row:
    """A row for what could not be measured, whatever the reason."""
    where = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(where[-1].filename).name}:{where[-1].lineno})" if where else ""
    return Row(
        what, None, note=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{place}", failed=True
    )


def checks(setting: Setting) -> Iterator[Row]:
    """Each check is guarded, too: one that raises says nothing about the next."""
    import torch

    for name, check in CHECKS.items():
        try:
            yield from check(torch.device(setting.device))
        except Exception as error:
            yield failed(name, error)


def recipe(setting: Setting, *more: str) -> Any:
    """The recipe of CIFAR-10 in ten minutes; in quick a tiny network on bundled digits."""
    from mezzotint import config as configuration

    if setting.quick:
        small = ("network.width=8", "train.batch_size=16", "train.precision=fp32", "sample.steps=2")
        return configuration.load("digits", [*small, f"train.device={setting.device}", *more])
    words = [] if setting.data is None else [f"data.path={setting.data}"]
    if setting.data is None:
        words = ["data.name=digits", "data.size=32", "data.channels=3"]
    return configuration.load("cifar10_gpu", [*words, f"train.device={setting.device}", *more])


def memory(setting: Setting) -> Iterator[Row]:
    """Of the device at most, in MB of 10^6 bytes; on a CPU the resident memory of the whole process."""
    import torch

    from mezzotint.run.parts import Parts
    from mezzotint.train.distributed import ALONE

    def at_most(what: str, work: Callable[[], object]) -> Row:
        if setting.device == "cpu":
            work()
            kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
                1024 if sys.platform == "darwin" else 1
            )
            return Row(what, kilobytes * 1024 / 1e6, "MB", None, "of the whole process")
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            work()
        except torch.cuda.OutOfMemoryError:
            return Row(what, None, note="out of memory")
        return Row(what, torch.cuda.max_memory_allocated() / 1e6, "MB")

    for batch in (16,) if setting.quick else BATCHES:
        for recompute in ("false",) if setting.quick else ("false", "true"):
            with tempfile.TemporaryDirectory() as folder:
                words = (f"train.batch_size={batch}", f"train.recompute={recompute}", "train.compile=false")
                run = Parts(recipe(setting, *words), Path(folder) / "run", ALONE)
                again = ", recompute" if recompute == "true" else ""
                yield at_most(f"training, batch {batch}{again}", lambda run=run: [*run.steps(3)])
    rows = 8 if setting.quick else 256
    yield at_most(f"sampling, {rows} rows", lambda: run.model.sample(rows, batch=rows))


def serving(setting: Setting) -> Iterator[Row]:
    """As many requests of one picture as a call has rows, all at once, to the engine of `mezzotint serve`; the fastest of three."""
    from mezzotint import load
    from mezzotint.serve.engine.engine import Engine
    from mezzotint.serve.engine.tickets import Ticket

    models = {
        name: load(name, device=setting.device)
        for name in (("digits",) if setting.quick else ("mnist", "mnist_fast"))
    }
    if not setting.quick:
        models["cifar10_gpu, random weights"] = fresh(setting)
    for name, model in models.items():
        for rows in ROWS[: 2 if setting.quick else None]:
            engine = Engine(max_rows=rows, max_queue=2 * rows, max_per_client=2 * rows)
            try:

                def once(model: Any = model, engine: Any = engine, rows: int = rows) -> None:
                    tickets = [Ticket(model, model.request(1, seed=seed)) for seed in range(rows)]
                    for ticket in tickets:
                        engine.submit(ticket)
                    for ticket in tickets:
                        if not ticket.over.wait(60) or ticket.result is None:
                            raise RuntimeError(f"a request was not answered: {ticket.error}")

                once()
                took = min(measuring.seconds(once) for _ in range(3))
            finally:
                engine.close(0)
            note = f"{1000 * took:.0f} ms until all have theirs"
            yield Row(f"{name}: {rows} rows a call", rows / took, "pictures/s", None, note)


def fresh(setting: Setting) -> Any:
    """The network of the recipe with random weights: the clock does not look at the pictures."""
    from mezzotint.run.parts import Parts
    from mezzotint.train.distributed import ALONE

    with tempfile.TemporaryDirectory() as folder:
        return Parts(recipe(setting, "train.compile=false"), Path(folder) / "run", ALONE).model


def throughput(setting: Setting) -> Iterator[Row]:
    """Pictures a second of training, the loops in turn, at two widths of the network of the mnist recipe: its own, and three times it."""
    import throughput as loops

    from mezzotint.model.device import find_device, find_precision

    bf16 = "bfloat16" in str(find_precision("auto", find_device(setting.device))) and not setting.quick
    precision = "bf16" if bf16 else "fp32"
    repetitions, steps = (1, 1) if setting.quick else (5, 20)
    if setting.quick:
        loops.BATCH = 16
    for width in (8,) if setting.quick else (32, 96):
        with tempfile.TemporaryDirectory() as folder:
            contenders: dict[str, Callable[[], float]] = {}
            for loop, make in _loops(Path(folder), width, precision, setting.device).items():
                name = f"width {width}, {precision}: {loop}"
                try:
                    contenders[name] = timed(make(), steps, loops.BATCH, setting.device)
                    contenders[name]()  # whatever can go wrong
                except ImportError as error:
                    contenders.pop(name, None)
                    yield Row(name, None, note=f"not installed ({error}); python benchmarks/rivals.py")
                except Exception as error:
                    contenders.pop(name, None)
                    yield failed(name, error)
            rates = measuring.by_turns(contenders, repetitions)
            ours = next((values for name, values in rates.items() if name.endswith(": ours")), None)
            for name, values in rates.items():
                note = (
                    f"ours {measuring.format_spread(measuring.ratio(ours, values))} times as fast"
                    if ours
                    else ""
                )
                yield Row(name, measuring.spread(values)["median"], "pictures/s", note=note)


def _loops(folder: Path, width: int, precision: str, device: str) -> dict[str, Callable[[], Any]]:
    """What makes each of the loops, around copies of one network."""
    import throughput as loops

    words = (
        "data.labels=false",
        f"train.precision={precision}",
        f"network.width={width}",
        f"train.device={device}",
    )

    def ours(compile: bool) -> Any:
        return loops.ours(loops.our_run(folder, *words, f"train.compile={str(compile).lower()}", data=None))

    run = loops.our_run(folder, *words, "train.compile=false", data=None)
    net, memory = run.state.net, loops.Memory(run.source.pictures.images)

    def diffusers() -> Any:
        theirs = "bf16" if precision == "bf16" else "no"
        return loops.diffusers_example(loops.adapted(copy.deepcopy(net), "diffusers"), memory, theirs)[0]

    def ddpm() -> Any:
        return loops.denoising_diffusion_pytorch(
            loops.adapted(copy.deepcopy(net), "ddpm"), memory, precision, folder
        )[0]

    made = {"ours": partial(ours, False), "diffusers": diffusers, "denoising-diffusion-pytorch": ddpm}
    return made | ({"ours, compiled": partial(ours, True)} if device == "cuda" else {})


def timed(work: Callable[[int], None], steps: int, batch: int, device: str) -> Callable[[], float]:
    """Pictures a second of so many steps."""

    def whole() -> None:
        import torch

        work(steps)
        if device == "cuda":
            torch.cuda.synchronize()

    return lambda: steps * batch / measuring.seconds(whole)


def cifar10(setting: Setting) -> Iterator[Row]:
    """Training for most of the seconds, judged five times on the way; and the curve as a picture."""
    from mezzotint import plots
    from mezzotint.evaluate.evaluation import quality
    from mezzotint.evaluate.judges.classifier import classifier_extractor, train_classifier
    from mezzotint.evaluate.reference import open_judge, open_reference
    from mezzotint.model.device import find_device
    from mezzotint.run.fit import fit

    began = time.perf_counter()
    config = recipe(setting, "train.evaluate_every=20%", "train.sample_every=100%")
    reference = open_reference(config.data)
    if setting.quick:
        assert reference.learn_labels is not None
        judge = classifier_extractor(
            train_classifier(reference.learn, reference.learn_labels, 10, pictures_seen=1280)
        )
    else:
        judge = open_judge("auto", reference, find_device(setting.device))
    prepared = time.perf_counter() - began
    stands = "bundled digits" if setting.data is None or setting.quick else "CIFAR-10"
    yield Row("preparing the judge", prepared, "s", None, str(judge))
    minutes = max(0.1, 0.9 * (setting.seconds - prepared) / 60)
    budget = "train.steps=5" if setting.quick else f"train.minutes={minutes:.2f}"
    n = 20 if setting.quick else 2000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        config = recipe(setting, "train.evaluate_every=20%", "train.sample_every=100%", budget)
        began = time.perf_counter()
        curve: list[tuple[float, dict[str, float]]] = []  # seconds, and what was found then
        told = 0

        def judged(model: Any) -> dict[str, float]:
            curve.append((time.perf_counter() - began, quality(model, judge, reference, n=n)))
            return curve[-1][1]

        for _ in fit(config, folder, judge=judged):
            for mark, numbers in curve[told:]:  # at once: the time may be over before the end
                agreement = numbers.get("class agreement")
                note = "" if agreement is None else f"agreement {agreement:.1%}"
                what = f"{stands}, after {mark:.0f} s: Fréchet distance, n = {n:,}"
                yield Row(what, numbers["frechet distance"], note=note)
            told = len(curve)
        if not told:
            raise RuntimeError("the run was never judged")
        points = ([mark for mark, _ in curve], [numbers["frechet distance"] for _, numbers in curve])
        chart = plots.curves({stands: points}, xlabel="seconds", ylabel="Fréchet distance", logy=True)
        plots.save_png(chart, setting.file.with_suffix(".png"))
        for sheet in sorted((folder / "samples").glob("step-*.png"))[-1:]:
            plots.save_png(plots.read_png(sheet), setting.file.with_name(f"{setting.file.name}-samples.png"))
