"""Puts the model of a finished run into the package, without the paths of the machine that trained it.

    python benchmarks/bundle.py RUN_DIRECTORY NAME [KEY=VALUE]...     (keys of the group sample)

The commands and figures of each bundled model stand in its card, src/mezzotint/models/NAME.md.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from mezzotint import build
from mezzotint.config import change
from mezzotint.disk.model_file import Header, load_codec, load_weights, read_header, save_model
from mezzotint.disk.names import BUNDLED


@torch.no_grad()
def shortened(net: nn.Module) -> nn.Module:
    """Without the last two of the ten bits of every float16's fraction, rounded to even: a wheel packs them to a tenth less. Pictures
    of `flowers` change by 0.11 grey levels (at most 2), those of computing in bfloat16 by 0.17 (4)."""
    for weights in net.parameters():
        bits = weights.view(torch.int16).int()
        bits += 1 + (bits >> 2 & 1)
        weights.copy_((bits & ~3).to(torch.int16).view(torch.float16))
    return net


def main(run: Path, name: str, *changes: str) -> None:
    header = read_header(run / "model.safetensors")
    data = header.config.data.model_copy(update={"path": None})
    config = header.config.model_copy(update={"data": data})
    if teacher := config.teacher:
        config = config.model_copy(
            update={"teacher": teacher.model_copy(update={"file": Path(teacher.file.name)})}
        )
    if (codec := config.codec) and codec.file:
        config = config.model_copy(
            update={"codec": codec.model_copy(update={"file": Path(codec.file.parent.name)})}
        )
    if origin := config.origin:
        config = config.model_copy(
            update={"origin": origin.model_copy(update={"file": Path(origin.file.parent.name)})}
        )
    config = change(config.model_dump(mode="json"), [f"sample.{text}" for text in changes])
    net = build.network(config, header.facts)
    coded = build.codec(config, header.facts).weights
    load_weights(net, run / "model.safetensors", coded is not None)
    if coded is not None:
        load_codec(coded, run / "model.safetensors")
    path = BUNDLED / f"{name}.safetensors"
    net, half = net.half(), None  # 16 bits in the file; they are 32 again where it is loaded
    if coded is not None:
        net, half = shortened(net), shortened(coded.half())
    save_model(path, net, Header(config, header.facts, header.step, header.weights), half)
    most = 4 if coded is None else 12
    assert path.stat().st_size <= most * 2**20, f"a bundled model of its kind has at most {most} MB"
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
