"""The doctor on the command line: a table on a terminal, plain lines elsewhere, JSON for programs."""

import json
import re
import shlex
from pathlib import Path

import pytest
from helpers_workshop import POINTS, Call, contents
from PIL import Image

PAGE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"
MOONS = ("doctor", "moons", *[word for word in POINTS if word.startswith("network.")])
ABSURD = "train.lr=100"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with one of pictures, one of them bad, and an empty one."""
    for name in ("none", "few"):
        (tmp_path / name).mkdir()
    for k in range(6):
        Image.linear_gradient("L").rotate(60 * k).save(tmp_path / "few" / f"{k}.png")
    (tmp_path / "few" / "bad.png").write_text("not a picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plain_lines(mezzotint: Call, desk: Path) -> None:
    before = contents(desk)
    answer = mezzotint("doctor", "digits", "--quick", "data.flip=true")
    assert (answer.code, answer.err) == (0, ""), "a warning is no failure"
    lines = answer.out.splitlines()
    assert lines[0] == "ok      range: float32 from -1.00 to 1.00, mean -0.39, standard deviation 0.75"
    assert (
        "warning flips: data.flip=true mirrors digits, whose classes look like letters or digits; "
        "set data.flip=false (docs/troubleshooting.md#mirrored-pictures)"
    ) in lines
    assert lines[-1] == f"{len(lines) - 1} findings: 1 warning"
    assert contents(desk) == before


def test_nothing_to_worry_about_and_an_error(mezzotint: Call) -> None:
    good = mezzotint(*MOONS)
    assert good.code == 0 and good.out.endswith("findings: nothing to worry about\n")
    assert "\nok      learning: one batch of 8 pictures, loss" in good.out
    bad = mezzotint(*MOONS, ABSURD)
    assert bad.code == 1 and bad.out.endswith("findings: 1 error\n")
    assert "lower train.lr=100, which is too high (docs/troubleshooting.md#nan-or-infinite-loss)" in bad.out
    assert "learning" not in mezzotint(*MOONS, ABSURD, "--quick").out


def test_json(mezzotint: Call) -> None:
    answer = mezzotint("doctor", "digits", "--quick", "--json", "train.label_drop=0")
    found = json.loads(answer.out)
    assert answer.code == 0 and {tuple(finding) for finding in found} == {
        ("level", "title", "text", "remedy", "anchor")
    }
    (guidance,) = [finding for finding in found if finding["level"] != "ok"]
    assert (guidance["title"], guidance["anchor"]) == ("guidance", "samples-ignore-the-class")


def test_a_table_on_a_terminal(mezzotint: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, says rich
    monkeypatch.setenv("COLUMNS", "100")
    answer = mezzotint("doctor", "digits", "--quick", "data.flip=true")
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", answer.out)
    assert answer.code == 0 and re.search(
        r"^warning +flips +data\.flip=true mirrors digits", plain, re.MULTILINE
    )
    assert "#mirrored-pictures)" in plain and max(map(len, plain.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("mnits",), 2, "did you mean 'mnist'"),
        (("digits", "train.lrr=1"), 2, "train.lr"),
        (("digits", "--device", "foo"), 2, "leave it out"),
        (("digits", "network.attention=[3]"), 2, "factors [1, 2]"),
        (("folder", "--data", "none"), 3, "check --data"),
    ],
)
def test_what_training_would_refuse(
    mezzotint: Call, desk: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    answer = mezzotint("doctor", *words)
    assert answer.code == code and answer.err.count("\n") == 1 and says in answer.err


def test_skipped_files_are_counted(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("doctor", "folder", "--data", "few", "--quick")
    assert "warning pictures: 1 picture cannot be read and will be left out; the first is " in answer.out
    assert f"{Path('few').absolute() / 'bad.png'}" in answer.out


def test_commands_of_the_troubleshooting_page_exist(mezzotint: Call) -> None:
    """With an option or a command that does not exist there would be no help."""
    text = PAGE.read_text(encoding="utf-8")
    commands = re.findall(r"`mezzotint ([^`|]+)`|^    mezzotint (.+?)(?:  +#.*)?$", text, re.MULTILINE)
    options = re.findall(r"`(--[a-z-]+(?: [\w.]+)?)`", text)
    assert len(commands) > 8 and len(options) > 4
    for inline, block in commands:
        words = shlex.split(inline or block)
        assert mezzotint(*words, *([] if words == ["doctor"] else ["--help"])).code in (0, 2), words
        if len(words) > 1:
            assert mezzotint(*words, "--help").code == 0, words
    helps = mezzotint("train", "--help").out + mezzotint("sample", "--help").out
    for option in options:
        assert option.split()[0] in helps, option
