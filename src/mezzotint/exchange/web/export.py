"""A model as a page: what its two files hold, and what cannot become one."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment
from markupsafe import Markup
from torch import Tensor, nn

from mezzotint.build.losses import usual_told
from mezzotint.conditions.labels import NONE, name_of, word
from mezzotint.config import HOPS, VAE, Config, DiT, UNet, UNetSimple
from mezzotint.diffusion.schedule import Table
from mezzotint.diffusion.solvers import first_order
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.disk.files import write
from mezzotint.errors import ConfigError
from mezzotint.media.codec import Bytes
from mezzotint.media.facts import Facts
from mezzotint.model.model import Model
from mezzotint.nets.dit import Leave

HERE = Path(__file__).parent
WORKER = (
    "noise",
    "layers",
    "text",
    "sketch",
    "unet",
    "dit",
    "vae",
    "diffusion",
    "sampler",
    "worker",
)  # in the order of their needs
PAGE = ("png", "page")
# What of a network's configuration the page computes; a key that it does not know is refused.
KNOWN = {
    "unet": {
        "kind",
        "width",
        "multipliers",
        "blocks",
        "attention",
        "linear_attention",
        "head_channels",
        "dropout",
        "patch",
    },
    "unet_simple": {"kind", "width", "levels", "norm", "down"},
    "dit": {"kind", "width", "depth", "head_channels", "patch", "tokens"},
}


def export_page(model: Model, folder: Path, card: Path | None = None) -> int:
    """Writes index.html and model.js into a folder, which is made where needed: the page makes the pictures of the model, by
    itself. card: a Markdown file whose table of two columns tells of the model. Returns the bytes written.

    Raises ConfigError, before anything is written, for a model with a part that the page cannot compute.
    """
    check(model.config, model.facts)
    count = sum(parameter.numel() for parameter in model.net.parameters())
    kind = f"{model.config.network.kind}, {count:,} parameters"
    if model.codec.weights is not None:
        kind += ", of an autoencoder's codes"
    scripts = [
        Markup("\n".join((HERE / f"{name}.js").read_text("utf-8") for name in names))
        for names in (WORKER, PAGE)
    ]
    template = Environment(autoescape=True).from_string((HERE / "page.html").read_text("utf-8"))
    html = template.render(
        name=model.source,
        line=f"{model.medium.words(model.facts.shape)} · {kind}",
        card=_told(model, kind, card),
        worker=scripts[0],
        page=scripts[1],
    ).encode()
    script = (
        "// The model: what it is, and its weights, three bytes a number (see `Weights`), as a classic script, since a page\n"
        f'// that is opened as a file may load nothing else.\n"use strict";\nconst MODEL = {json.dumps(described(model))};\n'
    ).encode()
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "model.js", script)
    write(folder / "index.html", html)
    return len(script) + len(html)


def check(config: Config, facts: Facts) -> None:
    """Raises ConfigError in one line for what of a model a page cannot compute."""
    network = config.network
    if not isinstance(network, UNet | UNetSimple | DiT):
        raise ConfigError(f"network.kind {network.kind} cannot be exported as a page; {', '.join(KNOWN)} can")
    if facts.kind != "pictures":
        raise ConfigError(f"{facts.kind} cannot be exported as a page; pictures can")
    if config.data.enlarge:
        raise ConfigError("data.enlarge: models that enlarge cannot be exported as a page")
    for key, field in type(network).model_fields.items():
        if key not in KNOWN[network.kind] and getattr(network, key) != field.default:
            raise ConfigError(f"network.{key} cannot be exported as a page; train without it")
    coder = None if config.codec is None else config.codec.network
    if coder is not None and not isinstance(coder, VAE):
        raise ConfigError(
            f"codec: codes of a published autoencoder, {coder.kind}, cannot be exported as a page; train one of your own: mezzotint train vae"
        )
    if coder is None and (config.codec is not None or not isinstance(facts.medium.codec, Bytes)):
        raise ConfigError(
            "codec: codes of this autoencoder cannot be exported as a page; train on the pixels themselves"
        )
    if facts.reading not in ("words", "bytes"):
        raise ConfigError(
            f"texts read by an {facts.reading} cannot be exported as a page; train with data.reading words or bytes"
        )


def described(model: Model) -> dict[str, Any]:
    """All that the page has to know, as JavaScript can say it. See worker.js for who reads what."""
    config, facts = model.config, model.facts
    hops = config.objective in HOPS
    settings = model.request(1).settings
    tensors = laid_out(model.net)
    if model.codec.weights is not None:
        learned = laid_out(model.codec.weights).items()
        tensors |= {f"codec.{name}": tensor for name, tensor in learned if "encoder" not in name}
    coder = config.codec and config.codec.network
    return {
        "name": model.source,
        "step": model.header.step,
        "weights_kind": model.header.weights,
        "shape": facts.shape,
        "code": model.codec.shape(facts.shape),
        "codec": coder and coder.model_dump(),
        "classes": [name_of(number, facts.classes) for number in range(len(facts.classes))],
        "none": word(NONE, facts.classes),
        "drawn": [number for number in range(len(facts.classes)) if number not in facts.empty],
        "reading": facts.reading,
        "words": facts.words,
        "length": facts.length,
        "examples": facts.examples,
        "network": config.network.model_dump(),
        "frequencies": _frequencies(model.net.conditioning.dim),  # type: ignore[arg-type]
        "process": config.diffusion.process,
        "parameterization": config.diffusion.parameterization,
        "sigma_data": config.diffusion.sigma_data,
        "told": "flow" if config.objective == "meanflow" else usual_told(config.diffusion),
        "span": (1 if config.objective == "meanflow" else 1000) if hops else 0,
        "table": model.schedule.logsnr.tolist() if isinstance(model.schedule, Table) else None,
        "guidable": model.guidable and config.teacher is None,
        "sample": settings.model_dump(),
        "samplers": [
            (name, row.when)
            for name, row in SAMPLERS.items()
            if (row.shown or name == settings.sampler)
            and (config.objective != "map" or row.solver is first_order)
        ],
        "tensors": [(name, tuple(tensor.shape)) for name, tensor in tensors.items()],
        "weights": base64.b64encode(b"".join(map(three_bytes, tensors.values()))).decode(),
    }


def _frequencies(dim: int) -> list[float]:
    """Those of `nets.embed.sinusoidal`, as float32 has them: at 1,000 radians their last bit shows, and exp has another one in
    each language."""
    half = dim // 2
    return torch.exp(-math.log(10_000) / max(half, 1) * torch.arange(half, dtype=torch.float32)).tolist()


def laid_out(net: nn.Module) -> dict[str, Tensor]:
    """The numbers of a network by name, as the page reads them: kernels as rows (out, ky, kx, in), those of transposed
    convolutions (ky, kx, out, in)."""
    grown = {
        f"{name}.weight"
        for name, module in net.named_modules()
        if isinstance(module, nn.ConvTranspose2d | Leave)
    }
    result = {}
    for name, tensor in net.state_dict().items():
        if not tensor.is_floating_point():
            continue  # a counter of batches
        if tensor.ndim == 4:
            tensor = tensor.permute(2, 3, 1, 0) if name in grown else tensor.permute(0, 2, 3, 1)
        result[name] = tensor.detach().cpu().float().contiguous()
    return result


def three_bytes(tensor: Tensor) -> bytes:
    """The upper three bytes of every number, rounded: one sign, eight bits of exponent, fifteen of fraction. In float16, of ten
    bits, twelve steps of the bundled `mnist` come out up to three grey levels off; so, within one."""
    bits = tensor.numpy().astype("<f4").ravel().view("<u4") + np.uint32(0x80)
    return bits.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()


def _told(model: Model, kind: str, card: Path | None) -> list[tuple[str, str]]:
    """What people are told of a model: its card's table, or what its file says."""
    if card is not None and card.is_file():
        rows = [
            line.strip("| ").split(" | ", 1) for line in card.read_text("utf-8").splitlines() if "|" in line
        ]
        return [
            (row[0].strip(), row[1].replace("`", "").strip())
            for row in rows
            if len(row) == 2 and row[0].strip()
        ]
    sample = model.request(1).settings
    classes = ", ".join(model.classes[:12]) + (" ..." if len(model.classes) > 12 else "")
    teacher = model.config.teacher
    return [
        ("makes", model.medium.words(model.facts.shape)),
        ("classes", classes or "none"),
        ("trained on", model.config.data.name),
        ("network", kind),
        ("weights", f"{model.header.weights} at step {model.header.step:,} of training"),
        ("defaults", f"{sample.sampler}, {sample.steps} steps, guidance {sample.guidance:g}"),
        *([("teacher", teacher.file.name)] if teacher is not None else []),
    ]
