"""Texts by a frozen encoder: a CLIP or a T5 from a folder on this disk. The vectors of a text are computed once

and kept in the cache, under the digest of the encoder and that of the text. The
library `transformers` comes with the extra [text]; no weights come with this package, and none are fetched.
"""

import contextlib
import hashlib
import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mezzotint import cache
from mezzotint.cond import Cond
from mezzotint.errors import ConfigError, DataError, MissingExtra, ModelError

MAX_TOKENS = 77  # of a text: as many as CLIP takes
MIN_LENGTH = 24  # places at least, so that prompts may be longer than short captions
MAX_KNOWN = 4096  # texts of which the vectors are held in memory, when new ones come
BATCH = 64  # texts that are encoded at a time
KINDS = {  # by what config.json says, the class of `transformers` that has the encoder of texts alone
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
}
PROBE = "The quick brown Fox, jumps over 12 lazy dogs; naïve: 犬!"  # read alike, two tokenizers are the same


@dataclass(frozen=True, eq=False)
class Encoder:
    """An opened encoder. width: numbers of a vector. digest: of its weights and its tokenizer. most: tokens of a
    text that it takes."""

    net: Any
    tokenizer: Any
    width: int
    digest: str
    most: int

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, those of its beginning and end among them."""
        return [len(row) for row in self.tokenizer(list(texts), verbose=False)["input_ids"]] if texts else []

    @torch.no_grad()
    def vectors(self, texts: Sequence[str], length: int) -> Iterator[Tensor]:
        """Of each text, (tokens, width) float32 on the CPU; of longer ones the first `length` tokens."""
        for begin in range(0, len(texts), BATCH):
            told = self.tokenizer(
                list(texts[begin : begin + BATCH]),
                truncation=True,
                max_length=length,
                padding=True,
                return_tensors="pt",
            )
            ids, mask = (told[name].to(self.net.device) for name in ("input_ids", "attention_mask"))
            hidden = self.net(input_ids=ids, attention_mask=mask).last_hidden_state.float().cpu()
            for row, there in zip(hidden, mask.bool().cpu()):
                yield row[there]


def open_encoder(folder: Path, device: torch.device | str = "cpu") -> Encoder:
    """The encoder of texts in a folder in the layout of `transformers`, with safetensors. Raises MissingExtra without the library,
    DataError where there is no CLIP or T5."""
    library = transformers()
    kind = kind_of(folder, library)
    if kind not in KINDS:
        raise DataError(
            f"{folder} holds a network of kind {kind!r}; a text encoder is one of {', '.join(KINDS)}"
        )
    net = weights(folder, getattr(library, KINDS[kind])).to(device)
    tokenizer = tokenizer_of(folder, library, int(net.config.vocab_size))
    most = MAX_TOKENS
    if KINDS[kind] == "CLIPTextModel":
        most = min(most, int(net.config.max_position_embeddings))
    state = net.state_dict()
    words = sorted(tokenizer.get_vocab().items())
    digest = cache.digest(
        *(part for key in sorted(state) for part in (key, state[key])),
        str(words),
        str(tokenizer(PROBE, verbose=False).input_ids),
    )
    return Encoder(net, tokenizer, int(net.config.hidden_size), digest, most)


def transformers() -> Any:
    """The library. Raises MissingExtra."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtra(
            'CLIP and T5 need transformers, which is not installed; run: pip install "mezzotint[text]"'
        ) from error


def kind_of(folder: Path, library: Any) -> str:
    """What a folder's config.json says it holds. Raises DataError."""
    if not (folder / "config.json").is_file():
        raise DataError(
            f"{folder} holds no text encoder; give a folder with config.json, model.safetensors and the tokenizer's files"
        )
    try:
        return str(library.AutoConfig.from_pretrained(str(folder), local_files_only=True).model_type)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder}/config.json cannot be read ({_line(error)}); copy the folder again"
        ) from error


def weights(folder: Path, cls: Any) -> Any:
    """The network of a class with a folder's weights, in float32, in eval mode. Raises DataError, also where some are missing:
    the library would make them up."""
    with _quiet():
        try:
            net, report = cls.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise DataError(
                f"cannot load {cls.__name__} from {folder} ({_line(error)}); it needs config.json and model.safetensors"
            ) from error
    if missing := sorted(map(str, report["missing_keys"])):
        raise DataError(
            f"{folder} lacks weights of {cls.__name__}, such as {missing[0]}; copy the folder again"
        )
    return net.eval().requires_grad_(False)


def tokenizer_of(folder: Path, library: Any, count: int) -> Any:
    """count: tokens that the network knows. Raises DataError, also where the tokenizer knows far fewer: where its files are missing,
    the library makes up an empty one."""
    try:
        found = library.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        known = len(found.get_vocab())
    except Exception as error:  # of whatever kind the files of a tokenizer provoke
        raise DataError(
            f"the tokenizer in {folder} cannot be read ({_line(error)}); copy its files again"
        ) from error
    if not 0.9 * count <= known <= count:  # networks have some spare ones
        raise DataError(
            f"the tokenizer in {folder} knows {known:,} tokens and the network {count:,}; copy its files again"
        )
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own reports on weights that are left out, which ours are not about."""
    logging = importlib.import_module("transformers.utils.logging")
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@dataclass(frozen=True, eq=False)
class Frozen:
    """The language of an encoder. digest, width: of the encoder. length: places of a text. folder: where the encoder lies, looked
    for when a text comes that was not read before; one of another digest is refused. cut: texts that are too long are cut, and
    else refused."""

    digest: str
    width: int
    length: int
    folder: Path | None
    device: torch.device | str = "cpu"
    cut: bool = False
    known: dict[str, Tensor] = field(default_factory=dict)  # vectors of texts

    @cached_property
    def encoder(self) -> Encoder:
        if self.folder is None or not self.folder.is_dir():
            raise ModelError(
                f"the text encoder of this model is not at {self.folder}; give its folder: --encoder FOLDER"
            )
        opened = open_encoder(self.folder, self.device)
        if opened.digest != self.digest:
            raise ModelError(
                f"the encoder in {self.folder} ({opened.digest}) is not the one that the model was trained with ({self.digest}); give its folder: --encoder FOLDER"
            )
        return opened

    def fits(self, text: str) -> bool:
        return self.encoder.tokens([text])[0] <= self.length

    def cond(self, texts: Sequence[str]) -> Cond:
        self.read({one_line(text) for text in texts})
        context = torch.zeros(len(texts), self.length, self.width)
        mask = torch.zeros(len(texts), self.length, dtype=torch.bool)
        for i, text in enumerate(map(one_line, texts)):
            if text:
                vectors = self.known[text]
                context[i, : len(vectors)], mask[i, : len(vectors)] = vectors, True
        return Cond(context=context, context_mask=mask)

    def read(self, texts: Iterable[str], *, keep: bool = False) -> None:
        """Reads the vectors of texts: from memory, from the cache, or by the encoder. keep: in the cache."""
        wanted = {text for text in texts if text}
        if len(self.known) > MAX_KNOWN and not wanted <= self.known.keys():
            self.known.clear()
        missing = sorted(wanted - self.known.keys())
        self.known.update(_kept(self.digest, missing))
        missing = [text for text in missing if text not in self.known]
        if not missing:
            return
        tokens = self.encoder.tokens(missing)
        if not self.cut and max(tokens) > self.length:
            raise ConfigError(
                f"a text of {max(tokens)} tokens is too long for the model: at most {self.length}"
            )
        missing = [text for _, text in sorted(zip(tokens, missing))]  # alike in length, little is padded
        fresh = dict(zip(missing, self.encoder.vectors(missing, self.length)))
        self.known.update(fresh)
        if keep:
            _keep(self.digest, fresh)


def learn(captions: Iterable[str], folder: Path, device: torch.device | str) -> tuple[Frozen, list[str]]:
    """The language for captions, all of them read, and lines on those that were cut. Raises DataError or MissingExtra."""
    texts = {one_line(caption) for caption in captions} - {""}
    encoder = open_encoder(folder, device)
    tokens = encoder.tokens(sorted(texts))
    length = min(max([MIN_LENGTH, *tokens]), encoder.most)
    language = Frozen(encoder.digest, encoder.width, length, folder, device, cut=True)
    language.__dict__["encoder"] = encoder  # which need not be opened again
    language.read(texts, keep=True)
    cut = sum(count > length for count in tokens)
    return language, [f"{cut:,} captions of more than {length} tokens, which are cut there"] if cut else []


def one_line(text: str) -> str:
    """A text with its spaces run together."""
    return " ".join(text.split())


# --- what is kept ----------------------------------------------------------------------------------------


def _name(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _kept(digest: str, texts: Sequence[str]) -> dict[str, Tensor]:
    """The vectors of those texts that are in the cache."""
    wanted = {_name(text): text for text in texts}
    found: dict[str, Tensor] = {}
    for path in sorted((cache.folder() / "text" / digest).glob("*.safetensors")) if wanted else ():
        try:
            with safe_open(path, "pt") as file:
                for name in wanted.keys() & set(file.keys()):
                    found[wanted[name]] = file.get_tensor(name)
        except (OSError, SafetensorError):  # damaged: what it had is computed again
            continue
    return found


def _keep(digest: str, vectors: dict[str, Tensor]) -> None:
    """One file more: a set that grew has only its new captions encoded."""
    named = {_name(text): row for text, row in vectors.items()}
    cache.keep(f"text/{digest}/{_name(''.join(sorted(named)))[:16]}", named)


def _line(error: Exception) -> str:
    return next(iter(" ".join(str(error).split()).splitlines()), type(error).__name__)[:200]
