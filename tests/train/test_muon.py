"""Muon against the singular value decomposition and PyTorch's own, and AdamW for the rest."""

import copy

import pytest
import torch
from torch import nn

from mezzotint.train.muon import Muon, muon, orthogonal


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 20), nn.GroupNorm(2, 20), nn.Linear(20, 8))


def one_step(model: nn.Module, optimizers: list[torch.optim.Optimizer], x: torch.Tensor) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
    model(x).square().sum().backward()
    for optimizer in optimizers:
        optimizer.step()


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 40, 8), (1, 16, 16)])
def test_singular_values_become_about_one_and_the_vectors_stay(shape: tuple[int, int, int]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    out = orthogonal(x)
    core = u.mT @ out @ vh.mT  # diagonal, if the singular vectors are those of x
    values = torch.linalg.svdvals(out)
    assert values.min() > 0.6 and values.max() < 1.3
    assert (core - torch.diag_embed(core.diagonal(dim1=1, dim2=2))).abs().max() < 1e-3


def test_the_scale_of_the_gradient_does_not_matter() -> None:
    x = torch.randn(1, 8, 40, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonal(x), orthogonal(1024 * x), rtol=0, atol=1e-3)


def test_matrices_move_as_by_pytorchs_muon_and_the_rest_as_by_adamw() -> None:
    mine, theirs = net(), net()
    optimizer = muon(mine, lr=0.01, weight_decay=0.1)
    matrices = [p for p in theirs.parameters() if p.ndim > 1]
    others = [p for p in theirs.parameters() if p.ndim <= 1]
    pair = [
        torch.optim.Muon(matrices, lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.01, betas=(0.9, 0.99), weight_decay=0.0),
    ]
    for step in range(5):
        x = torch.randn(32, 12, generator=torch.Generator().manual_seed(step))
        one_step(mine, [optimizer], x)
        one_step(theirs, pair, x)
    for (name, a), b in zip(mine.named_parameters(), theirs.parameters()):
        start = dict(net().named_parameters())[name]
        assert (a - b).norm() < 0.03 * (b - start).norm(), name


def test_a_convolution_is_the_matrix_its_patches_are_multiplied_with() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3)
    start = conv.weight.detach().clone()
    optimizer = muon(conv, lr=1.0)
    conv(torch.randn(2, 4, 6, 6)).square().sum().backward()
    optimizer.step()
    moved = (conv.weight.detach() - start).flatten(1)
    assert moved.square().mean().sqrt() == pytest.approx(0.2, rel=0.15)  # the size of an AdamW update
    values = torch.linalg.svdvals(moved)
    assert values.max() / values.min() < 2


def test_a_weight_without_gradient_stays_and_a_resumed_run_goes_on() -> None:
    model = net()
    model[0].requires_grad_(False)
    before = copy.deepcopy(model[0].weight)
    optimizer = muon(model, lr=0.01)
    x = torch.randn(32, 12, generator=torch.Generator().manual_seed(0))
    one_step(model, [optimizer], x)
    assert torch.equal(model[0].weight, before)

    other = copy.deepcopy(model)
    again = muon(other, lr=0.01)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    one_step(model, [optimizer], x)
    one_step(other, [again], x)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))
    assert isinstance(again, Muon)


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    model = net()
    optimizer = muon(model, lr=0.01, weight_decay=0.1)
    one_step(model, [optimizer], torch.randn(32, 12))
    weights = copy.deepcopy(model.state_dict())
    moments = copy.deepcopy(optimizer.state_dict()["state"])
    optimizer.grad_scale, optimizer.found_inf = None, torch.tensor(1.0)
    one_step(model, [optimizer], torch.full((32, 12), float("nan")))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())
    for number, entry in optimizer.state_dict()["state"].items():
        assert all(torch.equal(entry[name], value) for name, value in moments[number].items())
    optimizer.found_inf = torch.tensor(0.0)
    one_step(model, [optimizer], torch.randn(32, 12))
    assert not any(torch.equal(model.state_dict()[name], value) for name, value in weights.items())


class WithTable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.linear = nn.Parameter(torch.randn(4, 12)), nn.Linear(12, 8)

    def elementwise(self) -> list[torch.Tensor]:
        return [self.table]

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        return self.linear(self.table[index])


def test_what_a_network_calls_elementwise_moves_by_adamw() -> None:
    mine, theirs = WithTable(), WithTable()
    first = mine.linear.weight.detach().clone()
    by_adamw = torch.optim.AdamW([theirs.table], lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    index = torch.tensor([0, 2, 3])
    one_step(mine, [muon(mine, lr=0.01)], index)
    one_step(theirs, [by_adamw], index)
    torch.testing.assert_close(mine.table, theirs.table)
    assert (
        torch.linalg.svdvals(mine.linear.weight.detach() - first).std() < 0.01
    )  # a matrix's move is orthogonal
