"""Two processes are one: the same rows, noise, steps, sheets and files."""

from pathlib import Path

import pytest
import torch
from helpers_ranks import work_of_a_rank
from helpers_together import processes
from PIL import Image, ImageChops
from safetensors.torch import load_file

from mezzotint.disk.folder import read_metrics
from mezzotint.train.distributed import Ranks


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process and what two of them made."""
    alone, two = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("two")
    assert processes(1, lambda rank: work_of_a_rank(alone)) == [0]
    assert processes(2, lambda rank: work_of_a_rank(two)) == [0, 0]
    return alone, two


@pytest.mark.parametrize(("name", "tolerance"), [("double", 1e-10), ("single", 1e-4)])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_twenty_steps_of_two_processes_are_those_of_one(
    folders: tuple[Path, Path], name: str, tolerance: float, accumulate: int
) -> None:
    one, two = (load_file(folder / f"{name}-{accumulate}.safetensors") for folder in folders)
    reference = load_file(folders[0] / f"{name}-1.safetensors")
    for key in one:
        loose = max(tolerance, 1e-6) if key in ("loss", "levels") else tolerance  # told in float32
        torch.testing.assert_close(two[key], one[key], rtol=loose, atol=loose, msg=key)
        torch.testing.assert_close(one[key], reference[key], rtol=loose, atol=loose, msg=key)


def test_a_run_of_two_processes_is_that_of_one(folders: tuple[Path, Path]) -> None:
    one, two = (folder / "run" for folder in folders)
    a, b = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)
    rows = [read_metrics(folder) for folder in (one, two)]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    for mine, theirs in zip(*rows):
        for key in ("loss", "val_loss", "grad_norm", "ema_gap"):
            assert (key in mine) == (key in theirs)
            if key in mine:
                assert mine[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-4)
    with (
        Image.open(one / "samples" / "step-0000012.png") as x,
        Image.open(two / "samples" / "step-0000012.png") as y,
    ):
        assert x.size == y.size
        extrema = ImageChops.difference(x.convert("L"), y.convert("L")).getextrema()
        assert extrema[1] <= 2  # grey levels
    names = [sorted(str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()) for f in (one, two)]
    assert names[0] == names[1]


def test_alone_nothing_is_shared() -> None:
    ranks = Ranks()
    x = torch.randn(3)
    assert ranks.first and ranks.sum(x) is x and ranks.gather(x) is x and ranks.tell(2.5) == 2.5
    assert ranks.any(True) and not ranks.any(False)
    assert ranks.span(7) == range(7)


@pytest.mark.parametrize("total", [1, 7, 8])
def test_spans_cover_everything_in_order(total: int) -> None:
    spans = [Ranks(rank, 3).span(total) for rank in range(3)]
    assert len({len(span) for span in spans}) == 1
    assert [i for span in spans for i in span][:total] == list(range(total))
