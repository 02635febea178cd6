"""The page /docs: all requests, from the OpenAPI document. One file without scripts, so that it works offline."""

from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #24292f }
h2 { font: 600 1rem/1.4 ui-monospace, monospace; margin: 2rem 0 .3rem; border-top: 1px solid #d8dee4; padding-top: 1rem }
b { color: #0072b2; margin-right: .6em }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
td { border-top: 1px solid #d8dee4; padding: .25rem .5rem .25rem 0; vertical-align: top; overflow-wrap: anywhere }
td:first-child { font-family: ui-monospace, monospace; white-space: nowrap; width: 9em }
td:last-child { width: 45% }
@media (max-width: 40rem) { td { display: block; border: 0; padding: 0 } td:first-child { padding-top: .6rem }
  td:last-child { width: auto } }
pre { background: #f6f8fa; padding: .7rem; overflow-x: auto; font-size: .85rem }
"""
EXAMPLES = """{curl} "{address}/generate" --output generated.png
{curl} "{address}/generate?n=16&steps=30&seed=7" --output grid.png
{curl} "{address}/v1/generate" --json '{{"n": 4, "format": "zip"}}' --output pictures.zip
{curl} "{address}/v1/edits" -F image=@generated.png -F strength=0.5 -F n=4 --output like-it.png
{curl} "{address}/v1/edits" -F image=@picture.png -F mask=@mask.png --output repainted.png"""


def page(document: dict[str, Any], address: str, *, token: bool) -> str:
    """HTML for an OpenAPI document. address: of the server, as whoever asks for the page reaches it; token: whether
    requests must bring one."""
    curl = 'curl -s -H "Authorization: Bearer $MEZZOTINT_TOKEN"' if token else "curl -s"
    examples = EXAMPLES.format(curl=curl, address=address.removeprefix("http://").rstrip("/"))
    operations = [
        _operation(path, method, operation, document["components"]["schemas"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    title = escape(document["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>{title}</h1>'
        f"<p>{escape(document['info']['description'])}</p>"
        f"<pre>{escape(examples, quote=False)}</pre>"
        f'<p>For programs: <a href="openapi.json">openapi.json</a></p>{"".join(operations)}</html>'
    )


def _operation(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    rows = [(p["name"], p["schema"], p.get("description", "")) for p in operation.get("parameters", ())]
    bodies = operation.get("requestBody", {}).get("content", {})
    for body in list(bodies.values())[:1]:  # all of an operation have the same fields
        fields = schemas[body["schema"]["$ref"].rsplit("/", 1)[1]]["properties"]
        rows += [(name, schema, "") for name, schema in fields.items()]
    table = "".join(
        f"<tr><td>{escape(name)}<td>{escape(_kind(schema))}<td>{escape(_words(schema) or more)}"
        for name, schema, more in rows
    )
    words = escape(operation.get("description", "") or operation.get("summary", ""))
    if bodies:
        words += f" Body: {', or '.join(bodies)}."
    return f"<h2><b>{method.upper()}</b>{escape(path)}</h2><p>{words}</p><table>{table}</table>"


def _words(schema: dict[str, Any]) -> str:
    """The description, which an optional field has one level down."""
    inner = (one.get("description") for one in schema.get("anyOf", ()))
    return schema.get("description") or next(filter(None, inner), "")


def _kind(schema: dict[str, Any]) -> str:
    """A type in words: "integer, from 1", "ddpm, ddim, ... or heun"."""
    if "anyOf" in schema:
        kinds = [_kind(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    kind = str(schema.get("type", "object"))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None:
        kind += f", from {low:g}"
    return kind + (f" to {high:g}" if high is not None else "")
