"""Do pictures made by a caption resemble the picture that has it?  For captioned sets that no program can judge.

    python benchmarks/captions.py --model RUN [--n 160] [--weights ema 0.1@1500]

A picture is made for each of n captions, by the model's defaults, and compared with the n real pictures of these captions: by
the root mean square difference at 16x16 pixels, in which no network has a part. `first`: how often its own picture is the
nearest, by chance 1 / n. `rank`: the median rank of its own picture in [0, 1], 0 is the nearest, by chance 0.5. Once for
captions that the run trained on, once for those of the split `test` all of whose words the model knows, and once, to put the measure on trial, for pictures asked
by the caption of another.
"""

import measuring
import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint import build, plots
from mezzotint.data.images import Pictures, load_pictures
from mezzotint.data.open import PictureSource
from mezzotint.errors import ConfigError
from mezzotint.evaluate.metrics.share import Share
from mezzotint.model.loading import load
from mezzotint.model.model import Model

PIXELS = 16
SHOWN = 8


def ranks(made: Tensor, real: Tensor) -> Tensor:
    """Rank of real picture i among all of them by its distance to made picture i, 0 is the nearest: uint8 (n, C, H, W) -> (n,)."""
    a, b = (F.interpolate(x.float(), size=PIXELS, mode="area").flatten(1) for x in (made, real))
    distance = torch.cdist(a, b)
    return (distance < distance.diagonal()[:, None]).sum(1)


def known(model: Model, caption: str) -> bool:
    """Whether the model knows all the words."""
    try:
        model.request(1, prompt=caption)
    except ConfigError:
        return False
    return True


def captioned(model: Model, split: str | None) -> tuple[Pictures, Tensor]:
    """Pictures of a split of the run's data, and the numbers (M,) of those to ask for: those
    whose words it knows, without a split those it trained on."""
    data = model.config.data
    pictures = load_pictures(
        data.name,
        data.path,
        split=split,
        size=data.size,
        captions=data.captions,
        labels=False,
        background=data.background,
    )
    if split is not None:
        captions = pictures.captions or []
        return pictures, torch.tensor([i for i, text in enumerate(captions) if known(model, text)])
    source = build.source(model.config, torch.device("cpu"))
    assert isinstance(source, PictureSource)
    return pictures, source.kept


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
        if not model.config.data.captions or model.config.data.path is None:
            raise SystemExit(
                f"{arguments.model} was not trained on captioned pictures in a folder or parquet files"
            )
        for split in (None, "test"):
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
                row = {"weights": weights, "split": split or "trained on", "asked by": name, "n": n}
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
