"""Trainings that begin with a model of other classes, words or sizes, that keep some of it, and that replay its samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_small import CLASSES, FLOW, UNET, write_run
from PIL import Image
from safetensors.torch import load_file

import mezzotint
from mezzotint import config
from mezzotint.config import Config
from mezzotint.data.continued import Continued
from mezzotint.disk.model_file import read_header
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.facts import Facts
from mezzotint.run import replay
from mezzotint.run.events import Done
from mezzotint.run.fit import check, fit
from mezzotint.run.inherit import by_class, inherit
from mezzotint.run.parts import Parts
from mezzotint.run.start import beginning, freeze, origin
from mezzotint.train.distributed import Ranks

RARE = dict.fromkeys(("validate_every", "sample_every"), "100%")
TRAIN: dict[str, Any] = {
    "steps": 3,
    "batch_size": 12,
    "precision": "fp32",
    "lr": 1e-2,
    "checkpoint_every": "1 steps",
    **RARE,
}
WORDED: dict[str, Any] = {"network": {**UNET, "attention": [1], "head_channels": 8}, "diffusion": FLOW}


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(replay, "A_CLASS", 2)
    monkeypatch.setattr(replay, "FEWEST", 5)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of random weights, and a folder of pictures of two classes, one of them new."""
    place = tmp_path_factory.mktemp("begin")
    write_run(
        place / "base", Facts((1, 8, 8), CLASSES), network={**UNET, "multipliers": [1, 2]}, diffusion=FLOW
    )
    worded = Facts((1, 8, 8), (), words=("big", "cat"), length=3, examples=("big cat",))
    write_run(place / "worded", worded, **WORDED)
    random = np.random.default_rng(0)
    for name in ("cat", "star"):
        (place / "few" / name).mkdir(parents=True)
        for k in range(6):
            pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "few" / name / f"{k}.png")
    return place


def after(runs: Path, base: str = "base", data: dict[str, Any] | None = None, **train: Any) -> Config:
    header = read_header(runs / base / "model.safetensors")
    groups = header.config.model_dump(mode="json", include={"network", "diffusion", "sample"})
    data = {
        "name": "folder",
        "path": str(runs / "few"),
        "size": 8,
        "flip": False,
        "holdout": 0.2,
        **(data or {}),
    }
    return config.parse({**groups, "data": data, "train": {**TRAIN, **train}, "origin": origin(runs / base)})


def finish(chosen: Config, folder: Path, **options: Any) -> list[Any]:
    events = list(fit(chosen, folder, **options))
    assert isinstance(events[-1], Done)
    return events


# --- what is taken ------------------------------------------------------------------------------------------


def test_before_any_step_it_is_its_base_to_the_bit(runs: Path, tmp_path: Path) -> None:
    base, begun = mezzotint.load(runs / "base"), Parts(after(runs), tmp_path / "run", Ranks())
    assert begun.model.classes == (*CLASSES, "star")
    assert begun.facts.empty == (0, 2, 3)  # nothing of them here, and nothing replayed
    for label in ("1", "cat", "none"):
        mine, theirs = (m.sample(3, label=label, seed=4, guidance=2).values for m in (begun.model, base))
        assert torch.equal(mine, theirs) and theirs.float().std() > 1
    table = begun.state.net.state_dict()["conditioning.table"]
    assert torch.equal(table[4], base.net.state_dict()["conditioning.table"][:4].mean(0))
    assert begun.notes[-1] == "from base: 1 new class (star), beginning at the mean of the 4 old ones"


def test_rows_follow_names(runs: Path) -> None:
    table = torch.arange(4.0)[:, None, None].expand(4, 2, 3)
    grown = by_class(table, ("c", "new", "a"), ("a", "b", "c"))
    assert grown[:, 0, 0].tolist() == [2, 1, 0, 3]
    assert by_class(table[3:], ("x", "y"), ())[:, 0, 0].tolist() == [3, 3, 3]


@pytest.mark.parametrize("kind", [UNET, {"kind": "dit", "width": 32, "depth": 1, "head_channels": 16}])
def test_classes_come_and_go(kind: dict[str, Any], runs: Path, tmp_path: Path) -> None:
    """A model without classes begins as its base asked for none, one with them as one without."""
    for name, there, labels, asked in (("with", CLASSES, False, "none"), ("without", (), True, None)):
        write_run(tmp_path / name, Facts((1, 8, 8), there), network=kind, diffusion=FLOW)
        base = mezzotint.load(tmp_path / name)
        chosen = after(tmp_path, name, {"path": str(runs / "few"), "labels": labels})
        begun = Parts(chosen, tmp_path / "run", Ranks()).model
        mine, theirs = begun.sample(4, label="star" if labels else None), base.sample(4, label=asked)
        assert (mine.values.int() - theirs.values.int()).abs().max() <= 1


def test_another_size_and_what_cannot_be_taken(runs: Path, tmp_path: Path) -> None:
    begun = Parts(after(runs, data={"size": 12}), tmp_path / "run", Ranks())
    assert begun.model.sample(2, label="cat").values.shape == (2, 1, 12, 12)
    said = check(after(runs, data={"channels": 3}))
    assert "from base: down.0.enter.1.weight is not taken: 8x1x3x3 there, and 8x3x3x3 here" in said
    chosen = after(runs)
    deeper = chosen.model_copy(update={"network": chosen.network.model_copy(update={"attention": [1]})})
    said = check(deeper)
    assert "from base: down.0.stages.0.attention.* as in a fresh network: base has none" in said


def test_a_student_is_told_more_and_says_what_is_left(runs: Path, tmp_path: Path) -> None:
    write_run(
        tmp_path / "fast", Facts((1, 8, 8), CLASSES), network=UNET, diffusion=FLOW, objective="meanflow"
    )
    net = mezzotint.load(tmp_path / "fast").net
    plain = mezzotint.load(runs / "base").net
    found = inherit(plain, net.state_dict(), Facts((1, 8, 8), CLASSES), Facts((1, 8, 8), CLASSES), "fast")
    assert "conditioning.span.* not taken: there is none here" in found.lines


def test_words_are_added(runs: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for k in range(8):
        Image.fromarray(np.full((8, 8), 30 * k, np.uint8)).save(texts / f"{k}.png")
        (texts / f"{k}.txt").write_text("a big ant here")
    base = mezzotint.load(runs / "worded")
    chosen = after(runs, "worded", {"path": str(texts), "captions": True}, replay=0.5)
    begun = Parts(chosen, tmp_path / "run", Ranks())
    assert begun.facts.words == ("a", "ant", "big", "cat", "here") and begun.facts.length == 5
    assert begun.facts.examples == ("a big ant here", "big cat")
    mine, theirs = (m.sample(3, prompt="big cat", seed=1).values.int() for m in (begun.model, base))
    assert (mine - theirs).abs().max() <= 1  # more places: sums in another order
    old, new = (net.state_dict()["encoder.table"] for net in (base.net, begun.state.net))
    assert torch.equal(new[[0, 1, 4, 5]], old) and torch.equal(new[2], old[2:].mean(0))
    rows = {tuple(row) for row in next(begun.batches(0)).cond.text.tolist()}
    assert rows == {(1, 2, 4, 3, 6), (1, 4, 5, 0, 0)}  # of the set, and of what is replayed

    silent = after(runs, "worded", {"captions": None, "labels": False})
    assert next(Parts(silent, tmp_path / "run", Ranks()).batches(0)).cond.text.tolist() == [[1, 0, 0]] * 12


# --- what stays ---------------------------------------------------------------------------------------------


def test_frozen_weights_stay_to_the_bit(runs: Path, tmp_path: Path) -> None:
    finish(after(runs, freeze=["down.*", "conditioning.outer.*"]), tmp_path / "run")
    mine, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "run", runs / "base"))
    same = {
        name
        for name in theirs
        if mine[name].shape == theirs[name].shape and torch.equal(mine[name], theirs[name])
    }
    assert same == {name for name in theirs if name.startswith(("down.", "conditioning.outer."))}
    assert read_header(tmp_path / "run" / "model.safetensors").config.train.freeze == [
        "down.*",
        "conditioning.outer.*",
    ]


def test_statistics_stay_with_their_norm(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.Conv2d(2, 2, 1))
    assert freeze(net, ["0.*"]) == 4
    net.train()(torch.randn(4, 2, 3, 3))
    assert torch.equal(net[0].running_mean, torch.zeros(2)) and torch.equal(net[0].running_var, torch.ones(2))


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"freeze": ["dwon.*"]}, r"no parameter has a name like 'dwon\.\*'; near are down\.\*"),
        ({"freeze": ["*"]}, "all parameters are frozen"),
        ({"lora": 64}, "LoRA of rank 64 would train .* and save nothing"),
    ],
)
def test_what_would_not_learn_is_refused(train: dict[str, Any], words: str, runs: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        check(after(runs, **train))


@pytest.mark.parametrize("key", [{"replay": 0.5}, {"freeze": ["x"]}, {"lora": 4}])
def test_keys_of_an_origin_want_one(key: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"is for fine-tuning; add --from RUN"):
        config.parse({"train": key})
    written = config.parse({}).model_dump(mode="json")["train"]
    assert not {"replay", "freeze", "lora"} & written.keys()  # as it was before there were any


# --- what is replayed ---------------------------------------------------------------------------------------


def test_samples_are_among_the_rows_of_every_batch(runs: Path, tmp_path: Path) -> None:
    run = Parts(after(runs, replay=0.3), tmp_path / "run", Ranks())
    assert isinstance(run.source, Continued) and run.source.replay is not None
    assert run.facts.empty == ()
    samples = mezzotint.load(runs / "base").sample(8, label="all", seed=replay.SEED)
    coded = run.data.codec.encode(samples.values)
    assert torch.equal(run.source.replay.x0, coded)
    places = set()
    for step, (x0, cond) in zip(range(6), run.batches(0)):
        equal = (x0[:, None] == coded).flatten(2).all(2)
        assert int(equal.any(1).sum()) == 4  # of 12
        for row, label in zip(equal, cond.label):
            assert int(label) == int(row.long().argmax()) % 4 if row.any() else int(label) in (1, 4)
        places |= set(equal.any(1).nonzero()[:, 0].tolist())
        again = next(run.batches(step))
        assert torch.equal(again.x0, x0)
        parts = [next(run.source.batches(0, 12, step, rank, 3)) for rank in range(3)]
        assert all(torch.equal(part.x0, x0[rank::3]) for rank, part in enumerate(parts))
    assert len(places) > 8  # anywhere: rows are sorted by level later
    assert run.source.total == round(run.data.total / 0.7)


def test_samples_are_brought_to_size(runs: Path, tmp_path: Path) -> None:
    run = Parts(after(runs, data={"size": 12, "channels": 3}, replay=0.5), tmp_path / "run", Ranks())
    assert isinstance(run.source, Continued) and run.source.replay is not None
    assert run.source.replay.x0.shape == (8, 3, 12, 12)


@pytest.mark.parametrize("train", [{"replay": 0.5, "freeze": ["down.*"]}, {"replay": 0.5, "lora": 2}])
def test_it_goes_on_to_the_bit(train: dict[str, Any], runs: Path, tmp_path: Path) -> None:
    chosen = after(runs, **train)
    finish(chosen, tmp_path / "whole")
    asked = iter((False, True))
    assert not finish(chosen, tmp_path / "parts", stop=lambda: next(asked))[-1].finished
    assert finish(chosen, tmp_path / "parts")[-1].finished
    whole, parts = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts

    other = after(runs, **{**train, "replay": 0.25})
    with pytest.raises(ConfigError, match=r"holds another run \(train\.replay"):
        finish(other, tmp_path / "whole")


# --- low rank -----------------------------------------------------------------------------------------------


def test_the_small_file_is_the_model_over_its_base(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "low"
    chosen = after(runs, lora=1, freeze=["middle.*"], snapshot_every="1 steps")
    finish(chosen, folder)
    whole = mezzotint.load(folder)
    small = mezzotint.load(runs / "base", adapter=folder / "adapter.safetensors")
    for name, weight in whole.net.state_dict().items():
        assert torch.equal(weight, small.net.state_dict()[name]), name
    old = mezzotint.load(runs / "base").net.state_dict()
    new = whole.net.state_dict()
    kept = {name for name in old if old[name].shape == new[name].shape and torch.equal(old[name], new[name])}
    assert {name for name in old if name.startswith("middle.") or name.endswith("bias")} <= kept
    assert "up.0.stages.0.block.conv1.weight" not in kept
    assert (small.source, small.classes) == ("low", (*CLASSES, "star"))
    assert torch.equal(small.sample(2, label="star").values, whole.sample(2, label="star").values)
    for weights in ("raw", "0.1"):
        assert mezzotint.load(folder, weights=weights).sample(1).values.shape == (1, 1, 8, 8)

    with pytest.raises(ModelError, match="is not an adapter of"):
        mezzotint.load(runs / "worded", adapter=folder / "adapter.safetensors")
    with pytest.raises(ModelError, match="is an adapter; give its base"):
        mezzotint.load(folder / "adapter.safetensors")
    with pytest.raises(ModelError, match="is no adapter"):
        mezzotint.load(runs / "base", adapter=folder / "model.safetensors")


def test_low_rank_where_it_makes_no_sense(runs: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "dots", Facts((2,), ("0", "1")), network={"kind": "mlp", "width": 8}, diffusion=FLOW)
    dots = after(tmp_path, "dots", lora=1).model_copy(update={"data": config.Data(name="moons")})
    with pytest.raises(ConfigError, match="LoRA saves nothing on a network for points"):
        check(dots)
    batch = {"kind": "unet_simple", "width": 8, "levels": 2, "norm": "batch"}
    write_run(tmp_path / "norms", Facts((1, 8, 8), CLASSES), network=batch, diffusion=FLOW)
    with pytest.raises(ConfigError, match="the statistics of a batch norm change"):
        check(after(tmp_path, "norms", {"path": str(runs / "few")}, lora=1))


# --- from a recipe ------------------------------------------------------------------------------------------


def test_a_recipe_takes_the_network_of_its_base(runs: Path, tmp_path: Path) -> None:
    base = read_header(runs / "base" / "model.safetensors").config
    chosen = beginning("folder", ["train.replay=0.5"], name=runs / "base", data__path=str(runs / "few"))
    assert (chosen.network, chosen.diffusion, chosen.sample) == (base.network, base.diffusion, base.sample)
    assert chosen.data.size in (8, (8, 8)) and chosen.data.labels is None
    assert beginning("folder", ["network.width=16", "data.size=16"], name=runs / "base").network.width == 16
    own = tmp_path / "own.yaml"
    own.write_text("network: {kind: unet, width: 24}\n")
    mine = beginning(str(own), name=runs / "base")
    assert (mine.network.width, mine.diffusion) == (24, base.diffusion)


def test_one_folder_is_a_class_where_there_are_others(runs: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    (one / "star").mkdir(parents=True)
    for path in (runs / "few" / "star").iterdir():
        (one / "star" / path.name).write_bytes(path.read_bytes())
    chosen = beginning("folder", ["train.steps=1"], name=runs / "base", data__path=str(one))
    assert chosen.data.labels is True
    begun = Parts(replace_train(chosen), tmp_path / "run", Ranks())
    assert begun.facts.classes == (*CLASSES, "star")


def replace_train(chosen: Config) -> Config:
    return chosen.model_copy(update={"train": config.Train(**TRAIN)})
