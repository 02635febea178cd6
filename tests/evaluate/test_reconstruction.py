"""Reconstructions beside trivial codecs of the same rate."""

import json
import math

import pytest
import torch
from torch import Tensor

from mezzotint import config
from mezzotint.disk.model_file import Header
from mezzotint.evaluate.judges.features import Extractor, Features
from mezzotint.evaluate.reconstruction import judge_autoencoder, table
from mezzotint.evaluate.reference import given_pictures
from mezzotint.evaluate.trivial import bicubic, dct
from mezzotint.media.facts import Facts
from mezzotint.model.autoencoder import Autoencoder, psnr
from mezzotint.nets.vae import VAE


def smooth(n: int, channels: int = 3, size: int = 16) -> Tensor:
    """Random pictures of few frequencies, uint8."""
    random = torch.Generator().manual_seed(n)
    small = torch.rand(n, channels, 4, 4, generator=random)
    large = torch.nn.functional.interpolate(small, (size, size), mode="bicubic")
    return (large * 200 + 20).clamp(0, 255).to(torch.uint8)


def test_psnr_has_its_closed_form() -> None:
    x = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
    y = x.clone()
    y[0] += 1
    assert psnr(y, x).tolist() == pytest.approx([20 * math.log10(255), 100.0])


@pytest.mark.parametrize("channels", [1, 3])
def test_trivial_codecs_lose_less_at_higher_rates(channels: int) -> None:
    pictures, training = smooth(8, channels), smooth(100, channels)
    everything = pictures[0].numel()
    assert torch.equal(dct(pictures, everything, training), pictures)
    assert (bicubic(pictures, everything).int() - pictures.int()).abs().max() <= 1
    for codec in (bicubic, lambda x, rate: dct(x, rate, training)):
        ladder = [float(psnr(codec(pictures, rate), pictures).mean()) for rate in (3, 12, 48, 192)]
        assert ladder == sorted(ladder) and ladder[-1] > 30, ladder
    flat = torch.full_like(pictures, 77)
    assert torch.equal(bicubic(flat, 3), flat)
    noise, more = (torch.randint(0, 256, (n, channels, 16, 16), dtype=torch.uint8) for n in (20, 400))
    lost = 10 * math.log10(255**2 / (255**2 / 12 / 2))  # of noise half of the numbers is half of it
    assert float(psnr(dct(noise, everything // 2, more), noise).mean()) == pytest.approx(lost, abs=0.3)


def test_a_table_has_the_autoencoder_first() -> None:
    facts = Facts((3, 16, 16))
    parsed = config.parse({"objective": "autoencode", "network": {"kind": "vae", "width": 8}})
    torch.manual_seed(0)
    autoencoder = Autoencoder(Header(parsed, facts, 0, "raw"), VAE(3, width=8), torch.device("cpu"), "mine")
    assert autoencoder.rate == 4 * 4 * 4
    means = Extractor("means", "0", "none", 3, False, lambda x: Features(x.float().mean((-2, -1)), None))
    found = judge_autoencoder(autoencoder, given_pictures(smooth(40)), means, 30)
    assert [*found.numbers] == ["mine", "bicubic down and up", "DCT"] and found.n == 30
    mine, _, best = found.numbers.values()
    assert mine[0].value < best[0].value and mine[1].value > best[1].value >= 0, "it has learned nothing"
    assert "64 numbers for a picture of 768" in table([found])[0]
    content = json.loads(json.dumps(found.as_json()))
    assert {"psnr", "psnr, DCT", "frechet distance of reconstructions"} <= set(content["numbers"])
