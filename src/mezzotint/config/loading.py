"""Reading a configuration: recipes, YAML files, overrides; and saying in one line what is wrong with one."""

import difflib
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from mezzotint.config.train import BUDGETS
from mezzotint.config.tree import Config
from mezzotint.errors import ConfigError


def recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = resources.files("mezzotint") / "recipes"
    return {
        Path(str(f)).stem: Path(str(f)) for f in sorted(folder.iterdir(), key=str) if str(f).endswith(".yaml")
    }


def load(source: str, overrides: list[str] | tuple[str, ...] = (), **changes: Any) -> Config:
    """The configuration of a recipe's name or a YAML file, with `key=value` overrides ("train.lr=1e-4").

    changes: values by dotted key with __ for the dot (train__steps=10); None is passed over. A budget among the
    overrides or changes takes the place of the recipe's. Raises ConfigError in one line, with the remedy.
    """
    return change(read(source), overrides, **changes)


def change(tree: dict[str, Any], overrides: list[str] | tuple[str, ...] = (), **changes: Any) -> Config:
    """The configuration of plain data with overrides and changes, as in `load`."""
    pairs = [(key.replace("__", "."), value) for key, value in changes.items() if value is not None]
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"{text!r} is not an override; write key=value, for instance train.lr=1e-4")
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"the value of {key} is not valid YAML: {value!r}") from error
        pairs.append((key.strip(), _typed(read, value.strip()) if key.strip() in _text_keys() else read))
    if any(key in {f"train.{budget}" for budget in BUDGETS} for key, _ in pairs):
        tree["train"] = {key: value for key, value in tree.get("train", {}).items() if key not in BUDGETS}
    for key, value in sorted(pairs, key=lambda pair: not pair[0].endswith(".kind")):
        _set(tree, key, value)
    config = parse(tree)
    given = {key: path for key in ("path", "encoder") if (path := getattr(config.data, key)) is not None}
    if not given:
        return config
    paths = {key: path.expanduser().absolute() for key, path in given.items()}  # read from other places, too
    return config.model_copy(update={"data": config.data.model_copy(update=paths)})


@cache
def _text_keys() -> frozenset[str]:
    """The dotted keys whose values are words: what is typed is taken as it stands, where YAML would read `no` as false and
    `010` as 8."""

    def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
        for name, field in model.model_fields.items():
            kinds = set(_members(field.annotation))
            if {str, Path} & kinds and bool not in kinds:
                yield prefix + name
            for kind in kinds:
                if issubclass(kind, BaseModel):
                    yield from keys(kind, f"{prefix}{name}.")

    return frozenset(keys(Config))


def _members(annotation: Any) -> Iterator[type]:
    """The types that a union or an annotated type consists of."""
    if isinstance(annotation, type):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _members(part)


def _typed(read: Any, text: Any) -> Any:
    """A value as YAML reads it, or what was typed where YAML takes words for other things."""
    return text if isinstance(read, bool | int | float | date) and isinstance(text, str) else read


def _as_typed(tree: Any, texts: Any, prefix: str = "") -> Any:
    """A tree with its text keys as they were typed. texts: the same tree, all of whose values are text."""
    if not (isinstance(tree, dict) and isinstance(texts, dict)):
        return tree
    result = {}
    for key, value in tree.items():
        text = texts.get(str(key))
        name = f"{prefix}{key}"
        result[key] = _typed(value, text) if name in _text_keys() else _as_typed(value, text, f"{name}.")
    return result


def read(source: str) -> dict[str, Any]:
    """What the YAML of a recipe or a file says, without headings that have nothing under them."""
    known = recipes()
    path = Path(source)
    if path.is_dir() and source not in known:
        raise ConfigError(
            f"{path} is a folder; to train on its pictures: mezzotint train folder --data {path}"
        )
    if not path.is_file() and source not in known:
        close = difflib.get_close_matches(source, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"recipes: {', '.join(known)}"
        raise ConfigError(f"there is no recipe or file {source!r}; {hint}")
    path = path if path.is_file() else known[source]
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
        with suppress(yaml.YAMLError):  # an alias that contains itself is refused by `parse`
            tree = _as_typed(tree, yaml.load(text, yaml.BaseLoader))  # makes nothing but text
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(tree, dict):
        what = f"{path} is empty; it" if tree is None else str(path)
        raise ConfigError(f"{what} must hold keys such as data, network and train")
    return {key: value for key, value in tree.items() if value is not None}


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key. Another `kind` drops the keys beside it that this kind does not have."""
    *parents, leaf = key.split(".")
    group = tree
    for parent in parents:
        group = group.setdefault(parent, {})
        if not isinstance(group, dict):
            raise ConfigError(f"{key}: {parent} is a single value, not a group of keys")
    group[leaf] = value
    if leaf == "kind":
        known = _siblings(parents, tree)
        for other in [other for other in group if other not in known]:
            del group[other]


def parse(tree: dict[str, Any]) -> Config:
    """A checked configuration from plain data. Raises ConfigError in one line that names the key."""
    try:
        tree = _with_words_for_keys(tree)
        return Config.model_validate(tree)
    except RecursionError:
        raise ConfigError("the configuration has an alias that contains itself; write it out") from None
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(e, tree) for e in error.errors()[:3])) from None


def _with_words_for_keys(tree: Any) -> Any:
    """The same with words for keys: YAML reads `1`, `yes` and `2020-01-01` as other things."""
    return (
        {str(key): _with_words_for_keys(value) for key, value in tree.items()}
        if isinstance(tree, dict)
        else tree
    )


def _explain(error: Any, tree: Any) -> str:
    """One pydantic error as a sentence, with the nearest known key where one is unknown."""
    value: Any = tree
    path: list[str] = []  # without the tags of unions, which are no keys
    for step in error["loc"]:
        there = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        if step in there:
            value = value[step]
            path.append(str(step))
    key = ".".join(path) or "the configuration"
    match error["type"]:
        case "extra_forbidden" | "invalid_key":
            return f"unknown key {key}; {_nearest(path, tree)}"
        case "union_tag_invalid":
            return f"{key}: kind {error['ctx']['tag']!r} is not one of {error['ctx']['expected_tags']}"
        case "union_tag_not_found":
            return f"{key}: say which kind, {key}.kind"
        case "model_type" | "dict_type" | "model_attributes_type":
            example = ".".join([*path, _siblings(path, tree)[0]])
            return f"{key} is a group of keys, such as {example}, not {value!r}"
        case "literal_error" if near := _near_word(
            str(value), re.findall("'(.+?)'", error["ctx"]["expected"])
        ):
            return f"{key}: no {path[-1]} {value!r}; did you mean {near!r}?"
        case _:
            message = error["msg"].removeprefix("Value error, ")
            suffix = "" if isinstance(value, dict | list) else f", not {value!r}"
            return f"{key}: {message[:1].lower()}{message[1:]}{suffix}"


def _near_word(word: str, words: list[str]) -> str | None:
    """The nearest of some words, or None: "dpm++" is near "dpmpp_2m", as the papers write ++ where names have pp."""
    word = word.lower().replace("+", "p").replace("-", "_").replace(" ", "_")
    beginnings = [other for other in words if len(word) > 2 and other.startswith(word)]
    return next(iter(beginnings or difflib.get_close_matches(word, words, 1)), None)


def _nearest(path: list[str], tree: Any) -> str:
    """A hint for an unknown key: the nearest beside it, or keys of that name elsewhere, or what there is."""
    *parents, leaf = path
    siblings = _siblings(parents, tree)
    keys = [".".join([*parents, near]) for near in difflib.get_close_matches(leaf, siblings, 1)]
    keys = keys or [key for key in _flat(Config().model_dump()) if key.endswith(f".{leaf}")]
    return f"did you mean {' or '.join(keys)}?" if keys else f"known: {', '.join(siblings)}"


def _siblings(path: list[str], tree: Any) -> list[str]:
    """The keys of the group at a path; where it is a union, of the member that its kind names, or else of the first."""
    model: type[BaseModel] = Config
    for step in path:
        tree = tree.get(step) if isinstance(tree, dict) else None
        annotation = model.model_fields[step].annotation if step in model.model_fields else None
        members = [
            member
            for member in get_args(annotation) or (annotation,)
            if isinstance(member, type) and issubclass(member, BaseModel)
        ]
        if not members:
            return []
        kind = tree.get("kind") if isinstance(tree, dict) else None
        named = [
            member
            for member in members
            if "kind" in member.model_fields and kind in get_args(member.model_fields["kind"].annotation)
        ]
        model = (named or members)[0]
    return list(model.model_fields)


def dump(config: Config) -> str:
    """The whole tree as YAML, every key written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def difference(old: Config, new: Config, ignore: frozenset[str] = frozenset()) -> list[str]:
    """Where two configurations differ, as "key: old -> new"."""

    a, b = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = [k for k in {**a, **b} if k not in ignore and a.get(k) != b.get(k)]
    return [f"{k}: {a.get(k)} -> {b.get(k)}" for k in keys]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a tree by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
