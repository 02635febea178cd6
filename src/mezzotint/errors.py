"""Errors that the command line turns into one line and an exit code."""


class ConfigError(ValueError):
    """A configuration, an option or a value that cannot be used. Exit code 2."""


class ModelError(ValueError):
    """A run, checkpoint or model file that is missing, damaged, or of another kind. Exit code 3."""


class RunError(RuntimeError):
    """A run that cannot go on, with the remedy. Exit code 1."""


class DataError(ValueError):
    """The data is missing, unreadable, or not what was asked for: a folder, a split, a class, the hub."""


class MissingExtra(ImportError):
    """An optional dependency is not installed; the message has the line that installs it."""
