"""The judge of scenes: right about what was drawn, by two renderers and under noise, and not to be talked into anything."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import learning
import numpy as np
import pytest
import scenes
import torch
from helpers_scenes import painted
from helpers_small import write_run
from helpers_workshop import leave

from mezzotint.data.scenes import (
    LENGTH,
    OPPOSITE,
    SIDE,
    Meaning,
    Placed,
    Thing,
    draw,
    scene,
    vocabulary,
)
from mezzotint.evaluate.metrics.scenes import judge, shares
from mezzotint.evaluate.metrics.share import Share
from mezzotint.media.facts import Facts

N = 300  # 10,000 by benchmarks/scenes.py
SCENES = [scene(5, i) for i in range(N)]
PICTURES = torch.from_numpy(np.stack([one.pixels for one in SCENES]))
CAPTIONS = [one.caption for one in SCENES]


def test_fresh_scenes_are_all_correct() -> None:
    verdicts = judge(PICTURES, CAPTIONS)
    assert all(verdict.all for verdict in verdicts)
    found = shares(verdicts)
    assert found["all"].value == found["relation"].value == 1 and found["surplus"].value == 0
    assert found["all"].low > 0.98
    for one, verdict in zip(SCENES, verdicts):
        assert sorted(map(str, verdict.objects)) == sorted(map(str, one.placed))  # to the pixel


def test_so_are_those_of_another_renderer_and_with_noise() -> None:
    other = torch.from_numpy(np.stack([painted(one.placed) for one in SCENES]))
    assert shares(judge(other, CAPTIONS))["all"].value >= 0.99
    noise = torch.randint(-8, 9, PICTURES.shape, generator=torch.Generator().manual_seed(0))
    noisy = (PICTURES.int() + noise).clamp(0, 255).to(torch.uint8)
    assert shares(judge(noisy, CAPTIONS))["all"].value >= 0.999


def test_captions_of_other_pictures_are_wrong() -> None:
    assert shares(judge(PICTURES, CAPTIONS[1:] + CAPTIONS[:1]))["all"].value < 0.02


def test_nouns_that_change_places_turn_the_relation() -> None:
    twos = [one for one in SCENES if one.meaning.relation]
    pictures = torch.from_numpy(np.stack([one.pixels for one in twos]))
    swapped = [replace(one.meaning, things=one.meaning.things[::-1]) for one in twos]
    verdicts = judge(pictures, swapped)
    assert not any(verdict.relation or verdict.all for verdict in verdicts)
    assert all(verdict.attributes and verdict.count for verdict in verdicts)
    turned = [replace(m, relation=OPPOSITE[m.relation or ""]) for m in swapped]
    assert all(verdict.all for verdict in judge(pictures, turned))


def only(*placed: Placed) -> torch.Tensor:
    return torch.from_numpy(draw(placed))[None]


CIRCLE, SQUARE = Thing("red", "circle", "small"), Thing("blue", "square", "large")
PAIR = (Placed(CIRCLE, 2, 2), Placed(SQUARE, 15, 15))


def test_each_point_of_a_verdict_fails_alone() -> None:
    asked = Meaning((CIRCLE, SQUARE), "left of")
    (right,) = judge(only(*PAIR), [asked])
    assert right.all and right.relation and not right.surplus
    (more,) = judge(only(*PAIR, Placed(CIRCLE, 20, 3)), [asked])
    assert more.surplus and not more.count and more.attributes and more.relation and not more.all
    (less,) = judge(only(PAIR[0]), [asked])
    assert not (less.count or less.attributes or less.relation or less.surplus or less.all)
    bound = (Placed(Thing("blue", "circle", "small"), 2, 2), Placed(Thing("red", "square", "large"), 15, 15))
    (mixed,) = judge(only(*bound), [asked])  # right colours and shapes, of the wrong things
    assert mixed.count and not mixed.attributes and not mixed.all
    (size,) = judge(only(Placed(Thing("red", "circle", "large"), 2, 2)), ["a small red circle"])
    assert not size.attributes
    assert judge(only(Placed(Thing("red", "circle", "large"), 2, 2)), ["a red circle"])[0].all
    assert judge(only(*PAIR), ["a red circle and something else"])[0].all
    blob = only(PAIR[0])
    blob[..., 20:22, 4:30] = 200
    (odd,) = judge(blob, ["a small red circle"])
    assert odd.odd == 1 and not odd.valid and not odd.all and odd.attributes
    assert not judge(only(), ["a small red circle"])[0].all


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=f"scenes are uint8 .N, 3, {SIDE}, {SIDE}., not torch.float32"):
        judge(PICTURES.float(), CAPTIONS)
    with pytest.raises(ValueError, match="300 pictures and 1 captions"):
        judge(PICTURES, CAPTIONS[:1])
    with pytest.raises(ValueError, match="does not describe a scene"):
        judge(PICTURES[:1], ["a dog"])


def test_the_benchmark_in_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(
        tmp_path / "words",
        Facts((3, SIDE, SIDE), (), "pictures", (), tuple(vocabulary()), LENGTH, ("a red cross",)),
        network={"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "patch": 4, "attention": [4]},
        data={"name": "scenes"},
    )

    def run(*words: object) -> Any:
        monkeypatch.setattr("sys.argv", ["scenes.py", "--quick", "--out", str(tmp_path), *map(str, words)])
        scenes.main()
        (path,) = tmp_path.glob("scenes-*-quick.json")
        found = json.loads(path.read_text())
        path.unlink()
        return found

    found = run("-n", 40)["shares"]
    assert found["fresh"][0] == found["noise of 8 levels"][0] == found["attributes of swapped nouns"][0] == 1
    assert found["relation of swapped nouns"][0] == 0
    assert found["captions of other scenes"] == found["by chance"]
    (plain, guided) = run(tmp_path / "words", "--guidance", 1, 3, "--steps", 2, "--seeds", 0, 1)["models"]
    assert (plain["settings"]["guidance"], guided["settings"]["guidance"]) == (1, 3)
    assert plain["settings"]["steps"] == 2 and plain["seeds"] == [0, 1]
    kinds = plain["n"]
    assert kinds["in other words"] == 16 and kinds["all"] == 2 * (8 + 8)
    assert sum(n for kind, n in kinds.items() if kind.startswith("unseen pairs, ")) == 16
    value, low, high = plain["shares"]["in other words"]["valid"]
    assert [value, low, high] == pytest.approx(list(Share.of(round(16 * value), 16)))
    assert "in other words" in capsys.readouterr().out
    words = ("evaluate", tmp_path / "words", "-n", 4, "--weak", tmp_path / "words", "--guidance", 3)
    assert leave(*words, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["settings"]["guidance"] == 3 and row["settings"]["weak"]["model"] == "words"
    assert (
        leave(*words) == 0 and "words was sampled with the weak model words, raw" in capsys.readouterr().out
    )


def test_learning_against_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = ("network.width=8", "network.multipliers=[1, 1]", "network.head_channels=8", "train.batch_size=32")
    words = ("--steps", 2, "--out", tmp_path, "--name", "s", "sample.steps=2", "train.sample_every=100%")
    assert leave("train", "scenes", *words, *tiny, "train.log_every=1 steps") == 0
    monkeypatch.setattr("sys.argv", ["learning.py", "--quick", "--out", str(tmp_path), str(tmp_path / "s")])
    learning.main()
    (path,) = tmp_path.glob("learning*quick.json")
    first, second = json.loads(path.read_text())["rows"]
    assert first["step"] < second["step"] <= 2 and 0 < first["minutes"] <= second["minutes"]
    assert set(first["shares"]) == {"all", "one object", "two objects", "two or three alike", "unseen pairs"}
    assert path.with_suffix(".png").is_file()
