"""The input of a model that enlarges: small pictures, enlarged and noised."""

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions.image import MAX_GRAIN, USUAL_GRAIN, larger, of_request
from mezzotint.errors import ConfigError

if TYPE_CHECKING:
    from mezzotint.model.model import Model


def with_picture(
    model: "Model", cond: Cond, image: Tensor | None, grain: float | None, seeds: Tensor
) -> tuple[Cond, Tensor | None]:
    """The condition with the input pictures, and the pictures to which the output is added, for models that
    enlarge. Raises ConfigError."""
    if model.blank is None:
        if image is not None or grain is not None:
            raise ConfigError("this model takes no picture as input; leave image and grain out")
        return cond, None
    factor, shape = model.config.data.enlarge or 1, model.blank.shape[1:]
    if image is None:
        raise ConfigError(
            f"this model makes pictures {factor} times as large, and needs one: mezzotint enlarge {model.source} PICTURE, "
            f"or mezzotint sample ANOTHER --then {model.source}"
        )
    if image.shape[1:] != shape:
        sizes = ("x".join(map(str, size)) for size in (image.shape[1:], shape))
        raise ConfigError("this model enlarges pictures of {1}, not of {0}; resize them".format(*sizes))
    grain = USUAL_GRAIN if grain is None else grain
    if not 0 <= grain <= MAX_GRAIN:
        raise ConfigError(f"grain must be from 0 to {MAX_GRAIN:g}, not {grain:g}")
    large = larger(model.codec.encode(image).expand(len(seeds), *shape), factor)
    under = of_request(large, grain, seeds)
    return replace(cond, image=under.image, grain=under.grain), large
