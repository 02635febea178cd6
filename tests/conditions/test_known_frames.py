"""Known frames: what networks are shown of them, in training, in an edit and in samples; and a network that uses them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mezzotint import build, config
from mezzotint.cond import NO_COND, Cond
from mezzotint.conditions.frames import Begun, begun
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.nets.unet import UNet
from mezzotint.run.fit import fit
from mezzotint.run.parts import Parts
from mezzotint.train.distributed import Ranks
from mezzotint.train.objectives import core

SMALL: dict[str, Any] = {"width": 8, "multipliers": (1,), "blocks": 1, "patch": 2, "frames": 6}
TINY: dict[str, Any] = {
    "data": {"name": "bouncing", "known": 0.5},
    "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "patch": 4, "attention": []},
    "train": {"steps": 2, "batch_size": 2, "precision": "fp32", "optimizer": "muon"},
    "sample": {"steps": 2, "guidance": 1.0},
}


def test_what_is_shown() -> None:
    codes = torch.randn(2, 3, 6, 4, 5)
    image = begun(codes, torch.tensor([0, 2]))
    assert image.shape == (2, 4, 6, 4, 5) and not image[0].any()
    assert (
        image[1, :3, :2].equal(codes[1, :, :2]) and image[1, 3, :2].eq(1).all() and not image[1, :, 2:].any()
    )


def test_a_share_of_rows_is_begun_by_any_number_of_frames() -> None:
    seen: list[Tensor] = []

    def objective(x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        assert cond.image is not None and cond.label is not None
        seen.append(cond.image)
        return x0.flatten(1).mean(1)

    rows = 4000
    x0, u = torch.ones(rows, 1, 6, 1, 1), (torch.arange(rows) + 0.37).double() / rows
    cond = Cond(label=torch.zeros(rows, dtype=torch.int64))
    for part in (slice(None), slice(7, 20)):  # the same of a row in any batch
        Begun(objective, 0.25)(x0[part], x0[part], u[part], Cond(label=cond.label[part]))
    count = seen[0][:, 1, :, 0, 0].sum(1)
    assert seen[1].equal(seen[0][7:20])
    shares = [float((count == k).float().mean()) for k in range(7)]
    assert shares == pytest.approx([0.75, *[0.25 / 3] * 3, 0, 0, 0], abs=0.025)


def test_the_network_starts_as_one_that_is_shown_nothing() -> None:
    torch.manual_seed(0)
    plain, shown = UNet(1, **SMALL), UNet(1, **SMALL, known=True)
    with torch.no_grad():
        for weight in plain.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    missing, unexpected = shown.load_state_dict(plain.state_dict(), strict=False)
    assert missing == ["known.weight", "known.bias"] and not unexpected
    x, level = torch.randn(2, 1, 6, 7, 8), torch.rand(2)  # an odd side is padded
    image = begun(torch.randn_like(x), torch.tensor([2, 3]))
    with torch.no_grad():
        assert shown(x, level, image=image).equal(plain(x, level)) and shown(x, level).equal(plain(x, level))
        shown.known.weight.normal_()  # type: ignore[union-attr]
        assert not shown(x, level, image=image).equal(plain(x, level))
        assert shown(x, level).equal(shown(x, level, image=begun(x, torch.zeros(2))))
    with pytest.raises(ValueError, match="image"):
        plain(x, level, image=image)


def test_it_learns_to_look_at_them() -> None:
    """Clips of one random grey each: under pure noise nothing tells it but a known frame."""
    torch.manual_seed(0)
    net = UNet(1, **SMALL, known=True)
    bound = build.denoiser(
        config.parse({**TINY, "diffusion": {"process": "flow", "parameterization": "x0"}}), net
    )
    adam = torch.optim.Adam(net.parameters(), 1e-2)
    level = torch.full((16,), -20.0, dtype=torch.float64)

    def wrong(count: int) -> Tensor:
        x0 = torch.randn(16, 1, 1, 1, 1).expand(-1, 1, 6, 4, 4)
        cond = Cond(image=begun(x0, torch.full((16,), count)))
        return (bound(torch.randn_like(x0), level, cond) - x0).square()[:, :, 3:].mean()

    for _ in range(60):
        adam.zero_grad()
        (wrong(2) + wrong(0)).backward()
        adam.step()
    with torch.no_grad():
        assert (
            float(sum(wrong(2) for _ in range(8)) / 8)
            < 0.15
            < 0.6
            < float(sum(wrong(0) for _ in range(8)) / 8)
        )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    run = tmp_path_factory.mktemp("clips") / "run"
    for _ in fit(config.parse(TINY), run):
        pass
    return load(run)


def test_an_edit_shows_them_and_a_sample_shows_none(model: Model) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (16, 32, 32), dtype=np.uint8)
    known = model.codec.encode(torch.from_numpy(clip)[None, None])
    request = model.edits.edit(clip[:4], n=2)
    assert request.cond.image is not None and request.cond.image.equal(
        begun(known, torch.tensor([4])).expand(2, -1, -1, -1, -1)
    )
    assert request.steps == model.request(1).steps  # walked once
    for nothing in (
        model.request(2),
        model.edits.edit(clip, strength=0.5, n=2),
        model.edits.morph(1, 2, n=2),
    ):
        assert nothing.cond.image is not None and not nothing.cond.image.any()
    made = model.edit(clip[:4], n=2).values
    assert made[:, 0, :4].equal(torch.from_numpy(clip[:4]).expand(2, -1, -1, -1))
    holes = torch.zeros(16, 32, 32, dtype=torch.bool)
    holes[3:, 0] = holes[10:] = True
    assert model.edits._known_frames(holes) == 3  # the first that are whole


def test_students_learn_to_go_on_as_well(model: Model, tmp_path: Path) -> None:
    """And an objective that changes as training goes on is told so, whatever holds it."""
    chosen = config.parse({**TINY, "objective": "consistency"})
    parts = Parts(chosen, tmp_path, Ranks())
    assert isinstance(parts.objective, Begun) and core(parts.objective) is parts.objective.objective
    assert all(torch.isfinite(progress.loss) for progress in parts.steps(2))


def test_what_cannot_be_begun() -> None:
    pictures = config.parse({**TINY, "data": {"name": "digits", "known": 0.5}})
    with pytest.raises(ConfigError, match=r"data\.known is for clips"):
        build.network(pictures, Facts((1, 8, 8)))
    assert "known" not in config.parse({"data": {"name": "digits"}}).data.model_dump()
    assert NO_COND.image is None
