"""Networks: plain tensors in, a tensor of x's shape out. Nothing here knows what diffusion is.

Every network is called as `net(x, c_noise, label=None)`: `x (B, *D)`, `c_noise (B,)` the noise level in
whatever coordinate the network is trained with, `label (B,)` int64 for class-conditional networks; those of
flow maps also take `span (B,)`, the length of the step that the answer is held for, those that know words `text (B, L)`, and
those that are shown a picture `image (B, C, H, W)` and `grain (B,)`, the noise that lies over it.
"""

from mezzotint.nets.dit import DiT
from mezzotint.nets.mlp import MLP
from mezzotint.nets.unet import UNet
from mezzotint.nets.unet2d import UNet2D
from mezzotint.nets.unet_simple import UNetSimple

__all__ = ["MLP", "DiT", "UNet", "UNet2D", "UNetSimple"]
