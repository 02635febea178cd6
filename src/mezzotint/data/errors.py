"""What can be wrong with data, as exceptions whose message is one line: what is wrong, and what to do."""


class DataError(ValueError):
    """The data is missing, unreadable, or not what was asked for: a folder, a split, a class, the hub."""


class MissingExtra(ImportError):
    """An optional dependency is not installed; the message has the line that installs it."""
