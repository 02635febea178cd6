"""What a model does with a picture, or between two: the requests of `Model.edit`, `enlarge`, `colour`, `morph`, `vary`, `invert`.

Each is a `Request` as that of `Model.sample` is, and shares network calls with any other of the same model.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions.image import USUAL_GRAIN, consistent
from mezzotint.conditions.labels import NONE, Label
from mezzotint.data import given
from mezzotint.errors import ConfigError
from mezzotint.model.inverted import Inverted
from mezzotint.model.request import Request
from mezzotint.model.samples import Samples
from mezzotint.tasks import colour as colours
from mezzotint.tasks import edit as edits
from mezzotint.tasks import enlarge as sizes
from mezzotint.tasks.invert import Invert
from mezzotint.tasks.morph import Morph
from mezzotint.tasks.task import Kind, Task

if TYPE_CHECKING:
    from mezzotint.model.model import Model

STRENGTH = 0.6  # of an edit as a whole: enough to change strokes, not what is there
MAX_FEATHER = 1000  # pixels
Picture = Any  # a path, the bytes of a file, a PIL picture, an array or a tensor: see `data.given.picture`


class Edits:
    """Makes requests of a model of pictures. All raise ConfigError or DataError in one line.

    n, label, seed and settings are those of `Model.sample`, but for label None, which here asks for no class.
    """

    def __init__(self, model: "Model", max_pixels: int = given.MAX_PIXELS) -> None:
        self.model, self.max_pixels = model, max_pixels

    def edit(
        self,
        picture: Picture,
        mask: Picture | None = None,
        *,
        strength: float | None = None,
        returns: int | None = None,
        feather: float = 0.0,
        n: int = 1,
        label: Label = None,
        seed: int = 0,
        **settings: Any,
    ) -> Request:
        """The picture changed as a whole (strength below 1), or where the mask is white, or without a mask transparent. A clip with fewer
        frames than the model's is continued; a picture counts as a clip of one frame.

        strength: in [0, 1], how far back to noise the picture is sent, by default 1 where a part is repainted and
        0.6 elsewhere; 0 returns it unchanged without a network call, and
        1 is a plain sample of the seed, except for the known part. returns: repetitions of each stretch of steps where a part is known; with
        more the parts fit better, at proportional cost. feather: width of the soft edge inside the mask, in pixels.
        """
        seen = self._picture(picture)
        details: dict[str, Any] = {"task": "edit", "picture": seen.digest}
        repainted = seen.holes
        if mask is not None:
            self._check_pictures("a mask")
            repainted, details["mask"] = given.mask(mask, seen, max_pixels=self.max_pixels)
        if repainted is None and (returns is not None or feather):
            raise ConfigError(
                "returns and feather are for a picture with a mask; give a mask, or leave them out"
            )
        if feather:
            self._check_pictures("feather")
        if not 0 <= feather <= MAX_FEATHER:
            raise ConfigError(f"feather must be from 0 to {MAX_FEATHER:,} pixels, not {feather:g}")
        if strength is None:
            strength = STRENGTH if repainted is None else 1.0
        if strength != 1 and mask is None and repainted is not None:
            raise ConfigError(
                "strength has no effect in transparent parts, which hold no picture; leave strength out"
            )
        details["strength"] = strength = float(strength)
        begins = self._known_frames(repainted)
        usual = 1 if begins else edits.RETURNS  # a network that is shown what is known need not be reminded
        times, finish = usual if returns is None else returns, None
        shown, codec = repainted, self.model.codec
        if repainted is not None:
            details |= {"returns": times, "feather": float(feather)}
        if strength == 0:  # a codec may not give the picture back to the bit
            shown = torch.zeros(seen.pixels.shape[1:], dtype=torch.bool)
        if shown is not None:
            finish = partial(edits.composite, picture=seen.pixels, repainted=shown, feather=feather)
        where = None if repainted is None else codec.mask(repainted)
        task = self._task(edits.edit, self._codes(seen.pixels), where, strength=strength, returns=times)
        request = self._request(task, details, finish, n, label, seed, settings, seen.note)
        if not begins:
            return request
        image = self.model.begun(seen.pixels, begins, request.n)
        return replace(request, cond=replace(request.cond, image=image))

    def vary(self, picture: Picture, *, strength: float = 0.5, **arguments: Any) -> Request:
        """Pictures like this one: `edit` without a mask."""
        return self.edit(picture, strength=strength, **arguments)

    def enlarge(
        self,
        picture: Picture | Samples,
        factor: int | None = None,
        *,
        returns: int | None = None,
        grain: float | None = None,
        n: int | None = None,
        label: Label = None,
        seed: int | None = None,
        **settings: Any,
    ) -> Request:
        """The picture `factor` times as large, in the model's size.

        With any model of pictures: the means of blocks equal the pixels of the given picture. factor: 2 by default.
        With a model that was trained to enlarge (`data.enlarge`), and its factor: pictures whose small versions are the picture. grain: in [0, 0.5],
        by default 0.1, the noise added to the given picture; with more noise it invents more. It also takes the samples of
        another model, and enlarges each once, from its seed.
        """
        self._check_pictures("enlarge")
        if self.model.config.data.enlarge:
            return self._trained(picture, factor, returns, grain, n, label, seed, settings)
        self._check_pixels("enlarge")
        if isinstance(picture, Samples) or grain is not None:
            what = "grain is" if grain is not None else "enlarging samples is"
            raise ConfigError(
                f"{what} only for models that were trained to enlarge, such as the recipe upscale; this one was not"
            )
        factor, n, seed = factor or 2, n or 1, seed or 0
        channels, height, width = self.model.facts.shape
        if factor < 2 or height % factor or width % factor:
            factors = [k for k in range(2, 9) if height % k == 0 == width % k]
            fitting = ", ".join(map(str, factors)) or "none"
            raise ConfigError(
                f"factor {factor} does not fit pictures of {width}x{height}; factors that do: {fitting}"
            )
        small = given.picture(
            picture, (channels, height // factor, width // factor), max_pixels=self.max_pixels
        )
        times = edits.RETURNS if returns is None else returns
        details = {"task": "enlarge", "factor": factor, "returns": times, "picture": small.digest}
        task = self._task(sizes.enlarge, self._codes(small.pixels), factor, times)
        finish = partial(sizes.with_means, small=small.pixels, factor=factor)
        return self._request(task, details, finish, n, label, seed, settings, small.note)

    def _trained(
        self,
        picture: Picture | Samples,
        factor: int | None,
        returns: int | None,
        grain: float | None,
        n: int | None,
        label: Label,
        seed: int | None,
        settings: dict[str, Any],
    ) -> Request:
        """`enlarge` by a model that was trained to."""
        own = self.model.config.data.enlarge
        assert own is not None and self.model.blank is not None
        if factor not in (None, own):
            raise ConfigError(f"this model makes pictures {own} times as large; leave factor out")
        if returns is not None:
            raise ConfigError("a model that was trained to enlarge does not repeat steps; leave returns out")
        grain = USUAL_GRAIN if grain is None else float(grain)
        details: dict[str, Any] = {"task": "enlarge", "factor": own, "grain": grain}
        if isinstance(picture, Samples):
            if n not in (None, len(picture)):
                raise ConfigError("each of several samples is enlarged once; leave n out")
            small, note, n = picture.values, "", len(picture)
            seed = int(picture.seeds[0]) if seed is None else seed
            details |= {"of": picture.settings, "usual": label is None and not any(settings.values())}
        else:
            seen = given.picture(picture, tuple(self.model.blank.shape[1:]), max_pixels=self.max_pixels)
            small, note, n, seed = seen.pixels[None], seen.note, n or 1, seed or 0
            details["picture"] = seen.digest
        finish = partial(consistent, small=small, factor=own)
        settings = {**settings, "image": small, "grain": grain}
        return self._request(Task(), details, finish, n, label, seed, settings, note)

    def colour(
        self,
        picture: Picture,
        *,
        returns: int | None = None,
        n: int = 1,
        label: Label = None,
        seed: int = 0,
        **settings: Any,
    ) -> Request:
        """The picture in colours; of a coloured picture only the brightness is used."""
        self._check_pictures("colour")
        self._check_pixels("colour")
        channels, height, width = self.model.facts.shape
        if channels != 3:
            raise ConfigError("colour needs a model of RGB pictures; this one makes grey pictures")
        seen = given.picture(picture, (1, height, width), max_pixels=self.max_pixels)
        times = edits.RETURNS if returns is None else returns
        details = {"task": "colour", "returns": times, "picture": seen.digest}
        task = self._task(colours.colour, self._codes(seen.pixels), times)
        finish = partial(colours.with_brightness, brightness=seen.pixels)
        return self._request(task, details, finish, n, label, seed, settings, seen.note)

    def morph(self, begin: int, end: int, n: int = 9, *, label: Label = None, **settings: Any) -> Request:
        """n samples on the way from one seed's sample to another's; both ends equal those samples to the bit.

        label: one class, or a list of two for the beginning and the end; None: those that the seeds draw. Samplers with fresh noise use that of
        the beginning.
        """
        model, ends = self.model, torch.tensor([begin, end], dtype=torch.int64)
        if n < 2:
            raise ConfigError(f"n must be at least 2, for the beginning and the end, not {n}")
        for what, given_ends in (("class", label), ("prompt", settings.get("prompt"))):
            if isinstance(given_ends, Sequence) and not isinstance(given_ends, str) and len(given_ends) > 2:
                raise ConfigError(f"a morph has two ends: give one {what}, or two, not {len(given_ends)}")
        cond, prompts = model.asked(ends, label, settings.get("prompt"))
        request = model.request(n, label=label, seed=begin, **settings)
        share = torch.linspace(0, 1, n, dtype=torch.float64)
        first, last = _repeated(cond, 0, n), _repeated(cond, 1, n)
        same = all(bool((column[0] == column[1]).all()) for column in cond.inputs().values())
        task = Morph(share, begin, end, None if same else last)
        details: dict[str, Any] = {"task": "morph", "seeds": [begin, end]}
        if prompts:
            details["prompt"] = list(prompts)
        rows = [{"share": w} for w in share.tolist()]
        return replace(request, cond=first, task=task, details=details, rows=rows, prompts=())

    def invert(
        self, picture: Picture, *, rounds: int | None = None, label: Label = None, **settings: Any
    ) -> Request:
        """The noise that ddim makes the picture from. Refused are guidance above 1, clipping, other samplers, and models in
        bfloat16. rounds: network calls per step."""
        if self.model.denoiser.dtype != torch.float32:
            raise ConfigError('a picture is inverted in float32; load the model with precision="fp32"')
        if self.model.clip is not None:
            raise ConfigError("a picture cannot be inverted with guidance by a CLIP; leave by_clip out")
        for name, allowed in (
            ("sampler", "ddim"),
            ("guidance", 1.0),
            ("clip", False),
            ("eta", 0.0),
            ("churn", 0.0),
        ):
            if settings.setdefault(name, allowed) not in (allowed, None):
                raise ConfigError(
                    f"a picture cannot be inverted with {name} {settings[name]}, whose steps have no inverse; leave it out"
                )
            settings[name] = allowed
        settings["spacing"] = settings.get("spacing") or "karras"
        seen = self._picture(picture)
        task = Invert(self._codes(seen.pixels), **({} if rounds is None else {"rounds": rounds}))
        return self._request(
            task, {"task": "invert", "picture": seen.digest}, None, 1, label, 0, settings, seen.note
        )

    def from_noise(
        self, noise: Inverted | str | Path, n: int = 1, *, label: Label = None, seed: int = 0, **settings: Any
    ) -> Request:
        """n samples from the noise of `invert`, or its file; with the settings and class stored with it, where none
        are given. seed: of the fresh noise that other samplers add.
        """
        found = noise if isinstance(noise, Inverted) else Inverted.load(noise)
        shape = self.model.codec.shape(self.model.facts.shape)
        if found.noise.shape[1:] != shape:
            wanted, there = ("x".join(map(str, size)) for size in (shape, found.noise.shape[1:]))
            raise ConfigError(
                f"the noise is of shape {there}, and this model starts from {wanted}; use the model that it was inverted with"
            )
        given_settings = {name: value for name, value in settings.items() if value is not None}
        kept = {name: value for name, value in found.settings.items() if name != "label"}
        label = found.settings.get("label") if label is None else label
        request = self.model.request(n, label=label, seed=seed, **(kept | given_settings))
        task = Task(noise=found.noise.expand(n, *shape))
        return replace(request, task=task, details={"task": "sample", "noise": found.digest})

    # --- inside ----------------------------------------------------------------------------------------------

    def _check_pictures(self, task: str) -> None:
        if self.model.facts.kind != "pictures":
            raise ConfigError(f"{task} needs a model of pictures; this one makes {self.model.facts}")

    def _check_pixels(self, task: str) -> None:
        if not self.model.codec.exact:
            raise ConfigError(
                f"{task} needs a model of pixels, since the codes of an autoencoder do not give exact means of pixels"
            )

    def _picture(self, picture: Picture) -> given.Given:
        if self.model.facts.kind not in given.GIVEN:
            self._check_pictures("an edit")
        read = given.GIVEN[self.model.facts.kind]
        return read(picture, self.model.facts.shape, max_pixels=self.max_pixels)

    def _codes(self, pixels: Tensor) -> Tensor:
        return self.model.codec.encode(pixels[None]).cpu()

    def _known_frames(self, repainted: Tensor | None) -> int:
        """How many frames at the beginning are known, for models that are shown them; 0 for others. repainted: bool (T, H, W)."""
        if not self.model.config.data.known or repainted is None or repainted.ndim < 3:
            return 0
        return int((~repainted).flatten(1).all(1).long().cumprod(0).sum())

    def _task(self, make: Any, *arguments: Any, **named: Any) -> Task:
        try:
            return make(*arguments, **named)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def _request(
        self,
        task: Kind,
        details: dict[str, Any],
        finish: Callable[[Tensor], Tensor] | None,
        n: int,
        label: Label,
        seed: int,
        settings: dict[str, Any],
        note: str,
    ) -> Request:
        asked = NONE if label is None and self.model.classes else label
        if self.model.language is not None and settings.get("prompt") is None:
            settings = {**settings, "prompt": ""}
        request = self.model.request(n, label=asked, seed=seed, **settings)
        return replace(request, task=task, details=details, finish=finish, note=note)


def _repeated(cond: Cond, row: int, n: int) -> Cond:
    """One row of it, for n rows."""
    return cond.map(lambda column: column[row : row + 1]).expand(n)
