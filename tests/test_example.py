"""The one-file example and the library are the same mathematics: the same losses, and the same samples, in float64."""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers_modules import module_of
from PIL import Image
from torch import Tensor, nn

from mezzotint.diffusion.denoiser import Denoiser
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.loss import DenoisingLoss
from mezzotint.diffusion.parameterization import eps
from mezzotint.diffusion.process import vp
from mezzotint.diffusion.schedule import grid, linear
from mezzotint.diffusion.table import SAMPLERS

FILE = Path(__file__).resolve().parents[1] / "examples" / "ddpm.py"


@pytest.fixture(scope="module")
def ddpm() -> ModuleType:
    return module_of(FILE)


@pytest.fixture
def net(ddpm: ModuleType) -> Iterator[nn.Module]:
    """The example's network, small, with random weights, in float64."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    net = ddpm.UNet(8).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    yield net
    torch.set_default_dtype(torch.float32)


def test_it_stands_alone() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or "mezzotint"] if isinstance(node, ast.ImportFrom) else []
        assert not any(name.startswith("mezzotint") for name in names)


def test_levels_are_the_librarys(ddpm: ModuleType) -> None:
    torch.testing.assert_close(
        vp(linear(ddpm.T).logsnr)[0].square(), ddpm.alpha_bar, rtol=1e-12, atol=0, check_dtype=True
    )


def test_losses_are_the_librarys(ddpm: ModuleType, net: nn.Module) -> None:
    """t is the entry of the table that u = (t + 1/2) / T falls on."""
    table = linear(ddpm.T)
    objective = DenoisingLoss(Denoiser(net, vp, eps, table.index), table)
    x0, noise = torch.randn(2, 7, 1, 8, 8).unbind()
    t = torch.tensor([0, 1, 17, 250, 500, 998, 999])
    with torch.no_grad():
        ours = objective(x0, noise, (t + 0.5) / ddpm.T)
        theirs = torch.stack([ddpm.loss(net, x0[i, None], t[i, None], noise[i, None]) for i in range(7)])
        whole = ddpm.loss(net, x0, t, noise)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0)
    torch.testing.assert_close(ours.mean(), whole, rtol=1e-9, atol=0)


def test_samples_are_the_librarys(ddpm: ModuleType, net: nn.Module) -> None:
    """All T steps from the same start with the same fresh noise. The library goes further down and up again where
    the paper draws from a posterior: stop i of its grid has interval 2 i down, then 2 i + 1 up."""
    start = torch.randn(2, 1, 8, 8)
    fresh = torch.randn(ddpm.T, 2, 1, 8, 8)  # entry t for the step from t to t - 1
    theirs = ddpm.sample(net, start, lambda t: fresh[t])

    table, row = linear(ddpm.T), SAMPLERS["ddpm"]
    stops = row.stops(grid("trailing", ddpm.T, table))
    used: list[int] = []

    def noise(interval: int, draw: int) -> Tensor:
        used.append(ddpm.T - 1 - interval // 2)
        return fresh[used[-1]]

    *_, last = alone(Denoiser(net, vp, eps, table.index), row.walk(vp, start, stops, noise))
    assert used == list(range(ddpm.T - 1, 0, -1))
    assert theirs.isfinite().all() and theirs.std() > 0.1
    torch.testing.assert_close(last.x, theirs, rtol=1e-9, atol=1e-9 * float(theirs.abs().max()))


def test_it_runs(
    ddpm: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ddpm, "T", 10)
    ddpm.main(steps=100, batch=4)
    assert "step 100/100  loss" in capsys.readouterr().out
    with Image.open(tmp_path / "ddpm.png") as picture:
        assert picture.mode == "L" and picture.width == picture.height >= 500
