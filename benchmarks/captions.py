"""Do pictures made by a caption resemble the picture that has it?  For captioned sets that no program can judge.

    python benchmarks/captions.py --model RUN [--n 160] [--weights ema 0.1@1500]

A picture is made for each of n captions, by the model's defaults, and compared with the n real pictures of these captions: by
the root mean square difference at 16x16 pixels, in which no network has a part. `first`: how often its own picture is the
nearest, by chance 1 / n. `rank`: the median rank of its own picture in [0, 1], 0 is the nearest, by chance 0.5. Once for
captions that the run trained on, once for those of the split `test` all of whose words the model knows. Beside them, to put the
measure on trial, for pictures asked by the caption of another.
"""

import measuring
import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint import build, plots
from mezzotint.data.images import Pictures
from mezzotint.data.open import PictureSource
from mezzotint.evaluate.metrics.share import Share
from mezzotint.model.loading import load
from mezzotint.model.model import Model

TRAINED = "trained on"
PIXELS = 16
SHOWN = 8


def ranks(made: Tensor, real: Tensor) -> Tensor:
    """Rank of real picture i among all of them by its distance to made picture i, 0 is the nearest: uint8 (n, C, H, W) -> (n,)."""
    a, b = (F.interpolate(x.float(), size=PIXELS, mode="area").flatten(1) for x in (made, real))
    distance = torch.cdist(a, b)
    return (distance < distance.diagonal()[:, None]).sum(1)


def captioned(model: Model, split: str) -> tuple[Pictures, Tensor]:
    """The pictures of a split of the run's data, and the numbers (M,) of those to ask for: of TRAINED those it trained on, of others
    those all of whose words it knows."""
    config = model.config
    if split != TRAINED:
        config = config.model_copy(update={"data": config.data.model_copy(update={"split": split})})
    nothing = f"{model.source} was not trained on captioned pictures"
    if model.language is None:
        raise SystemExit(nothing)
    source = build.source(config, torch.device("cpu"))
    if not isinstance(source, PictureSource) or source.pictures.captions is None:
        raise SystemExit(nothing)
    if split == TRAINED:
        return source.pictures, source.kept
    fits = [i for i, text in enumerate(source.pictures.captions) if model.language.fits(text)]
    return source.pictures, torch.tensor(fits)


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--n", type=int, default=160)
    parser.add_argument("--weights", nargs="+", default=["ema"])
    arguments = parser.parse_args()
    measuring.use_threads(arguments.threads)
    machine = measuring.machine(arguments.threads)
    rows, shown = [], []
    for weights in arguments.weights:
        model = load(arguments.model, weights=weights)
        for split in (TRAINED, "test"):
            pictures, part = captioned(model, split)
            n = min(8 if arguments.quick else arguments.n, len(part))
            chosen = part[torch.arange(n) * len(part) // n]
            real, _ = pictures.batch(chosen)
            captions = [(pictures.captions or [])[i] for i in chosen.tolist()]
            steps = 1 if arguments.quick else None
            made = model.sample(n, prompt=captions, seed=0, steps=steps).values
            shown += [made[:SHOWN], real[:SHOWN]]
            for name, against in (("own caption", real), ("another's", real.roll(n // 2, 0))):
                rank = ranks(made, against)
                first = Share.of(int((rank == 0).sum()), n)
                row = {"weights": weights, "split": split, "asked by": name, "n": n}
                rows.append(
                    {**row, "first": first._asdict(), "rank": float(rank.double().median()) / (n - 1)}
                )
                print(
                    f"{weights:10} {row['split']:10} {name:12} n {n}  first {100 * first.value:.1f} % "
                    f"({100 * first.low:.1f} to {100 * first.high:.1f})  rank {rows[-1]['rank']:.3f}",
                    flush=True,
                )
    arguments.out.mkdir(parents=True, exist_ok=True)
    sheet = plots.sheet(torch.cat(shown), columns=min(SHOWN, len(shown[0])))
    plots.save_png(sheet, arguments.out / f"{measuring.file_name('captions', arguments.quick)}.png")
    measuring.keep(arguments.out, "captions", {"machine": machine, "rows": rows}, arguments.quick)


if __name__ == "__main__":
    main()
