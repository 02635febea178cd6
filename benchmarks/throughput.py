"""How many pictures a second does training see, beside other people's loops?

    python benchmarks/throughput.py              # about 5 minutes; makes the rivals' environment at its first use
    python benchmarks/throughput.py --quick

**Equal network.** The network of the mnist recipe, unconditional, with equal weights, batch and precision, and batches from
memory, in four loops: ours as `mezzotint train` runs it (with what it keeps: noise by seed, two averages, losses by
noise level, the gate for values that are not finite); the `Trainer` of denoising-diffusion-pytorch itself; the
`training_loop` of smalldiffusion itself, which clips no gradient and keeps no average; and the loop of diffusers' example
for unconditional generation, said again from its parts (Accelerator, DDPMScheduler, AdamW, get_scheduler, EMAModel).
Their progress bars are off, or write to nowhere. AdamW is the optimiser of all but the Trainer, which has Adam. In float32, and in bfloat16 where
the machine multiplies it.

**Defaults.** Our recipe as it is, with classes, against the loop of diffusers' example in float32, as it is by default: with the
same network, and with its own UNet2DModel of the same number of parameters and the same places of attention.
"""

import copy
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import measuring
import rivals

Steps = Callable[[int], None]  # trains so many steps
BATCH = 128


def our_run(folder: Path, *overrides: str, data: Path | None) -> Any:
    from mezzotint import config as configuration
    from mezzotint.run.parts import Parts
    from mezzotint.train.distributed import Ranks

    wanted = [*measuring.digits_of_size(28, data), f"train.batch_size={BATCH}", *overrides]
    return Parts(configuration.load("mnist", wanted), folder, Ranks())


def ours(run: Any, until: int = 10**9, plan: Any = None) -> Steps:
    """plan: of a budget in minutes, see `mezzotint.run.budget`."""
    from mezzotint.train.meter import Meter

    meter, stream = Meter(), run.steps(until, plan=plan)

    def steps(count: int) -> None:
        for _ in range(count):
            progress = next(stream)
            meter.add(progress)
            if progress.step % 50 == 0:
                meter.read(progress.step)

    return steps


class Memory:
    """Batches from memory, without end, of pictures uint8 (N, C, H, W). flip: half of them mirrored."""

    def __init__(self, images: Any, batch: int | None = None, flip: bool = False) -> None:
        self.images, self.batch, self.flip = images, batch or BATCH, flip

    def above(self, low: float) -> Iterator[Any]:
        """(batch, C, H, W), float32 from `low` to 1."""
        import torch

        device = self.images.device
        while True:
            x = self.images[torch.randint(len(self.images), (self.batch,), device=device)]
            if self.flip:
                mirrored = torch.rand(self.batch, 1, 1, 1, device=device) < 0.5
                x = torch.where(mirrored, x.flip(-1), x)
            yield x.float() / 255 * (1 - low) + low


def diffusers_example(
    net: Any, memory: Memory, precision: str, warmup: int = 500, total: int = 10**6
) -> tuple[Steps, Any]:
    """net: called as diffusers calls its own, net(x, timesteps).sample. warmup, total: steps in which its learning rate
    rises, and after which it is 0. The loop, and its average of weights."""
    import torch
    import torch.nn.functional as F
    from accelerate import Accelerator
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    accelerator = Accelerator(mixed_precision=precision)
    noising = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    average = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    average.to(accelerator.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    rate = get_scheduler("cosine", optimizer, num_warmup_steps=warmup, num_training_steps=total)
    net, optimizer, rate = accelerator.prepare(net, optimizer, rate)
    batches = memory.above(-1.0)

    def steps(count: int) -> None:
        net.train()
        for _ in range(count):
            clean = next(batches)
            noise = torch.randn_like(clean)
            t = torch.randint(0, noising.config.num_train_timesteps, (len(clean),), device=clean.device)
            noisy = noising.add_noise(clean, noise, t)
            with accelerator.accumulate(net):
                loss = F.mse_loss(net(noisy, t).sample.float(), noise)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                rate.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                average.step(net.parameters())
            loss.detach().item()  # it logs the loss of every step

    return steps, average


def denoising_diffusion_pytorch(net: Any, memory: Memory, precision: str, folder: Path) -> tuple[Steps, Any]:
    """The loop, and its Trainer."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Trainer

    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    for i in range(100):  # it insists on a folder of pictures, which is never read: batches come from memory
        (pictures / f"{i}.png").touch()
    trainer = Trainer(
        GaussianDiffusion(net, image_size=memory.images.shape[-1]).to(memory.images.device),
        str(pictures),
        train_batch_size=memory.batch,
        train_num_steps=0,
        save_and_sample_every=10**9,
        results_folder=str(folder / "results"),
        amp=precision == "bf16",
        mixed_precision_type="bf16",
        calculate_fid=False,
    )
    trainer.dl = memory.above(0.0)

    def steps(count: int) -> None:
        trainer.train_num_steps = trainer.step + count
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            trainer.train()

    return steps, trainer


def smalldiffusion(net: Any, memory: Memory, precision: str) -> Steps:
    from accelerate import Accelerator
    from smalldiffusion import ScheduleDDPM, training_loop

    loop = training_loop(
        memory.above(-1.0), net, ScheduleDDPM(), Accelerator(mixed_precision=precision), epochs=1
    )

    def steps(count: int) -> None:
        with redirect_stderr(io.StringIO()):  # of its bar
            for _ in range(count):
                next(loop)

    return steps


def adapted(net: Any, style: str, pictures: int = 1) -> Any:
    """Our network as another loop calls it; all of them tell it the timestep, 0 to 999. pictures: their channels."""
    from torch import nn

    class Diffusers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any, t: Any) -> Any:
            return SimpleNamespace(sample=self.net(x, t.float()))

    class DenoisingDiffusionPytorch(Diffusers):
        channels = out_dim = pictures
        self_condition = False

        def forward(self, x: Any, t: Any, own: Any = None) -> Any:
            return self.net(x, t.float())

    if style == "small":
        return _for_smalldiffusion(Diffusers)
    return {"diffusers": Diffusers, "ddpm": DenoisingDiffusionPytorch}[style]()


def _for_smalldiffusion(base: Any) -> Any:
    import torch
    from smalldiffusion import ModelMixin, Scaled, ScheduleDDPM

    levels = ScheduleDDPM().sigmas

    class Smalldiffusion(base, ModelMixin):  # type: ignore[misc]
        def forward(self, x: Any, sigma: Any, cond: Any = None) -> Any:
            t = torch.searchsorted(levels.to(sigma), sigma.flatten())
            return self.net(x, t.float())

    return Scaled(Smalldiffusion)()


def own_network(parameters: int) -> Any:
    """diffusers' UNet2DModel with about so many parameters: three levels, attention at 7x7, as in our recipe."""
    from diffusers import UNet2DModel

    def of(width: int) -> Any:
        return UNet2DModel(
            sample_size=28,
            in_channels=1,
            out_channels=1,
            layers_per_block=1,
            block_out_channels=(width,) * 3,
            down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
            norm_num_groups=8,
            attention_head_dim=8,
        )

    return min((of(width) for width in range(8, 65, 8)), key=lambda net: abs(count(net) - parameters))


def count(net: Any) -> int:
    return sum(p.numel() for p in net.parameters())


def equal_loops(folder: Path, precision: str, data: Path | None) -> dict[str, Steps]:
    """The four loops around copies of one network."""
    from accelerate.state import AcceleratorState

    from mezzotint.train.optim import adamw

    # It allows one precision a process. Loops in float32 have been told so; those in bfloat16 ask at every step, so they
    # are made last.
    AcceleratorState._reset_state(reset_partial_state=True)
    run = our_run(folder, "data.labels=false", f"train.precision={precision}", data=data)
    run.state.optimizer = adamw(run.state.net)
    theirs = {"fp32": "no", "bf16": "bf16"}[precision]
    memory = Memory(run.source.pictures.images)

    def net(style: str) -> Any:
        return adapted(copy.deepcopy(run.state.net), style)

    return {
        "ours": ours(run),
        "diffusers": diffusers_example(net("diffusers"), memory, theirs)[0],
        "denoising-diffusion-pytorch": denoising_diffusion_pytorch(net("ddpm"), memory, theirs, folder)[0],
        "smalldiffusion": smalldiffusion(net("small"), memory, theirs),
    }


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--data", type=Path, help="MNIST as parquet; by default the bundled digits, enlarged")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--steps", type=int, default=12, help="of training, in a repetition of a loop")
    options = parser.parse_args()
    rivals.continue_there()
    os.environ["TQDM_DISABLE"] = "1"
    import torch

    from mezzotint.model.device import find_device, find_precision

    measuring.use_threads(options.threads)
    machine = measuring.machine(options.threads)
    repetitions, steps = (2, 2) if options.quick else (options.repetitions, options.steps)
    device = find_device()
    precisions = ["fp32"] + ["bf16"] * (find_precision("auto", device) == torch.bfloat16)

    def timed(work: Steps) -> Callable[[], float]:
        def whole() -> None:
            work(steps)
            if device.type == "cuda":
                torch.cuda.synchronize()

        return lambda: steps * BATCH / measuring.seconds(whole)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = our_run(folder, data=options.data)
        parameters, rival = count(run.state.net), own_network(count(run.state.net)).to(device)
        contenders = {
            "ours, defaults": ours(run),
            "diffusers, own network": diffusers_example(rival, Memory(run.source.pictures.images), "no")[0],
        }
        for precision in precisions:
            loops = equal_loops(folder, precision, options.data)
            contenders |= {f"{loop}, {precision}": work for loop, work in loops.items()}
        rates = measuring.by_turns({name: timed(work) for name, work in contenders.items()}, repetitions)

    pairs = [
        (f"ours, {precision}", f"{loop}, {precision}", 0.97)
        for precision in precisions
        for loop in ("diffusers", "denoising-diffusion-pytorch", "smalldiffusion")
    ]
    pairs += [("ours, defaults", "diffusers, fp32", 2.0), ("ours, defaults", "diffusers, own network", 2.0)]
    ratios = [
        {"ours": a, "theirs": b, "goal": goal, **measuring.ratio(rates[a], rates[b])} for a, b, goal in pairs
    ]
    result = {
        "machine": machine,
        "batch": BATCH,
        "steps": steps,
        "repetitions": repetitions,
        "parameters": {"ours": parameters, "diffusers, own network": count(rival)},
        "pictures_a_second": {name: measuring.spread(values) for name, values in rates.items()},
        "ratios": ratios,
    }
    rows = [[name, measuring.format_spread(measuring.spread(values), 0)] for name, values in rates.items()]
    print(measuring.markdown(["loop", "pictures a second"], rows))
    rows = [[r["ours"], r["theirs"], measuring.format_spread(r, 3), r["goal"]] for r in ratios]
    print(measuring.markdown(["ours", "theirs", "ratio", "at least"], rows))
    measuring.keep(options.out, "throughput", result, options.quick)


if __name__ == "__main__":
    main()
