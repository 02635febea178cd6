"""Does one see the patches that a network works in?  Samples beside the pictures that a run was trained on.

    python benchmarks/seams.py --model RUN [--patch 8] [--n 256]

Seam: the mean difference of neighbouring columns and rows across the borders of patches, over that inside of them. Peak: the power
of those differences' pattern at the frequencies of the patch (1 / patch and its multiples), over that at the frequencies beside
them. Both are 1 where nothing is seen; what counts is the ratio to real pictures, which should lie within 5 %.
"""

import measuring
import torch
from torch import Tensor

from mezzotint import build
from mezzotint.model.loading import load


def profile(x: Tensor, patch: int) -> Tensor:
    """Mean absolute differences of neighbouring columns and rows by their place within a patch, (patch,): the last is across a
    border. x: (N, C, H, W)."""
    x = x.float()
    total, count = torch.zeros(patch), torch.zeros(patch)
    for axis in (-1, -2):
        steps = x.diff(dim=axis).abs().movedim(axis, -1).flatten(0, -2).mean(0)
        place = torch.arange(len(steps)) % patch
        total.index_add_(0, place, steps)
        count.index_add_(0, place, torch.ones(len(steps)))
    return total / count


def peak(x: Tensor, patch: int) -> float:
    """Power at multiples of the frequency 1 / patch, over the geometric mean of that at the frequencies on either side, of the
    pictures' rows and columns; mean over multiples."""
    x = x.float()
    ratios = []
    for axis in (-1, -2):
        side = x.shape[axis]
        power = torch.fft.rfft(x - x.mean(axis, keepdim=True), dim=axis).abs().square()
        power = power.movedim(axis, -1).flatten(0, -2).mean(0)
        for k in range(side // patch, side // 2, side // patch):
            ratios.append(float(power[k] / (power[k - 1] * power[k + 1]).sqrt()))
    return sum(ratios) / len(ratios)


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--patch", type=int, help="default: that of the network")
    parser.add_argument("--n", type=int, default=256)
    arguments = parser.parse_args()
    measuring.use_threads(arguments.threads)
    model = load(arguments.model)
    patch = arguments.patch or model.config.network.patch  # type: ignore[union-attr]
    n = 8 if arguments.quick else arguments.n
    samples = model.sample(n, seed=10**6).values
    real = model.codec.decode(next(build.source(model.config, torch.device("cpu")).batches(0, n, 0)).x0)
    result = {}
    for name, x in (("samples", samples), ("real", real)):
        along = profile(x, patch)
        result[name] = {"seam": float(along[-1] / along[:-1].mean()), "peak": peak(x, patch)}
    for key in ("seam", "peak"):
        ratio = result["samples"][key] / result["real"][key]
        print(
            f"{key}: samples {result['samples'][key]:.3f}, real {result['real'][key]:.3f}, ratio {ratio:.3f}"
        )
    measuring.keep(arguments.out, f"seams-{model.source}", result, arguments.quick)


if __name__ == "__main__":
    main()
