"""Networks and schedulers of diffusers against ours, there and back."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_pipelines import NAMES, random_pipeline
from helpers_small import write_run
from torch import Tensor

from mezzotint.cli import main
from mezzotint.exchange.pipeline.lookup import looked_up
from mezzotint.exchange.pipeline.read import import_pipeline
from mezzotint.exchange.pipeline.write import export_pipeline
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.nets.unet2d import TimeEmbedding
from mezzotint.tasks.task import Task

diffusers = pytest.importorskip("diffusers")
STEPS = 20


@pytest.fixture(autouse=True, scope="module")
def _silence() -> None:
    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(map(str, words)))
    return int(left.value.code or 0)


@torch.no_grad()
def walked(net: Any, scheduler: Any, x: Tensor, label: Tensor | None) -> Tensor:
    """Twenty steps of DDIM as diffusers takes them."""
    ddim = diffusers.DDIMScheduler.from_config(scheduler.config)
    ddim.set_timesteps(STEPS)
    for t in ddim.timesteps:
        F = net(x, t, class_labels=label).sample
        x = ddim.step(F, t, x, use_clipped_model_output=True).prev_sample
    return x


def made(model: Model, x: Tensor, label: list[str] | None) -> Tensor:
    request = model.request(len(x), label=label, sampler="ddim", steps=STEPS)
    *_, last = model.previews(replace(request, task=Task(noise=x)))
    return last.x0


def off(got: Tensor, want: Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max().clamp(min=1))


@pytest.mark.parametrize("seed", [5, 6, 7, 8, 10, 12])
def test_random_networks_both_ways(seed: int, tmp_path: Path) -> None:
    net, scheduler = random_pipeline(seed, tmp_path / "theirs")
    header = import_pipeline(tmp_path / "theirs", tmp_path / "model.safetensors")
    model = load(tmp_path / "model.safetensors")
    classes = header.facts.classes
    assert classes == (NAMES if net.config.num_class_embeds else ())

    x, t = torch.randn(4, *header.facts.shape), torch.tensor([0, 7, 50, 99])
    label = torch.tensor([0, 2, 1, 3]) if classes else None
    with torch.no_grad():
        want = net(x, t, class_labels=label).sample
        assert (model.net(x, t.float(), label) - want).abs().max() <= 1e-5
    asked = torch.tensor([0, 2, 1, 1]) if classes else None
    walk = walked(net, scheduler, x, asked)
    assert off(made(model, x, [classes[k] for k in asked] if asked is not None else None), walk) <= 1e-4

    export_pipeline(model, tmp_path / "ours")
    back = diffusers.DDPMPipeline.from_pretrained(tmp_path / "ours")
    with torch.no_grad():
        assert (back.unet(x, t, class_labels=label).sample - want).abs().max() <= 1e-5
    assert off(walked(back.unet, back.scheduler, x, asked), walk) <= 1e-5
    again = import_pipeline(tmp_path / "ours", tmp_path / "again.safetensors")
    assert (again.config, again.facts) == (header.config, header.facts)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Of kind unet, so wide that all norms have 32 groups."""
    folder = tmp_path_factory.mktemp("runs") / "wide"
    network = {
        "kind": "unet",
        "width": 128,
        "multipliers": [1, 2],
        "blocks": 1,
        "attention": [2],
        "head_channels": 64,
    }
    diffusion = {"parameterization": "v", "schedule": {"kind": "sigmoid", "timesteps": 60}}
    write_run(folder, Facts((1, 4, 4), ("a", "b")), network=network, diffusion=diffusion)
    return load(folder)


def test_the_full_network_where_it_is_wide(wide: Model, tmp_path: Path) -> None:
    """At every timestep, and for none, which is the last row."""
    assert command("export", "diffusers", Path(wide.source), "-o", tmp_path / "no") == 3
    export_pipeline(wide, tmp_path / "folder")
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path / "folder")
    x, t = torch.randn(6, 1, 4, 4), torch.tensor([0, 1, 31, 32, 58, 59])
    label = torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        theirs = pipeline.unet(x, t, class_labels=label).sample
        assert theirs.abs().max() > 0.1
        assert (theirs - wide.net(x, t.float(), label)).abs().max() <= 1e-5 * theirs.abs().max()
    levels = pipeline.scheduler.alphas_cumprod
    torch.testing.assert_close(1 / (1 + (-wide.schedule.logsnr).exp()), levels.double(), rtol=1e-4, atol=1e-6)
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "folder" / "README.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code.replace('"."', repr(str(tmp_path / "folder"))), found)
    assert len(found["images"]) == 4 and found["images"][0].size == (4, 4)


def test_vectors_are_looked_up_to_the_bit() -> None:
    vectors = torch.randn(70, 12)
    weights = looked_up(vectors, width=8, hidden=100)
    table = weights.pop("time_proj.weight")
    layers = TimeEmbedding(8, 100)
    layers.load_state_dict({name.removeprefix("time_embedding."): tensor for name, tensor in weights.items()})
    got = layers(table)
    assert torch.equal(got[:, :12], vectors) and not got[:, 12:].any()
