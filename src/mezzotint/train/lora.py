"""Low-rank adaptation: W + B A in the place of a frozen weight W (Hu et al. 2021, "LoRA", section 4.1).

A matrix W (out, in) is given B (out, r) and A (r, in), and a convolution's W (out, in, *kernel) the same as the matrix (out, in * kernel) that
its unfolded patches are multiplied with. A is drawn at random and B is zero, so that the network starts unchanged, to the bit. B A is
added to the weight itself and not to the layer's output: so what training computes is what the merged network computes, to the bit.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class LowRank(nn.Module):
    """A linear layer or a convolution with W + B A in the place of its weight W."""

    def __init__(self, layer: nn.Module, rank: int) -> None:
        super().__init__()
        weight = layer.weight
        assert isinstance(weight, Tensor)
        self.layer = layer
        out, inside = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(torch.empty(rank, inside, device=weight.device))  # A
        self.up = nn.Parameter(torch.zeros(out, rank, device=weight.device))  # B
        nn.init.uniform_(self.down, -1 / math.sqrt(inside), 1 / math.sqrt(inside))

    @property
    def weight(self) -> Tensor:
        assert isinstance(self.layer.weight, Tensor)
        return merged_weight(self.layer.weight, self.down, self.up)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, self.weight, self.layer.bias)
        assert isinstance(self.layer, CONVOLUTIONS)
        return self.layer._conv_forward(x, self.weight, self.layer.bias)


def merged_weight(weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """W + B A, in the precision of W, whatever else is computed in."""
    with torch.autocast(weight.device.type, enabled=False):
        return weight + (up @ down).view_as(weight)


def adapt(net: nn.Module, rank: int, also: list[str]) -> float:
    """Freezes a network, and gives each of its linear layers and convolutions a low-rank update that is trained in the place of its
    weight, where that has fewer numbers. also: names of weights that are trained in full. Weights that were frozen before stay so.
    Returns the number of these parameters as a share of the network's, if all layers had them."""
    total = sum(p.numel() for p in net.parameters())
    wanted = {name for name, p in net.named_parameters() if p.requires_grad}
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in also and name in wanted)
    learnt = sum(p.numel() for p in net.parameters() if p.requires_grad)
    for name, layer in list(net.named_modules()):
        if not isinstance(layer, (nn.Linear, *CONVOLUTIONS)) or f"{name}.weight" not in wanted.difference(
            also
        ):
            continue
        numbers = rank * (layer.weight.shape[0] + layer.weight[0].numel())
        learnt += numbers
        if numbers < layer.weight.numel():
            _replace(net, name, LowRank(layer, rank))
    return learnt / max(total, 1)


def _replace(net: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, layer)


@torch.no_grad()
def merged(net: nn.Module) -> nn.Module:
    """A network with its low-rank updates merged: itself where it has none, else a copy."""
    if not any(isinstance(layer, LowRank) for layer in net.modules()):
        return net
    plain = copy.deepcopy(net)
    for name, part in list(plain.named_modules()):
        if isinstance(part, LowRank):
            weight = nn.Parameter(part.weight, requires_grad=False)
            part.layer.weight = weight
            _replace(plain, name, part.layer)
    return plain


def merged_state(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights by name of an adapted network, as those of the merged one; others as they are."""
    adapted = {
        name.removesuffix(".up") for name in named if name.endswith(".up") and f"{name[:-3]}.down" in named
    }
    plain: dict[str, Tensor] = {}
    for name, tensor in named.items():
        layer, _, last = name.removesuffix(".weight").removesuffix(".bias").rpartition(".")
        if last == "layer" and layer in adapted:
            whole = name.endswith(".weight")
            tensor = merged_weight(tensor, named[f"{layer}.down"], named[f"{layer}.up"]) if whole else tensor
            plain[f"{layer}.{name.rpartition('.')[2]}"] = tensor
        elif name.rpartition(".")[0] not in adapted or last not in ("down", "up"):
            plain[name] = tensor
    return plain


def adapter(net: nn.Module, also: list[str]) -> dict[str, Tensor]:
    """The trained parts of an adapted network: A and B as "LAYER.down" and "LAYER.up", and the weights `also`."""
    named = net.state_dict()
    small = {name: named[name] for name in also if name in named}
    for name, part in net.named_modules():
        if isinstance(part, LowRank):
            small |= {f"{name}.down": part.down, f"{name}.up": part.up}
            if f"{name}.bias" in also:
                small[f"{name}.bias"] = named[f"{name}.layer.bias"]
    return small


def with_adapter(named: dict[str, Tensor], small: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights by name of a network with the parts from `adapter` merged in. Raises KeyError where they belong to another network."""
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
