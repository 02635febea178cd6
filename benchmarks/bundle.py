"""Puts the model of a finished run into the package, without the paths of the machine that trained it.

    python benchmarks/bundle.py RUN_DIRECTORY NAME [KEY=VALUE]...     (keys of the group sample)

The commands and figures of each bundled model stand in its card, src/mezzotint/models/NAME.md.
"""

import sys
from pathlib import Path

from mezzotint import build
from mezzotint.config import change
from mezzotint.disk.model_file import Header, load_codec, load_weights, read_header, save_model
from mezzotint.disk.names import BUNDLED


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
    half = (
        None if coded is None else coded.half()
    )  # 16 bits in the file; they are 32 again where it is loaded
    save_model(path, net.half(), Header(config, header.facts, header.step, header.weights), half)
    assert path.stat().st_size <= 4 * 2**20, "a bundled model has at most 4 MB"
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
