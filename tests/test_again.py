"""A picture makes itself again: whatever way it was got, its settings ask for it once more, to the byte of its pixels.

Calls of one row make that exact on every machine; kernels round by batch shape, so that other calls may differ by a level.
"""

import base64
import contextlib
import io
import json
import shlex
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_small import UNET, trained, write_run
from helpers_workshop import leave
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from mezzotint.conditions.labels import ALL, NONE, Label, Word, name_of
from mezzotint.disk.model_file import Header
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.plots import KEY, save_png
from mezzotint.run.allowance import Allowance
from mezzotint.run.sheets import Sheets
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings, make_limits
from mezzotint.train.distributed import Ranks

ODD = (
    "7",
    "cat",
    "2",
    "all",
    "(all)",
    "none",
    "any",
    "null",
    "a",
    "b",
    "a,b",
    "it's, so",
    'say "hi"',
    " pad ",
    "",
)
ODD += (
    "-n",
    "--help",
    "$(x) `y` \\",
    "猫 🐈",
    "e\u0301",
    "#%20&=+;?",
    "bell\x07",
    "two\nlines",
    "del\x7f",
    "caf\udce9",
)
ODD += ("left\u202e", "nul\0", "x" * 300)
PLAIN = ("1", "cat", "0", "all four")
ADDRESS = ("model", "n", "seed", "steps")  # keys
Made = tuple[dict[str, Any], np.ndarray]  # settings and pixels of a picture
GUIDED = {"guidance": 2.0, "guidance_interval": [0.2, 30.0], "steps": 2}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with runs of random weights whose classes have odd names."""
    desk = tmp_path_factory.mktemp("again")
    for name, shape, classes in (
        ("odd", (1, 8, 8), ODD),
        ("plain", (1, 8, 8), PLAIN),
        ("bare", (3, 6, 10), ()),
    ):
        write_run(desk / "runs" / name, Facts(shape, classes), network=UNET, sample=GUIDED)
    with contextlib.chdir(desk):
        yield desk


@pytest.fixture(scope="module")
def models(desk: Path) -> dict[str, Model]:
    return {name: load(name, device="cpu") for name in ("odd", "plain", "bare")}


@pytest.fixture(scope="module")
def client(models: dict[str, Model], desk: Path) -> Iterator[TestClient]:
    served = Settings(log=desk / "log.jsonl", limits=make_limits(max_rows=1))
    app = create_app(served, Service(models, served))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def opened(content: bytes) -> Made:
    with Image.open(io.BytesIO(content)) as image:
        return json.loads(image.info[KEY]), np.asarray(image).astype(int)


def typed(*words: object) -> tuple[str, str]:
    """What the command line prints: stdout and stderr."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        assert leave(*words) == 0, (words, err.getvalue())
    return out.getvalue(), err.getvalue()


# --- ways of getting pictures: a wish -> the pictures, with the settings inside or beside them ---------------------

Wish = dict[str, Any]  # as `Model.sample` takes it, label included


def by_python(model: Model, client: TestClient, wish: Wish) -> list[Made]:
    samples = model.sample(**wish, batch=1)
    samples.save("python.png")
    return [opened(Path("python.png").read_bytes())]


def spelt(label: Label, model: Model) -> Any:
    """As people say it."""
    if isinstance(label, Word):
        return {ALL: "((all))", NONE: "(none)"}[label] if model.classes == ODD else label.value
    return label


def options(model: Model, wish: Wish) -> list[object]:
    """Of `mezzotint sample`."""
    label, low_high = spelt(wish["label"], model), wish["guidance_interval"]
    words: list[object] = ["sample", f"runs/{model.source}", "--device", "cpu", "--batch", 1]
    words += ["-n", wish["n"], "--seed", wish["seed"]]
    for name in ("sampler", "steps", "eta", "churn", "guidance", "spacing"):
        words += [] if wish[name] is None else [f"--{name}", wish[name]]
    words += (
        [] if label is None else [f"--class={each}" for each in (label if type(label) is list else [label])]
    )
    words += [] if wish["guidance_rescale"] is None else ["--rescale", wish["guidance_rescale"]]
    words += [] if wish["clip"] is None else ["--clip" if wish["clip"] else "--no-clip"]
    return words + ([] if low_high is None else ["--interval", f"{low_high[0]},{low_high[1] or 'inf'}"])


def by_png(model: Model, client: TestClient, wish: Wish) -> list[Made]:
    typed(*options(model, wish), "-o", "typed.png")
    return [opened(Path("typed.png").read_bytes())]


def by_folder(model: Model, client: TestClient, wish: Wish) -> list[Made]:
    for old in Path("many").glob("*"):
        old.unlink()
    typed(*options(model, wish), "-o", "many", "--format", "folder")
    return [opened(file.read_bytes()) for file in sorted(Path("many").iterdir())]


def by_npz(model: Model, client: TestClient, wish: Wish) -> list[Made]:
    """The pictures of a file below each other."""
    typed(*options(model, wish), "-o", "typed.npz")
    told = json.loads(typed("info", "typed.npz")[0])
    with np.load("typed.npz", allow_pickle=False) as file:
        return [(told, file["images"].astype(int))]


def body(model: Model, wish: Wish) -> dict[str, Any]:
    label = spelt(wish["label"], model)
    if isinstance(label, str) and label in model.classes:  # what JSON cannot say has a form that it can
        label = name_of(model.classes.index(label), model.classes)
    if isinstance(label, list):
        label = [name_of(model.classes.index(each), model.classes) for each in label]
    return {**wish, "model": model.source, "label": label}


def by_post(model: Model, client: TestClient, wish: Wish) -> list[Made]:
    answer = client.post("/v1/generate", json=body(model, wish))
    assert answer.status_code == 200, answer.text
    return [opened(answer.content)]


def by_json(model: Model, client: TestClient, wish: Wish) -> list[Made]:
    answer = client.post("/v1/generate", json={**body(model, wish), "format": "json"}).json()
    images = [opened(base64.b64decode(one)) for one in answer["images"]]
    assert [told["seed"] for told, _ in images] == answer["seeds"]
    assert [told["label"] for told, _ in images] == (answer["labels"] or [None] * wish["n"])
    return images


def by_zip(model: Model, client: TestClient, wish: Wish) -> list[Made]:
    answer = client.post("/v1/generate", json={**body(model, wish), "format": "zip"})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return [opened(archive.read(name)) for name in archive.namelist()[1:]]


def by_job(model: Model, client: TestClient, wish: Wish) -> list[Made]:
    key = client.post("/v1/jobs", json=body(model, wish)).json()["id"]
    with client.stream("GET", f"/v1/jobs/{key}/events") as events:
        assert "event: done" in list(events.iter_lines())
    return [opened(client.get(f"/v1/jobs/{key}/result").content)]


def by_get(model: Model, client: TestClient, wish: Wish) -> list[Made]:
    """What an address can say of it."""
    asked = {key: value for key, value in body(model, wish).items() if key in ADDRESS and value is not None}
    label = body(model, wish)["label"]
    if label is not None and not isinstance(label, list):
        asked["class"] = label
    answer = client.get("/generate", params=asked)
    assert answer.status_code == 200, answer.text
    return [opened(answer.content)]


WAYS: list[Callable[[Model, TestClient, Wish], list[Made]]] = [
    *(by_python, by_png, by_folder, by_npz, by_post, by_json, by_zip, by_job, by_get)
]

# --- ways of asking again ------------------------------------------------------------------------------------------


def check_again(model: Model, client: TestClient, made: Made, *, array: bool = False) -> None:
    """Asks for a picture by its settings in Python, by what `info` shows on the command line, and over REST."""
    told, pixels = made
    samples = model.sample(**told, batch=1)
    if array:
        assert np.array_equal(samples.medium.arrays(samples.values), pixels), told
        return
    again = np.asarray(samples.picture()).astype(int)
    assert np.array_equal(again, pixels), told

    samples.save("shown.png")
    out, err = typed("info", "shown.png")
    assert json.loads(out) == told
    (line,) = err.splitlines()
    words = shlex.split(line.removeprefix("again: "))
    typed(*words[1:], "-o", "again.png", "--batch", 1, "--device", "cpu")
    assert opened(Path("again.png").read_bytes())[0] == told
    assert np.array_equal(opened(Path("again.png").read_bytes())[1], pixels), line

    answer = client.post("/v1/generate", content=out, headers={"content-type": "application/json"})
    assert answer.status_code == 200, (answer.text, told)
    assert opened(answer.content)[0] == told
    assert np.array_equal(opened(answer.content)[1], pixels), told


SAMPLERS = [("dpmpp_2m", None, None), ("ddim", 0.7, None), ("ddim", None, None), ("heun", None, 3.0)]
SAMPLERS += [("euler_a", None, None), (None, None, None)]


@st.composite
def wishes(draw: st.DrawFn, classes: tuple[str, ...]) -> Wish:
    n = draw(st.integers(1, 3))
    label: Label = None
    if classes:
        names = st.sampled_from(classes)
        label = draw(
            st.one_of(names, st.lists(names, min_size=2, max_size=4), st.sampled_from([None, ALL, NONE]))
        )
    sampler, eta, churn = draw(st.sampled_from(SAMPLERS))
    return {
        "n": n,
        "label": label,
        "seed": draw(st.sampled_from([0, 2**63 - n]) | st.integers(0, 2**63 - n)),
        "sampler": sampler,
        "steps": draw(st.sampled_from([None, 1, 3])),
        "eta": eta,
        "churn": churn,
        "guidance": draw(st.none() | st.floats(0, 8)) if classes else None,
        "guidance_interval": draw(st.sampled_from([None, [0.3, 5.0], [0.2, None]])),
        "guidance_rescale": draw(st.sampled_from([None, 0.7])),
        "spacing": draw(st.sampled_from([None, "linspace"])),
        "clip": draw(st.sampled_from([None, True, False])),
    }


@pytest.mark.parametrize("way", WAYS)
@given(data=st.data())
@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_settings_of_a_picture_make_it_again(
    models: dict[str, Model], client: TestClient, way: Callable[..., list[Made]], data: st.DataObject
) -> None:
    model = models[data.draw(st.sampled_from(["odd", "odd", "plain", "bare"]))]
    wish = data.draw(wishes(model.classes))
    pictures = way(model, client, wish)
    check_again(model, client, data.draw(st.sampled_from(pictures)), array=way is by_npz)


def test_pictures_of_a_sheet_are_made_again_alone(models: dict[str, Model], client: TestClient) -> None:
    """At the usual batch: picture k of a sheet of all classes, drawn ones among them."""
    for wish in ({"label": ALL}, {"label": None, "seed": 5}, {"label": ["a,b", "7", "all"], "guidance": 3.0}):
        samples = models["odd"].sample(len(ODD), **wish)
        assert samples.labels is not None
        for k in (0, 3, 5, 24, len(ODD) - 1):
            told = json.loads(json.dumps(samples.alone(k).settings))
            again = models["odd"].sample(**told)
            assert again.labels is not None and again.labels.tolist() == samples.labels[k : k + 1].tolist()
            assert (again.values.int() - samples.values[k].int()).abs().max() <= 1


def test_a_sheet_of_all_classes_stays_one_where_a_class_is_called_all(desk: Path) -> None:
    write_run(desk / "runs" / "two", Facts((1, 8, 8), ("all", "cat")), network=UNET)
    model = load("two")
    sheets = Sheets(model, Path("run"), Ranks(), Allowance())
    assert sheets._made(6, 2).labels.tolist() == [0, 1] * 3  # type: ignore[union-attr]
    both, one = model.sample(6, label=ALL, steps=1), model.sample(6, label="all", steps=1)
    assert both.settings["label"] == "(all)" and one.settings["label"] == "all"
    assert both.sheet().height > both.sheet(2).height, "with the names of its columns"
    assert one.sheet().size == one.sheet(3).size, "one class has no columns"


def test_the_weights_of_a_picture_are_named(desk: Path) -> None:
    trained(desk / "runs" / "trained")
    different = []
    for weights, name in (
        ("ema", "ema 0.1"),
        ("raw", "raw"),
        ("0.07", "ema 0.07 of snapshots"),
        ("0.1", None),
    ):
        typed("sample", "trained", "-n", 2, "--seed", 5, "--weights", weights, "-o", "a.png")
        out, err = typed("info", "a.png")
        told, pixels = opened(Path("a.png").read_bytes())
        assert told["weights"] == (name or "ema 0.1 of snapshots") and told["step"] == 20
        typed(*shlex.split(err.removeprefix("again: "))[1:], "-o", "b.png")
        assert np.array_equal(opened(Path("b.png").read_bytes())[1], pixels)
        loaded = load("trained", weights=told["weights"])
        assert np.array_equal(np.asarray(loaded.sample(**json.loads(out)).picture()).astype(int), pixels)
        different.append(pixels)
    assert all((a != b).any() for i, a in enumerate(different[:3]) for b in different[:i])
    with pytest.raises(ModelError, match=r"now has the weights ema 0\.1, not ema 0\.05"):
        load("trained", weights="ema 0.05")


def test_other_defaults_later_change_nothing(models: dict[str, Model]) -> None:
    """As `tune` writes them."""
    model = models["plain"]
    before = Model(changed(model, guidance_interval=None), model.denoiser, model.device, "plain")
    for defaults in (
        {"guidance_interval": (0.9, 2.0), "guidance_rescale": 0.5, "spacing": "linspace", "clip": False},
        {"sampler": "ddim", "eta": 1.0, "guidance": 1.0},
    ):
        after = Model(changed(model, **defaults), model.denoiser, model.device, "plain")
        made = before.sample(2, label="cat", seed=5, steps=4)
        assert not torch.equal(after.sample(2, label="cat", seed=5, steps=4).values, made.values)
        assert torch.equal(after.sample(**json.loads(json.dumps(made.settings))).values, made.values)


def changed(model: Model, **defaults: Any) -> Header:
    config = model.config
    sample = config.sample.model_copy(update=defaults)
    return replace(model.header, config=config.model_copy(update={"sample": sample}))


def test_points_carry_settings_beside_them(desk: Path) -> None:
    write_run(desk / "runs" / "dots", Facts((2,), ("a", "all")), network={"kind": "mlp", "width": 8})
    typed("sample", "dots", "-n", 3, "--class=all", "--no-clip", "--format", "folder", "-o", "points")
    told = json.loads(Path("points/settings.json").read_text())
    again = load("dots").sample(**told)
    assert again.medium.table is not None
    assert Path("points/points.csv").read_text() == again.medium.table(again.values)


@pytest.mark.parametrize(("seed", "n"), [(2**63 - 2, 3), (-1, 1), (2**64, 1)])
def test_seeds_that_nobody_can_ask_for_are_refused(models: dict[str, Model], seed: int, n: int) -> None:
    with pytest.raises(ConfigError, match=r"from 0 to 2\^63 - 1"):
        models["plain"].sample(n, seed=seed)


def test_a_server_refuses_what_its_model_cannot_make_again(
    models: dict[str, Model], client: TestClient
) -> None:
    told = json.loads(json.dumps(models["plain"].sample(2).settings))
    for other in ({"weights": "ema 0.3"}, {"step": 10}, {"seed": 2**63 - 1}):
        answer = client.post("/v1/generate", json={**told, "model": "plain", **other})
        assert answer.status_code == 422 and "0.3" not in answer.text, answer.text
        assert ("2^63" if "seed" in other else "not of these weights, raw at step 9") in answer.json()[
            "detail"
        ]


def test_info_says_what_cannot_be_made_again(models: dict[str, Model], desk: Path) -> None:
    sheet, told = models["plain"].sample(1).picture(), models["plain"].sample(1).settings

    def shown(**other: Any) -> str:
        save_png(sheet, "other.png", {**told, **other})
        return typed("info", "other.png")[1]

    assert shown(step=8).endswith("but plain is at step 9 now, and was at 8\n")
    assert "there is no model 'gone' here" in shown(model="gone")
    for other in (
        {"model": "--help"},
        {"n": "3; reboot"},
        {"label": 3},
        {"sampler": "x"},
        {"show": "reverse"},
    ):
        assert shown(**other) == "", "no command"
    typed("show", "reverse", "plain", "-n", 1, "-o", "strip.png")
    assert typed("info", "strip.png")[1] == ""
    assert shlex.split(shown(model="$(reboot)").splitlines()[0])[3] == "$(reboot)"


def test_a_state_on_the_way_is_found_by_its_command(desk: Path) -> None:
    typed("sample", "plain", "-n", 2, "--seed", 3, "--trajectory", "-o", "way.png")
    first = opened(Path("way-trajectory/step-0001.png").read_bytes())
    again = typed("info", "way-trajectory/step-0001.png")[1].removeprefix("again: ")
    typed(*shlex.split(again)[1:], "-o", "back.png")
    assert np.array_equal(opened(Path("back-trajectory/step-0001.png").read_bytes())[1], first[1])
