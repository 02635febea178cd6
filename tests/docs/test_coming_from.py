"""The page for those who come from another package: their call and ours give the same numbers."""

from pathlib import Path
from typing import Any

import pytest
from test_blocks import blocks

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "coming-from.md").read_text(encoding="utf-8")
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
NEEDS = {  # what is imported, how many comparisons there are, and how far they may be apart: theirs are float32 inside
    "diffusers": ("diffusers", 6, 2e-4),
    "k-diffusion": ("k_diffusion", 3, 2e-5),
    "EDM": ("torch", 2, 1e-10),
    "denoising-diffusion-pytorch": ("denoising_diffusion_pytorch", 2, 2e-6),
    "Fréchet distance": ("torchmetrics", 1, 1e-6),
}


def test_every_section_is_compared() -> None:
    assert list(SECTIONS) == list(NEEDS)


@pytest.mark.parametrize("section", SECTIONS)
def test_their_call_and_ours(section: str) -> None:
    package, count, tolerance = NEEDS[section]
    pytest.importorskip(package, reason=f"{package} is not installed", exc_type=ImportError)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    compared = 0
    for block in blocks(SECTIONS[section]):
        if block.language == "python":
            exec(compile(block.text, f"coming-from.md, {section}", "exec"), namespace)
        if "theirs" in namespace:
            theirs, ours = namespace.pop("theirs").double(), namespace.pop("ours").double()
            assert theirs.shape == ours.shape and theirs.isfinite().all()
            assert (theirs - ours).abs().max() <= tolerance * theirs.abs().max(), block.text
            compared += 1
    assert compared == count
