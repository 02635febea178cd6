import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mezzotint.nets.embed import Conditioning, sinusoidal

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "networks.npz"


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"reference values are missing: {GOLDEN}")
@pytest.mark.parametrize("dim", [8, 32, 33])
def test_sinusoidal_equals_guided_diffusion(dim: int) -> None:
    golden = np.load(GOLDEN)
    t = torch.from_numpy(golden["emb__t"])
    for suffix, period in (("", 10_000.0), ("__period100", 100.0)):
        if (name := f"emb__guided__dim{dim}{suffix}") in golden:
            torch.testing.assert_close(
                sinusoidal(t, dim, period), torch.from_numpy(golden[name]), rtol=1e-12, atol=1e-12
            )


def test_sinusoidal_closed_form() -> None:
    t = torch.tensor([0.0, 1.0, -2.5, 999.0], dtype=torch.float64)
    out = sinusoidal(t, 7)
    for k in range(3):
        angle = t * 10_000 ** (-k / 3)
        torch.testing.assert_close(out[:, k], angle.cos())
        torch.testing.assert_close(out[:, 3 + k], angle.sin())
    assert (out[:, 6] == 0).all()
    assert out.dtype == torch.float64


def test_sinusoidal_of_half_precision_and_integers_is_float32() -> None:
    t = torch.tensor([3, 900])
    assert sinusoidal(t, 8).dtype == sinusoidal(t.bfloat16(), 8).dtype == torch.float32
    torch.testing.assert_close(sinusoidal(t, 8), sinusoidal(t.double(), 8).float(), atol=1e-4, rtol=0)


def test_no_label_is_the_null_label_and_every_class_differs() -> None:
    conditioning = Conditioning(16, classes=3).double()
    c_noise = torch.rand(4, dtype=torch.float64)
    assert torch.equal(conditioning(c_noise), conditioning(c_noise, torch.full((4,), 3)))
    vectors = conditioning(c_noise[:1].expand(4), torch.arange(4))
    assert torch.cdist(vectors, vectors)[~torch.eye(4, dtype=torch.bool)].min() > 0.1


def test_class_vector_is_a_row_of_the_table_beside_the_level() -> None:
    conditioning = Conditioning(16, classes=3).double()
    c_noise, label = torch.rand(4, dtype=torch.float64), torch.tensor([2, 0, 3, 2])
    level = conditioning.outer(F.silu(conditioning.inner(sinusoidal(c_noise, 16))))
    expected = level + conditioning.table[label]
    torch.testing.assert_close(conditioning(c_noise, label), expected, rtol=1e-13, atol=1e-13)


def test_wrong_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="no classes"):
        Conditioning(8)(torch.rand(2), torch.tensor([0, 0]))
    for wrong in (-1, 4):
        with pytest.raises(RuntimeError):
            Conditioning(8, classes=3)(torch.rand(2), torch.tensor([0, wrong]))


def test_classes_are_standard_normal_and_shapes_alone_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of `torch.randn`; on the meta device none, since PyTorch would load sympy to draw them."""
    torch.manual_seed(3)
    torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    expected = torch.randn(5, 8)
    torch.manual_seed(3)
    table = Conditioning(8, classes=4).table
    assert table is not None and torch.equal(table, expected)
    for name in ("torch.fx.experimental.symbolic_shapes", "torch._dynamo"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it would raise
    with torch.device("meta"):
        table = Conditioning(8, classes=4).table
    assert table is not None and table.shape == (5, 8) and table.is_meta
