"""The measure of benchmarks/captions.py: which real picture is a made one nearest to."""

import captions
import torch
from torch import Tensor


def pictures(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(256, (n, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return small.repeat_interleave(8, -1).repeat_interleave(8, -2)


def test_a_picture_is_nearest_to_itself_also_under_noise() -> None:
    real = pictures(20)
    noise = torch.randint(-20, 21, real.shape, generator=torch.Generator().manual_seed(1))
    made = (real.int() + noise).clamp(0, 255).to(torch.uint8)
    assert captions.ranks(real, real).tolist() == [0] * 20
    assert captions.ranks(made, real).tolist() == [0] * 20


def test_of_another_there_is_one_nearer() -> None:
    real = pictures(20)
    assert (captions.ranks(real, real.roll(1, 0)) > 0).all()


def test_what_has_nothing_to_do_with_them_is_in_the_middle() -> None:
    rank = captions.ranks(pictures(200), pictures(400)[200:]).double() / 199
    assert 0.35 < float(rank.median()) < 0.65
