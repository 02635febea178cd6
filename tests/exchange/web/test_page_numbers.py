"""What the page computes is what the package computes: noise to the bit, networks to rounding, pictures to a grey level."""

import base64
import copy
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from helpers_node import Big, needs_node, off, order, run_jobs
from helpers_small import FLOW
from helpers_tiny import tiny
from PIL import Image

import mezzotint
from mezzotint.conditions.text import BYTES
from mezzotint.diffusion.process import vp
from mezzotint.diffusion.schedule import cosine, karras, linear, zero_terminal_snr
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.exchange.web.export import described
from mezzotint.model.again import command
from mezzotint.model.model import Model
from mezzotint.plots import read_settings
from mezzotint.randomness import bits, noise
from mezzotint.tasks.task import Way

pytestmark = needs_node
TEACHER = {"file": "t.safetensors", "digest": "0" * 16, "sample": {}}


def test_noise_is_the_same_to_the_bit() -> None:
    """1,000 draws of random seeds, steps and draws, those at the ends of int64 among them."""
    rng = random.Random(0)
    keys = [(rng.randrange(2**63), rng.randrange(2000), rng.randrange(-1, 5)) for _ in range(998)]
    keys += [(0, 0, 0), (2**63 - 1, 1, -1)]
    jobs = [
        {"do": "noise", "seed": Big(seed), "step": step, "draw": draw, "size": 3} for seed, step, draw in keys
    ]
    for (seed, step, draw), answer in zip(keys, run_jobs(jobs)):
        there = torch.tensor([seed])
        assert [int(b) for b in answer["bits"]] == [b % 2**64 for b in bits(there, step, draw, 3)[0].tolist()]
        ours = noise(there, step, draw, (3,))[0]
        assert torch.tensor(answer["normal"]).sub(ours).abs().max() <= 1e-7 * ours.abs().max()


def configurations() -> Iterator[Model]:
    """Forty small networks drawn at random."""
    rng = random.Random(1)
    for seed in range(40):
        full = seed % 4 != 3
        patch, levels = rng.choice([1, 1, 2]), rng.choice([1, 2, 3])
        words = rng.choice([0, 0, 5]) if full else 0
        network: dict[str, Any] = {
            "kind": "unet_simple",
            "width": rng.choice([3, 4, 8]),
            "levels": rng.choice([2, 3]),
            "norm": rng.choice(["group", "batch"]),
            "down": rng.choice(["pool", "stride"]),
        }
        if full:
            network = {
                "kind": "unet",
                "width": rng.choice([4, 6, 8]),
                "multipliers": [rng.choice([1, 2]) for _ in range(levels)],
                "blocks": rng.choice([1, 2]),
                "attention": [patch * 2**i for i in range(levels) if rng.random() < 0.5],
                "head_channels": rng.choice([2, 32]),
                "linear_attention": not words and rng.random() < 0.4,
                "patch": patch,
            }
        student = (
            {"objective": "map", "teacher": TEACHER, "sample": {"sampler": "ddim"}}
            if rng.random() < 0.4
            else {}
        )
        shape = (rng.choice([1, 3]), rng.choice([2, 5, 8, 12]), rng.choice([4, 7, 8]))
        yield tiny(shape, rng.choice([0, 3]), words, seed, network=network, diffusion=FLOW, **student)


def test_forty_networks_agree_with_pytorch() -> None:
    """Of random kinds and sizes, told random things, to 1e-5 of their largest number; in 64 bits there, since weights as large as
    these make 32 bits lose more than that."""
    jobs, answers = [], []
    for i, model in enumerate(configurations()):
        torch.manual_seed(i)
        x, told = torch.randn(1, *model.facts.shape), torch.rand(1) * 1000
        given: dict[str, Any] = {}
        if model.classes:
            given["label"] = torch.randint(len(model.classes) + 1, (1,))
        if model.config.objective == "map":
            given["span"] = torch.rand(1) * 1000
        if model.facts.length:
            given["text"] = torch.tensor([[1, 3, 6, 2, 0, 0]])
        wide = {key: value.double() if value.is_floating_point() else value for key, value in given.items()}
        answers.append(copy.deepcopy(model.net).double()(x.double(), told.double(), **wide).flatten())
        spoken = {key: value[0].tolist() for key, value in given.items()}
        if "text" in spoken:
            spoken["text"] = [number for number in spoken["text"] if number]
        jobs.append(
            {
                "do": "network",
                "model": described(model),
                "x": x.flatten().tolist(),
                "told": float(told),
                "given": spoken,
            }
        )
    kinds = {
        (job["model"]["network"]["kind"], bool(job["model"]["span"]), bool(job["model"]["words"]))
        for job in jobs
    }
    assert len(kinds) == 6
    for job, there, ours in zip(jobs, run_jobs(jobs), answers):
        assert torch.tensor(there).sub(ours).abs().max() <= 1e-5 * max(1, ours.abs().max()), job["model"][
            "network"
        ]


def test_samplers_stop_where_ours_do() -> None:
    """Every sampler, on every spacing, for several counts of steps, with and without tables."""
    jobs, expected = [], []
    for table in (None, linear(200), cosine(50), zero_terminal_snr(linear(100))):
        spacings = ["karras", "logsnr", "time"] + (["leading", "trailing", "linspace"] if table else [])
        cases = [
            (name, spacing, steps, {}) for name in SAMPLERS for spacing in spacings for steps in (1, 2, 7, 30)
        ]
        cases += [("ddim", "time", 5, {"eta": 0.4}), ("heun", "karras", 5, {"churn": 3.0})]
        settings = []
        for name, spacing, steps, noisy in cases:
            settings.append(
                {"sampler": name, "spacing": spacing, "steps": steps, "eta": 0, "churn": 0, **noisy}
            )
            way = Way(vp, table or karras(), (1,), name, steps, spacing, **noisy)
            expected.append((settings[-1], way.stops(way.levels())))
        jobs.append({"do": "levels", "settings": settings, "table": table and table.logsnr.tolist()})
    found = [levels for answer in run_jobs(jobs) for levels in answer]
    assert len(found) == len(expected) > 1000
    for there, (settings, ours) in zip(found, expected):
        theirs = torch.tensor([float(level) for level in there], dtype=torch.float64)
        assert torch.allclose(theirs, ours, 1e-9, 1e-9), settings


SETS = [  # what differs between models beyond their networks
    FLOW,
    {"process": "vp", "schedule": {"kind": "cosine", "timesteps": 60}, "parameterization": "v"},
    {"process": "vp", "schedule": {"kind": "linear"}, "parameterization": "eps"},
    {"process": "ve", "schedule": {"kind": "karras"}, "parameterization": "edm"},
    {"process": "flow", "schedule": {"kind": "linear_time"}, "parameterization": "x0"},
]


def test_every_sampler_walks_as_ours_does() -> None:
    """All samplers, processes, parameterizations, what is told of the level; guidance in an interval and rescaled; words."""
    network = {"kind": "unet", "width": 4, "multipliers": [1], "blocks": 1}
    guided = {"guidance": 2.0, "guidance_interval": (0.1, 30.0), "guidance_rescale": 0.5}
    jobs, expected = [], []
    for i, name in enumerate(SAMPLERS):
        model = tiny((1, 5, 4), 3, seed=i, network=network, diffusion=SETS[i % len(SETS)])
        changes = {"sampler": name, "steps": 5, **(guided if i % 2 else {}), "clip": i % 3 > 0}
        changes |= {"eta": 0.5} if name == "ddim" else {"churn": 2.0} if name == "heun" else {}
        jobs.append(order(model, i, label=1 if i % 4 else None, **changes))
        expected.append((model, {"seed": i, "label": 1 if i % 4 else None, **changes}))
    mean = {"objective": "meanflow", "diffusion": FLOW}
    model = tiny((1, 5, 4), 2, network=network, **mean)
    jobs.append(order(model, 3, label=2, sampler="ddim"))
    expected.append((model, {"seed": 3, "label": "none", "sampler": "ddim"}))
    model = tiny((3, 8, 8), 0, words=5, network={**network, "attention": [1]}, diffusion=FLOW)
    jobs.append(order(model, 3, prompt="w03, w00 W01.", guidance=3.0))
    expected.append((model, {"seed": 3, "prompt": "w03 w00 w01", "guidance": 3.0}))
    model = tiny((1, 5, 4), 0, words=BYTES, network={**network, "attention": [1]}, diffusion=FLOW)
    jobs.append(order(model, 3, prompt="  Ärger \n da"))
    expected.append((model, {"seed": 3, "prompt": "ärger da"}))
    for job, answer, (model, asked) in zip(jobs, run_jobs(jobs), expected):
        assert off(answer, model, **asked) <= 1, (job["order"], model.config.diffusion)
        assert answer["steps"] == job["order"]["settings"]["steps"]


def test_bundled_models_make_the_pictures_of_the_command_line(tmp_path: Path) -> None:
    """mnist in 14 steps, its student in one and two calls: within a grey level; the saved file makes the picture again."""
    jobs, expected = [], []
    for name, changes in (
        ("mnist", {}),
        ("mnist", {"label": 7}),
        ("mnist_fast", {}),
        ("mnist_fast", {"steps": 1}),
    ):
        model = mezzotint.load(name, device="cpu", precision="fp32")
        asked = {"seed": 2**60 + 5, **changes}
        jobs.append(
            order(
                model,
                asked["seed"],
                changes.get("label"),
                **{k: v for k, v in changes.items() if k == "steps"},
            )
        )
        expected.append((model, asked))
    answers = run_jobs(jobs)
    for answer, (model, asked) in zip(answers, expected):
        assert off(answer, model, **asked) <= 1
    assert [answer["calls"] for answer in answers] == [20, 20, 2, 1]
    assert (
        answers[0]["seconds"] <= 2 and answers[3]["seconds"] <= 0.3
    )  # of one core, on whatever machine this is
    for answer, (model, asked) in zip(answers, expected):
        (tmp_path / "a.png").write_bytes(base64.b64decode(answer["file"]))
        settings = read_settings(tmp_path / "a.png")
        ours = model.sample(1, **asked)
        assert settings == json.loads(json.dumps(ours.settings))
        assert command(settings) == command(ours.settings) is not None
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["file"]))))
        assert pixels.shape == (28, 28) and pixels.flatten().tolist() == answer["bytes"]
