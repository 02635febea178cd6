"""How large a call pays is measured, and calls are no larger."""

import pytest
import torch
from helpers_small import Gate

from mezzotint.model.model import Model
from mezzotint.serve.engine import pace
from mezzotint.serve.engine.engine import Engine
from mezzotint.serve.engine.pace import Pace, measure
from mezzotint.serve.engine.tickets import Ticket


def test_the_largest_call_that_pays() -> None:
    """Up to a tenth more a picture than at its cheapest; of what was not measured nothing is known."""
    assert Pace({1: 10, 2: 12, 4: 16, 8: 32}).rows(64) == 64, "the largest that was measured pays"
    assert (
        Pace({1: 10, 2: 12, 4: 16, 8: 35, 16: 71}).rows(64) == 8
        and Pace({1: 10, 2: 12, 4: 16, 8: 40}).rows(64) == 4
    )
    assert Pace({1: 10, 2: 30}).rows(64) == 1
    assert Pace({1: 10, 2: 12, 4: 16, 8: 40}).rows(3) == 3, "never above the limit"
    assert Pace({}).rows(64) == 64


def test_measured(models: dict[str, Model], gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """1, 2, 4, ... rows, and no longer than there is time; the clock is that of computing."""
    gate.open.set()
    for name in ("tiny", "dots"):
        found = measure(models[name], 8, seconds=60).seconds
        assert list(found) == [1, 2, 4, 8] and all(seconds > 0 for seconds in found.values())
    assert list(measure(models["tiny"], 64, seconds=0).seconds) == [1]
    ticks = iter(range(10**6))
    monkeypatch.setattr(pace.time, "process_time", lambda: float(next(ticks)))
    assert set(measure(models["tiny"], 4, seconds=60).seconds.values()) <= {1.0}


def test_the_engine_keeps_to_it(models: dict[str, Model], gate: Gate) -> None:
    """Calls of one model are small, of another as large as before; pictures are the same; a part that is too large by now is not left."""
    tiny, dots, rows = models["tiny"], models["dots"], list[int]()
    engine = Engine(max_rows=8, watch=lambda count, seconds: rows.append(count))

    def make(model: Model) -> Ticket:
        ticket = Ticket(model, model.request(8, seed=1, steps=2))
        engine.submit(ticket)
        return ticket

    def wait(ticket: Ticket) -> list[int]:
        """Rows of the calls until then."""
        assert ticket.over.wait(60) and ticket.phase == "done", ticket.error
        before = list(rows)
        rows.clear()
        return before

    gate.close()
    whole = make(tiny)
    gate.await_call()
    engine.limit(tiny, 3)
    assert (engine.most(tiny), engine.most(dots)) == (3, 8)
    gate.open.set()
    assert wait(whole) == [8, 8]
    parts = make(tiny)
    assert sorted(wait(parts)) == [2, 2, 3, 3, 3, 3]
    assert wait(make(dots)) == [8, 8]
    engine.close(0)
    assert parts.result is not None and whole.result is not None
    assert torch.allclose(parts.result, whole.result, atol=1e-5)
