"""What other programs have and this one has not (yet): said so, in place of whatever is spelled like it."""

import re
from typing import Any

NOT_THERE = {
    "import": "models of other programs cannot be read",
}


def not_there(error: Any) -> str | None:
    """The line for an unknown option or command (an error of typer's) that stands in the table; else None."""
    command = re.match("No such command '(.+?)'", error.format_message())
    word = command[1] if command else getattr(error, "option_name", None)
    return f"{word} is not there (yet): {NOT_THERE[word]}" if word in NOT_THERE else None
