"""Solutions to the exercises of phase 2, networks: python docs/guide/solutions/phase2.py"""

import torch
from torch import Tensor, nn

from mezzotint import Denoiser, Gaussian
from mezzotint.data import load_pictures, to_model
from mezzotint.diffusion import parameterization
from mezzotint.diffusion.process import add_noise, vp
from mezzotint.nets import UNetSimple
from mezzotint.nets.embed import sinusoidal
from mezzotint.nets.unet import ResidualBlock


def exercise_2_1() -> tuple[int, int, int]:
    """Count a block.

    Convolutions 9 * 64 * 128 + 128 = 73,856 and 9 * 128 * 128 + 128 = 147,584; the skip, 1 x 1, 64 * 128 + 128 = 8,320;
    the modulation 256 * 256 + 256 = 65,792, as it makes a scale and a shift for each of 128 channels; the norms
    2 * 64 and 2 * 128. Together 295,936. Each weight of a convolution (not the biases) multiplies once a position: 256
    times. Returns the sum on paper, the count by code, and the multiplications.
    """
    paper = 73_856 + 147_584 + 8_320 + 65_792 + 2 * 64 + 2 * 128
    block = ResidualBlock(64, 128, emb=256, dropout=0.0)
    counted = sum(p.numel() for p in block.parameters())
    weights = sum(m.weight.numel() for m in block.modules() if isinstance(m, nn.Conv2d))
    return paper, counted, weights * 16 * 16


def exercise_2_2() -> dict[str, float]:
    """What does a fresh network believe?

    The perfect answer for N(0, c) is alpha c / (alpha^2 c + sigma^2) x. c_skip is 0 for x0: c = 0, data that are always
    0. It is alpha for v in vp: c = 1. For edm it is the formula itself, with c = sigma_data^2. For eps it is 1 / alpha,
    the limit of c to infinity: a network that says "no noise" believes x / alpha, as somebody would who finds all
    pictures equally likely; no finite c gives it, and at high noise the belief is enormous.
    Returns the largest difference of each fresh belief from the perfect one, over levels; for eps with c = 10^9.
    """
    kinds = {
        "x0": parameterization.x0,
        "v": parameterization.v,
        "edm": parameterization.edm,
        "eps": parameterization.eps,
    }
    variances = {"x0": 1e-12, "v": 1.0, "edm": 0.25, "eps": 1e9}
    logsnr = torch.linspace(-6, 6, 25, dtype=torch.float64)
    x = torch.randn(25, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = {}
    for name, kind in kinds.items():
        fresh = Denoiser(lambda x, c_noise: torch.zeros_like(x), vp, kind)
        exact = Gaussian(
            vp, torch.zeros(2, dtype=torch.float64), torch.full((2,), variances[name], dtype=torch.float64)
        )
        found[name] = float((fresh(x, logsnr) - exact(x, logsnr)).abs().max())
    return found


def exercise_2_3() -> tuple[int, int]:
    """How many numbers are in an embedding?

    In [0, 1] only the fastest few of 32 frequencies move at all, and they move alike: all cosines bend down and all sines
    go up, which is two numbers. In [0, 1000] about half of them have turned at least once, and are independent.
    Returns the singular values above a hundredth of the largest, for t in [0, 1] and in [0, 1000].
    """
    found = []
    for end in (1.0, 1000.0):
        features = sinusoidal(torch.linspace(0, end, 1001, dtype=torch.float64), 64)
        values = torch.linalg.svdvals(features - features.mean(0))
        found.append(int((values > values[0] / 100).sum()))
    return found[0], found[1]


def exercise_2_4() -> dict[str, float]:
    """Who else is in the batch?

    A batch norm in training mode takes mean and variance over all rows: change the others, and the first changes. A
    group norm takes them over one picture, so nothing changes but the last digits, as kernels may add in another order.
    Returns the change of the first row, over the size of its output.
    """
    x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    other = torch.cat([x[:1], 3 * x[1:].flip(0)])
    found = {}
    for norm in ("batch", "group"):
        torch.manual_seed(0)
        net = UNetSimple(1, width=16, levels=2, norm=norm).train()
        nn.init.normal_(net.leave.weight)
        with torch.no_grad():
            first, changed = (net(batch, torch.zeros(8))[0] for batch in (x, other))
        found[norm] = float((changed - first).abs().max() / first.abs().max())
    return found


def exercise_2_5() -> dict[int, int]:
    """How far does it see?

    Go back from one pixel of the output; count pixels of the level. The last block has two convolutions: 5. Those come from
    3 pixels of the level below (and, through the skip, from the entrance). Two levels: its block makes 3 to 7, which are 14 pixels above;
    the block of the entrance adds 4: 18. Three levels: the way up has another block, 3 to 7, which come from 4 of the
    deepest; its block makes 8, which are 16; the block above 20, which are 40; the entrance 44.
    The norms must go as their mean and variance join all pixels, if faintly; a maximum has a gradient for one of four only.
    Returns the measured width for 2 and 3 levels.
    """
    found = {}
    for levels in (2, 3):
        net = UNetSimple(1, width=4, levels=levels)
        net.shrink = nn.ModuleList(nn.AvgPool2d(2) for _ in net.shrink)
        for module in list(net.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.GroupNorm):
                    setattr(module, name, nn.Identity())
                if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.constant_(child.weight, 0.01)
        x = torch.ones(1, 1, 96, 96, requires_grad=True)
        (gradient,) = torch.autograd.grad(net(x, torch.zeros(1))[0, 0, 48, 48], x)
        columns = gradient[0, 0].any(0).nonzero().flatten()
        found[levels] = int(columns.max() - columns.min()) + 1
    return found


def exercise_2_6() -> tuple[float, Tensor]:
    """A network that need not learn.

    x = alpha x0 + sigma eps is jointly normal with eps; their covariance is sigma I, and x has mean alpha m and covariance
    alpha^2 C + sigma^2 I. The mean of eps given x is the regression on x: sigma (alpha^2 C + sigma^2 I)^-1 (x - alpha m).
    In vp, c_in is 1, and c_noise can hand over logsnr as it is.
    Returns the largest difference from `Gaussian` over levels, and beliefs of 8 digits at logsnr 0, (8, 1, 8, 8).
    """
    x0 = to_model(load_pictures("digits").batch(torch.arange(1797))[0])
    flat = x0.flatten(1).double()
    mean, covariance = flat.mean(0), flat.T.cov()

    def net(x: Tensor, logsnr: Tensor) -> Tensor:
        alpha, sigma = (c[:, None].double() for c in vp(logsnr))
        spread = alpha[..., None] ** 2 * covariance + sigma[..., None] ** 2 * torch.eye(64)
        noise = sigma * torch.linalg.solve(spread, x.flatten(1).double() - alpha * mean)
        return noise.reshape(x.shape).to(x.dtype)

    denoiser = Denoiser(net, vp, parameterization.eps, lambda logsnr: logsnr)
    exact = Gaussian(vp, mean, covariance)
    eps = torch.randn(x0[:8].shape, generator=torch.Generator().manual_seed(0))
    worst = 0.0
    for one in torch.linspace(-6, 6, 7, dtype=torch.float64):
        x = add_noise(vp, x0[:8], eps, one)
        worst = max(worst, float((denoiser(x, one.expand(8)) - exact(x, one)).abs().max()))
    zero = torch.zeros(8, dtype=torch.float64)
    return worst, denoiser(add_noise(vp, x0[:8], eps, zero), zero)


if __name__ == "__main__":
    print("2.1", exercise_2_1())
    print("2.2", exercise_2_2())
    print("2.3", exercise_2_3())
    print("2.4", exercise_2_4())
    print("2.5", exercise_2_5())
    print("2.6", exercise_2_6()[0])
