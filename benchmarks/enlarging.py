"""How good is a model that enlarges?  Held-out pictures made small and large again, beside bicubic enlargement.

    python benchmarks/enlarging.py --model RUN [--grains 0 0.1 0.2 0.3] [--n 196]

PSNR and SSIM (Wang et al. 2004) against the pictures as they were: the mean over pictures. Of a generative model these fall as
it invents more, so the mean of 4 draws is shown, too, which is what PSNR rewards. Consistency: the root mean square of down(x) -
small, in grey levels; the noise of 8 bits is 0.29. Detail: the energy that x has beyond what the small picture says, over that of
the real one: a blurred picture has less than 1. The pictures are those that the run held out.
"""

import measuring
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mezzotint import build, plots
from mezzotint.conditions.image import consistent, larger, smaller
from mezzotint.model.loading import load
from mezzotint.model.model import Model

DRAWS = 4
SHOWN = 8


def psnr(x: Tensor, y: Tensor) -> float:
    """10 log10(255^2 / mean squared error) in dB, of each picture, mean. x, y: (N, C, H, W) in grey levels."""
    error = (x.double() - y.double()).square().flatten(1).mean(1)
    return float((10 * (255**2 / error).log10()).mean())


def ssim(x: Tensor, y: Tensor) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian windows of 11, sigma 1.5, C1 = (0.01 255)^2, C2 = (0.03 255)^2; mean over
    windows, channels and pictures."""
    g = (-((torch.arange(11).double() - 5) ** 2) / (2 * 1.5**2)).exp()
    window = (g[:, None] * g / g.sum() ** 2)[None, None]

    def mean(z: Tensor) -> Tensor:
        return F.conv2d(z.flatten(0, 1)[:, None], window)

    x, y = x.double(), y.double()
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


def detail(x: Tensor, factor: int) -> float:
    x = x.float()
    return float((x - larger(smaller(x, factor), factor)).square().mean())


def enlarged(model: Model, small: Tensor, grain: float, seed: int, steps: int | None = None) -> Tensor:
    """By the model alone, and made consistent, as `Edits.enlarge` does it: (N, C, H, W) uint8."""
    request = model.request(len(small), image=small, grain=grain, seed=seed, steps=steps)
    things = torch.cat([model.make(part) for part in request.parts(model.batch)])
    return consistent(things, small, model.config.data.enlarge or 1)


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--grains", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.3])
    parser.add_argument("--n", type=int, default=196)
    arguments = parser.parse_args()
    measuring.use_threads(arguments.threads)
    machine = measuring.machine(arguments.threads)
    model = load(arguments.model)
    factor = model.config.data.enlarge
    if not factor:
        raise SystemExit(f"{arguments.model} was not trained to enlarge (data.enlarge)")
    n = 8 if arguments.quick else arguments.n
    batches = build.source(model.config, torch.device("cpu")).held_out(n)
    real = model.codec.decode(batches[0].x0[:n])
    small = smaller(real.float(), factor).round().clamp(0, 255).to(torch.uint8)
    bicubic = larger(small.float(), factor).round().clamp(0, 255).to(torch.uint8)
    energy = detail(real, factor)
    rows = []

    def row(name: str, x: Tensor) -> None:
        off = float((smaller(x.float(), factor) - small.float()).square().mean().sqrt())
        numbers = {"psnr": psnr(x, real), "ssim": ssim(x, real), "consistency": off}
        numbers["detail"] = detail(x, factor) / energy
        rows.append({"name": name, **numbers})
        print(f"{name:24} " + "  ".join(f"{key} {value:.3f}" for key, value in numbers.items()), flush=True)

    print(f"{len(real)} held-out pictures of {model.source}")
    row("bicubic", bicubic)
    row("bicubic, made consistent", consistent(bicubic, small, factor))
    first = bicubic
    for grain in arguments.grains:
        x = enlarged(model, small, grain, seed=0)
        row(f"grain {grain:g}", x)
        first = x if grain == arguments.grains[min(1, len(arguments.grains) - 1)] else first
    if not arguments.quick:
        grain = arguments.grains[0]
        draws = [enlarged(model, small[:64], grain, seed=1000 * k).float() for k in range(DRAWS)]
        mean = torch.stack(draws).mean(0)
        spread = float(torch.stack(draws).std(0).mean())
        print(
            f"mean of {DRAWS} draws at grain {grain:g}, 64 pictures: psnr {psnr(mean, real[:64]):.3f} (bicubic "
            f"{psnr(bicubic[:64], real[:64]):.3f}); they differ by {spread:.2f} grey levels"
        )
        rows.append({"name": f"mean of {DRAWS} draws", "psnr": psnr(mean, real[:64]), "spread": spread})
    shown = torch.stack([larger(small.float(), factor).round().clamp(0, 255).to(torch.uint8), first, real])
    sheet: Image.Image = plots.sheet(shown[:, :SHOWN].flatten(0, 1), columns=min(SHOWN, len(real)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    plots.save_png(sheet, arguments.out / f"{measuring.file_name('enlarging', arguments.quick)}.png")
    measuring.keep(arguments.out, "enlarging", {"machine": machine, "rows": rows}, arguments.quick)


if __name__ == "__main__":
    main()
