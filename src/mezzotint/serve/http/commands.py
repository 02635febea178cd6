"""Commands that make the same pictures: the settings of a PNG as a command line, a call of curl and a program. The

input pictures of an edit are called picture.png and mask.png in them.
"""

import json
import shlex
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from mezzotint.config import Sample
from mezzotint.model import again
from mezzotint.serve.http.endpoints import Served
from mezzotint.serve.http.problems import RESPONSES

api = APIRouter(responses=RESPONSES)
PLAIN = {*Sample.model_fields, "n", "seed", "label", "model", "step", "weights", "prompt", "negative"}
OPTIONS: dict[str, tuple[str, ...]] = {  # of each task
    "edit": ("strength", "returns", "feather"),
    "enlarge": ("factor", "returns", "grain"),
    "colour": ("returns",),
    "morph": (),
}


class SettingsBody(BaseModel):
    """Settings as stored in a PNG."""

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, Any] = Field(max_length=64)


class Commands(BaseModel):
    """None where the settings do not make pictures."""

    command: str | None = None
    curl: str | None = None
    python: str | None = None


@api.post("/v1/commands")
async def commands(request: Request, service: Served, body: SettingsBody) -> Commands:
    """What to type for pictures of these settings. Nothing is made, or kept."""
    head = "" if service.settings.secret is None else ' -H "Authorization: Bearer $MEZZOTINT_TOKEN"'
    try:
        return commands_of(body.settings, str(request.base_url), head)
    except (KeyError, TypeError, ValueError):  # of a task whose details are no such
        return Commands()


def commands_of(settings: dict[str, Any], address: str, head: str = "") -> Commands:
    """address: of the server, with a slash at its end; head: what curl says beside it."""
    plain = {name: value for name, value in settings.items() if name in PLAIN}
    task = settings.get("task")
    typed = again.command(plain)
    if typed is None or not (task is None or task in OPTIONS):
        return Commands()
    asked = {name: value for name, value in plain.items() if value is not None}
    options = {name: settings[name] for name in OPTIONS.get(task or "", ()) if settings.get(name) is not None}
    if task == "edit" and "mask" not in settings and "returns" in options:
        del options["strength"]  # what is transparent is made anew
    if task is None:
        return Commands(
            command=typed,
            curl=_curl(f"{address}v1/generate", head, asked),
            python=_python("sample", [], asked),
        )
    words = shlex.split(typed)[3:]
    if task == "morph":
        begin, end = settings["seeds"]
        del asked["seed"]
        place = words.index("--seed")
        target, words = [f"{begin}:{end}"], words[:place] + words[place + 2 :]
        curl = _curl(f"{address}v1/edits", head, {"task": task, "seeds": [begin, end], **asked})
        python = _python(task, [begin, end], asked)
    else:
        mask = "mask" in settings
        files = ["picture.png", *(["mask.png"] if mask else [])]
        target = ["picture.png", *(["--mask", "mask.png"] if mask else [])]
        target += [word for name, value in options.items() for word in (f"--{name}", f"{value:g}")]
        curl = _curl(f"{address}v1/edits", head, {"task": task, **options, **asked}, *files)
        python = _python(task, files, {**options, **asked})
    return Commands(
        command=shlex.join(["mezzotint", task, settings["model"], *target, *words]), curl=curl, python=python
    )


def _curl(address: str, head: str, asked: dict[str, Any], *files: str) -> str:
    """files: names of those that stand in the body in base64: picture.png as image, mask.png as mask."""
    body = {"class" if name == "label" else name: value for name, value in asked.items()}
    body |= {name.removesuffix(".png").replace("picture", "image"): f"@{name}@" for name in files}
    said = shlex.quote(json.dumps(body))
    for name in files:
        said = said.replace(f"@{name}@", f"'\"$(base64 -w0 {name})\"'")
    return f"curl -s{head} {shlex.quote(address)} --json {said} --output made.png"


def _python(call: str, places: list[Any], asked: dict[str, Any]) -> str:
    model, words = asked["model"], {name: value for name, value in asked.items() if name != "model"}
    arguments = [repr(one) for one in places] + [f"{name}={value!r}" for name, value in words.items()]
    lines = ["import mezzotint", "", f"model = mezzotint.load({model!r})"]
    lines += [f"pictures = model.{call}({', '.join(arguments)})", 'pictures.save("made.png")']
    return "\n".join(lines) + "\n"
