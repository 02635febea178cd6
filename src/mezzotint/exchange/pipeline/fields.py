"""A JSON file of another program, taken field by field: what is missing, of another kind, or not understood is refused by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from mezzotint.errors import ModelError

Value = TypeVar("Value")
REQUIRED: Any = object()
ABOUT = ("_diffusers_version", "_name_or_path")  # who wrote the file, and where it lay; not what is in it
MAX_BYTES = 2**22


class Fields:
    """The fields of one file. Every one has to be taken, before `finish` is called.

    A field that is absent has the value that diffusers gives it, where it gives one; older files lack the newer fields.
    """

    def __init__(self, path: Path) -> None:
        """Raises ModelError where there is no such file, or where it is none of JSON."""
        self.path = path
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"{path.stat().st_size:,} bytes")
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(f"there is no file {path}; give a folder that diffusers has saved") from None
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path} is damaged or not JSON ({error}); copy it again") from error
        if not isinstance(content, dict):
            raise ModelError(f"{path} holds no fields; copy it again")
        self.left: dict[str, Any] = {key: value for key, value in content.items() if key not in ABOUT}

    def take(self, name: str, kind: type[Value] | tuple[type, ...], default: Any = REQUIRED) -> Any:
        """The value of a field, of a kind: int, float (which whole numbers are, too), bool, str, list, NoneType."""
        value = self.left.pop(name, default)
        if value is REQUIRED:
            raise ModelError(f"{self.path} lacks the field {name}; copy it again")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if float in kinds and type(value) is int:
            return float(value)
        if type(value) not in kinds:
            self.refuse(name, value, "another kind of value is wanted")
        return value

    def only(self, name: str, *values: Any, default: Any = REQUIRED) -> None:
        """Checks a field against the only values that are understood; the reason is that nothing else is."""
        value = self.left.pop(name, default)
        if value is REQUIRED:
            raise ModelError(f"{self.path} lacks the field {name}; copy it again")
        if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in values):
            self.refuse(name, value, f"only {_listed(values)} can be read")

    def one_of(self, name: str, words: Mapping[str, Value], default: Any = REQUIRED) -> Value:
        """What stands here for the word of a field."""
        word = self.take(name, str, default)
        if word not in words:
            self.refuse(name, word, f"only {_listed(words)} can be read")
        return words[word]

    def count(self, name: str, default: Any = REQUIRED) -> int:
        """A whole number from 1."""
        value: int = self.take(name, int, default)
        if value < 1:
            self.refuse(name, value, "it must be at least 1")
        return value

    def unused(self, *names: str) -> None:
        """Fields that have no effect beside what the others say."""
        for name in names:
            self.left.pop(name, None)

    def refuse(self, name: str, value: Any, reason: str) -> None:
        """Raises ModelError."""
        shown = json.dumps(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise ModelError(f"{self.path}: {name} {shown} has no counterpart here; {reason}")

    def finish(self) -> None:
        """Raises ModelError where a field was not taken, and so is not understood."""
        for name, value in self.left.items():
            self.refuse(name, value, "the field is not known")


def _listed(values: Any) -> str:
    return " or ".join(json.dumps(value) for value in values)
