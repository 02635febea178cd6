"""Training on codes: the autoencoder that a configuration names, and pictures that it has coded, once."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint import build, cache
from mezzotint.config import KL, VAE, Coder, Config, Taesd
from mezzotint.data.latents import CodedSource
from mezzotint.data.open import PictureSource, Points, Source, fingerprint
from mezzotint.disk.files import read_tensors, tensors, write, write_json
from mezzotint.disk.model_file import CODEC, fill, read_header
from mezzotint.disk.names import find
from mezzotint.disk.published import place_of, read_published
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.codec import Codec, Latents
from mezzotint.media.facts import Facts
from mezzotint.model.device import place
from mezzotint.train.distributed import Ranks

MEASURED = 10_000  # pictures by whose codes means and variances are found
COLOURED = 256  # pictures by which the colours of previews are found
SHARD_BYTES = 2**26
AT_A_TIME = 256  # pictures
PROBES = 64  # pictures of a set that is not in memory, by which it is known again


def completed(config: Config) -> Config:
    """A configuration whose codec is known: where it lies, what it is, and the digest of its weights. Raises ConfigError or ModelError
    where it is missing, or another one than the configuration says."""
    if config.codec is None:
        return config
    if config.codec.file is None:
        raise ConfigError(
            "a latent model needs an autoencoder: --codec RUN of mezzotint train vae, or --codec FILE of a published one"
        )
    path = _find(config.codec.file)
    found = _read_coder(path)
    digest = digest_of(found.weights)
    if config.codec.digest not in ("", digest):
        raise ModelError(
            f"{path} is not the autoencoder that this model was trained with; restore that one, or --overwrite the run"
        )
    update = {"file": path.absolute(), "digest": digest, "network": found.words}
    return config.model_copy(update={"codec": config.codec.model_copy(update=update)})


def digest_of(weights: dict[str, Tensor]) -> str:
    """Of the weights of an autoencoder, by name: the first 16 digits of their SHA-256."""
    parts = [part for name in sorted(weights) for part in (name, weights[name])]
    return cache.digest(*parts)


def _find(name: Path) -> Path:
    """The file of a run, a model or a published autoencoder."""
    try:
        return find(name)
    except ModelError:
        if name.exists():
            return place_of(name)
        raise


class _Coder(NamedTuple):
    """An autoencoder as it lies in a file: its words, its weights, channels of its pictures."""

    words: Coder
    weights: dict[str, Tensor]
    channels: int


def _read_coder(path: Path) -> _Coder:
    """Of a run, of another model of latents, or a published one. Raises ConfigError or ModelError."""
    try:
        header = read_header(path)
    except ModelError:
        if not path.is_file():
            raise
        return _Coder(*read_published(path), channels=3)
    words: object = header.config.network
    prefix = ""
    if header.config.codec is not None:  # another model of latents
        words, prefix = header.config.codec.network, f"{CODEC}coder."
    if not isinstance(words, VAE | KL | Taesd):
        raise ConfigError(
            f"{path} is a model of pictures, not an autoencoder; train one: mezzotint train vae"
        )
    named = read_tensors(path)
    weights = {name.removeprefix(prefix): t for name, t in named.items() if name.startswith(prefix)}
    return _Coder(words, weights, header.facts.shape[0])


def open_codec(config: Config, facts: Facts, device: torch.device) -> Codec:
    """The codec of a configuration, on its device; an autoencoder is not `measured` yet."""
    codec = build.codec(config, facts)
    if not isinstance(codec, Latents):
        return codec
    assert config.codec is not None and config.codec.file is not None
    found, path = _read_coder(config.codec.file), config.codec.file
    if found.channels != facts.shape[0]:
        raise ConfigError(
            f"{path} was trained on pictures of {found.channels} channels, and these have {facts.shape[0]}: set "
            f"data.channels={found.channels}"
        )
    fill(codec.coder, found.weights, path)
    place(codec, device)
    return codec


def open_source(config: Config, device: torch.device, ranks: Ranks | None = None) -> Source | CodedSource:
    """The data of a configuration, coded as its network sees it: of latents, all pictures at once, kept for the next time.

    Sets without an end, streamed ones, and clips are coded as they come. Raises DataError, ConfigError or ModelError in one line.
    """
    if config.codec is None:
        return build.source(config, device)
    source = build.source(config.model_copy(update={"codec": None}), device)
    codec = open_codec(config, source.facts, device)
    assert isinstance(codec, Latents)
    if not isinstance(source, PictureSource):
        assert not isinstance(source, Points)
        frames = math.prod(source.facts.shape[1:-2])
        things = source.codec.decode(source.preview(min(max(1, MEASURED // 10 // frames), source.total)).x0)
        codec.measured(codec.raw(things), things[:COLOURED])
        return replace(source, codec=codec)
    for key in ("crop", "colour"):
        if getattr(config.data, key):
            raise ConfigError(
                f"data.{key} changes pictures at every step, but their codes are computed once; leave it out (data.flip is possible: mirrored pictures are encoded, too)"
            )
    return _coded(source, codec, config, ranks or Ranks())


def _coded(source: PictureSource, codec: Latents, config: Config, ranks: Ranks) -> CodedSource:
    """All pictures of a source as codes, from the cache or else computed."""
    assert config.codec is not None
    folder = cache.folder() / "latents" / _key(source, config.codec.digest)
    copies = ["plain", "mirrored"] if source.augmentation.flip else ["plain"]
    parts = ranks.in_turn(lambda: [_copy(source, codec, folder, name) for name in copies])
    codes, used = torch.stack([codes for codes, _ in parts]), parts[0][1]
    kept = source.kept
    some = kept[torch.arange(min(MEASURED, len(kept))) * len(kept) // min(MEASURED, len(kept))]
    where = source.pictures.images
    few = some[:COLOURED].to(where.device if isinstance(where, Tensor) else some.device)
    codec.measured(codes[0, some].float(), source.pictures.read(few, kept)[0])
    return CodedSource(source, codes, used, codec)


def _key(source: PictureSource, codec: str) -> str:
    """What codes depend on, in 16 digits: the pictures, the size they were brought to, and the weights of the autoencoder."""
    images = source.pictures.images
    if isinstance(images, Tensor):
        return cache.digest(images, codec)
    total = len(source.pictures)
    probes = source.pictures.batch(torch.arange(min(PROBES, total)) * total // min(PROBES, total))[0]
    parts = cache.digest(source.held, source.kept)  # from which stand-ins are taken for what cannot be read
    return cache.digest(probes, parts, str(fingerprint(source)), codec)


def _copy(source: PictureSource, codec: Latents, folder: Path, name: str) -> tuple[Tensor, Tensor]:
    """The codes of all pictures (N, *code) float16, and the pictures (N,) that they are of. What cannot be kept is computed again the
    next time."""
    there = _read(folder, name, len(source.pictures))
    if there is not None:
        return there
    codes, used = _compute(source, codec, mirrored=name == "mirrored")
    each = max(1, SHARD_BYTES // max(1, codes[0].numel() * 2))
    shards = range(0, len(codes), each)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, begin in enumerate(shards):
            part = slice(begin, begin + each)
            content = tensors({"codes": codes[part], "used": used[part]}, {"codes": name, "shard": number})
            write(folder / f"{name}-{number:05d}.safetensors", content)
        write_json(folder / f"{name}.json", {"count": len(codes), "shards": len(shards)})
    except OSError:
        pass
    return codes, used


def _read(folder: Path, name: str, total: int) -> tuple[Tensor, Tensor] | None:
    """What is kept, or None where something of it is missing or damaged."""
    try:
        index = json.loads((folder / f"{name}.json").read_text())
        if index["count"] != total:
            return None
        parts = [
            read_tensors(folder / f"{name}-{number:05d}.safetensors") for number in range(index["shards"])
        ]
        codes, used = (torch.cat([part[key] for part in parts]) for key in ("codes", "used"))
    except (OSError, ValueError, KeyError, TypeError, ModelError):
        return None
    return (codes, used) if len(codes) == len(used) == total else None


def _compute(source: PictureSource, codec: Latents, mirrored: bool) -> tuple[Tensor, Tensor]:
    codes = torch.empty(len(source.pictures), *codec.shape(source.facts.shape), dtype=torch.float16)
    used = torch.arange(len(codes))
    images = source.pictures.images
    for part in (source.kept, source.held):
        for index in part.split(AT_A_TIME):
            where = images.device if isinstance(images, Tensor) else index.device
            pictures, read = source.pictures.read(index.to(where), part)
            pictures = pictures.flip(-1) if mirrored else pictures
            codes[index], used[index] = codec.raw(pictures).cpu().half(), read.cpu()
    return codes, used
