"""Errors that the command line turns into one line and an exit code, and how text from files is shown in such lines."""

import re

# What moves a terminal's cursor, starts its commands or turns the direction of text, and bytes that are no text at all.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, keep: str = "\n\t") -> str:
    """Text that may have come from a file, for a terminal, a log or a page: control characters as \\x1b or \\u202e."""

    def escaped(match: re.Match[str]) -> str:
        character = match[0]
        if character in keep:
            return character
        return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"

    return CONTROL.sub(escaped, text)


class ConfigError(ValueError):
    """A configuration, an option or a value that cannot be used. Exit code 2."""


class ModelError(ValueError):
    """A run, checkpoint or model file that is missing, damaged, or of another kind. Exit code 3."""


class RunError(RuntimeError):
    """A run that cannot continue, with the remedy. Exit code 1."""


class DataError(ValueError):
    """The data is missing, unreadable, or not the requested one: a folder, a split, a class, the hub."""


class MissingExtra(ImportError):
    """An optional dependency is not installed; the message has the line that installs it."""
