"""Pictures as conditions: what is shown, what it is cut to, and what becomes of it when conditions are mixed."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions.image import (
    MAX_GRAIN,
    Shown,
    consistent,
    larger,
    of_request,
    residual,
    shown,
    smaller,
)
from mezzotint.diffusion.guidance import Guidance, cfg
from mezzotint.randomness import noise


@pytest.mark.parametrize("factor", [2, 4])
def test_made_smaller_it_is_as_pillow_makes_it(factor: int) -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (16, 24)).astype(np.float32)
    image, x = Image.fromarray(pixels), torch.from_numpy(pixels)[None, None]
    small = image.resize((24 // factor, 16 // factor), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(smaller(x, factor)[0, 0].numpy(), np.asarray(small), atol=0.01)
    flat = torch.full((1, 3, 4, 4), 0.3)
    torch.testing.assert_close(larger(flat, factor), torch.full((1, 3, 4 * factor, 4 * factor), 0.3))
    with pytest.raises(ValueError, match="does not divide"):
        smaller(x[..., :23], factor)


def test_what_is_shown_has_the_grain_it_says() -> None:
    large, grain = torch.zeros(3, 3, 64, 64), torch.tensor([0.0, 0.2, 0.5])
    cond = shown(large, grain, noise(torch.arange(3), 0, 0, (3, 64, 64)))
    assert cond.image is not None and cond.grain is not None and torch.equal(cond.grain, grain)
    torch.testing.assert_close(cond.image.flatten(1).std(1), grain, rtol=0.03, atol=0)
    picture = torch.rand(1, 3, 8, 8)
    one, other = (of_request(picture, 0.5, torch.tensor(seeds)).image for seeds in ([3, 4], [4, 5]))
    assert one is not None and other is not None and torch.equal(one[1], other[0])  # of the seed alone
    clean = of_request(picture, 0.0, torch.tensor([1])).image
    assert clean is not None and torch.equal(clean, picture)


class Noted:
    """An objective that remembers what it was given."""

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        self.x0, self.eps, self.cond = x0, eps, cond
        return x0.flatten(1).mean(1)


def test_x0_noise_and_what_is_shown_are_cut_alike() -> None:
    noted, count = Noted(), 200
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 24), indexing="ij")
    place = torch.stack([rows, columns]).expand(
        count, 2, 16, 24
    )  # in the place of noise, to see what was cut out
    x0 = torch.rand(count, 2, 16, 24, generator=torch.Generator().manual_seed(0))
    u = (torch.arange(count).double() + torch.rand(count, dtype=torch.float64)) / count
    Shown(noted, 2, 8)(x0, place, u, Cond(label=torch.arange(count)))
    image, grain = noted.cond.image, noted.cond.grain
    assert image is not None and grain is not None and noted.cond.label is not None
    assert noted.x0.shape == image.shape == (count, 2, 8, 8)
    top = ((noted.eps[:, 0, 0, 0] + 1) / 2 * 15).round().long().tolist()
    left = ((noted.eps[:, 1, 0, 0] + 1) / 2 * 23).round().long().tolist()
    assert sorted(set(left)) == list(range(0, 17, 2))  # every place at multiples of the factor, both ends too
    large = larger(smaller(x0, 2), 2)
    cut = lambda x: torch.stack([p[:, i : i + 8, j : j + 8] for p, i, j in zip(x, top, left)])  # noqa: E731
    torch.testing.assert_close(noted.x0, residual(cut(x0), cut(large)))
    noise_seen = image - (1 - grain**2).sqrt()[:, None, None, None] * cut(large)
    torch.testing.assert_close(noise_seen.flatten(1).std(1, correction=0), grain, rtol=0.35, atol=1e-6)
    assert grain.min() > 0 and grain.max() < MAX_GRAIN and abs(float(grain.mean()) - MAX_GRAIN / 3) < 0.03


def test_what_is_random_of_a_row_is_of_its_u_alone() -> None:
    noted, u = Noted(), torch.rand(4, dtype=torch.float64)
    x0 = torch.rand(4, 1, 8, 8)
    Shown(noted, 2, 4)(x0, x0, u, Cond())
    image, cut = noted.cond.image, noted.x0
    Shown(noted, 2, 4)(x0[2:3], x0[2:3], u[2:3], Cond())
    assert image is not None and noted.cond.image is not None
    assert torch.equal(noted.cond.image, image[2:3]) and torch.equal(noted.x0, cut[2:3])


def test_made_small_again_it_is_what_was_given() -> None:
    draw = torch.Generator().manual_seed(0)
    small = torch.randint(40, 216, (1, 3, 8, 8), generator=draw, dtype=torch.uint8)
    rough = (
        larger(small.float(), 2) + 25 + 12 * torch.randn(2, 3, 16, 16, generator=draw)
    )  # colours shifted by 25
    things = rough.clamp(0, 255).to(torch.uint8)
    before = (smaller(things.float(), 2) - small).square().mean().sqrt()
    result = consistent(things, small, 2)
    after = (smaller(result.float(), 2) - small).square().mean().sqrt()
    assert result.dtype == torch.uint8 and before > 20 and after < 12**-0.5  # the noise of 8 bits
    assert (consistent(result, small, 2).float() - result).abs().mean() < 0.5  # what is right stays


def test_the_picture_stays_where_what_is_asked_is_replaced() -> None:
    image, grain = torch.rand(3, 1, 2, 2), torch.rand(3)
    cond = Cond(label=torch.tensor([0, 1, 2]), image=image, grain=grain)
    mixed = cond.where(torch.tensor([True, False, True]), Cond(label=torch.tensor([9])))
    assert mixed.label is not None and mixed.label.tolist() == [9, 1, 9]
    assert mixed.image is image and mixed.grain is grain
    assert cond.asked.inputs().keys() == {"label"}


def test_guidance_shows_both_branches_the_same_picture() -> None:
    seen: list[Cond] = []

    def denoise(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        seen.append(cond)
        return torch.zeros_like(x)

    cond = Cond(label=torch.tensor([0, 1]), image=torch.rand(2, 1, 2, 2), grain=torch.rand(2))
    guidance = Guidance(torch.tensor([1.0, 3.0]).double(), Cond(label=torch.tensor([2])))
    cfg(denoise)(torch.zeros(2, 1, 2, 2), torch.zeros(2).double(), cond, guidance)
    assert seen[0].label is not None and seen[0].label.tolist() == [0, 1, 2]
    assert seen[0].image is not None and cond.image is not None
    assert torch.equal(seen[0].image, cond.image[[0, 1, 1]])
