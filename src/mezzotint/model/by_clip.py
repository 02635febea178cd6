"""A model guided by a CLIP from a folder: any prompt, for a model that was trained without captions; slow."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions.clip import Clip, ClipTexts, open_clip
from mezzotint.diffusion.denoiser import Denoise, takes_to
from mezzotint.diffusion.guidance import LogProb, classifier_guidance
from mezzotint.errors import ConfigError

if TYPE_CHECKING:
    from mezzotint.model.model import Model


def by_clip(model: "Model", folder: str | Path) -> "Model":
    """The same network, steered to a prompt by a CLIP: guidance is the factor g of its logit. Raises ConfigError for
    models that cannot be guided so, DataError or MissingExtra where there is no CLIP."""
    if model.facts.kind != "pictures" or model.codec.shape(model.facts.shape) != model.facts.shape:
        raise ConfigError("guidance by a CLIP needs a model of pixels, and this is none; leave by_clip out")
    if takes_to(model.denoiser) or model.config.teacher is not None:
        raise ConfigError(
            "the guidance of a student is fixed, and cannot come from a CLIP; leave by_clip out"
        )
    if model.facts.width:
        raise ConfigError(
            "this model has a text encoder of its own, and cannot be guided by a CLIP; leave by_clip out"
        )
    if model.weak is not None:
        raise ConfigError("a model is guided by a CLIP or by a weak model, not by both; leave one out")
    clip = open_clip(Path(folder).expanduser(), model.device)
    guided = copy.copy(model)
    belief = without_context(model.denoiser)
    guided.guided = classifier_guidance(belief, model.process, log_prob(clip, belief))
    guided.language = ClipTexts(clip, model.language)
    guided.clip = clip.digest
    return guided


def without_context(denoise: Denoise) -> Denoise:
    """A belief that is not told the vectors of CLIP, which are for the guidance alone."""
    return lambda x, logsnr, cond: denoise(x, logsnr, replace(cond, context=None, context_mask=None))


def log_prob(
    clip: Clip, denoise: Denoise, clamp: Callable[[Tensor], Tensor] = lambda x0: x0.clamp(-1, 1)
) -> LogProb:
    """log p(text | x) up to a constant: CLIP's logit of the belief x0(x), not of x itself, since it knows no noise (Bansal et al.
    2023, "Universal guidance", section 3.1). The gradient goes through the network. cond.context: (B, 1, width)."""

    def log_probs(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        assert cond.context is not None
        x0 = clamp(denoise(x, logsnr, replace(cond, label=None)))
        return clip.fit(x0, cond.context[:, 0].to(x0))

    return log_probs
