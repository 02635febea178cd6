"""A bar for what is going on, beside lines that stay."""

from typing import Self


class Bar:
    """One bar on a terminal for what is going on; elsewhere nothing but the lines."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(highlight=False)
        self.bar = Progress(console=console, disable=not console.is_terminal, transient=True)
        self.task = self.bar.add_task("")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def show(self, what: str, done: int, total: int) -> None:
        self.bar.update(self.task, description=what, completed=done, total=total)

    def say(self, text: str) -> None:
        if self.bar.console.is_terminal:
            self.bar.console.print(text, soft_wrap=True)
        else:
            print(text, flush=True)
