"""The page's modules, run by node: settings of PNGs, events, whole numbers, masks, axes, the history; and its size."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mezzotint import plots
from mezzotint.model import again
from mezzotint.model.loading import load
from mezzotint.serve.http.commands import commands_of
from mezzotint.serve.http.studio import FILES, FOLDER

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node, which runs the page's modules")
MAX_BYTES = 80_000


def run(expression: str) -> Any:
    """What the statements of an async function return."""
    assert NODE is not None
    command = [NODE, str(Path(__file__).with_name("helpers_modules.mjs")), str(FOLDER)]
    done = subprocess.run(command, input=expression, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_page_is_small_and_of_this_server_alone() -> None:
    sizes = {name: len(path.read_bytes()) for name, path in FILES.items()}
    assert sum(sizes.values()) < MAX_BYTES, sizes
    for name, path in FILES.items():
        addresses = path.read_text("utf-8").replace("http://www.w3.org/", "")
        assert "http://" not in addresses and "https://" not in addresses and "eval(" not in addresses, name


@needs_node
def test_settings_of_pngs_are_read_to_the_last_digit() -> None:
    settings = {
        "seed": 2**63 - 1,
        "seeds": [3, 2**62],
        "prompt": 'ä "12345678901234567890" 🐈',
        "eta": 1 / 3,
        "n": 1,
    }
    image = Image.new("L", (4, 4))
    whole, bare = plots.png(image, settings), plots.png(image)
    damaged = whole.replace(b'{"seed"', b'[,seed"')
    clip = plots.png(image, settings, [Image.new("L", (4, 4), 9)])
    lists = [list(content) for content in (whole, bare, b"no png at all", whole[:60], clip, damaged)]
    found = run(f"""const {{ settingsOf }} = await load("png"), {{ write }} = await load("json");
      return {json.dumps(lists)}.map((list) => {{ try {{ return write(settingsOf(Uint8Array.from(list))); }} catch (error) {{ return error.message; }} }});""")
    assert [json.loads(found[i]) for i in (0, 1, 2, 4)] == [settings, None, None, settings]
    assert {found[3], found[5]} == {"The settings inside this picture are damaged."}


@needs_node
def test_numbers_of_any_size_come_and_go_as_they_are() -> None:
    texts = [
        '{"a":9223372036854775807}',
        "[0.034482758620689655,1e-17,12345678901234567]",
        '{"t":"1234567890123456789"}',
        "[-9007199254740993]",
        "[1.2345678901234567e+30]",
    ]
    found = run(
        f"""const {{ parse, write }} = await load("json"); return {json.dumps(texts)}.map((text) => write(parse(text)));"""
    )
    assert [json.loads(text) for text in found] == [json.loads(text) for text in texts]


@needs_node
def test_events_are_read_however_they_are_cut() -> None:
    stream = 'event: started\ndata: {"id": "a", "n": "ü"}\n\n: still here\n\nevent: progress\r\ndata: {"step":\r\ndata: 3}\r\n\r\nevent: done\ndata: {}\n\nevent: cut off\n'
    expected = [["started", {"id": "a", "n": "ü"}], ["progress", {"step": 3}], ["done", {}]]
    found = run(f"""const {{ eventsIn }} = await load("api"), bytes = new TextEncoder().encode({json.dumps(stream)}), all = [];
      for (const size of [1, 2, 3, 7, 1000]) {{
        async function* chunks() {{ for (let i = 0; i < bytes.length; i += size) yield bytes.slice(i, i + size); }}
        const events = []; for await (const {{ name, data }} of eventsIn(chunks())) events.push([name, data]);
        all.push(events);
      }}
      return all;""")
    assert found == [expected] * 5


@needs_node
def test_masks_are_painted_in_whole_pixels() -> None:
    found = run("""const { Mask } = await load("brush"), rows = (mask) => Array.from({ length: mask.height }, (_, y) => mask.white.slice(y * mask.width, (y + 1) * mask.width).join(""));
      const one = new Mask(5, 3), disc = new Mask(5, 5), off = new Mask(3, 3);
      one.begin(); one.stroke({ x: 0.2, y: 1.9 }, { x: 7, y: 1.1 }, 1);
      disc.dot(2.5, 2.5, 3); off.dot(-1, 1.5, 3);
      const painted = rows(one), empty = one.empty;
      one.begin(); one.dot(2.5, 1.5, 1, 0); const erased = rows(one); one.undo(); const back = rows(one); one.undo();
      return [painted, empty, erased, back, one.empty, rows(disc), rows(off)];""")
    assert found[0] == ["00000", "11111", "00000"] and found[1] is False
    assert found[2] == ["00000", "11011", "00000"] and found[3] == found[0] and found[4] is True
    assert found[5] == ["00000", "01110", "01110", "01110", "00000"] or found[5] == [
        "00000",
        "00100",
        "01110",
        "00100",
        "00000",
    ]
    assert found[6] == ["000", "100", "000"]


@needs_node
def test_axes_take_lists_and_ranges() -> None:
    found = run("""const { AXES, valuesIn } = await load("grid"), axis = (key, text) => { try { return valuesIn(text, AXES[key][1]); } catch (error) { return error.message; } };
      return [axis("seed", "3, 9223372036854775807"), axis("steps", "5-8,20"), axis("guidance", "1, 2.5"), axis("sampler", " ddim ,heun,"),
        axis("steps", "many"), axis("seed", "-1"), axis("seed", "0-1000"), axis("class", " , ")];""")
    assert found[:4] == [["3n", "9223372036854775807n"], [5, 6, 7, 8, 20], [1, 2.5], ["ddim", "heun"]]
    assert found[4:] == [
        "“many” is no number.",
        "A seed is a whole number, not “-1”.",
        "“0-1000” is no range of at most 100 numbers.",
        "An axis needs at least one value.",
    ]


@needs_node
def test_old_pictures_without_a_star_leave_the_history_first() -> None:
    found = run("""const { surplus, entryOf } = await load("history");
      const entries = Array.from({ length: 6 }, (_, i) => ({ key: i, star: i === 1 }));
      return [surplus(entries, 3).map(({ key }) => key), surplus(entries, 9).length, entryOf(Uint8Array.from([1, 2]), "job/0", 5).settings];""")
    assert found == [[0, 2], 0, None]


@needs_node
def test_time_left_and_queue_are_told_in_words() -> None:
    found = run("""const { told } = await load("board"), job = (more) => told({ state: "started", step: 0, steps: 20, seconds: 2, n: 8, ahead: null, ...more }, { seconds: 1, step: 0 });
      return [job({ state: "queued", ahead: 3 }), job({ state: "queued", ahead: 0 }), job({}), job({ step: 5, seconds: 6 }), job({ step: 19, seconds: 6 }), job({ step: 1, steps: 200, seconds: 4 })];""")
    assert found == [
        "Waiting: 3 requests ahead.",
        "Waiting for its turn.",
        "Making 8, 20 steps.",
        "Step 5 of 20, 15 s left.",
        "Step 19 of 20, nearly done.",
        "Step 1 of 200, 10 min left.",
    ]


@needs_node
def test_a_request_from_settings_is_one_that_the_server_takes() -> None:
    """Of a plain picture and of an edit: what a body has no field for is left out."""
    model = load("digits", device="cpu")
    plain = model.sample(1, label="3", seed=5, steps=2).settings
    edit = model.edit(torch.zeros(1, 8, 8, dtype=torch.uint8), strength=0.3, steps=2).settings
    found = run(f"""const {{ bodyOf, line }} = await load("words"); const all = {json.dumps([plain, edit])};
      return [...all.map(bodyOf), ...all.map(line)];""")
    from mezzotint.serve.http.schemas import Body, Edit

    assert Body(**found[0]).label == "3"
    assert Edit(**found[1], image=b"").strength == 0.3
    assert found[2:] == [
        "class 3, dpmpp_2m, 2 steps, guidance 2, seed 5",
        "changed by 0.3, class none, dpmpp_2m, 2 steps, guidance 2, seed 0",
    ] or found[3].startswith("changed by 0.3")


def test_what_to_type_makes_the_same_pictures(tmp_path: Path) -> None:
    model = load("digits", device="cpu")
    picture, mask = torch.full((1, 8, 8), 200, dtype=torch.uint8), torch.zeros(8, 8, dtype=torch.uint8)
    mask[:, 4:] = 255
    made = {
        "sample": model.sample(2, label=["3", "5"], seed=5, steps=2),
        "edit": model.edit(picture, mask, seed=4, steps=2, label="7"),
        "enlarge": model.enlarge(torch.zeros(1, 4, 4, dtype=torch.uint8), steps=2),
        "morph": model.morph(3, 7, 3, steps=2, label=["1", "2"]),
    }
    for name, samples in made.items():
        told = commands_of(json.loads(json.dumps(samples.settings)), "http://localhost:8000/")
        assert told.command and told.curl and told.python
        if name == "sample":
            assert told.command == again.command(samples.settings)
        if name == "enlarge":
            continue  # its small picture is no file here
        program = told.python.replace('"made.png"', repr(str(tmp_path / "made.png")))
        program = program.replace("'picture.png'", "picture").replace("'mask.png'", "mask")
        spoken: dict[str, Any] = {"picture": picture, "mask": mask}
        exec(program, spoken)
        assert torch.equal(spoken["pictures"].values, samples.values), name
    assert commands_of({"sampler": "ddim"}, "http://localhost/").command is None


def test_what_to_type_for_edits_is_a_command_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    from mezzotint.cli import main

    monkeypatch.chdir(tmp_path)
    model = load("digits", device="cpu")
    picture = Image.linear_gradient("L").resize((8, 8))
    plots.save_png(picture, "picture.png")
    plots.save_png(Image.new("L", (8, 8), 255), "mask.png")
    for samples in (model.edit("picture.png", "mask.png", steps=2, label="7"), model.morph(3, 7, 3, steps=2)):
        told = commands_of(json.loads(json.dumps(samples.settings)), "http://localhost/")
        assert told.command is not None
        with pytest.raises(SystemExit) as left:
            main([*shlex.split(told.command)[1:], "-o", "made.png", "--device", "cpu"])
        assert not left.value.code
        found = plots.read_settings("made.png")
        assert found is not None and {**found, "step": 0} == {
            **json.loads(json.dumps(samples.settings)),
            "step": 0,
        }
