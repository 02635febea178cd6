"""Low-rank adaptation: W + B A in the place of a weight W that stays as it is (Hu et al. 2021, "LoRA", section 4.1).

A matrix W (out, in) is given B (out, r) and A (r, in), and a convolution's W (out, in, *kernel) the same as the matrix (out, in * kernel) that
its unfolded patches are multiplied with. A is drawn at random and B is zero, so that the network begins as it was, to the bit. B A is
added to the weight itself and not to the layer's output: so what training computes is what the merged network computes, to the bit.
"""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ORIGINAL, DOWN, UP = (f".parametrizations.weight.{part}" for part in ("original", "0.down", "0.up"))


class Added(nn.Module):
    """W -> W + B A, in the shape of W."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        out, inside = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(torch.empty(rank, inside, device=weight.device))  # A
        self.up = nn.Parameter(torch.zeros(out, rank, device=weight.device))  # B
        nn.init.uniform_(self.down, -1 / math.sqrt(inside), 1 / math.sqrt(inside))

    def forward(self, weight: Tensor) -> Tensor:
        return merged_weight(weight, self.down, self.up)


def merged_weight(weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """W + B A, in the precision of W, whatever else is computed in."""
    with torch.autocast(weight.device.type, enabled=False):
        return weight + (up @ down).view_as(weight)


def adapt(net: nn.Module, rank: int, also: list[str]) -> float:
    """Freezes a network, and gives each of its linear layers and convolutions something of low rank that is learnt in the place of its
    weight, where that has fewer numbers. also: names of weights that are learnt as they are. Weights that were frozen before stay so.
    Returns the share of the network's numbers that is learnt; 0 where there is nothing to adapt."""
    total = sum(p.numel() for p in net.parameters())
    wanted = {name for name, p in net.named_parameters() if p.requires_grad}
    layers = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, LAYERS)]
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in also and name in wanted)
    for name, layer in layers:
        weight = layer.weight
        fewer = rank * (weight.shape[0] + weight[0].numel()) < weight.numel()
        if fewer and f"{name}.weight" in wanted and f"{name}.weight" not in also:
            parametrize.register_parametrization(layer, "weight", Added(weight, rank))
    return sum(p.numel() for p in net.parameters() if p.requires_grad) / max(total, 1)


def merged(net: nn.Module) -> nn.Module:
    """A network as it computes, without parts of low rank: itself where it has none, else a copy."""
    if not any(parametrize.is_parametrized(layer) for layer in net.modules()):
        return net
    plain = copy.deepcopy(net)
    for layer in plain.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return plain


def merged_state(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights by name of an adapted network, as those of the merged one; others as they are."""
    plain: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if name.endswith(ORIGINAL):
            layer = name.removesuffix(ORIGINAL)
            plain[f"{layer}.weight"] = merged_weight(tensor, named[layer + DOWN], named[layer + UP])
        elif not name.endswith((DOWN, UP)):
            plain[name] = tensor
    return plain


def adapter(net: nn.Module, also: list[str]) -> dict[str, Tensor]:
    """What an adapted network has beside the one that it was: A and B as "LAYER.down" and "LAYER.up", and the weights `also`."""
    small: dict[str, Tensor] = {}
    for name, tensor in net.state_dict().items():
        for part, short in ((DOWN, ".down"), (UP, ".up")):
            if name.endswith(part):
                small[name.removesuffix(part) + short] = tensor
        if name in also:
            small[name] = tensor
    return small


def with_adapter(named: dict[str, Tensor], small: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights by name of a network with what `adapter` gave of it merged in. Raises KeyError where it is of another network."""
    result = dict(named)
    for name, tensor in small.items():
        layer, _, part = name.rpartition(".")
        if part == "up":
            result[f"{layer}.weight"] = merged_weight(
                named[f"{layer}.weight"], small[f"{layer}.down"], tensor
            )
        elif part != "down":
            result[name] = tensor
    return result
