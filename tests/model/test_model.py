"""A trained model, asked: the same picture from the same seed in any company, and errors that say what there is instead."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mezzotint
from mezzotint import config
from mezzotint.build.networks import network
from mezzotint.cond import NO_COND
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.disk.checkpoint import save_checkpoint
from mezzotint.disk.model_file import Header, save_model
from mezzotint.disk.names import find
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.facts import Facts
from mezzotint.model.device import find_device, find_precision, kind_of
from mezzotint.model.loading import load
from mezzotint.model.model import Model, Preview
from mezzotint.plots import read_settings
from mezzotint.randomness import noise
from mezzotint.train import Ema, State, adamw

CLASSES = ("1", "cat", "0", "all four")  # two are named by numbers, and not their own
UNET = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1}
FLOW = {"process": "flow", "schedule": {"kind": "lognormal"}, "parameterization": "velocity"}
PICTURES = Facts((1, 8, 8), CLASSES)


def write_run(folder: Path, facts: Facts = PICTURES, seed: int = 0, **tree: Any) -> Path:
    """A run directory with a network of random weights, whose average has others."""
    settings: dict[str, Any] = {
        "network": UNET,
        "train": {"precision": "fp32"},
        "sample": {"steps": 4},
        **tree,
    }
    parsed = config.parse(settings)
    torch.manual_seed(seed)
    net = network(parsed, facts)
    with torch.no_grad():
        for weight in net.parameters():  # networks start silent
            weight.add_(0.1 * torch.randn_like(weight))
    state = State(net, adamw(net, 1e-3), Ema(net, 0.1), step=9)
    for weight in state.ema.net.parameters():
        weight.add_(0.01)
    save_checkpoint(folder, state, {}, keep=1)
    save_model(folder / "model.safetensors", state.ema.net, Header(parsed, facts, 9, "ema 0.1"))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    write_run(runs / "vp")
    write_run(runs / "flow", diffusion=FLOW)
    edm = {
        "process": "ve",
        "schedule": {"kind": "karras"},
        "parameterization": "edm",
        "weight": "edm",
    }
    write_run(runs / "edm", diffusion=edm)
    write_run(runs / "plain", Facts((3, 6, 10)))
    write_run(
        runs / "points", Facts((2,), ("upper", "lower")), network={"kind": "mlp", "width": 8}, diffusion=FLOW
    )
    return runs


@pytest.fixture(scope="module")
def model(runs: Path) -> Model:
    return load(runs / "vp")


# --- sampling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", ["vp", "flow", "edm"])
def test_a_picture_depends_on_its_seed_alone(runs: Path, name: str, sampler: str) -> None:
    model = load(runs / name)
    many = model.sample(8, seed=0, label="cat", sampler=sampler, guidance=2)
    one = model.sample(1, seed=3, label="cat", sampler=sampler, guidance=2)
    assert (many.values[3].int() - one.values[0].int()).abs().max() <= 1  # kernels round by batch shape
    assert many.values.float().std() > 5
    assert (many.values[3].int() - many.values[4].int()).abs().max() > 20
    assert many.seeds.tolist() == list(range(8)) and one.seeds.tolist() == [3]


def test_it_does_not_matter_how_many_are_computed_at_a_time(model: Model) -> None:
    whole = model.sample(7, seed=5, label="all", guidance=3)
    parts = model.sample(7, seed=5, label="all", guidance=3, batch=3)
    assert (whole.values.int() - parts.values.int()).abs().max() <= 1
    assert whole.labels is not None and torch.equal(whole.labels, parts.labels)


def test_the_same_request_is_the_same_bits(model: Model) -> None:
    assert torch.equal(model.sample(4, seed=2).values, model.sample(4, seed=2).values)
    assert not torch.equal(model.sample(4, seed=2).values, model.sample(4, seed=6).values)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", ["vp", "flow", "edm", "points"])
def test_the_last_belief_of_the_stream_is_the_sample(runs: Path, name: str, sampler: str) -> None:
    model = load(runs / name)
    previews = list(model.stream(3, label=0, seed=1, sampler=sampler, steps=5))
    assert [(p.step, p.steps) for p in previews] == [(i, 5) for i in range(1, 6)]
    values = model.sample(3, label=0, seed=1, sampler=sampler, steps=5).values
    assert torch.equal(previews[-1].belief, values)
    assert torch.equal(previews[-1].state, values)  # nothing is left of the noise
    assert not torch.equal(previews[0].state, values)
    assert not torch.equal(previews[0].state, previews[0].belief)  # all of the noise is left
    assert values.dtype == (torch.float32 if name == "points" else torch.uint8)
    assert values.shape == (3, *model.facts.shape)


def test_a_stream_can_be_left(model: Model) -> None:
    stream = model.stream(2, steps=10)
    assert isinstance(next(stream), Preview)
    stream.close()


def test_one_step_is_enough_to_ask_for(model: Model) -> None:
    for sampler in SAMPLERS:
        assert len(model.sample(2, sampler=sampler, steps=1)) == 2


def test_sampling_is_eulers_method_on_guided_velocities(runs: Path) -> None:
    """The whole way from a request to points, against ten lines that share nothing with it but the network and z."""
    model = load(runs / "points")
    n, steps, scale = 5, 8, 2.5
    last = list(
        model.stream(n, label="lower", seed=3, sampler="ddim", steps=steps, spacing="time", guidance=scale)
    )[-1]
    net = model.denoiser.net
    x = noise(torch.arange(3, 3 + n), 0, 0, (2,))
    with torch.no_grad():
        for i in range(steps):
            t = 1 - i / steps
            told = torch.full((n,), 1000 * t)
            v = net(x, told, label=torch.full((n,), 1))
            none = net(x, told, label=torch.full((n,), 2))
            x = x - (none + scale * (v - none)) / steps
    torch.testing.assert_close(last.state, x, rtol=1e-5, atol=1e-5)


def test_classes_and_guidance_change_the_pictures(model: Model) -> None:
    def made(**settings: Any) -> Tensor:
        return model.sample(2, **settings).values.int()

    values = [made(label=label, guidance=g) for label in (0, "cat", "none") for g in (1, 4)]
    assert torch.equal(values[4], values[5])  # nothing to steer towards
    for i, a in enumerate(values[:5]):
        for b in values[:i]:
            assert (a - b).abs().max() > 3
    doubled = [list(model.stream(2, label="cat", guidance=g, steps=1, clip=False))[-1].x0 for g in (1, 2, 3)]
    torch.testing.assert_close(doubled[2] - doubled[1], doubled[1] - doubled[0], rtol=1e-3, atol=1e-4)


def test_pictures_are_clipped_and_points_are_not(runs: Path) -> None:
    for name, inside in (("vp", True), ("points", False)):
        model = load(runs / name)
        beliefs = torch.stack([p.x0 for p in model.stream(64, sampler="ddim", steps=3)])
        assert (beliefs.abs().max() <= 1) == inside
        free = torch.stack([p.x0 for p in model.stream(64, sampler="ddim", steps=3, clip=not inside)])
        assert (free.abs().max() <= 1) != inside


# --- labels and settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "n", "numbers"),
    [
        ("none", 3, [4, 4, 4]),  # K: the null label
        ("cat", 2, [1, 1]),
        ("all four", 1, [3]),
        ("1", 1, [0]),  # a name wins over a number
        (1, 1, [0]),
        (0, 1, [2]),
        (2, 1, [2]),  # no class has this name: a number
        ("3", 1, [3]),
        ([0, "cat"], 5, [2, 1, 2, 1, 2]),  # cycled
        (("cat", 3, 3), 2, [1, 3]),
        ("all", 6, [0, 1, 2, 3, 0, 1]),  # in the order of `classes`, whatever their names
        (np.int64(2), 1, [2]),
        (range(2, 4), 3, [2, 3, 2]),
    ],
)
def test_labels_may_be_spelt_in_many_ways(model: Model, label: Any, n: int, numbers: list[int]) -> None:
    request = model.request(n, label=label)
    labels = request.cond.label
    assert labels is not None and labels.dtype == torch.int64
    assert labels.tolist() == numbers
    assert model.finish(request, torch.zeros(n, 1, 8, 8)).labels.tolist() == numbers
    parts = torch.cat([part.cond.label for part in request.parts(2)])
    assert torch.equal(parts, labels)


def test_without_a_class_each_seed_draws_one(model: Model) -> None:
    drawn = model.request(4000, seed=7).cond.label
    assert drawn is not None and ((drawn.bincount() - 1000).abs() < 4 * (4000 * 3 / 16) ** 0.5).all()
    assert torch.equal(
        drawn[20:30], model.request(10, seed=27).cond.label
    )  # picture i is a matter of seed + i alone
    whole, part = model.sample(6, seed=7, batch=2), model.sample(2, seed=11)
    assert torch.equal(whole.labels[4:], part.labels) and torch.equal(whole.labels, drawn[:6])
    assert torch.equal(whole.values[4:], part.values)
    assert torch.equal(
        whole.values, model.sample(6, seed=7, label=[model.classes[i] for i in drawn[:6]]).values
    )


@pytest.mark.parametrize("label", ["dog", 4, -1, "-1", "²", "", ["cat", "dog"], True, 1.5])
def test_unknown_classes_are_refused_with_the_list(model: Model, label: Any) -> None:
    with pytest.raises(ConfigError, match="below 4: 1, cat, 0, all four"):
        model.sample(2, label=label)


def test_a_model_without_classes_says_so(runs: Path) -> None:
    model = load(runs / "plain")
    assert model.classes == () and model.request(3).cond == NO_COND
    assert model.sample(2).labels is None
    for wrong in ({"label": 0}, {"guidance": 2}):
        with pytest.raises(ConfigError, match="classes"):
            model.sample(2, **wrong)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sampler": "heum"}, "sampler"),
        ({"steps": 0}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": 1001}, "1000"),
        ({"guidance": -1}, "guidance"),
        ({"guidance": float("nan")}, "guidance"),
        ({"eta": 1.5, "sampler": "ddim"}, "eta"),
        ({"eta": 0.5, "sampler": "heun"}, "eta"),
        ({"spacing": "wide"}, "spacing"),
        ({"stepps": 3}, "steps"),  # a suggestion
        ({"n": 0}, "at least 1"),
        ({"n": -1}, "at least 1"),
        ({"batch": 0}, "at least 1"),
        ({"label": []}, "empty"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(model: Model, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        model.sample(**{"n": 2, **settings})
    assert "\n" not in str(caught.value)


def test_settings_are_the_models_own_unless_told_otherwise(model: Model) -> None:
    assert model.settings().steps == 4 and model.settings(steps=None).steps == 4
    changed = model.settings(steps=7, sampler="ddim", eta=0.5)
    assert (changed.steps, changed.sampler, changed.eta) == (7, "ddim", 0.5)


def test_an_eta_of_the_models_own_sampler_is_not_taken_to_another(tmp_path: Path) -> None:
    write_run(tmp_path / "a", sample={"sampler": "ddim", "eta": 1.0, "steps": 3})
    model = load(tmp_path / "a")
    assert model.settings().eta == 1.0
    assert model.settings(sampler="heun").eta == 0.0
    assert model.settings(sampler="ddim").eta == 1.0


def test_ddim_with_eta_one_is_ddpm(model: Model) -> None:
    a = model.sample(2, sampler="ddim", eta=1.0, seed=4).values
    assert torch.equal(a, model.sample(2, sampler="ddpm", seed=4).values)
    assert not torch.equal(a, model.sample(2, sampler="ddim", seed=4).values)


# --- what comes back -------------------------------------------------------------------------------------


def test_samples_are_a_sequence_that_can_be_saved(model: Model, runs: Path, tmp_path: Path) -> None:
    samples = model.sample(4, label=["cat", 0], seed=7, steps=3, guidance=2.0)
    assert len(samples) == 4 == len(list(samples))
    assert [picture.size for picture in samples] == [(8, 8)] * 4 and samples[0].mode == "L"
    assert samples.seeds.tolist() == [7, 8, 9, 10]
    path = tmp_path / "new" / "sheet.png"
    samples.save(path)
    settings = read_settings(path)
    assert settings is not None
    expected = {
        "sampler": "dpmpp_2m",
        "steps": 3,
        "guidance": 2.0,
        "seed": 7,
        "n": 4,
        "label": ["cat", "0"],
        "model": "vp",
        "step": 9,
        "weights": "ema 0.1",
    }
    assert {key: settings[key] for key in expected} == expected
    for name in ("sheet.gif", "sheet.jpg", "sheet.npz"):
        with pytest.raises(ValueError, match=r"sheet\..+ would hold a PNG; end it in \.png"):
            samples.save(tmp_path / name)
        assert not (tmp_path / name).exists()
    samples.save(tmp_path / "sheet")
    assert read_settings(tmp_path / "sheet") == settings
    png = samples._repr_png_()
    assert png is not None and png.startswith(b"\x89PNG")

    points = load(runs / "points").sample(5, label="all")
    assert points[0].shape == (2,) and len(list(points)) == 5
    points.save(tmp_path / "points.png")
    assert read_settings(tmp_path / "points.png") is not None


def test_the_settings_of_a_png_make_it_again(model: Model, tmp_path: Path) -> None:
    made = model.sample(3, label="cat", seed=11, sampler="ddim", eta=0.7, steps=3)
    made.save(tmp_path / "a.png")
    told = read_settings(tmp_path / "a.png") or {}
    assert torch.equal(model.sample(**told).values, made.values)
    for other in ({"step": 10}, {"weights": "raw"}):
        with pytest.raises(ConfigError, match=r"not of these weights, ema 0\.1 at step 9"):
            model.sample(**{**told, **other})


# --- loading ---------------------------------------------------------------------------------------------


def test_the_same_model_by_any_name(
    runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Model
) -> None:
    monkeypatch.chdir(runs.parent)
    (runs.parent / "runs").exists() or (runs.parent / "runs").symlink_to(runs)
    expected = model.sample(2).values
    for name in ("vp", "runs/vp", Path("runs/vp"), runs / "vp", "runs/vp/model.safetensors"):
        loaded = mezzotint.load(name)
        assert torch.equal(loaded.sample(2).values, expected)
        assert loaded.source == "vp" and loaded.classes == CLASSES
    copy = tmp_path / "kept.safetensors"
    copy.write_bytes((runs / "vp" / "model.safetensors").read_bytes())
    assert torch.equal(load(copy).sample(2).values, expected)
    assert load(copy).source == "kept"


def test_who_wins_where_names_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a name wins over a directory of that name here."""
    monkeypatch.chdir(tmp_path)

    def place(folder: str) -> Path:
        Path(folder).mkdir(parents=True)
        file = Path(folder) / "model.safetensors"
        file.write_bytes(b"")
        return file

    here = place("a")
    assert find("a") == here
    run = place("runs/a")
    assert find("a") == run and find("./a") == run and find("runs/a") == run
    assert find(tmp_path / "a") == tmp_path / here
    assert find("a", runs=Path("elsewhere")) == here
    Path("b").write_bytes(b"")
    assert find("b") == Path("b")
    assert find("a/model.safetensors") == here  # a file is a file


def test_latest_is_the_run_last_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="mezzotint train"):
        find("latest")
    for i, name in enumerate(("z", "a", "m")):
        file = Path("runs") / name / "model.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
        os.utime(file, (i, i))
    assert find("latest") == Path("runs/m/model.safetensors")
    os.utime("runs/z/model.safetensors", (9, 9))
    assert find("latest") == Path("runs/z/model.safetensors")


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"'moon'; no runs under runs"):
        find("moon")
    write_run(Path("runs/moons"))
    with pytest.raises(ModelError, match=r"'moon'; runs here: moons"):
        load("moon")
    Path("runs/empty").mkdir()
    with pytest.raises(ModelError, match="first checkpoint"):
        load("empty")


def test_the_average_or_the_last_weights(runs: Path, model: Model, tmp_path: Path) -> None:
    raw = load(runs / "vp", weights="raw")
    assert raw.header.weights == "raw" and model.header.weights == "ema 0.1"
    for a, b in zip(model.denoiser.net.parameters(), raw.denoiser.net.parameters()):
        torch.testing.assert_close(a, b + 0.01)
    with pytest.raises(ConfigError, match="ema, raw, a length such as"):
        load(runs / "vp", weights="last")
    copy = tmp_path / "alone.safetensors"
    copy.write_bytes((runs / "vp" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="single file without checkpoints"):
        load(copy, weights="raw")


def test_a_loaded_network_is_ready_to_sample(model: Model) -> None:
    assert not any(m.training for m in model.denoiser.net.modules())
    assert not any(p.requires_grad for p in model.denoiser.net.parameters())


def test_precision_is_chosen_and_points_are_always_float32(runs: Path) -> None:
    assert load(runs / "vp").denoiser.dtype == torch.float32
    assert load(runs / "vp", precision="bf16").denoiser.dtype == torch.bfloat16
    assert load(runs / "points", precision="bf16").denoiser.dtype == torch.float32
    full = load(runs / "vp").sample(4).values.float()
    half = load(runs / "vp", precision="bf16").sample(4).values.float()
    assert not torch.equal(full, half) and (full - half).abs().mean() < 10  # the same noise


def test_devices_and_precisions_that_are_not_there_are_refused(runs: Path) -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device() in (torch.device("cpu"), torch.device("cuda"), torch.device("mps"))
    for wrong in ("gpu", "cuda:99", ""):
        with pytest.raises(ConfigError, match="leave it out"):
            load(runs / "vp", device=wrong)
    with pytest.raises(ConfigError, match="auto, fp32 or bf16"):
        load(runs / "vp", precision="fp16")
    assert find_precision("fp32", torch.device("cpu")) == torch.float32
    assert find_precision("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)


@pytest.mark.parametrize(
    ("capability", "hardware", "expected"),
    [
        ("AVX512", ("_is_avx512_bf16_supported",), torch.bfloat16),
        ("AVX512", ("_is_amx_tile_supported",), torch.bfloat16),
        ("AVX512", (), torch.float32),
        ("AVX2", ("_is_avx512_bf16_supported", "_is_amx_tile_supported"), torch.float32),
        ("DEFAULT", ("_is_avx512_bf16_supported", "_is_amx_tile_supported"), torch.float32),
        ("DEFAULT", (), torch.float32),  # ARM
        ("SVE256", (), torch.float32),
    ],
)
def test_bfloat16_is_taken_where_torch_may_use_the_hardware(
    capability: str, hardware: tuple[str, ...], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ATEN_CPU_CAPABILITY=avx2` leaves the hardware as it is and the multiplication emulated."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for ask in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, ask, lambda ask=ask: ask in hardware, raising=False)
    assert find_precision("auto", torch.device("cpu")) == expected
    with_it = "AMX" if "_is_amx_tile_supported" in hardware else "bfloat16"
    said = "," if expected == torch.float32 else f" and {with_it}"
    assert kind_of(torch.device("cpu")).startswith(f"cpu with {capability}{said}")


def test_a_sheet_of_all_classes_has_a_named_column_for_each(model: Model) -> None:
    samples = model.sample(8, label="all", steps=1)
    bare, named = replace(samples, classes=()).sheet(), samples.sheet()
    assert named.height > bare.height and named.width >= bare.width  # captions
    assert model.sample(8, label="cat", steps=1).sheet().size == (3 * 66 + 2, 3 * 66 + 2)
