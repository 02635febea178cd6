"""Programs in processes of their own, forked from the one of the tests: what Python and PyTorch take to start, seconds each time, is paid
once.

Their signals, streams, files and modules are their own. What depends on how Python itself starts or ends (streams that are closed,
what is imported, memory) is not tested this way.
"""

import logging
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import matplotlib.pyplot  # noqa: F401  (what programs import late: once here, not in every child)

CAN_FORK = hasattr(os, "fork")


def popen(*words: object, **options: Any) -> subprocess.Popen[Any]:
    """`mezzotint WORDS`, with the options of Popen, and `prepare`, which is called in the child; a fresh Python where there is no fork."""
    said = [str(word) for word in words]
    if not CAN_FORK:
        return subprocess.Popen([sys.executable, "-m", "mezzotint", *said], **options)

    def program() -> None:
        from mezzotint.cli import main

        sys.argv = ["mezzotint", *said]
        main(said)

    return _popen(program, **options)


def run_code(code: str, source: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What `python -c CODE` says there, with the package of another source tree."""
    if not CAN_FORK:
        environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)

    def program() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mezzotint"]:
            del sys.modules[name]
        sys.path.insert(0, str(source))
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})

    process = _popen(program, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate()
    return subprocess.CompletedProcess(code, process.returncode, out, err)


def _popen(program: Callable[[], None], **options: Any) -> subprocess.Popen[Any]:
    environment, prepare = options.pop("env", None), options.pop("prepare", None)

    def instead_of_exec() -> NoReturn:
        if prepare:
            prepare()
        _live(program, environment)

    return subprocess.Popen(["forked"], preexec_fn=instead_of_exec, **options)


def _show(message: Any, category: Any, name: str, line: int, file: Any = None, text: Any = None) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, name, line, text))


def _live(program: Callable[[], None], environment: dict[str, str] | None) -> NoReturn:
    code = 0
    try:
        os.closerange(
            3, os.sysconf("SC_OPEN_MAX")
        )  # those of the tests, and the pipe in which Popen hears of exec
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        logging.getLogger().handlers.clear()  # pytest's; warnings of libraries are said, too
        warnings.showwarning = _show
        program()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 120  # as at Python's own end
        os._exit(code)
