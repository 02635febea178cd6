"""mezzotint export"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mezzotint.cli import options
from mezzotint.cli.output import Patience, reserve, say, writing
from mezzotint.errors import ConfigError

HELP = "Exports a model: a web page, diffusers, ONNX, torch.export."
export = typer.Typer(help=HELP, rich_markup_mode=None)


@export.callback(help=HELP)
def _group() -> None: ...


@export.command("web")
def web(
    run: options.Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="folder to write (default: NAME-web)")
    ] = None,
) -> int:
    """Writes a page that makes pictures by itself.

    A folder whose index.html makes the model's pictures in any browser, offline: a double-click opens it. The same seed gives
    the same picture as `mezzotint sample`.

    \b
    Example:
      mezzotint export web mnist_fast -o site
    """
    from mezzotint.disk.model_file import read_header
    from mezzotint.disk.names import find
    from mezzotint.exchange.web.export import check, export_page
    from mezzotint.model.loading import load

    path = find(run)
    header = read_header(path)
    check(header.config, header.facts)
    model = load(run, device="cpu", precision="fp32")
    folder = output or Path(f"{model.source}-web")
    reserve(folder, folder=True)
    with writing(folder):
        size = export_page(model, folder, path.with_suffix(".md"))
    say(
        f"{folder / 'index.html'}: {model.source} as a page, {size / 1e6:.1f} MB in two files; open it in a browser"
    )
    return 0


@export.command("diffusers")
def diffusers(
    run: options.Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="new folder (default: NAME-diffusers)")
    ] = None,
) -> int:
    """Writes a folder that diffusers opens.

    DDPMPipeline.from_pretrained loads it: a UNet2DModel, a scheduler, a model card. A setting that diffusers lacks is refused by name.

    \b
    Example:
      mezzotint export diffusers runs/birds -o birds-diffusers
    """
    from mezzotint.disk.model_file import read_header
    from mezzotint.disk.names import find
    from mezzotint.exchange.pipeline.write import check, export_pipeline
    from mezzotint.exchange.whole import check_new
    from mezzotint.model.loading import load

    header = read_header(find(run))
    check(header.config, header.facts)
    model = load(run, device="cpu", precision="fp32")
    folder = output or Path(f"{model.source}-diffusers")
    check_new(folder)
    with writing(folder):
        size = export_pipeline(model, folder)
    say(
        f"{folder}: {model.source} for DDPMPipeline.from_pretrained, {size / 1e6:.1f} MB; README.md says how to use it"
    )
    return 0


Weights = Annotated[
    Literal["float32", "float16", "int8"],
    typer.Option("--weights", help="number format of the weights; float16 halves the file, int8 quarters it"),
]


@export.command("onnx")
def onnx(
    run: options.Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="new folder (default: NAME-onnx)")
    ] = None,
    weights: Weights = "float32",
    sampler: options.Sampler = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
) -> int:
    """Writes the network as ONNX, its sampler, and a program.

    A folder of three files: denoiser.onnx, for batches of any size; sampler.json, the sampler as a table of numbers; and
    sample.py, which makes pictures with onnxruntime and numpy only. Latent models get a fourth one, decoder.onnx.
    The same seed gives the same picture as `mezzotint sample`.

    \b
    Example:
      mezzotint export onnx mnist -o digits
    """
    from mezzotint.exchange.graph.export import export_onnx, require
    from mezzotint.exchange.whole import check_new
    from mezzotint.model.loading import load

    model = load(run, device="cpu", precision="fp32")
    folder = output or Path(f"{model.source}-onnx")
    check_new(folder)
    require()
    with writing(folder), Patience().during("exporting the network"):
        size = export_onnx(model, folder, weights, sampler=sampler, steps=steps, guidance=guidance)
    say(f"{folder}: {model.source} as ONNX, {size / 1e6:.1f} MB; to sample: python {folder / 'sample.py'}")
    return 0


@export.command("torch")
def torch(
    run: options.Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="new file (default: NAME.pt2)")
    ] = None,
    sampler: options.Sampler = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
) -> int:
    """Writes the network as a program of torch.export.

    One file, which torch.export.load opens without this package: the network, for batches of any size, with the sampler as
    a table of numbers inside, sampler.json. Latent models get a second one beside it, NAME.decoder.pt2.

    \b
    Example:
      mezzotint export torch mnist -o mnist.pt2
    """
    from mezzotint.exchange.graph.program import decoder, program, save_program
    from mezzotint.exchange.sampler import sampler_table
    from mezzotint.exchange.whole import check_new
    from mezzotint.model.loading import load

    model = load(run, device="cpu", precision="fp32")
    path = output or Path(f"{model.source}.pt2")
    if path.suffix != ".pt2":
        raise ConfigError(f"-o {path}: give it a name that ends in .pt2")
    check_new(path)
    table = sampler_table(model, sampler=sampler, steps=steps, guidance=guidance)
    back = path.with_suffix(".decoder.pt2")
    if model.codec.weights is not None:
        check_new(back)
    with writing(path), Patience().during("exporting the network"):
        size = save_program(program(model), table, path)
        if (way_back := decoder(model)) is not None:
            size += save_program(way_back, {}, back)
    what = f"{model.source} as a program of torch.export"
    if way_back is not None:
        what += f", and {back}, the decoder from codes to pictures"
    say(f"{path}: {what}, {size / 1e6:.1f} MB")
    return 0
