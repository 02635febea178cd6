"""Transformers and decoders on the page are those of the package, and a text that guidance keeps away from is, too."""

import copy
import json
import random
from typing import Any

import torch
from helpers_node import needs_node, off, order, run_jobs
from helpers_small import FLOW
from helpers_tiny import tiny

from mezzotint.exchange.web.export import described
from mezzotint.model.model import Model

pytestmark = needs_node
DIT = {"kind": "dit", "width": 16, "depth": 2, "head_channels": 8, "patch": 2, "tokens": 2}
PREDICTED = {**FLOW, "parameterization": "x0"}


def transformer(seed: int) -> Model:
    rng = random.Random(seed)
    size = rng.choice([4, 6, 8, 14])
    network = {
        "kind": "dit",
        "width": size * rng.choice([1, 2, 3]),
        "depth": rng.choice([1, 2, 3]),
        "head_channels": size,
        "patch": rng.choice([1, 2, 3, 4, 5, [2, 4], [3, 1]]),
        "tokens": rng.choice([1, 3]),
    }
    shape = (rng.choice([1, 3]), rng.choice([2, 5, 8, 12]), rng.choice([4, 7, 8]))
    mean = {"objective": "meanflow"} if rng.random() < 0.3 else {}
    words, classes = rng.choice([0, 5]), rng.choice([0, 3])
    return tiny(shape, classes, words, seed, network=network, diffusion=FLOW, **mean)


def test_transformers_agree_with_pytorch() -> None:
    """Thirty, drawn at random, told random things, to 1e-5 of their largest number in 64 bits there: pictures that are no multiples of
    patches, patches of odd and of two sides, one patch, heads with pairs left over, classes, words, spans."""
    jobs, answers, kinds = [], [], set()
    for seed in range(30):
        model = transformer(seed)
        torch.manual_seed(seed)
        x, told = torch.randn(1, *model.facts.shape), torch.rand(1)
        given: dict[str, Any] = {}
        if model.classes and seed % 3:
            given["label"] = torch.randint(len(model.classes) + 1, (1,))
        if model.config.objective == "meanflow":
            given["span"] = torch.rand(1)
        if model.facts.length and seed % 4:
            given["text"] = torch.tensor([[1, 3, 6, 2, 0, 0]])
        kinds.add((bool(model.classes), bool(model.facts.length), "span" in given))
        wide = {key: value.double() if value.is_floating_point() else value for key, value in given.items()}
        answers.append(copy.deepcopy(model.net).double()(x.double(), told.double(), **wide).flatten())
        spoken = {key: value[0].tolist() for key, value in given.items()}
        if "text" in spoken:
            spoken["text"] = [1, 3, 6, 2]
        job = {"do": "network", "model": described(model), "x": x.flatten().tolist()}
        jobs.append({**job, "told": float(told), "given": spoken})
    assert len(kinds) == 8
    for job, there, ours in zip(jobs, run_jobs(jobs), answers):
        assert ours.abs().max() > 0.1
        assert torch.tensor(there).sub(ours).abs().max() <= 1e-5 * max(1, ours.abs().max()), job["model"][
            "network"
        ]


def test_decoders_agree_with_pytorch() -> None:
    """Before they are rounded to bytes, in 64 bits there; and what stands for a picture on the way is the package's, too."""
    jobs, answers = [], []
    for seed in range(12):
        rng = random.Random(seed)
        coder = {
            "kind": "vae",
            "factor": rng.choice([4, 8]),
            "latents": rng.choice([1, 3, 4]),
            "width": rng.choice([4, 8, 12]),
            "blocks": rng.choice([1, 2]),
        }
        codec = {"file": "vae.safetensors", "digest": "0" * 16, "network": coder}
        channels, rows, columns = rng.choice([1, 3]), rng.choice([1, 2, 3]), rng.choice([1, 2])
        shape = (channels, rows * coder["factor"], columns * coder["factor"])
        model = tiny(shape, seed=seed, network=DIT, diffusion=FLOW, codec=codec)
        torch.manual_seed(seed)
        code = 2 * torch.randn(1, *model.codec.shape(shape))
        weights: Any = copy.deepcopy(model.codec.weights)
        weights.double()
        z = code.double() * weights.std + weights.mean
        answers.append((weights.coder.decoder(3 * (z / 3).tanh()).flatten(), model.codec.preview(code)[0]))
        raw = (code * model.codec.weights.std + model.codec.weights.mean).flatten().tolist()  # type: ignore[union-attr, operator]
        jobs.append({"do": "decode", "model": described(model), "raw": raw, "code": code.flatten().tolist()})
    for job, there, (ours, preview) in zip(jobs, run_jobs(jobs), answers):
        found = torch.tensor(there["decoded"])
        assert ours.std() > 0.01
        assert found.sub(ours).abs().max() <= 1e-5 * max(1, ours.abs().max()), job["model"]["codec"]
        shown = torch.tensor(there["preview"]) - preview.permute(1, 2, 0).flatten().int()
        assert shown.abs().max() <= 1


def test_their_pictures_are_those_of_sample() -> None:
    """Within a grey level: classes, words with a text to keep away from, codes, x0 prediction, a student's spans."""
    coder = {"kind": "vae", "factor": 4, "latents": 3, "width": 8, "blocks": 1}
    codec = {"file": "vae.safetensors", "digest": "0" * 16, "network": coder}
    unet = {"kind": "unet", "width": 4, "multipliers": [1], "blocks": 1, "attention": [1]}
    classy, wordy = {"label": 1, "guidance": 2.0}, {"prompt": "w03, w00 W01.", "guidance": 3.0}
    away = {**wordy, "negative": "w02 w04"}
    cases = [
        (tiny((3, 9, 8), 3, network=DIT, diffusion=PREDICTED), classy),
        (tiny((1, 8, 8), 0, 5, network=DIT, diffusion=PREDICTED), wordy),
        (tiny((1, 8, 8), 2, 5, network=DIT, diffusion=FLOW), {**away, "label": 0}),
        (tiny((3, 8, 8), 0, 5, network=unet, diffusion=FLOW), away),
        (tiny((3, 8, 8), 0, 5, network=unet, diffusion=FLOW), {**away, "negative": ""}),
        (tiny((3, 16, 8), 3, network=unet, diffusion=FLOW, codec=codec), classy),
        (tiny((1, 16, 16), 0, 5, network=DIT, diffusion=PREDICTED, codec=codec), away),
        (tiny((3, 8, 8), network=DIT, diffusion=FLOW, objective="meanflow"), {"sampler": "ddim", "steps": 2}),
    ]
    answers = run_jobs([order(model, 11, **asked) for model, asked in cases])
    for answer, (model, asked) in zip(answers, cases):
        assert off(answer, model, seed=11, **asked) <= 1, asked
        written = json.loads(json.dumps(model.sample(1, seed=11, **asked).settings))
        assert answer["written"] == written
    assert answers[3]["bytes"] != answers[4]["bytes"]
