"""Many requests in one call: the same pictures as alone, whoever joins, leaves, fails or waits."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_small import CLASSES, FLOW, UNET, Gate, write_run
from torch import Tensor

from mezzotint.diffusion.table import SAMPLERS
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.serve.engine.engine import Engine
from mezzotint.serve.engine.tickets import Busy, Closed, Diverged, Ticket, TooLong

MakeEngine = Callable[..., Engine]


@pytest.fixture
def make() -> Iterator[MakeEngine]:
    engines: list[Engine] = []

    def make(**limits: Any) -> Engine:
        engines.append(Engine(**limits))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close(0)


def ask(
    model: Model, n: int = 1, *, label: Any = None, seed: int = 0, more: Any = None, **settings: Any
) -> Ticket:
    return Ticket(model, model.request(n, label=label, seed=seed, **settings), **(more or {}))


def alone(ticket: Ticket) -> Tensor:
    """The same request by `Model.stream`, before quantization."""
    *_, last = ticket.model.previews(ticket.request)
    return last.x0


def done(*tickets: Ticket) -> None:
    for ticket in tickets:
        assert ticket.over.wait(30)
        assert ticket.phase == "done", ticket.error


MIXED: list[dict[str, Any]] = [
    {"n": 1, "sampler": "ddim", "steps": 10},
    {"n": 3, "sampler": "ddpm", "steps": 17, "label": "cat", "seed": 5},
    {"n": 2, "sampler": "heun", "steps": 6, "label": [0, "cat"], "guidance": 3, "seed": 9},
    {"n": 1, "sampler": "dpmpp_2m", "steps": 8, "label": "all four", "guidance": 1.5},
    {"n": 4, "sampler": "dpmpp_2m_sde", "steps": 7, "label": "all", "seed": 2**62},
    {"n": 2, "sampler": "unipc", "steps": 5, "clip": False},
    {"n": 1, "sampler": "euler_a", "steps": 12, "label": "0", "guidance": 2, "clip": False},
    {"n": 2, "sampler": "ddim", "steps": 9, "eta": 0.5, "seed": 77},
    {"n": 1, "sampler": "heun", "steps": 5, "churn": 3.0, "seed": 4},
    {"n": 2, "sampler": "lms", "steps": 9, "spacing": "karras"},
    {"n": 1, "sampler": "consistency", "steps": 3, "label": 1},
    {"n": 3, "sampler": "dpmpp_sde", "steps": 4, "guidance": 4, "label": 3, "seed": 31},
]


def calls_of(wish: dict[str, Any]) -> int:
    """Network calls of a request alone; Heun's last step, to clean, asks once."""
    return SAMPLERS[wish["sampler"]].calls * wish["steps"]


@pytest.mark.parametrize("max_rows", [64, 3])
def test_twelve_mixed_requests_get_what_they_get_alone(
    models: dict[str, Model], make: MakeEngine, gate: Gate, max_rows: int
) -> None:
    model = models["tiny"]
    tickets = [ask(model, **wish) for wish in MIXED]
    expected = [alone(ticket) for ticket in tickets]
    calls_alone = len(gate.rows)
    gate.rows.clear()
    engine = make(max_rows=max_rows)
    gate.close()
    for ticket in tickets:
        engine.submit(ticket)
    gate.open.set()
    done(*tickets)
    for ticket, solo in zip(tickets, expected):
        assert ticket.result is not None and ticket.result.dtype == torch.float32
        torch.testing.assert_close(ticket.result, solo, atol=1e-4, rtol=0)
        assert ticket.step == ticket.request.settings.steps
    if max_rows == 64:
        # with and without clipping in one call, so that all are over with the longest, after one call of the first alone
        assert len(gate.rows) <= 1 + max(calls_of(wish) for wish in MIXED) < calls_alone / 3
    else:
        assert all(rows <= 2 * max_rows for rows in gate.rows)  # guidance doubles rows


def test_requests_with_and_without_clipping_share_their_calls(
    models: dict[str, Model], make: MakeEngine, gate: Gate
) -> None:
    """What corrects an answer is the request's own, after the call."""
    tickets = [ask(models["tiny"], 2, seed=s, sampler="ddim", steps=6, clip=s % 2 == 0) for s in range(4)]
    expected = [alone(ticket) for ticket in tickets]
    assert expected[0].abs().max() <= 1 < max(float(x.abs().max()) for x in expected[1::2])
    gate.rows.clear()
    engine = make()
    gate.close()
    for ticket in tickets:
        engine.submit(ticket)
    gate.open.set()
    done(*tickets)
    assert len(gate.rows) <= 7 and 8 in gate.rows
    for ticket, solo in zip(tickets, expected):
        torch.testing.assert_close(ticket.result, solo, atol=1e-4, rtol=0)


def test_requests_to_a_student_share_their_calls_whatever_their_steps(
    tmp_path: Path, make: MakeEngine
) -> None:
    """Steps of 1, 1/2 and 1/4 of the way in one call, each told how far it goes."""
    walked = {"file": "teacher.safetensors", "digest": "0", "sample": {"steps": 8}}
    student = {"objective": "map", "teacher": walked, "sample": {"sampler": "ddim", "steps": 2}}
    write_run(tmp_path / "student", Facts((1, 8, 8), CLASSES), network=UNET, diffusion=FLOW, **student)
    model = load(tmp_path / "student", device="cpu")
    tickets = [ask(model, 2, seed=9 * steps, steps=steps) for steps in (1, 2, 4)]
    expected = [alone(ticket) for ticket in tickets]
    gate = Gate(model)
    engine = make()
    gate.close()
    for ticket in tickets:
        engine.submit(ticket)
    gate.open.set()
    done(*tickets)
    assert len(gate.rows) <= 5 and max(gate.rows) >= 4  # 7 calls alone
    for ticket, solo in zip(tickets, expected):
        torch.testing.assert_close(ticket.result, solo, atol=1e-4, rtol=0)


@pytest.mark.parametrize("max_rows", [64, 3])
def test_edits_share_their_calls_with_samples(
    models: dict[str, Model], make: MakeEngine, gate: Gate, max_rows: int
) -> None:
    """Every sampler, with a part known and walked twice, from a share of the way, and beside them what needs no call."""
    model = models["tiny"]
    picture, mask = torch.arange(64, dtype=torch.uint8).reshape(8, 8) * 3, torch.zeros(8, 8, dtype=torch.bool)
    mask[:, 5:] = True
    requests = [
        model.edits.edit(picture, mask, strength=0.6, returns=2, sampler=name, steps=4, seed=k, label="cat")
        for k, name in enumerate(SAMPLERS)
    ]
    requests += [model.request(2, label="cat", guidance=2, seed=k, steps=6) for k in range(3)]
    requests += [model.edits.vary(picture, strength=share, n=4, seed=9) for share in (0.0, 0.3)]
    requests += [model.edits.enlarge(picture[:4, :4], 2, n=4), model.edits.morph(3, 7, 5, label=["cat", 0])]
    tickets = [Ticket(model, request) for request in requests]
    expected = [alone(ticket) for ticket in tickets]
    calls_alone = len(gate.rows)
    gate.rows.clear()
    engine = make(max_rows=max_rows)
    gate.close()
    for ticket in tickets:
        engine.submit(ticket)
    gate.open.set()
    done(*tickets)
    for ticket, solo in zip(tickets, expected):
        assert ticket.result is not None and ticket.step == ticket.request.steps
        torch.testing.assert_close(ticket.result, solo, atol=1e-4, rtol=0)
    if max_rows == 64:
        assert len(gate.rows) <= calls_alone / 8


def test_points_and_models_without_classes(models: dict[str, Model], make: MakeEngine) -> None:
    tickets = [ask(models[name], 2, seed=s, sampler="ddpm") for name in ("dots", "plain") for s in (0, 8)]
    engine = make()
    for ticket in tickets:
        engine.submit(ticket)
    done(*tickets)
    for ticket in tickets:
        assert ticket.result is not None
        torch.testing.assert_close(ticket.result, alone(ticket), atol=1e-4, rtol=0)


def test_who_comes_joins_the_next_call_and_who_leaves_is_not_in_it(
    models: dict[str, Model], make: MakeEngine, gate: Gate
) -> None:
    model, engine = models["tiny"], make()
    first, second, third = (ask(model, n, sampler="ddim", steps=5) for n in (1, 2, 4))
    gate.close()
    engine.submit(first)
    gate.await_call()
    engine.submit(second)
    engine.submit(third)
    third.cancel()  # before its first call
    gate.open.set()
    done(first, second)
    assert third.over.wait(5) and third.phase == "cancelled" and third.result is None
    assert gate.rows == [1, 3, 3, 3, 3, 2]


def test_cancelling_takes_effect_at_the_next_call(
    models: dict[str, Model], make: MakeEngine, gate: Gate
) -> None:
    model, engine = models["tiny"], make()
    stays, leaves = ask(model, 1, sampler="ddim", steps=4), ask(model, 2, sampler="ddim", steps=1000)
    gate.close()
    engine.submit(stays)
    gate.await_call()
    engine.submit(leaves)
    leaves.listen = lambda ticket: ticket.cancel() if ticket.step == 2 else None
    gate.open.set()
    done(stays)
    assert leaves.over.wait(5) and leaves.phase == "cancelled"
    assert gate.rows == [1, 3, 3, 1]
    assert len(engine) == 0


def order_of_ends(tickets: dict[str, Ticket]) -> list[str]:
    ends: list[str] = []
    for name, ticket in tickets.items():
        ticket.listen = lambda t, name=name: ends.append(name) if t.phase == "done" else None  # type: ignore[misc]
    return ends


def test_a_client_with_many_requests_does_not_hold_up_one_with_few(
    models: dict[str, Model], make: MakeEngine, gate: Gate
) -> None:
    model, engine = models["tiny"], make(max_rows=2)
    tickets = {f"greedy {i}": ask(model, sampler="ddim", steps=4, more={"client": "a"}) for i in range(8)}
    tickets["modest"] = ask(model, sampler="ddim", steps=4, more={"client": "b"})
    ends = order_of_ends(tickets)
    gate.close()
    for ticket in tickets.values():
        engine.submit(ticket)
    gate.open.set()
    done(*tickets.values())
    assert ends[0] == "modest"
    assert max(gate.rows) == 2


def test_a_large_request_does_not_wait_for_ever_behind_small_ones(
    models: dict[str, Model], make: MakeEngine, gate: Gate
) -> None:
    model, engine = models["tiny"], make(max_rows=4)
    for clients in (("a", "b"), ("c", "c")):
        small = ask(model, 1, sampler="ddim", steps=200, more={"client": clients[0]})
        large = ask(model, 8, sampler="ddim", steps=5, more={"client": clients[1]})
        ends = order_of_ends({"small": small, "large": large})
        gate.close()
        engine.submit(small)
        gate.await_call()
        engine.submit(large)
        gate.open.set()
        done(small, large)
        assert ends == ["large", "small"]
        assert large.result is not None
        torch.testing.assert_close(large.result, alone(large), atol=1e-4, rtol=0)


def test_models_take_turns(models: dict[str, Model], make: MakeEngine, gate: Gate) -> None:
    engine = make()
    long = [ask(models["tiny"], sampler="ddim", steps=100) for _ in range(5)]
    short = ask(models["dots"], sampler="ddim", steps=10)
    gate.close()
    for ticket in (*long, short):
        engine.submit(ticket)
    gate.open.set()
    done(short)
    assert all(ticket.step <= 13 for ticket in long)
    for ticket in long:
        ticket.cancel()


def test_who_fails_fails_alone(
    models: dict[str, Model], make: MakeEngine, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the network refuses, returns no numbers, or the steps themselves go wrong."""
    model, engine = models["tiny"], make()
    call, cat, zero = model.denoiser._call, 1, 2

    def trouble(x: Tensor, told: Tensor, label: Tensor) -> Tensor:
        if (label == cat).any():
            raise RuntimeError("a device ran out of memory")
        out = call(x, told, label=label)
        out[label == zero] = torch.nan
        return out

    good = [
        ask(model, 2, seed=s, sampler=name, label="all four")
        for s, name in enumerate(("ddim", "heun", "ddpm"))
    ]
    expected = [alone(ticket) for ticket in good]
    monkeypatch.setattr(model.denoiser, "_call", trouble)
    refused, nothing = ask(model, label="cat"), ask(model, label="0")
    wrong = ask(model, label="all four")
    settings = wrong.request.settings.model_copy(update={"sampler": "magic"})
    wrong.request = replace(wrong.request, settings=settings)
    deaf = ask(model, label="all four", more={"listen": lambda ticket: 1 / 0})
    gate.close()
    for ticket in (refused, good[0], nothing, good[1], wrong, deaf, good[2]):
        engine.submit(ticket)
    gate.open.set()
    done(*good, deaf)
    for ticket in (refused, nothing, wrong):
        assert ticket.over.wait(5) and ticket.phase == "failed" and ticket.result is None
    assert "memory" in str(refused.error)
    assert isinstance(nothing.error, Diverged) and isinstance(wrong.error, KeyError)
    for ticket, solo in zip(good, expected):
        assert ticket.result is not None
        torch.testing.assert_close(ticket.result, solo, atol=1e-4, rtol=0)
    assert engine.alive and len(engine) == 0


def test_the_queue_has_an_end(models: dict[str, Model], make: MakeEngine, gate: Gate) -> None:
    model, engine = models["tiny"], make(max_queue=3, max_per_client=2)
    gate.close()
    for client in ("a", "a", "b"):
        engine.submit(ask(model, more={"client": client}))
    with pytest.raises(Busy) as mine:
        engine.submit(ask(model, more={"client": "a"}))
    with pytest.raises(Busy) as full:
        engine.submit(ask(model, more={"client": "c"}))
    assert (mine.value.mine, full.value.mine) == (True, False)
    assert 1 <= full.value.retry_after <= 60
    gate.open.set()
    deadline = time.monotonic() + 10
    while len(engine) and time.monotonic() < deadline:
        time.sleep(0.01)
    last = ask(model, more={"client": "a"})
    engine.submit(last)
    done(last)


def test_a_request_has_its_time(models: dict[str, Model], make: MakeEngine) -> None:
    engine = make()
    late = ask(models["dots"], steps=10_000, more={"seconds": 0.2})
    engine.submit(late)
    assert late.over.wait(10) and late.phase == "failed" and isinstance(late.error, TooLong)
    assert 0 < late.step < 10_000


def test_closing_finishes_what_it_can_and_cancels_the_rest(models: dict[str, Model]) -> None:
    engine = Engine()
    quick, slow = ask(models["dots"], steps=5), ask(models["dots"], steps=10_000)
    engine.submit(quick)
    engine.submit(slow)
    began = time.monotonic()
    assert engine.close(1.0) == (1, 1)
    assert time.monotonic() - began < 3
    assert (quick.phase, slow.phase) == ("done", "cancelled")
    with pytest.raises(Closed):
        engine.submit(ask(models["tiny"]))
    assert not engine.alive


def test_many_threads_may_submit(models: dict[str, Model], make: MakeEngine) -> None:
    engine = make(max_queue=200)
    tickets = [ask(models["dots"], seed=i, steps=3) for i in range(60)]

    def send(mine: list[Ticket]) -> None:
        for ticket in mine:
            engine.submit(ticket)

    threads = [threading.Thread(target=send, args=(tickets[i::6],)) for i in range(6)]
    for thread in threads:
        thread.start()
    done(*tickets)
    assert len({tuple(t.result.flatten().tolist()) for t in tickets if t.result is not None}) == 60


def test_the_state_between_steps(models: dict[str, Model], make: MakeEngine) -> None:
    """Listeners hear of every change once, and see beliefs that end in the result."""
    heard: list[tuple[str, int]] = []
    beliefs: list[Tensor] = []

    def listen(ticket: Ticket) -> None:
        heard.append((ticket.phase, ticket.step))
        belief = ticket.belief()
        if belief is not None:
            beliefs.append(belief.clone())

    ticket = ask(models["tiny"], 5, steps=4, more={"listen": listen})
    make(max_rows=2).submit(ticket)
    done(ticket)
    assert heard == [("started", 0), ("started", 1), ("started", 2), ("started", 3), ("done", 4)]
    assert [b.shape for b in beliefs] == [(5, 1, 8, 8)] * 3
