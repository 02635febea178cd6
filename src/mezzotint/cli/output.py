"""The output of commands: files and lines. A terminal, pipe or disk that is gone does not end the work."""

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from mezzotint.errors import ConfigError, RunError, printable


def say(text: str, *, error: bool = False) -> None:
    """Prints lines for people, or drops them where they cannot be written. Of several processes the first one speaks. error: to
    stderr."""
    if first_process():
        _print(text, sys.stderr if error else sys.stdout)


def say_once(code: int, text: str) -> int:
    """Prints why this process fails with an exit code, to stderr; of several that fail together, by the first of them.
    Returns the code to end with."""
    first = True
    if os.environ.get("WORLD_SIZE", "1") != "1":
        from mezzotint.train.distributed import first_to_fail

        code, first = first_to_fail(code)
    if first:
        _print(text, sys.stderr)
    return code


def say_json(content: Any) -> None:
    """Prints JSON for programs; that it is lost is an error. Of several processes the first one speaks."""
    if first_process():
        print(json.dumps(content, indent=1), flush=True)


def _print(text: str, stream: Any) -> None:
    if stream is None:
        return
    with suppress(OSError, ValueError):  # ValueError: the stream was closed
        print(printable(text), file=stream, flush=True)


def warn_of_token(token: str | None) -> None:
    """A line where a token stands on the command line, and so in the list of processes."""
    if token not in (None, "none") and {token, f"--token={token}"} & set(sys.argv):
        say(
            "mezzotint: other users see the token in the list of processes; set MEZZOTINT_TOKEN instead of --token",
            error=True,
        )


PATIENCE_SECONDS = 2.0  # that people wait without being told what for


class Patience:
    """Says what goes on where it takes over two seconds. `busy` begins one thing, the next one or `done` ends it."""

    def __init__(self, say: Callable[[str], None] = say) -> None:
        self.say = say
        self._timer: threading.Timer | None = None

    def busy(self, text: str) -> None:
        self.done()
        self._timer = threading.Timer(PATIENCE_SECONDS, self.say, (f"{text} ...",))
        self._timer.daemon = True
        self._timer.start()

    def done(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @contextmanager
    def during(self, text: str) -> Iterator[None]:
        """While what is inside goes on."""
        self.busy(text)
        try:
            yield
        finally:
            self.done()


class Lasting:
    """A stream that takes what cannot be written, and drops it: a closed terminal or pipe, a full disk."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting() -> Iterator[None]:
    """Within, nothing that is printed, by whatever library, ends the work. As a decorator: of a command that works long."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (None if stream is None else Lasting(stream) for stream in (out, err))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        for stream in (out, err):
            give_up(stream)


def give_up(stream: Any) -> bool:
    """Whether what a stream still holds cannot be written. It is then let go, so that Python does not fail over it at its
    end."""
    try:
        if stream is not None:
            stream.flush()
    except ValueError:
        return False
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return True
    return False


def keep_numbers() -> None:
    """Opens the three standard streams where they are closed, so that no file of ours gets the number of one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


@contextmanager
def stopping(words: str) -> Iterator[list[int]]:
    """Within, the first Ctrl-C, SIGTERM or SIGHUP (a closed terminal) is put into the list that is given, and said; a
    second one raises KeyboardInterrupt. A SIGHUP that was to be ignored (`nohup`) stays so, and is never the second:
    a terminal that closes may send two."""
    received: list[int] = []
    hangup = getattr(signal, "SIGHUP", None)  # none on Windows

    def receive(number: int, frame: FrameType | None) -> None:
        if received and number == hangup:
            return
        if received and number == signal.SIGTERM and "LOCAL_RANK" in os.environ:
            return  # torchrun passes a Ctrl-C on as SIGTERM, after the terminal has
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt
        if first_process():
            with suppress(OSError):  # not print, which a signal may have interrupted
                os.write(2, f"\n{words}\n".encode())

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        numbers.append(hangup)
    previous = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def first_process() -> bool:
    """Whether this is the one that speaks, of several that torchrun started."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def reserve(path: Path, *, folder: bool = False) -> None:
    """Makes sure, before the work, that a file (or a folder of files) can be written. Raises ConfigError."""
    place = path if folder else path.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
        with suppress(FileNotFoundError):
            path.with_name(f".{path.name}.tmp").lstat()  # too long a name?
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}); choose another place with -o"
        ) from error
    if path.is_dir() and not folder:
        raise ConfigError(f"{path} is a folder; give -o the name of a file")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what goes wrong on the disk into a RunError."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error}); choose another place with -o") from error
