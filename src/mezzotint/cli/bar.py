"""Progress bars, beside lines that stay."""

from typing import TYPE_CHECKING, Self

from mezzotint.cli.output import first_process, say

if TYPE_CHECKING:
    from rich.progress import Progress


def progress(*, error: bool = False) -> "Progress":
    """Bars that are gone when they are done, on a terminal; elsewhere, and in all processes but the first, nothing. error: on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(highlight=False, stderr=error)
    return Progress(
        TextColumn("{task.description}", markup=False),  # names may hold [brackets]
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal or not first_process(),
        transient=True,
    )


class Bar:
    """One progress bar on a terminal; elsewhere only the lines."""

    def __init__(self) -> None:
        self.bar = progress()
        self.task = self.bar.add_task("")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    @property
    def shown(self) -> bool:
        """Whether there is one: on a terminal alone."""
        return not self.bar.disable

    def show(self, what: str, done: int, total: int) -> None:
        self.bar.update(self.task, description=what, completed=done, total=total)

    def say(self, text: str) -> None:
        say(text)  # on a terminal, the bar moves aside
