"""Networks trained on large sets of pictures, which see more than Inception does (Stein et al. 2023): DINOv2 and CLIP.

They are loaded by `transformers` from a folder on this disk, or from the hub where a name is given; neither the library
nor any weights come with this package. Tests use small networks with random weights; the published ones have not been tried.
"""

import importlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint import cache
from mezzotint.errors import DataError, MissingExtra
from mezzotint.evaluate.judges.features import Extractor, Features, in_colour

HUB = {"dinov2": "facebook/dinov2-base", "clip": "openai/clip-vit-base-patch32"}
SIDE_PIXELS = 224
# Mean and standard deviation of (red, green, blue) that each was trained with.
COLOURS = {
    "dinov2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


def pretrained_extractor(
    kind: str, source: str | None = None, device: torch.device | str = "cpu"
) -> Extractor:
    """kind: "dinov2" (features: the class token) or "clip" (the projected picture). source: a folder of weights in the
    layout of `transformers`, or a name on the hub; by default the hub's `HUB[kind]`.

    Pictures are resized to 224 pixels, bicubic and smoothed before making smaller, as both were trained.
    Raises MissingExtra without `transformers`, DataError where the weights are not found.
    """
    try:
        library = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtra(f'{kind} needs transformers; run: pip install "mezzotint[features]"') from error
    source = source or HUB[kind]
    local = Path(source).expanduser()
    cls = library.Dinov2Model if kind == "dinov2" else library.CLIPVisionModelWithProjection
    try:
        net: Any = cls.from_pretrained(str(local) if local.is_dir() else source)
    except (OSError, ValueError, RuntimeError) as error:  # not there, no network, weights of another network
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"cannot load {kind} from {source} ({reason}); give a folder with config.json and model.safetensors"
        ) from error
    net = net.to(device).eval().requires_grad_(False)
    width = net.config.hidden_size if kind == "dinov2" else net.config.projection_dim
    mean, deviation = (torch.tensor(row, device=device).view(3, 1, 1) for row in COLOURS[kind])

    def compute(images: Tensor) -> Features:
        pools = []
        for part in images.split(50):
            x = F.interpolate(
                in_colour(part.to(device)).float(), (SIDE_PIXELS, SIDE_PIXELS), mode="bicubic", antialias=True
            )
            x = (x.clamp(0, 255) / 255 - mean) / deviation
            out = net(pixel_values=x)
            pools.append(out.last_hidden_state[:, 0] if kind == "dinov2" else out.image_embeds)
        return Features(torch.cat(pools).float().cpu(), None)

    weights = net.state_dict()
    version = cache.digest(*(part for key in sorted(weights) for part in (key, weights[key])))
    return Extractor(kind, version, f"{SIDE_PIXELS} bicubic, smoothed", width, labels=False, compute=compute)
