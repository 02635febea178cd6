"""What lies on disk is whole or absent, says what it is, and gives back what went in, to the bit."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mezzotint import config
from mezzotint.build.networks import network
from mezzotint.disk import files
from mezzotint.disk.checkpoint import last_checkpoint, load_checkpoint, load_last, load_raw, save_checkpoint
from mezzotint.disk.model_file import Header, load_weights, read_header, save_model
from mezzotint.errors import ModelError
from mezzotint.media.facts import Facts
from mezzotint.train import Decay, Ema, State, adamw

CONFIG = config.parse(
    {
        "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1},
        "train": {"steps": 7},
        "sample": {"steps": 3},
    }
)
FACTS = Facts((1, 8, 8), ("null", "één", "1"))


def new_state(channels_last: bool = False, seed: int = 0) -> State:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
    ).to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    return State(net, adamw(net, 1e-2, 0.1), Ema(net, 0.1))


def advance(state: State, steps: int) -> State:
    """Trains on data that is a function of the step."""
    for _ in range(steps):
        generator = torch.Generator().manual_seed(state.step)
        state.net(torch.randn(16, 2, 8, 8, generator=generator)).square().mean().backward()
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1
        for average in state.averages:
            average.update(state.net, state.step)
    return state


def content(state: State) -> dict[str, Tensor]:
    """Everything that training changes."""
    named = {f"net.{k}": v for k, v in state.net.state_dict().items()}
    named |= {f"ema.{k}": v for k, v in state.ema.net.state_dict().items()}
    moments = state.optimizer.state_dict()["state"]
    named |= {f"optim.{n}.{k}": v for n, entry in moments.items() for k, v in entry.items()}
    return {name: value.clone() for name, value in named.items()} | {"step": torch.tensor(state.step)}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def refused(function: Callable[[], Any], *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        function()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    assert all(word in message for word in words), message


# --- checkpoints -----------------------------------------------------------------------------------------


def test_a_state_comes_back_to_the_bit(tmp_path: Path) -> None:
    state = advance(new_state(), 3)
    path = save_checkpoint(tmp_path, state, {"until": 9, "losses": [0.1, 1e-30]}, keep=2)
    assert path == tmp_path / "checkpoints" / "step-0000003" == last_checkpoint(tmp_path)
    assert {f.name for f in path.iterdir()} == {
        "model.safetensors",
        "ema.safetensors",
        "optim.safetensors",
        "state.json",
    }
    fresh = new_state(seed=1)
    extra = load_checkpoint(path, fresh)
    assert (extra["until"], extra["losses"], fresh.step) == (9, [0.1, 1e-30], 3)
    assert same(content(fresh), content(state))
    assert same(content(advance(fresh, 3)), content(advance(state, 3)))


@pytest.mark.parametrize("channels_last", [False, True])
def test_moments_lie_in_memory_as_their_weights_do(tmp_path: Path, channels_last: bool) -> None:
    """The fused kernel walks weights and moments side by side, and mixes them up where their strides differ."""
    state = advance(new_state(channels_last), 3)
    fresh = new_state(channels_last, seed=1)
    load_checkpoint(save_checkpoint(tmp_path, state, {}, keep=1), fresh)
    for weight, entry in fresh.optimizer.state.items():
        assert entry["exp_avg"].stride() == entry["exp_avg_sq"].stride() == weight.stride()
    assert fresh.net[0].weight.is_contiguous() != channels_last
    assert same(content(advance(fresh, 2)), content(advance(state, 2)))


def test_equal_states_are_equal_bytes(tmp_path: Path) -> None:
    state = advance(new_state(), 2)
    first = save_checkpoint(tmp_path / "a", state, {"until": 5}, keep=1)
    fresh = new_state(seed=1)
    load_checkpoint(first, fresh)
    second = save_checkpoint(tmp_path / "b", fresh, {"until": 5}, keep=1)
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_none_where_nothing_was_saved(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_only_the_newest_are_kept(tmp_path: Path, keep: int) -> None:
    state = new_state()
    for _ in range(4):
        save_checkpoint(tmp_path, advance(state, 1), {}, keep)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["last.json", *(f"step-{n:07}" for n in range(5 - keep, 5))]


def test_ten_million_steps_are_newer_than_nine(tmp_path: Path) -> None:
    state = advance(new_state(), 1)
    for step in (9_999_998, 9_999_999, 10_000_000):
        state.step = step
        path = save_checkpoint(tmp_path, state, {}, keep=2)
    assert path.is_dir() and last_checkpoint(tmp_path) == path
    assert len(list(path.parent.glob("step-*"))) == 2


def test_going_back_to_an_older_one_gives_up_the_future(tmp_path: Path) -> None:
    """Whoever names an older checkpoint in last.json goes on from there; what is saved next is never pruned."""
    state = new_state()
    for _ in range(3):
        save_checkpoint(tmp_path, advance(state, 2), {}, keep=3)
    (tmp_path / "checkpoints" / "last.json").write_text('{"name": "step-0000002"}')
    older = last_checkpoint(tmp_path)
    assert older is not None and older.name == "step-0000002"
    fresh = new_state(seed=1)
    load_checkpoint(older, fresh)
    path = save_checkpoint(tmp_path, advance(fresh, 1), {}, keep=1)
    assert path.is_dir() and path == last_checkpoint(tmp_path)
    assert [p.name for p in path.parent.glob("step-*")] == ["step-0000003"]


def test_a_deleted_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    state = new_state()
    for _ in range(2):
        newest = save_checkpoint(tmp_path, advance(state, 1), {}, keep=2)
    shutil.rmtree(newest)
    older = last_checkpoint(tmp_path)
    assert older is not None and older.name == "step-0000001"
    fresh = new_state(seed=1)
    _, odd = load_last(tmp_path, fresh)
    assert fresh.step == 1 and len(odd) == 1 and "step-0000002 is missing" in odd[0]
    shutil.rmtree(older)
    refused(lambda: load_last(tmp_path, new_state()), "missing", "--overwrite")


class Crash(BaseException):
    """The machine stops here."""


@pytest.mark.parametrize("keep", [1, 2])
def test_a_crash_anywhere_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    """Stops before the first, second, ... operation on the disk, until a save goes through."""
    before = content(advance(new_state(), 2))
    after = content(advance(new_state(), 3))
    left = [0]

    def crashing(function: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Crash
            return function(*args, **kwargs)

        return instead

    outcomes = []
    for crash_at in range(100):
        folder = tmp_path / str(crash_at)
        state = advance(new_state(), 2)
        save_checkpoint(folder, state, {}, keep)
        advance(state, 1)
        left[0], finished = crash_at, False
        with monkeypatch.context() as patch:
            for owner, name in (
                (Path, "replace"),
                (Path, "rename"),
                (Path, "mkdir"),
                (Path, "open"),
                (os, "fsync"),
                (shutil, "rmtree"),
            ):
                patch.setattr(owner, name, crashing(getattr(owner, name)))
            try:
                save_checkpoint(folder, state, {}, keep)
                finished = True
            except Crash:
                pass
        found = last_checkpoint(folder)
        assert found is not None
        fresh = new_state(seed=1)
        load_checkpoint(found, fresh)
        assert same(content(fresh), before if fresh.step == 2 else after)
        outcomes.append(fresh.step)
        save_checkpoint(folder, advance(fresh, 4 - fresh.step), {}, keep)  # and the run goes on
        if finished:
            break
    assert finished and crash_at > 15
    assert outcomes == sorted(outcomes) and set(outcomes) == {2, 3}  # one commit point


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "optim.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["truncated", "missing", "flipped"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, name: str, harm: str) -> None:
    path = save_checkpoint(tmp_path, advance(new_state(), 1), {"until": 5}, keep=1)
    file = path / name
    original = file.read_bytes()
    match harm:
        case "truncated":
            file.write_bytes(original[: len(original) // 2])
        case "missing":
            file.unlink()
        case "flipped":  # one bit of the last numbers, or of a brace
            position = -40 if name.endswith("safetensors") else 0
            changed = bytearray(original)
            changed[position] ^= 128
            file.write_bytes(changed)
    state = new_state(seed=1)
    untouched = content(state)
    refused(lambda: load_checkpoint(path, state), "step-0000001", "damaged")
    assert same(content(state), untouched)
    refused(lambda: load_last(tmp_path, state), "step-0000001", "damaged", "--overwrite")


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "optim.safetensors", "state.json"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, name: str) -> None:
    state = advance(new_state(), 1)
    save_checkpoint(tmp_path, state, {"until": 5}, keep=2)
    before = content(state)
    newest = save_checkpoint(tmp_path, advance(state, 1), {"until": 5}, keep=2)
    changed = bytearray((newest / name).read_bytes())
    changed[-40 if name.endswith("safetensors") else 0] ^= 1
    (newest / name).write_bytes(changed)
    fresh = new_state(seed=1)
    extra, odd = load_last(tmp_path, fresh)
    assert extra is not None and extra["until"] == 5 and same(content(fresh), before)
    assert len(odd) == 1 and "step-0000002" in odd[0] and "damaged" in odd[0]


@pytest.mark.parametrize("text", ["", "{", '{"step": 3}', "[]", "\xff"])
def test_a_damaged_commit_is_said_and_the_newest_taken(tmp_path: Path, text: str) -> None:
    save_checkpoint(tmp_path, advance(new_state(), 1), {}, keep=1)
    commit = tmp_path / "checkpoints" / "last.json"
    commit.write_text(text, encoding="latin-1")
    fresh = new_state(seed=1)
    _, odd = load_last(tmp_path, fresh)
    assert fresh.step == 1 and len(odd) == 1 and "last.json is damaged" in odd[0]


def test_every_nth_is_kept_for_good(tmp_path: Path) -> None:
    state = new_state()
    for _ in range(10):
        save_checkpoint(tmp_path, advance(state, 1), {}, keep=2, keep_every=4)
    names = sorted(p.name for p in (tmp_path / "checkpoints").glob("step-*"))
    assert names == [f"step-{n:07}" for n in (4, 8, 9, 10)]


def test_all_averages_come_back(tmp_path: Path) -> None:
    def several(seed: int) -> State:
        state = new_state(seed=seed)
        state.tracked_emas = (Ema(state.net, 0.05), Ema(state.net, Decay(0.9)))
        return state

    def all_of(state: State) -> dict[str, Tensor]:
        return {name: t.clone() for average in state.averages for name, t in average.named().items()}

    state = advance(several(0), 5)
    fresh = several(1)
    load_checkpoint(save_checkpoint(tmp_path, state, {}, keep=1), fresh)
    assert same(all_of(fresh), all_of(state))
    assert len({float(t.double().sum()) for n, t in all_of(state).items() if n.endswith("/0.weight")}) == 3


# --- model files -----------------------------------------------------------------------------------------


def test_a_model_file_describes_itself(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = network(CONFIG, FACTS)
    header = Header(CONFIG, FACTS, 123, "ema 0.05")
    save_model(tmp_path / "model.safetensors", net, header)
    read = read_header(tmp_path / "model.safetensors")
    assert read == header
    other = network(read.config, read.facts)
    assert not same(net.state_dict(), other.state_dict())
    load_weights(other, tmp_path / "model.safetensors")
    assert same(net.state_dict(), other.state_dict())


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = network(CONFIG, FACTS)
    save_model(tmp_path / "a", net, Header(CONFIG, FACTS, 1, "raw"))
    net = net.to(memory_format=torch.channels_last)
    save_model(tmp_path / "b", net, Header(CONFIG, FACTS, 1, "raw"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_crash_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, path = network(CONFIG, FACTS), tmp_path / "model.safetensors"
    save_model(path, net, Header(CONFIG, FACTS, 1, "raw"))
    before = path.read_bytes()

    def crash(number: int) -> None:
        raise Crash

    monkeypatch.setattr(files.os, "fsync", crash)
    with pytest.raises(Crash):
        save_model(path, net, Header(CONFIG, FACTS, 2, "raw"))
    assert path.read_bytes() == before


def test_a_flipped_byte_of_a_model_does_not_load(tmp_path: Path) -> None:
    """The format itself has no checksum: without ours a changed weight would load silently."""
    path = tmp_path / "model.safetensors"
    save_model(path, network(CONFIG, FACTS), Header(CONFIG, FACTS, 1, "raw"))
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    for position in (8 + size, 8 + size + 1000, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        read_header(path)  # is whole
        refused(lambda: load_weights(network(CONFIG, FACTS), path), "damaged", "checksum")


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    refused(lambda: read_header(path), "there is no file", "name the model.safetensors")
    refused(lambda: read_header(tmp_path), "name the model.safetensors")
    save_model(path, network(CONFIG, FACTS), Header(CONFIG, FACTS, 1, "raw"))
    whole = path.read_bytes()
    for harmed in (b"", b"text", whole[:10], whole[:200], whole[:-1]):
        other.write_bytes(harmed)
        refused(lambda: read_header(other), "damaged")
    save_file({"a": torch.zeros(2)}, other)
    refused(lambda: read_header(other), "other.safetensors", "no model")
    for text in ("", "[]", "{}", '{"format": 1}', '{"format": 1, "config": {}, "facts": 3}'):
        save_file({"a": torch.zeros(2)}, other, {"mezzotint": text})
        refused(lambda: read_header(other), "other.safetensors")
    save_file({"a": torch.zeros(2)}, other, {"mezzotint": json.dumps({"format": 99})})
    refused(lambda: read_header(other), "99", "upgrade")


def test_a_config_of_another_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tree = CONFIG.model_dump(mode="json") | {"future": {}}
    header = {"format": 1, "config": tree, "facts": FACTS.as_json(), "step": 1, "weights": "raw"}
    save_file({"a": torch.zeros(2)}, path, {"mezzotint": json.dumps(header)})
    refused(lambda: read_header(path), "another version", "future")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, network(CONFIG, FACTS), Header(CONFIG, FACTS, 1, "raw"))
    larger = network(CONFIG, Facts((3, 8, 8)))
    refused(lambda: load_weights(larger, path), "another network")
    refused(lambda: load_weights(larger, tmp_path / "none"), "missing")
    path.write_bytes(path.read_bytes()[:-1])
    refused(lambda: load_weights(larger, path), "damaged")


@pytest.mark.parametrize(
    ("key", "value"), [("step", 9), ("step", "3"), ("step", -3), ("until", 1), ("crc32", {}), ("losses", "x")]
)
def test_an_edited_state_is_damage(tmp_path: Path, key: str, value: object) -> None:
    """What a run goes on from is what it wrote: here its own words, as well as its weights."""
    path = save_checkpoint(tmp_path, advance(new_state(), 3), {"until": 8, "losses": [0.1, 1e-300]}, 2)
    assert load_checkpoint(path, new_state())["until"] == 8
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, key: value}))
    refused(lambda: load_checkpoint(path, new_state()), "state.json", "damaged")
    del state["seal"]  # as 0.1 wrote it
    (path / "state.json").write_text(json.dumps(state))
    assert load_checkpoint(path, new_state())["until"] == 8


def test_raw_weights_are_compared_with_their_checksum(tmp_path: Path) -> None:
    state = advance(new_state(), 3)
    path = save_checkpoint(tmp_path, state, {}, 2)
    other = new_state(seed=1)
    load_raw(path, other.net)
    assert all(
        torch.equal(a, b) for a, b in zip(other.net.state_dict().values(), state.net.state_dict().values())
    )
    content = bytearray((path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "model.safetensors").write_bytes(bytes(content))
    refused(lambda: load_raw(path, other.net), "checksum differs")
    (path / "state.json").unlink()
    refused(lambda: load_raw(path, other.net), "damaged or incomplete")
