"""A CLIP from a folder on this disk: how well a picture fits a text, differentiably (Radford et al. 2021)."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint import cache
from mezzotint.cond import Cond
from mezzotint.conditions import frozen
from mezzotint.conditions.text import Language
from mezzotint.errors import ConfigError, DataError

# Of (red, green, blue) that the published networks were trained with, where a folder does not say.
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, eq=False)
class Clip:
    """net: a CLIPModel. side: pixels of the pictures that it sees. mean, deviation: of their colours. digest: of its weights."""

    net: Any
    tokenizer: Any
    side: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    digest: str

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.net.config.projection_dim)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """(N, width) float32 on the CPU, of length 1. Raises ConfigError for a text that is too long."""
        most = int(self.net.config.text_config.max_position_embeddings)
        told = self.tokenizer(list(texts), padding=True, return_tensors="pt")
        if told["input_ids"].shape[1] > most:
            raise ConfigError(
                f"a text of {told['input_ids'].shape[1]} tokens is too long for this CLIP: at most {most}"
            )
        ids, mask = (told[name].to(self.net.device) for name in ("input_ids", "attention_mask"))
        pooled = self.net.text_model(input_ids=ids, attention_mask=mask).pooler_output
        return F.normalize(self.net.text_projection(pooled), dim=1).float().cpu()

    def pictures(self, x: Tensor) -> Tensor:
        """x (B, 1 or 3, H, W), white 1 and black -1 -> (B, width), of length 1; differentiable in x."""
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        x = F.interpolate(x, (self.side, self.side), mode="bicubic", align_corners=False, antialias=True)
        mean, deviation = (x.new_tensor(row)[:, None, None] for row in (self.mean, self.deviation))
        seen = self.net.vision_model(pixel_values=((x + 1) / 2 - mean) / deviation).pooler_output
        return F.normalize(self.net.visual_projection(seen), dim=1)

    def fit(self, x: Tensor, texts: Tensor) -> Tensor:
        """The logit of each picture for its text, exp(logit_scale) <picture, text>, (B,): with it, log p(text | picture) up to
        what does not depend on the text that is asked (their eq. of the loss). texts: (B, width), zeros for none, whose logit is 0."""
        return self.net.logit_scale.exp() * (self.pictures(x) * texts).sum(1)


def open_clip(folder: Path, device: torch.device | str = "cpu") -> Clip:
    """Raises MissingExtra without `transformers`, DataError where there is no CLIP."""
    library = frozen.transformers()
    if (kind := frozen.kind_of(folder, library)) != "clip":
        raise DataError(
            f"{folder} holds a network of kind {kind!r}; guidance needs a whole CLIP; give its folder"
        )
    net = frozen.weights(folder, library.CLIPModel).to(device)
    said = _preprocessing(folder)
    state = net.state_dict()
    digest = cache.digest(*(part for key in sorted(state) for part in (key, state[key])))
    side = int(net.config.vision_config.image_size)
    tokenizer = frozen.tokenizer_of(folder, library, int(net.config.text_config.vocab_size))
    return Clip(net, tokenizer, side, *said, digest)


def _preprocessing(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    path = folder / "preprocessor_config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        rows = content.get("image_mean", MEAN), content.get("image_std", DEVIATION)
        mean, deviation = (tuple(float(value) for value in row) for row in rows)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read ({error}); copy it again") from error
    if len(mean) != 3 or len(deviation) != 3 or not all(map(math.isfinite, mean)) or min(deviation) <= 0:
        raise DataError(f"{path} has no mean and deviation for three colours; copy it again")
    return mean, deviation


@dataclass(frozen=True, eq=False)
class ClipTexts:
    """The language of a model that is guided by a CLIP: its vectors of texts as a context of one place, beside the tokens of the
    model's own language, if it has one."""

    clip: Clip
    own: Language | None

    def fits(self, text: str) -> bool:
        return self.own is None or self.own.fits(text)

    def cond(self, texts: Sequence[str]) -> Cond:
        own = Cond() if self.own is None else self.own.cond(texts)
        asked = torch.tensor([bool(text.strip()) for text in texts])
        vectors = self.clip.texts([text if text.strip() else "a" for text in texts]) * asked[:, None]
        return Cond(text=own.text, context=vectors[:, None], context_mask=asked[:, None])
