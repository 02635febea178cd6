"""A trained model as a service: an engine that shares each network call between requests, and a REST API on it.

`uvicorn mezzotint.serve:app` takes its settings from the environment; `mezzotint serve` takes them from options.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """`app`, made when somebody asks for it."""
    if name != "app":
        raise AttributeError(f"module 'mezzotint.serve' has no attribute {name!r}")
    from mezzotint.serve.http.api import create_app
    from mezzotint.serve.http.settings import Settings

    return create_app(Settings.from_environment())
