"""Evaluation: metrics, the networks whose features they compare (judges), the real pictures (references)."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`from mezzotint.evaluate import evaluate`, imported when first used."""
    if name == "evaluate":
        from mezzotint.evaluate.evaluation import evaluate

        return evaluate
    raise AttributeError(f"module 'mezzotint.evaluate' has no attribute {name!r}; it has evaluate")
