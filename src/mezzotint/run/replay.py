"""Samples of the model that a training begins with, drawn once and kept, so that it does not forget what it was."""

import json
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mezzotint import build, cache
from mezzotint.cond import Cond
from mezzotint.conditions.labels import ALL
from mezzotint.data.continued import Replay
from mezzotint.data.decode import fit
from mezzotint.errors import ConfigError
from mezzotint.media.codec import Codec
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.model.request import Request
from mezzotint.run.start import Origin
from mezzotint.train.distributed import Ranks

SEED = 2**40  # of the first sample; people ask for others
A_CLASS, FEWEST, MOST = 64, 256, 4096  # samples


def replayed(
    origin: Origin, facts: Facts, codec: Codec, share: float, device: torch.device, ranks: Ranks
) -> Replay:
    """Samples by the model's own defaults, all its classes in turn, in the words and the size of a run of `facts`, coded for its
    network. Raises ConfigError where they are not the things of the run, ModelError where the model cannot be opened."""
    model = load(origin.path, device=str(device))
    classes = len(model.classes) - len(model.facts.empty)
    n = min(MOST, max(FEWEST, A_CLASS * classes))
    request = model.request(n, label=ALL if classes else None, seed=SEED)
    things = ranks.in_turn(lambda: _samples(model, request))
    coded = [codec.encode(part.to(device)) for part in resized(things, facts).split(model.batch)]
    cond = told(model, request, facts).map(lambda column: column.to(device))
    return Replay(torch.cat(coded), cond, share)


def told(model: Model, request: Request, facts: Facts) -> Cond:
    """What samples were asked to be, in the words of a run of `facts`."""
    cond = Cond()
    if facts.classes:
        label = torch.full((request.n,), len(facts.classes))
        if request.cond.label is not None:
            where = [facts.classes.index(name) for name in model.classes] + [len(facts.classes)]
            label = torch.tensor(where)[request.cond.label]
        cond = replace(cond, label=label)
    language = build.language(model.config, facts, torch.device("cpu")) if facts.length else None
    if language is not None:
        texts = request.prompts or ("",) * request.n
        cond = replace(language.cond(texts), label=cond.label)
    return cond


def resized(things: Tensor, facts: Facts) -> Tensor:
    """Pictures in the size and the channels of a run, as its own are brought to them. Raises ConfigError for other things."""
    if things.shape[1:] == facts.shape:
        return things
    if facts.kind != "pictures" or things.ndim != 4:
        raise ConfigError(
            f"the model's samples have another shape than {facts} and cannot be replayed; leave train.replay out"
        )
    channels, *size = facts.shape
    arrays = (thing.permute(1, 2, 0).numpy() for thing in things)
    pictures = (Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array) for array in arrays)
    fitted = np.stack([fit(picture, (size[0], size[1]), channels) for picture in pictures])
    return torch.from_numpy(fitted)


def _samples(model: Model, request: Request) -> Tensor:
    """Things (n, ...) on the CPU, from the cache or else made. What cannot be kept is made again the next time."""
    written = json.dumps(request.written(model.header, "")) + str(model.denoiser.dtype) + model.device.type
    name = f"replay/{cache.digest(written, *model.net.state_dict().values())}"
    there = cache.load(name) or {}
    if "things" in there and len(there["things"]) == request.n:
        return there["things"]
    things = model.answer(request).values
    cache.keep(name, {"things": things})
    return things
