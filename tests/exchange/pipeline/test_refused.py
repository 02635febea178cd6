"""What a folder of diffusers may not say, what a model of ours may not be, and that nothing is left behind then."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_pipelines import change, random_pipeline
from helpers_small import UNET, write_run
from safetensors.torch import load_file, save_file

from mezzotint import config
from mezzotint.cli import main
from mezzotint.disk import hub
from mezzotint.errors import ConfigError, ModelError
from mezzotint.exchange.pipeline.lookup import _heads
from mezzotint.exchange.pipeline.read import read_pipeline
from mezzotint.exchange.pipeline.write import check
from mezzotint.media.facts import Facts
from mezzotint.nets import UNet

pytest.importorskip("diffusers")
UNET_FILE, SCHEDULER_FILE = Path("unet/config.json"), Path("scheduler/scheduler_config.json")
TEN = {"schedule": {"kind": "cosine", "timesteps": 10}}
WEIGHTS_FILE = Path("unet/diffusion_pytorch_model.safetensors")


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(map(str, words)))
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs") / "small"
    random_pipeline(9, folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "small"))


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        (UNET_FILE, "_class_name", "UNet3DConditionModel"),
        (UNET_FILE, "out_channels", 8),
        (UNET_FILE, "in_channels", 4),
        (UNET_FILE, "sample_size", [8, 9, 10]),
        (UNET_FILE, "sample_size", "8"),
        (UNET_FILE, "center_input_sample", True),
        (UNET_FILE, "time_embedding_type", "fourier"),
        (UNET_FILE, "down_block_types", ["SkipDownBlock2D"]),
        (UNET_FILE, "up_block_types", []),
        (UNET_FILE, "mid_block_scale_factor", 1.41),
        (UNET_FILE, "downsample_type", "resnet"),
        (UNET_FILE, "upsample_type", "resnet"),
        (UNET_FILE, "act_fn", "mish"),
        (UNET_FILE, "resnet_time_scale_shift", "spatial"),
        (UNET_FILE, "class_embed_type", "timestep"),
        (UNET_FILE, "block_out_channels", [8.5]),
        (UNET_FILE, "norm_num_groups", 0),
        (UNET_FILE, "norm_eps", True),
        (UNET_FILE, "mystery", 1),
        (SCHEDULER_FILE, "_class_name", "EulerDiscreteScheduler"),
        (SCHEDULER_FILE, "beta_schedule", "laplace"),
        (SCHEDULER_FILE, "trained_betas", [0.1, 0.2]),
        (SCHEDULER_FILE, "prediction_type", "flow_prediction"),
        (SCHEDULER_FILE, "thresholding", True),
        (SCHEDULER_FILE, "timestep_spacing", "linspace"),
        (SCHEDULER_FILE, "steps_offset", 1),
        (SCHEDULER_FILE, "beta_end", 1.5),
        (SCHEDULER_FILE, "mystery", None),
        (Path("model_index.json"), "vqvae", ["diffusers", "VQModel"]),
        (Path("model_index.json"), "_class_name", "LDMPipeline"),
    ],
)
def test_fields_that_have_no_counterpart_are_named(folder: Path, file: Path, field: str, value: Any) -> None:
    if value is None:
        (folder / file).write_text((folder / file).read_text().replace("{", '{"mystery": null, ', 1))
    else:
        change(folder / file, **{field: value})
    with pytest.raises(ModelError, match=rf"{file.name}: {field} .* has no counterpart here; "):
        read_pipeline(folder)


@pytest.mark.parametrize(
    ("file", "field"),
    [(UNET_FILE, "block_out_channels"), (UNET_FILE, "sample_size"), (SCHEDULER_FILE, "num_train_timesteps")],
)
def test_fields_that_are_missing_are_named(folder: Path, file: Path, field: str) -> None:
    change(folder / file, **{field: None})
    with pytest.raises(ModelError, match=f"{file.name} lacks the field {field}"):
        read_pipeline(folder)


def test_settings_of_ddpm_and_ddim_apart(folder: Path) -> None:
    change(
        folder / SCHEDULER_FILE,
        _class_name="DDPMScheduler",
        variance_type="learned_range",
        set_alpha_to_one=None,
    )
    with pytest.raises(ModelError, match="variance_type"):
        read_pipeline(folder)
    change(folder / SCHEDULER_FILE, _class_name="DDIMScheduler", variance_type=None, set_alpha_to_one=False)
    with pytest.raises(ModelError, match="set_alpha_to_one"):
        read_pipeline(folder)


def test_weights_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    save_file({**weights, "conv_in.weight": torch.zeros(8, 9)}, folder / WEIGHTS_FILE)
    with pytest.raises(ModelError, match=r"conv_in.weight is \(8, 9\), by config.json \("):
        read_pipeline(folder)
    save_file({**weights, "more": torch.zeros(1)}, folder / WEIGHTS_FILE)
    with pytest.raises(ModelError, match=r"more is \(1,\), by config.json nothing; 1 tensors differ"):
        read_pipeline(folder)
    nan = {**weights, "conv_in.bias": weights["conv_in.bias"] * torch.nan}
    save_file(nan, folder / WEIGHTS_FILE)
    with pytest.raises(ModelError, match=r"not finite \(conv_in.bias\)"):
        read_pipeline(folder)
    (folder / WEIGHTS_FILE).write_bytes(b"no weights")
    assert command("import", "diffusers", folder, "-o", tmp_path / "run") == 3
    (folder / WEIGHTS_FILE).rename(folder / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(
        ModelError, match=r"diffusion_pytorch_model\.bin cannot be read: save the model again"
    ):
        read_pipeline(folder)
    assert not (tmp_path / "run").exists()


def test_other_classes_are_told_apart(folder: Path) -> None:
    for name, line in (
        ("AutoencoderKL", "mezzotint train latent --codec"),
        ("DiTTransformer2DModel", "norm_type ada_norm_zero"),
        ("UNet2DConditionModel", "cross-attention"),
    ):
        change(folder / UNET_FILE, _class_name=name)
        with pytest.raises(ModelError, match=line):
            read_pipeline(folder)
    (folder / UNET_FILE).write_text("[")
    with pytest.raises(ModelError, match="is damaged or not JSON"):
        read_pipeline(folder)


def test_classes_without_names_and_old_names_of_weights(written: Path, folder: Path) -> None:
    header, net = read_pipeline(folder)
    weights = load_file(folder / WEIGHTS_FILE)
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        weights = {name.replace(f".{new}.", f".{old}."): tensor for name, tensor in weights.items()}
    assert weights.keys() != net.state_dict().keys()
    save_file(weights, folder / WEIGHTS_FILE)
    again = read_pipeline(folder)[1].state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in net.state_dict().items())

    for file in (UNET_FILE, SCHEDULER_FILE, WEIGHTS_FILE):  # all in one folder, as the oldest are
        (folder / file).rename(folder / file.name)
    (folder / "unet").rmdir()
    (folder / "scheduler").rmdir()
    assert read_pipeline(folder)[0] == header
    change(folder / "model_index.json", id2label=None)
    with pytest.raises(ModelError, match=r'num_class_embeds 4 .* write "id2label"'):
        read_pipeline(folder)


def test_a_run_is_made_and_not_overwritten(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("import", "diffusers", folder) == 0
    assert "runs/small/model.safetensors: " in capsys.readouterr().out
    assert command("sample", "small", "-n", 2, "--steps", 3, "--sampler", "dpmpp_2m", "-o", "two.png") == 0
    assert command("info", "small") == 0
    capsys.readouterr()
    assert command("import", "diffusers", folder) == 2
    assert "model.safetensors exists already; delete it, or choose another place" in capsys.readouterr().err
    assert command("import", "diffusers", folder, "-o", "one.safetensors") == 0
    assert Path("one.safetensors").is_file()

    Path("out").mkdir()
    assert command("export", "diffusers", "small", "-o", "out") == 0  # into an empty folder
    assert command("export", "diffusers", "small", "-o", "out") == 2
    assert "out exists already" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == [
        "one.safetensors",
        "out",
        "runs",
        "small",
        "two.png",
    ]


def test_a_folder_of_the_hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[Any] = []
    monkeypatch.setattr(hub, "fetch", lambda *words: asked.append(words) or folder)
    assert command("import", "diffusers", "somebody/digits") == 0
    assert Path("runs/digits/model.safetensors").is_file()
    ((name, files),) = asked
    assert name == "somebody/digits" and str(UNET_FILE) in files and str(SCHEDULER_FILE) in files
    assert {Path(file).suffix for file in files} == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("tree", "facts", "line"),
    [
        ({"network": {"kind": "unet_simple"}}, Facts((1, 8, 8)), "network.kind unet_simple"),
        ({"network": {"kind": "mlp"}}, Facts((2,)), "network.kind mlp"),
        ({"diffusion": {"process": "flow"}}, Facts((1, 8, 8)), "diffusion.process flow"),
        ({"diffusion": {"schedule": {"kind": "karras"}}}, Facts((1, 8, 8)), "diffusion.schedule.kind karras"),
        ({"diffusion": {"parameterization": "edm"}}, Facts((1, 8, 8)), "diffusion.parameterization edm"),
        ({"objective": "consistency"}, Facts((1, 8, 8)), "objective consistency"),
        ({"data": {"enlarge": 2}}, Facts((1, 8, 8)), "data.enlarge"),
        ({"codec": {"file": "vae"}}, Facts((1, 8, 8)), "codec"),
        ({}, Facts((1, 3, 8, 8)), "clips"),
        ({}, Facts((1, 8, 8), length=4, words=("a",)), "data.captions"),
        ({}, Facts((1, 10, 8)), "pictures of 10x8"),
    ],
)
def test_models_without_counterpart_are_refused(tree: dict[str, Any], facts: Facts, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        check(config.parse({"network": {"kind": "unet"}, **tree}), facts)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"width": 8, "multipliers": [1, 2]}, "network.width 8 .* 2, 4 and 8 groups"),
        ({"width": 128, "patch": 2}, "network.patch"),
        ({"width": 128, "attention": [1], "linear_attention": True}, "network.linear_attention"),
    ],
)
def test_parts_without_counterpart_are_refused(
    keys: dict[str, Any], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = {**UNET, **keys}
    write_run(tmp_path / "run", Facts((1, 8, 8)), network=network, diffusion=TEN)
    assert command("export", "diffusers", tmp_path / "run", "-o", tmp_path / "out") == 2
    assert re.search(line, capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_heads_of_several_sizes_are_refused() -> None:
    net = UNet(1, width=8, multipliers=[1, 4], blocks=1, attention=[1, 2], head_channels=16)
    with pytest.raises(ConfigError, match=r"network\.head_channels 16 .* 8 and 16 channels"):
        _heads(net)
    assert _heads(UNet(1, width=8, multipliers=[1, 4], blocks=1, attention=[1, 2], head_channels=32)) is None
