"""DDPM, the whole idea in one file: learn to remove noise from digits, then make digits out of noise.

    python examples/ddpm.py            two to three minutes on a CPU; writes ddpm.png

Equations are those of Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models". Nothing is imported from
the package; a test checks that losses and samples are the library's.
"""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

# ---- The noise: T steps of variance beta_t; alpha_bar_t is how much of the picture is left after t of them.
T = 1000
beta = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
alpha = 1 - beta
alpha_bar = alpha.cumprod(0)


def add_noise(x0, t, eps):
    """Eq. 4: x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps, at once for any t."""
    a = alpha_bar[t].to(x0.dtype)[:, None, None, None]
    return a.sqrt() * x0 + (1 - a).sqrt() * eps


def loss(net, x0, t, eps):
    """Eq. 14: let the network say which noise was added."""
    return (net(add_noise(x0, t, eps), t) - eps).square().mean()


@torch.no_grad()
def sample(net, x, draw):
    """Algorithm 2: from pure noise x, step by step; draw(t) gives the fresh noise of step t."""
    for t in reversed(range(T)):
        eps = net(x, torch.full((len(x),), t))
        x = (x - beta[t] / (1 - alpha_bar[t]).sqrt() * eps) / alpha[t].sqrt()  # eq. 11, the mean of x_{t-1}
        if t > 0:
            variance = (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * beta[t]  # eq. 7
            x = x + variance.sqrt() * draw(t)
    return x


# ---- The network: a small U-Net that is told the time.
class Block(nn.Module):
    """Two convolutions beside a skip; the time shifts the features in between. Starts as the skip alone."""

    def __init__(self, c_in, c_out, emb):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, c_out), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.time, self.skip = nn.Linear(emb, c_out), nn.Conv2d(c_in, c_out, 1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x, e):
        h = self.conv1(F.silu(self.norm1(x))) + self.time(e)[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class UNet(nn.Module):
    def __init__(self, c=32, emb=128):
        super().__init__()
        self.emb = nn.Sequential(nn.Linear(emb, emb), nn.SiLU(), nn.Linear(emb, emb), nn.SiLU())
        self.enter, self.fine = nn.Conv2d(1, c, 3, padding=1), Block(c, c, emb)
        self.down, self.middle, self.up = Block(c, 2 * c, emb), Block(2 * c, 2 * c, emb), Block(3 * c, c, emb)
        self.leave = nn.Sequential(nn.GroupNorm(8, c), nn.SiLU(), nn.Conv2d(c, 1, 3, padding=1))

    def forward(self, x, t):
        w = torch.exp(-math.log(10_000) * torch.arange(64) / 64)  # sinusoidal embedding of the time
        e = t[:, None] * w
        e = self.emb(torch.cat([e.cos(), e.sin()], dim=1).to(x.dtype))
        a = self.fine(self.enter(x), e)
        b = self.middle(self.down(F.avg_pool2d(a, 2), e), e)
        return self.leave(self.up(torch.cat([a, F.interpolate(b, scale_factor=2)], dim=1), e))


def main(steps=2000, batch=128):
    torch.manual_seed(0)
    file = Path(__file__).parent.parent / "src/mezzotint/data/digits.npz"
    digits = torch.from_numpy(np.load(file)["images"])[:, None].float() / 127.5 - 1  # (1797, 1, 8, 8)
    net = UNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):  # algorithm 1
        x0 = digits[torch.randint(len(digits), (batch,))]
        error = loss(net, x0, torch.randint(T, (batch,)), torch.randn_like(x0))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        decay.step()
        if step % 100 == 0:
            print(f"step {step}/{steps}  loss {error:.4f}", flush=True)
    x = sample(net.eval(), torch.randn(64, 1, 8, 8), lambda t: torch.randn(64, 1, 8, 8))
    framed = F.pad(x, (1, 1, 1, 1))  # a grey line around each
    sheet = framed.reshape(8, 8, 10, 10).transpose(1, 2).reshape(80, 80)  # 8 x 8 of them, side by side
    pixels = ((sheet + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    Image.fromarray(pixels).resize((640, 640), Image.Resampling.NEAREST).save("ddpm.png")
    print("64 samples: ddpm.png")


if __name__ == "__main__":
    main()
