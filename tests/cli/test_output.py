"""A job outlives its terminal: whatever becomes of its output, what it makes is made."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers_forked import popen
from helpers_workshop import POINTS, SECONDS, Call, leave

from mezzotint.cli.output import Lasting, give_up, lasting, say, stopping, warn_of_token
from mezzotint.errors import printable

pty = pytest.importorskip("pty", reason="terminals and hangups of POSIX")
MOONS = ("train", "moons", *POINTS, "train.log_every=10 steps", "--steps", "40")


def start(*words: object, **options: Any) -> subprocess.Popen[bytes]:
    """A Python of its own, which has to come to its own end."""
    command = [sys.executable, "-m", "mezzotint", *map(str, words)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **options)


def await_file(path: Path, process: subprocess.Popen[bytes]) -> None:
    latest = time.monotonic() + SECONDS
    while not path.is_file():
        assert time.monotonic() < latest and process.poll() is None
        time.sleep(0.01)


def assert_trained(folder: Path, steps: int = 40) -> None:
    run = folder / "runs" / "moons"
    assert (run / "model.safetensors").is_file() and (run / "report.html").is_file()
    assert f"step {steps}/{steps}  loss" in (run / "log.txt").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Behind both streams, of a process that has to come to its own end; and behind one, here: nothing is said on the other."""
    with Path("/dev/full").open("wb") as full:
        process = start(*MOONS, cwd=tmp_path, stdout=full, stderr=full)
        assert process.wait(SECONDS) == 0
    assert_trained(tmp_path)
    monkeypatch.chdir(tmp_path)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert leave(*MOONS, "--overwrite") == 0
        give_up(full)  # what it still holds, which nobody could take
    assert capfd.readouterr().err == ""
    assert_trained(tmp_path)


def test_streams_that_are_closed(tmp_path: Path) -> None:
    """Else the first file that is opened gets the number of one, and what is printed goes into it."""
    command = " ".join([sys.executable, "-m", "mezzotint", *(f"'{word}'" for word in MOONS)])
    done = subprocess.run(["sh", "-c", f"exec {command} <&- >&- 2>&-"], cwd=tmp_path, timeout=SECONDS)
    assert done.returncode == 0
    assert_trained(tmp_path)


def test_a_terminal_that_closes(tmp_path: Path) -> None:
    """With its bar, and without the signal (disowned)."""
    ours, theirs = pty.openpty()
    words = [*MOONS[:-1], "300"]
    environment = {"start_new_session": True, "stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = popen(*words, cwd=tmp_path, **environment)
    os.close(theirs)
    await_file(tmp_path / "runs/moons/metrics.jsonl", process)
    assert os.read(ours, 100)
    os.close(ours)
    assert process.wait(SECONDS) == 0
    assert_trained(tmp_path, 300)


def test_a_hangup_saves(tmp_path: Path) -> None:
    """The first one; the second, from the kernel after the shell's, changes nothing. Also where the tests themselves run under nohup."""
    heed = {"prepare": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)}
    process = popen(
        *MOONS[:-1], "100000", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **heed
    )
    await_file(tmp_path / "runs/moons/metrics.jsonl", process)
    process.send_signal(signal.SIGHUP)
    assert process.stderr is not None
    while b"saving" not in process.stderr.readline():  # the first has come
        assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + signal.SIGHUP and b"saved at step" in out
    assert (tmp_path / "runs/moons/checkpoints/last.json").is_file()


def test_nohup_is_believed(tmp_path: Path) -> None:
    ignore = {"prepare": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    words = [*MOONS[:-1], "200"]
    process = popen(*words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **ignore)
    await_file(tmp_path / "runs/moons/metrics.jsonl", process)
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0 and b"saved at" not in out
    assert_trained(tmp_path, 200)


class Full:
    """A terminal that takes nothing, until its number is pointed elsewhere."""

    encoding = "utf-8"
    full = True

    def write(self, text: str) -> int:
        self.flush()
        return len(text)

    def flush(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device")

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        self.full = False
        return os.open(os.devnull, os.O_WRONLY)


def test_every_command_that_works_long_goes_on(
    mezzotint: Call, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bars and lines included: to them this stream is a terminal."""
    shutil.copytree(desk / "runs" / "moons", desk / "own")
    for words, made in (
        (("sample", "digits", "-n", 4, "--trajectory"), "digits-0.png"),
        (("evaluate", "moons", "-n", 500, "--report", "e.html"), "e.html"),
        (("tune", "own", "-n", 100, "--quick", "--calls", 4), "own/tune.json"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", Full())
            patched.setattr(sys, "stderr", Full())
            answer = mezzotint(*words)
        assert answer.code == 0 and (desk / made).is_file(), words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [("list", "samplers"), ("evaluate", "moons", "-n", 500, "--json")])
def test_an_answer_that_is_lost_is_an_error(tmp_path: Path, words: tuple[object, ...]) -> None:
    begin = start if words[0] == "list" else popen  # at Python's own end, too
    with Path("/dev/full").open("wb") as full:
        process = begin(*words, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 1 and (b"No space left" in said or b"cannot be written" in said)
    assert b"Traceback" not in said and b"Exception" not in said


def test_say_drops_what_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Full(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        say("hello")
        with lasting():
            print("hello")
    with Path(os.devnull).open("w") as closed:
        pass
    monkeypatch.setattr(sys, "stdout", closed)
    say("hello")
    assert Lasting(closed).write("four") == 4


def test_what_files_say_cannot_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("cat\x1b]0;owned\x07 \x9b2J\u202egnp.exe\r\n\tnext \udce9 é 日本")
    said = capsys.readouterr().out
    assert said == "cat\\x1b]0;owned\\x07 \\x9b2J\\u202egnp.exe\\x0d\n\tnext \\udce9 é 日本\n"
    assert printable("a\nb", keep="") == "a\\x0ab"


@pytest.mark.parametrize(
    ("words", "seen"), [(["--token", "a+b=="], True), (["--token=a+b=="], True), (["--port", "1"], False)]
)
def test_a_token_on_the_command_line_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], seen: bool
) -> None:
    """Not one from the environment, which no list of processes shows."""
    monkeypatch.setattr(sys, "argv", ["mezzotint", "serve", *words])
    warn_of_token("a+b==")
    said = capsys.readouterr().err
    assert ("list of processes" in said) == seen and "a+b==" not in said


def test_the_second_signal_is_never_a_hangup() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with stopping("saving") as received:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)  # as systemd sends them
        assert received == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGHUP) == before


def test_json_is_json(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("evaluate", "moons", "-n", 500, "--json")
    assert answer.code == 0 and json.loads(answer.out)[0]["source"]
