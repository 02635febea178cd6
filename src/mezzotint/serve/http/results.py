"""Finished pictures in the requested formats."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator

from mezzotint import plots
from mezzotint.model.samples import Samples
from mezzotint.serve.http.schemas import Format, Pictures

MEDIA: dict[Format, str] = {"png": "image/png", "json": "application/json", "zip": "application/zip"}


def encode(samples: Samples, form: Format) -> bytes:
    """png: one picture at its own size, or a grid of several; json: `Pictures`; zip: single PNGs, or points.csv."""
    match form:
        case "png":
            first, *later = samples.frames()
            return plots.png(first, samples.settings, later)
        case "json":
            return _json(samples).model_dump_json().encode()
        case "zip":
            return _zip(samples)


def _singles(samples: Samples) -> Iterator[tuple[int, bytes]]:
    """Seed and PNG of every picture; its settings are those that make it again, alone."""
    for i, seed in enumerate(samples.seeds.tolist()):
        yield seed, encode(samples.alone(i), "png")


def in_base64(samples: Samples) -> list[str]:
    """A PNG of every picture; of points one of all."""
    if samples.medium.table is not None:
        return [base64.b64encode(encode(samples, "png")).decode()]
    return [base64.b64encode(one).decode() for _, one in _singles(samples)]


def _json(samples: Samples) -> Pictures:
    made = Pictures(settings=samples.settings, seeds=samples.seeds.tolist(), labels=samples.words)
    if samples.medium.table is not None:
        return made.model_copy(update={"points": samples.values.tolist()})
    return made.model_copy(update={"images": in_base64(samples)})


def _zip(samples: Samples) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # PNGs do not get smaller
        archive.writestr("settings.json", json.dumps(samples.settings, indent=1))
        if samples.medium.table is not None:
            archive.writestr("points.csv", samples.medium.table(samples.values))
        else:
            for number, (seed, one) in enumerate(_singles(samples)):
                archive.writestr(f"{number:04d}-{seed}.png", one)
    return content.getvalue()
