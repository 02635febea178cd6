"""Solutions to the exercises of phase 9: `python docs/guide/solutions/phase9.py` prints all answers."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint import load
from mezzotint.data.scenes import MARGIN, OPPOSITE, RELATIONS, SIDE, SIZES, Placed, Thing, draw, holds, scene
from mezzotint.evaluate.metrics.share import Share
from mezzotint.nets.unet import UNet


def attend(x: Tensor, weights: Tensor, there: Tensor) -> Tensor:
    """Attention of one head. x: (B, L, d); weights: (3, d, d) for q, k, v; there: (B, L) bool, the places looked at."""
    q, k, v = (x @ weight for weight in weights)
    scores = (q @ k.mT / x.shape[-1] ** 0.5).masked_fill(~there[:, None], -torch.inf)
    return scores.softmax(-1) @ v


def exercise_9_1(start: bool) -> tuple[bool, bool]:
    """Two texts of three words, the second one empty. Without START all its scores are minus infinity, the softmax is 0 / 0,
    and its rows are NaN. Leaving them out of the loss does not help: their gradient is 0 times NaN, and the gradient of a
    weight is a sum over all rows.

    Returns whether the first text's answer and the gradient of the weights are finite.
    """
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, generator=random)
    weights = torch.randn(3, 4, 4, generator=random).requires_grad_()
    there = torch.tensor([[True, True, True], [start, False, False]])
    first = attend(x, weights, there)[0]
    first.square().sum().backward()
    assert weights.grad is not None
    return bool(first.isfinite().all()), bool(weights.grad.isfinite().all())


def exercise_9_2(low: float = 0.86, high: float = 0.90, differ: float = 0.12) -> tuple[int, int]:
    """Wilson's intervals are about 2 * 1.96 sqrt(p (1 - p) / n) wide, so n grows with one over the squared gap. Asked the same
    captions, only those count on which the two differ: a share d of them, won by the better one in (d + gap) / 2. Its lead is
    gap n with the variance n (d - gap^2), and is clear of 0 by 1.96 deviations from n = 1.96^2 (d - gap^2) / gap^2 on.

    Returns both n: unpaired, in steps of 50, and paired.
    """
    n = 50
    while Share.of(round(low * n), n).high > Share.of(round(high * n), n).low:
        n += 50
    gap = high - low
    return n, round(1.96**2 * (differ - gap**2) / gap**2)


def exercise_9_3(scenes: int = 400) -> tuple[float, float]:
    """ "Left of" excludes "right of", but not "above". So a relation that was not asked for holds by accident, and a model that
    draws the right things anywhere is right in (1 + 0 + 2 p) / 4 of its pictures, if it places things as scenes do: one relation in
    four is the true one, one its opposite, and two hold with the probability p.

    Returns p, and the score by asking every scene for every relation.
    """
    two = [one for one in (scene(1, i) for i in range(3 * scenes)) if one.whole.relation][:scenes]
    across, right = [], []
    for one in two:
        for relation in RELATIONS:
            hit = holds(relation, one.placed[0], one.placed[1])
            right.append(hit)
            if relation not in (one.whole.relation, OPPOSITE[str(one.whole.relation)]):
                across.append(hit)
    return sum(across) / len(across), sum(right) / len(right)


def exercise_9_4() -> tuple[float, float]:
    """The mean over all places of the circle is E[x0 | text]. Returns the root mean squared error of the sketch, and the
    deviation of the mean from cell to cell, both in [-1, 1] of the pictures."""
    thing = Thing("red", "circle", "large")
    places = range(MARGIN, SIDE - MARGIN - SIZES["large"] + 1)
    drawn = [torch.from_numpy(draw((Placed(thing, x, y),))) for x in places for y in places]
    truth = F.adaptive_avg_pool2d(torch.stack(drawn).float().mean(0) / 127.5 - 1, 4)
    model = load("scenes", precision="fp32")
    net = model.net
    assert isinstance(net, UNet) and net.encoder is not None and net.sketch is not None
    with torch.no_grad():
        sketch = net.sketch(*net.encoder(model.language.cond(["a large red circle"]).text))[0]
    spread = (truth - truth.mean((1, 2), keepdim=True)).square().mean().sqrt()
    return float((sketch - truth).square().mean().sqrt()), float(spread)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("exercise_9_1:", {"without START": exercise_9_1(False), "with it": exercise_9_1(True)})
    print("exercise_9_2:", exercise_9_2())
    print("exercise_9_3:", exercise_9_3())
    print("exercise_9_4:", exercise_9_4())
