"""A mezzotint model as a folder that `DDPMPipeline.from_pretrained` opens, with a card."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from torch import Tensor

from mezzotint.conditions.labels import name_of
from mezzotint.config import Config, Discrete, UNet, UNet2D, parse
from mezzotint.disk.files import tensors, write, write_json
from mezzotint.errors import ConfigError
from mezzotint.exchange.pipeline.lookup import as_unet2d
from mezzotint.exchange.pipeline.read import CONFIG, INDEX, SCHEDULER, WEIGHTS
from mezzotint.exchange.pipeline.scheduler import written_scheduler
from mezzotint.exchange.pipeline.unet import CLASS, written_unet
from mezzotint.exchange.whole import whole_folder
from mezzotint.media.codec import Bytes
from mezzotint.media.facts import Facts
from mezzotint.model.model import Model
from mezzotint.nets.unet import UNet as OurUNet

CARD = Path(__file__).with_name("card.md")
OBJECTIVES = ("denoise", "progressive")  # whose networks say what a DDPM's says


def check(config: Config, facts: Facts) -> None:
    """Raises ConfigError, naming the key, for settings of a model without counterpart in a DDPMPipeline. Norms and heads of kind
    `unet` are checked when it is written."""
    if not isinstance(config.network, UNet | UNet2D):
        raise ConfigError(
            f"network.kind {config.network.kind} has no counterpart in diffusers; unet and unet2d have"
        )
    if facts.kind != "pictures" or not isinstance(facts.medium.codec, Bytes):
        raise ConfigError(f"{facts.kind} have no counterpart in UNet2DModel, which makes pictures")
    if config.codec is not None:
        raise ConfigError(
            "codec: codes of an autoencoder have no counterpart in DDPMPipeline; train on the pixels themselves"
        )
    if facts.length:
        raise ConfigError(
            "data.captions: texts have no counterpart in UNet2DModel; train with classes, or without"
        )
    if config.data.enlarge:
        raise ConfigError("data.enlarge: a picture as a condition has no counterpart in UNet2DModel")
    if config.objective not in OBJECTIVES:
        raise ConfigError(
            f"objective {config.objective} has no counterpart in DDPMPipeline; {' and '.join(OBJECTIVES)} have"
        )
    written_scheduler(config)
    levels = len(config.network.multipliers if isinstance(config.network, UNet) else config.network.widths)
    if any(side % 2 ** (levels - 1) for side in facts.shape[1:]):
        height, width = facts.shape[1:]
        raise ConfigError(
            f"pictures of {height}x{width} have no counterpart in UNet2DModel, which with {levels} levels takes only multiples of {2 ** (levels - 1)}; change data.size"
        )


def export_pipeline(model: Model, folder: Path) -> int:
    """Writes a folder of diffusers, whole or not at all, and returns its bytes. Raises ConfigError, before anything is written,
    for a model without counterpart, and where the folder is there already."""
    check(model.config, model.facts)
    words, weights = _unet2d(model)
    scheduler = written_scheduler(model.config)
    index: dict[str, Any] = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", CLASS],
        "scheduler": ["diffusers", scheduler["_class_name"]],
    }
    if model.classes:
        index["id2label"] = {str(number): name for number, name in enumerate(model.classes)}
    with whole_folder(folder) as place:
        (place / "unet").mkdir()
        (place / "scheduler").mkdir()
        write_json(place / "unet" / CONFIG, written_unet(words, model.facts.shape, len(model.classes)))
        write(place / "unet" / WEIGHTS, tensors(weights))
        write_json(place / "scheduler" / SCHEDULER, scheduler)
        write_json(place / INDEX, index)
        write(place / "README.md", card(model, scheduler).encode())
        return sum(file.stat().st_size for file in place.rglob("*.*"))


def _unet2d(model: Model) -> tuple[UNet2D, dict[str, Tensor]]:
    """The words and weights of its network as a UNet2DModel."""
    if isinstance(model.config.network, UNet2D):
        return model.config.network, model.net.state_dict()
    assert isinstance(model.net, OurUNet) and isinstance(model.config.diffusion.schedule, Discrete)
    words, weights = as_unet2d(model.net, model.config.diffusion.schedule.timesteps)
    network = parse({"network": words}).network
    assert isinstance(network, UNet2D)
    return network, weights


def card(model: Model, scheduler: dict[str, Any]) -> str:
    """The folder's README.md: a description of the model, and its use."""
    settings, total = model.request(1).settings, scheduler["num_train_timesteps"]
    steps = next(steps for steps in range(min(settings.steps, total), total + 1) if total % steps == 0)
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(
        CARD.read_text("utf-8")
    )
    return template.render(
        name=_plain(model.source),
        what=model.medium.words(model.facts.shape),
        classes=[_plain(name_of(number, model.classes)) for number in range(len(model.classes))],
        shape=", ".join(map(str, model.facts.shape)),
        data=_plain(model.config.data.name),
        parameters=f"{sum(weight.numel() for weight in model.net.parameters()):,}",
        weights=f"{model.header.weights} at step {model.header.step:,} of training",
        looked_up=isinstance(model.config.network, UNet),
        scheduler=scheduler["_class_name"],
        predicts=scheduler["prediction_type"],
        steps=steps,
    )


def _plain(text: str) -> str:
    """A name from a file as text in Markdown: without what begins a mark, a line or a tag."""
    return "".join(c if c.isalnum() or c in " -_.,()/" else "·" for c in text)
