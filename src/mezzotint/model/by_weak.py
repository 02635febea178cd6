"""A model guided by a weaker one (autoguidance): away from what the weaker one gets wrong."""

import copy
from typing import TYPE_CHECKING, Any

from mezzotint.diffusion.denoiser import takes_to
from mezzotint.diffusion.guidance import autoguidance
from mezzotint.errors import ConfigError

if TYPE_CHECKING:
    from mezzotint.model.model import Model


def by_weak(model: "Model", weak: "Model") -> "Model":
    """The same network, steered away from what `weak` predicts for the same request: x0 = weak + g (model - weak)
    (Karras et al. 2024, "Guiding a diffusion model with a bad version of itself").

    weak: a model of the same data and conditions, less trained or smaller, such as `load(RUN, weights="0.1@800")`, the run after 800
    steps. Raises ConfigError where the two do not fit.
    """
    for one in (model, weak):
        if takes_to(one.denoiser) or one.config.teacher is not None:
            raise ConfigError(f"{one.source} is a student, whose guidance is fixed; leave weak out")
    if model.clip is not None or weak.clip is not None:
        raise ConfigError("a model is guided by a CLIP or by a weak model, not by both; leave one out")
    facts, other = model.facts, weak.facts
    same = {
        "their shapes": facts.shape == other.shape,
        "classes": facts.classes == other.classes,
        "words": (facts.words, facts.length, facts.reading, facts.digest)
        == (other.words, other.length, other.reading, other.digest),
        "the process": model.process == weak.process,
        "the codec": model.config.codec == weak.config.codec
        and model.config.data.enlarge == weak.config.data.enlarge,
    }
    if wrong := [what for what, equal in same.items() if not equal]:
        raise ConfigError(
            f"{weak.source} cannot guide {model.source}: {', '.join(wrong)} differ; use an earlier step of the same run"
        )
    guided = copy.copy(model)
    guided.guided = autoguidance(model.denoiser, weak.denoiser)
    guided.weak = {"model": weak.source, "step": weak.header.step, "weights": weak.header.weights}
    return guided


def unnamed(weak: Any) -> Any:
    """What settings say of a weak model, but for its name, which may have changed."""
    return {key: value for key, value in weak.items() if key != "model"} if isinstance(weak, dict) else weak


def told(weak: Any) -> str:
    """A weak model, as errors name it."""
    if not isinstance(weak, dict):
        return f"with the weak model {weak}"
    return "with the weak model {model}, {weights}, step {step}".format_map(
        {"model": "", "weights": "", "step": "", **weak}
    )
