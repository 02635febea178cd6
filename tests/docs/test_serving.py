"""What the pages tell to ask of a server is asked of one, by curl, in a folder of its own."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_forked import popen
from PIL import Image

from mezzotint.plots import KEY
from mezzotint.serve.http.manual import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(not (BASH and shutil.which("curl")), reason="needs bash and curl")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server of the bundled digits."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MEZZOTINT_TOKEN": ""}
    words = ("serve", "digits", "--device", "cpu", "--port", "0", "--log", os.devnull)
    process = popen(*words, env=environment, text=True, stdout=subprocess.PIPE)
    assert process.stdout
    hello = process.stdout.readline()
    yield int(hello.split("at http://127.0.0.1:")[1].split(";")[0])
    process.terminate()
    process.communicate(timeout=20)


def commands(text: str) -> list[str]:
    """Those of curl, but for the one that names a job of somebody's."""
    lines = re.findall(r"^(?:\$ )?(curl .+)$", text, re.MULTILINE)
    return [line for line in lines if not re.search(r"/v1/jobs/\w{16}", line)]


def ask(line: str, folder: Path, port: int) -> None:
    """Runs a command; an error of the server is an AssertionError."""
    line = line.replace("localhost:8000", f"127.0.0.1:{port}").replace("curl ", "curl --fail-with-body ", 1)
    assert BASH
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for `mezzotint`
    env = {**os.environ, "PATH": path}
    done = subprocess.run([BASH, "-c", line], cwd=folder, capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("page", "count"), [("docs/serving.md", 12), ("docs/guide/7-serving.md", 4), ("README.md", 1)]
)
def test_commands_of_a_page(page: str, count: int, tmp_path: Path, port: int) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = (
        commands(text)
        if page != "README.md"
        else re.findall(r"; (curl -s localhost:8000\S+ .+)$", text, re.M)
    )
    assert len(lines) == count, lines
    mask = Image.new("L", (8, 8))
    mask.paste(255, (4, 0, 8, 8))
    mask.save(tmp_path / "mask.png")
    for line in lines:
        ask(line, tmp_path, port)
    for name in re.findall(r"--output (\S+\.png)", "\n".join(lines)):
        with Image.open(tmp_path / name) as image:
            assert KEY in image.info, name
    if page == "docs/serving.md":
        with Image.open(tmp_path / "seven.png") as seven, Image.open(tmp_path / "nine.png") as nine:
            left = (0, 0, 4, 8)
            assert (
                seven.crop(left).tobytes() == nine.crop(left).tobytes() and seven.tobytes() != nine.tobytes()
            )


def test_commands_of_the_manual(tmp_path: Path, port: int) -> None:
    lines = commands(EXAMPLES.format(curl="curl -s", address="localhost:8000"))
    assert len(lines) == 5
    Image.new("L", (8, 8), 100).save(tmp_path / "picture.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "mask.png")
    for line in lines:
        ask(line, tmp_path, port)


def test_a_wrong_command_is_found(tmp_path: Path, port: int) -> None:
    with pytest.raises(AssertionError, match="strength"):
        ask("curl -s localhost:8000/v1/edits -F image=@/dev/null -F strength=2", tmp_path, port)
    with pytest.raises(AssertionError):
        ask("curl -s localhost:8000/v1/edits -F image=@missing.png", tmp_path, port)
