"""Speed, counted instead of timed: network calls a picture, waits for the device, operations a step. A regression shows
here without a clock."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mezzotint import build, config
from mezzotint.cond import Batch, Cond
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.disk.model_file import Header
from mezzotint.media.facts import Facts
from mezzotint.model.model import Model
from mezzotint.train import Ema, State, adamw
from mezzotint.train import loop as training
from mezzotint.train.loop import Progress, train

TINY = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "attention": [1]}
FLOW = {"process": "flow", "schedule": {"kind": "lognormal"}, "parameterization": "velocity"}
FACTS = Facts((1, 8, 8), tuple("abcd"))
BATCH, STEPS = 8, 10
# As counted when this was written, of the third training step. Slack, for another version of PyTorch that says the same in
# other words: a doubling of any part that matters is more.
LOOP = 428  # operations of the loop itself; the noise, a hash in int64, is 300 of them
WHOLE = 1059  # with a small U-Net, forward and backward
BYTES = 278  # made a number of the batch, mostly by the noise, 8 bytes at a time; freed at once
SLACK = 1.15


class Count(TorchDispatchMode):
    """Operations of PyTorch by name, those of the backward pass and of the optimiser included, and the bytes of the
    tensors they newly made."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.made = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(function.name())
        out = function(*args, **(kwargs or {}))
        given = {x.untyped_storage()._cdata for x in _tensors([args, kwargs or {}])}
        fresh = {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in _tensors(out)}
        self.made += sum(size for storage, size in fresh.items() if storage not in given)
        return out


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)


class Pixel(nn.Module):
    """Nearly no network, so that what is counted is the loop's own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.calls: list[int] = []

    def forward(self, x: Tensor, told: Tensor, label: Tensor | None = None) -> Tensor:
        self.calls.append(len(x))
        return self.weight * x


def make_model(device: str = "cpu", **sample: Any) -> tuple[Model, list[int]]:
    """A model, and the rows of every network call that it makes."""
    tree = {"network": TINY, "diffusion": FLOW, "sample": {"steps": STEPS, **sample}}
    parsed = config.parse(tree)
    net = build.network(parsed, FACTS).to(device).eval().requires_grad_(False)
    rows: list[int] = []
    net.register_forward_pre_hook(lambda net, inputs: rows.append(len(inputs[0])))
    header = Header(parsed, FACTS, 0, "raw")
    return Model(header, build.denoiser(parsed, net), torch.device(device), "test"), rows


def make_training(
    net: nn.Module, device: str = "cpu", batch: int = BATCH, also: int = 1, **settings: Any
) -> tuple[State, Iterator[Progress]]:
    parsed = config.parse({"network": TINY, "diffusion": FLOW})
    net = net.to(device)
    # fused kernels know no meta device
    optimizer = torch.optim.AdamW(net.parameters()) if device == "meta" else adamw(net)
    state = State(net, optimizer, Ema(net, 0.1), tracked_emas=tuple(Ema(net, 0.05) for _ in range(also)))
    objective = build.objective(parsed, build.denoiser(parsed, net))
    x0 = torch.zeros(batch, *FACTS.shape, device=device)
    label = torch.zeros(batch, dtype=torch.int64, device=device)
    batches = iter(lambda: Batch(x0, Cond(label=label)), None)
    options: dict[str, Any] = {"until": 10**6, "lr": lambda share: 1e-3, "drop": 0.1}
    options["null"] = Cond(label=torch.tensor([4]))
    return state, train(objective, state, batches, **{**options, **settings})


def unet() -> nn.Module:
    torch.manual_seed(0)
    return build.network(config.parse({"network": TINY, "diffusion": FLOW}), FACTS)


# --- sampling --------------------------------------------------------------------------------------------

# Of 10 steps from pure noise to clean. Two-call solvers save a call in the first and in the last step, which are of the
# first order.
ONE_CALL = ("ddim", "ddpm", "ddpm_large", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m", "dpmpp_3m_published")
ONE_CALL += ("dpmpp_3m_sde", "euler", "euler_a", "unipc", "unipc_3", "lms", "deis", "consistency")
TWO_CALLS = ("heun", "heun_flow", "dpm2", "dpm2_a", "dpmpp_2s", "dpmpp_2s_a", "dpmpp_sde")
CALLS = {**dict.fromkeys(ONE_CALL, STEPS), **dict.fromkeys(TWO_CALLS, 2 * STEPS - 2)}


def test_no_sampler_is_left_out() -> None:
    assert set(CALLS) == set(SAMPLERS)


@pytest.mark.parametrize("sampler", CALLS)
def test_calls_of_a_sampler(sampler: str) -> None:
    model, rows = make_model()
    model.sample(3, label="all", sampler=sampler)
    assert rows == [3] * CALLS[sampler]


def test_guidance_shares_the_call_and_doubles_its_rows() -> None:
    model, rows = make_model(guidance=2.0)
    model.sample(3, label="all")
    assert rows == [6] * STEPS


def test_guidance_pays_inside_its_interval_alone() -> None:
    """Times 1, 0.9, ..., 0.1 of the flow are sigma / alpha = t / (1 - t): infinite, 9, 4, 2.3, 1.5, 1, ...; above 1 and
    up to 4 there are three."""
    model, rows = make_model(guidance=2.0, guidance_interval=(1.01, 4.01))
    model.sample(3, label="all")
    assert rows == [3, 3, 6, 6, 6, 3, 3, 3, 3, 3]


def test_batches_are_as_large_as_asked() -> None:
    model, rows = make_model()
    model.sample(7, label="all", batch=4)
    assert rows == [4] * STEPS + [3] * STEPS


# --- waiting for the device ------------------------------------------------------------------------------

# Tensors on the meta device have shapes and no values: whoever asks for one, be it by .item(), bool(), .cpu() or nonzero(),
# which makes the host wait for a GPU, gets an error here.


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """autocast, which these tests have no use for, knows no meta device, and clipping for all weights at once neither."""
    plain = nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda weights, norm, foreach: plain(weights, norm))


@pytest.mark.usefixtures("meta")
def test_a_training_step_does_not_wait_for_the_device() -> None:
    state, steps = make_training(unet(), "meta", accumulate=2)
    for _ in range(3):
        progress = next(steps)
    assert state.step == 3 and progress.loss.device.type == "meta"


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize("ask", ["item", "__bool__", "tolist", "cpu", "nonzero"])
def test_waiting_would_be_noticed(ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, steps = make_training(unet(), "meta")
    plain = training.by_level

    def asking(each: Tensor, u: Tensor) -> Tensor:
        getattr(each[:1], ask)()
        return plain(each, u)

    next(steps)
    monkeypatch.setattr(training, "by_level", asking)
    with pytest.raises((RuntimeError, NotImplementedError), match=r"(?i)meta"):
        next(steps)


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun", "euler_a", "dpmpp_2m_sde"])
def test_sampling_does_not_wait_for_the_device(sampler: str) -> None:
    model, rows = make_model("meta", guidance=2.0, guidance_interval=(0.3, 4.0))
    *_, last = model.stream(3, label="all", sampler=sampler)
    assert last.step == STEPS and last.x0.device.type == "meta"
    assert len(rows) == CALLS[sampler]


# --- a training step -------------------------------------------------------------------------------------


def test_a_step_does_each_thing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With accumulation the network is asked in parts; optimiser, averages and clipping see the whole batch."""
    done: list[str] = []

    def counting(owner: Any, name: str) -> None:
        plain = getattr(owner, name)

        def counted(*args: Any, **options: Any) -> Any:
            done.append(name)
            return plain(*args, **options)

        monkeypatch.setattr(owner, name, counted)

    net = Pixel()
    state, steps = make_training(net, accumulate=4)
    counting(Tensor, "backward")
    counting(nn.utils, "clip_grad_norm_")
    counting(state.optimizer, "step")
    counting(state.optimizer, "zero_grad")
    for average in state.averages:
        counting(average, "update")
    for _ in range(2):
        next(steps)
    assert net.calls == [2, 2, 2, 2] * 2
    assert done == (["backward"] * 4 + ["clip_grad_norm_", "step", "zero_grad", "update", "update"]) * 2


def operations(net: nn.Module, **settings: Any) -> Count:
    """Of the third step: the first makes moments, the second finds caches filled."""
    _, steps = make_training(net, **settings)
    next(steps)
    next(steps)
    with Count() as count:
        next(steps)
    return count


def test_operations_of_the_loop() -> None:
    """LOOP are of drawing noise, levels and labels, of the loss, of clipping, of the optimiser and of two averages."""
    assert len(operations(Pixel()).names) <= SLACK * LOOP


def test_operations_do_not_grow_with_the_batch() -> None:
    assert len(operations(Pixel()).names) == len(operations(Pixel(), batch=64).names)


def test_an_average_more_is_one_operation_more() -> None:
    """Averages are updated by one operation for all weights."""
    fewer, more = (operations(unet(), also=also) for also in (1, 2))
    assert sorted(more.names) == sorted([*fewer.names, "aten::_foreach_lerp_.Scalar"])


def test_operations_of_a_network() -> None:
    count = operations(unet())
    assert len(count.names) <= SLACK * WHOLE
    assert sum("_fused_adamw" in name for name in count.names) == 2, (
        "one for weights that decay, one for others"
    )


def test_memory_of_a_step() -> None:
    """Bytes of all tensors that a step makes, whenever they are freed; in bytes a number of the batch, for large ones."""
    small, large = (operations(Pixel(), batch=batch).made for batch in (256, 512))
    assert (large - small) / (256 * 64) <= SLACK * BYTES
