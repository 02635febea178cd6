"""The parts without the command line: a network of somebody else's, and training in a few lines of Python."""

from collections.abc import Iterator
from itertools import count

import pytest
import torch
from torch import Tensor, nn

from mezzotint import Denoiser, DenoisingLoss
from mezzotint.cond import Batch, Cond
from mezzotint.data.images import load_pictures
from mezzotint.data.toy import points
from mezzotint.diffusion.corrections import clip
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.guidance import Guidance, cfg
from mezzotint.diffusion.parameterization import eps, velocity
from mezzotint.diffusion.process import flow, vp
from mezzotint.diffusion.schedule import linear, lognormal
from mezzotint.evaluate.metrics.energy import energy_distance
from mezzotint.media.pictures import to_model
from mezzotint.nets import MLP
from mezzotint.tasks.generate import generate, seeds_from
from mezzotint.train import Ema, State, adamw, held_out_loss, learning_rate, train

CPU = torch.device("cpu")


def test_training_from_python() -> None:
    """Moons by a small network, from nothing to points like the data's."""
    net = MLP(width=64, depth=2)
    objective = DenoisingLoss(Denoiser(net, flow, velocity), lognormal(0.0, 1.0))
    state = State(net, adamw(net, 5e-3), Ema(net, 0.1))
    batches = (Batch(points("moons", 256, (0, step))[0]) for step in count())
    for progress in train(objective, state, batches, until=400, lr=learning_rate(5e-3, 0.05, "cosine")):
        if progress.step % 200 == 0:
            print(progress.step, float(progress.loss))

    seeds = seeds_from(0, 1000, CPU)
    steps = generate(flow, lognormal(0.0, 1.0), (2,), seeds, sampler="heun", steps=16, spacing="time")
    *_, last = alone(Denoiser(state.ema.net, flow, velocity), steps)

    fresh = [points("moons", 1000, 10**6 + i)[0] for i in range(2)]
    noise = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    far, floor = energy_distance(noise, fresh[0]), energy_distance(*fresh)
    assert energy_distance(last.x, fresh[0]) < max(far / 8, 4 * floor)


# --- diffusers' UNet2DModel ------------------------------------------------------------------------------


def diffusers_unet(**changes: int) -> nn.Module:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(16,),
        norm_num_groups=8,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        add_attention=False,
        **changes,
    )


def digit_batches(size: int) -> Iterator[Batch]:
    digits = load_pictures("digits")
    draw = torch.Generator().manual_seed(0)
    while True:
        raw, label = digits.batch(torch.randint(len(digits), (size,), generator=draw))
        assert label is not None
        yield Batch(to_model(raw), Cond(label=label))


def test_a_network_of_diffusers_trains_and_samples() -> None:
    """It is told the timestep's index and returns an object; a lambda is all that it takes to fit it in."""
    net = diffusers_unet()
    table = linear(1000)
    state = State(net, adamw(net, 4e-3), Ema(net, 0.1))

    def denoiser(net: nn.Module) -> Denoiser:
        return Denoiser(lambda x, t: net(x, t).sample, vp, eps, table.index)

    batches = (Batch(x0) for x0, _ in digit_batches(32))
    held_out = [next(batches) for _ in range(4)]
    averaged = DenoisingLoss(denoiser(state.ema.net), table)
    before = held_out_loss(averaged, held_out).loss
    for _ in train(
        DenoisingLoss(denoiser(net), table), state, batches, until=100, lr=learning_rate(4e-3, 0.05, "cosine")
    ):
        pass
    after = held_out_loss(averaged, held_out).loss
    assert before > 0.9 and after < 0.4 * before

    steps = generate(
        vp, table, (1, 8, 8), seeds_from(0, 32, CPU), sampler="ddim", steps=20, spacing="trailing"
    )
    *_, last = alone(denoiser(state.ema.net), steps, corrections=[clip()])
    made, real = last.x.mean(0).flatten(), torch.cat([x0 for x0, _ in held_out]).mean(0).flatten()
    assert torch.corrcoef(torch.stack([made, real]))[0, 1] > 0.7  # dark sides, a bright middle


def test_a_network_of_diffusers_is_told_its_timesteps() -> None:
    told: list[Tensor] = []
    net = diffusers_unet()

    def spy(x: Tensor, t: Tensor) -> Tensor:
        told.append(t)
        return net(x, t).sample

    table = linear(1000)
    objective = DenoisingLoss(Denoiser(spy, vp, eps, table.index), table)
    x0 = torch.zeros(4, 1, 8, 8)
    objective(x0, x0, torch.tensor([0.5, 250.5, 500.5, 999.5], dtype=torch.float64) / 1000)
    torch.testing.assert_close(told[0], torch.tensor([0.0, 250.0, 500.0, 999.0]), rtol=0, atol=1e-4)


def test_a_class_conditional_network_of_diffusers_can_be_guided() -> None:
    """Classes under its own name for them; index 10 is "none"."""
    net = diffusers_unet(num_class_embeds=11)
    table = linear(1000)
    state = State(net, adamw(net, 1e-3), Ema(net, 0.1))

    def denoiser(net: nn.Module) -> Denoiser:
        return Denoiser(
            lambda x, t, label: net(x, t, class_labels=label).sample,
            vp,
            eps,
            table.index,
        )

    done = list(
        train(
            DenoisingLoss(denoiser(net), table),
            state,
            digit_batches(8),
            until=3,
            lr=lambda share: 1e-3,
            drop=0.2,
            null=Cond(label=torch.tensor([10])),
        )
    )
    assert all(p.loss.isfinite() for p in done)

    def sampled(scale: float) -> Tensor:
        guidance = Guidance(torch.full((2,), scale, dtype=torch.float64), Cond(label=torch.tensor([10])))
        steps = generate(
            vp, table, (1, 8, 8), seeds_from(0, 2, CPU), sampler="ddim", steps=3, spacing="trailing"
        )
        *_, last = alone(cfg(denoiser(state.ema.net)), steps, Cond(label=torch.tensor([3, 7])), guidance)
        return last.x

    assert not torch.equal(sampled(1.0), sampled(3.0))
