"""Pages that are made from the code when the documentation is built, so that they are never stale.

A line `<!-- generated: NAME ... -->` of a Markdown page is replaced by Markdown: `commands`, `configuration`, `rest`,
`modules PACKAGE [MODULE ...]`, `file PATH`, `live`, or `contents CAPTION: PAGE PAGE ...`, a list of pages; a page may be a pattern, or
TITLE=PAGE.
"""

import ast
import inspect
import os.path
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import live
import typer
from pydantic import BaseModel
from sphinx.application import Sphinx
from typer.main import get_command

from mezzotint import config
from mezzotint.cli import app as command_line
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GROUPS = ROOT / "src" / "mezzotint" / "config"  # of the configuration, a file each
LINE = re.compile(r"^<!-- generated: (\w+)(?: (.+))? -->$", re.MULTILINE)


# --- what JSON schemas say, in words ----------------------------------------------------------------------


def kind(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A type in words: "integer, from 1", "ddpm, ddim or heun", "list of integers"."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        named = definitions[name]
        return kind(named, definitions) if named.get("type") != "object" else name
    if options := schema.get("anyOf") or schema.get("oneOf"):
        kinds = [kind(one, definitions) for one in options]
        return " or ".join(dict.fromkeys("none" if one == "null" else one for one in kinds))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return "[" + ", ".join(kind(one, definitions) for one in schema["prefixItems"]) + "]"
        return f"list of ({kind(schema.get('items', {}), definitions)})"
    bounds = [
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
        ("exclusiveMaximum", "below"),
    ]
    bounds_text = " ".join(f"{word} {_number(schema[key])}" for key, word in bounds if key in schema)
    return schema.get("type", "anything") + (f" {bounds_text}" if bounds_text else "")


def _number(value: float) -> str:
    """Powers of two as such: they are limits of the machine, not of the reader."""
    power = int(value).bit_length() - 1
    return f"2^{power}" if value == 2**power and power >= 24 else f"{value:,g}"


def _plain(value: Any) -> str:
    """A default as it would be written in YAML."""
    words = {"None": "none", "True": "true", "False": "false", "": '""'}
    return words.get(str(value), str(value))


def entry(term: str, text: str) -> str:
    """One term of a definition list, or a paragraph where nothing is said of it."""
    return f"{term}\n: {text}\n" if text else f"{term}\n"


# --- the configuration ------------------------------------------------------------------------------------


def comments() -> dict[tuple[str, str], str]:
    """(class, field) -> the comment beside it in the source: in the files of the groups, one file each."""
    return {
        key: text
        for path in sorted(GROUPS.glob("*.py"))
        for key, text in _comments_of(path.read_text("utf-8"))
    }


def _comments_of(source: str) -> Iterator[tuple[tuple[str, str], str]]:
    lines = source.splitlines()
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    for owner, field in ((node, field) for node in classes for field in node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.end_lineno:
            parts = [line.partition("  # ")[2] for line in lines[field.lineno - 1 : field.end_lineno]]
            said = (
                part for part in parts if part and not part.startswith("type: ")
            )  # for readers, not for mypy
            yield (owner.name, field.target.id), " ".join(said)


def configuration() -> Iterator[str]:
    """Every key of the tree."""
    schema = config.Config.model_json_schema()
    definitions, texts = schema["$defs"], comments()
    for name, part in config.Config.model_fields.items():
        yield f"\n## `{name}`\n"
        choices = _models(part.annotation)
        for model in choices:
            yield from _keys(name, model, definitions, texts, of_several=len(choices) > 1)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for one in getattr(annotation, "__args__", ()) for model in _models(one)]


def _keys(
    path: str,
    model: type[BaseModel],
    definitions: dict[str, Any],
    texts: dict[tuple[str, str], str],
    of_several: bool,
) -> Iterator[str]:
    schema = definitions[model.__name__]
    if of_several:
        yield f"\n### `{path}`, {kind(schema['properties']['kind'], definitions)}\n"
    if model.__doc__:
        yield f"{model.__doc__.strip()}\n"
    below = []
    for name, field in model.model_fields.items():
        if _models(field.annotation):
            below.append((f"{path}.{name}", _models(field.annotation)))
            continue
        default = "needed" if field.is_required() else f"default `{_plain(field.default)}`"
        words = f"{kind(schema['properties'][name], definitions)}; {default}"
        comment = texts.get((model.__name__, name))
        yield entry(
            f"`{path}.{name}`", f"{comment[0].upper()}{comment[1:]}. *{words}*" if comment else f"*{words}*"
        )
    for place, models in below:
        for each in models:
            yield from _keys(place, each, definitions, texts, of_several=len(models) > 1)


# --- the command line -------------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """The help of every command."""
    yield from _command(get_command(command_line), "mezzotint", None, 2)


def _command(command: Any, name: str, parent: Any, depth: int) -> Iterator[str]:
    context = typer.Context(command, info_name=name.split()[-1], parent=parent)
    if hasattr(command, "commands"):
        if parent is not None:
            yield f"\n{'#' * depth} `{name}`\n\n{_prose(command.help)}\n"
        for word, each in command.commands.items():
            yield from _command(each, f"{name} {word}", context, depth + (parent is not None))
        return
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"\n{'#' * depth} `{name}`\n\n```text\n{usage}\n```\n\n{_prose(command.help)}\n"
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and "--help" not in record[0]:
            yield entry(f"`{record[0]}`", _escape(" ".join(record[1].split())))


def _prose(text: str | None) -> str:
    """A help text, with its examples as code."""
    out, code = [], False
    for line in inspect.cleandoc((text or "").replace("\b", "")).splitlines():
        if line.startswith("  ") != code and line.strip():
            out.append("```text" if not code else "```\n")
            code = not code
        out.append(line.removeprefix("  ") if code else _escape(line))
    return "\n".join([*out, "```"] if code else out)


def _escape(text: str) -> str:
    """Prose of the help in Markdown: nothing in it is markup but its backticks."""
    return re.sub(r"([\\*_\[\]<>$])", r"\\\1", text)


# --- the REST interface -----------------------------------------------------------------------------------


def rest() -> Iterator[str]:
    """Every operation of the server's OpenAPI document, then every body."""
    document = create_app(Settings()).openapi()
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            text = operation.get("description") or operation.get("summary", "")
            yield f"\n## `{method.upper()} {path}`\n\n{_escape(text)}\n"
            for one in operation.get("parameters", ()):
                yield entry(f"`{one['name']}` (in the {one['in']})", _field(one["schema"], schemas))
            for title, content in _bodies(operation, schemas):
                yield f"{title}: {content}\n"
    yield "\n## Bodies\n"
    for name, schema in schemas.items():
        yield f"\n### {name}\n\n{_escape(schema.get('description', ''))}\n"
        for field, one in schema.get("properties", {}).items():
            needed = " Needed." if field in schema.get("required", ()) else ""
            yield entry(f"`{field}`", _field(one, schemas) + needed)


def _bodies(operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What goes in and what comes out where all is well, by name."""
    body = operation.get("requestBody", {}).get("content", {})
    answers = {
        code: each.get("content", {}) for code, each in operation["responses"].items() if code[0] == "2"
    }
    for title, content in [("Body", body), *((f"Answer {code}", each) for code, each in answers.items())]:
        if content:
            names = [name for name in re.findall(r"schemas/(\w+)", str(content)) if name in schemas]
            links = ", ".join(f"[{name}](#{name.lower()})" for name in dict.fromkeys(names))
            yield title, f"{', '.join(f'`{each}`' for each in content)}{f' ({links})' if links else ''}"


def _field(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    inner = (one.get("description") for one in schema.get("anyOf", ()))
    text = schema.get("description") or next(filter(None, inner), "")
    default = f"; default `{_plain(schema['default'])}`" if schema.get("default") is not None else ""
    words = f"*{kind(schema, schemas)}{default}*"
    return f"{_escape(text[0].upper() + text[1:])}. {words}" if text else words


# --- modules, files and contents ------------------------------------------------------------------------------------


def modules(package: str, first: list[str]) -> Iterator[str]:
    """A section for the module, or for each module of the package, in the order of reading as far as one is said."""
    package_module = import_module(package)
    names = [each.name for each in pkgutil.iter_modules(getattr(package_module, "__path__", ()))]
    names = [f"{package}.{name}" for name in dict.fromkeys([*first, *names])]
    for name in names or [package]:
        yield f"\n## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n   :member-order: bysource\n```\n"


def contents(folder: Path, words: str) -> Iterator[str]:
    """A table of contents of the pages below a folder that are there, each once, at its first mention."""
    caption, patterns = words.split(": ")
    names: dict[str, None] = {}
    for title, _, pattern in (each.rpartition("=") for each in patterns.split()):
        for path in sorted(folder.glob(f"{pattern}.md")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            names.setdefault(f"{title} <{name}>" if title else name)
    yield f"```{{toctree}}\n:caption: {caption}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"


def file(place: str, folder: Path) -> str:
    """The text of a file of the project; the paths of its pictures become relative to the folder of the page."""
    text = (ROOT / place).read_text(encoding="utf-8")
    pictures = re.compile(r"(?<=\]\()[^)\s:]+\.(?:png|gif)(?=\))")
    return pictures.sub(lambda match: Path(os.path.relpath(ROOT / match[0], folder)).as_posix(), text)


def replace(app: Sphinx, page: str, source: list[str]) -> None:
    """Puts what was generated in the place of its line."""

    def markdown(match: re.Match[str]) -> str:
        name, argument = match.groups()
        match name:
            case "commands":
                return "\n".join(commands())
            case "configuration":
                return "\n".join(configuration())
            case "rest":
                return "\n".join(rest())
            case "modules":
                package, *first = argument.split()
                return "\n".join(modules(package, first))
            case "contents":
                return "\n".join(contents(Path(app.env.doc2path(page)).parent, argument))
            case "live":
                return live.sentence(page)
            case "file":
                return file(argument, Path(app.env.doc2path(page)).parent)
            case _:
                raise ValueError(f"{page}: nothing is generated under the name {name}")

    source[0] = LINE.sub(markdown, source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", replace)
