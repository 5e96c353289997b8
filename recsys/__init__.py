"""A personalized multimodal recommender. Importing it loads neither numpy nor torch."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

PUBLIC = {
    "train": "recsys.library",
    "load": "recsys.library",
    "Recommender": "recsys.serving.recommender",
    "Workflow": "recsys.workflow",
    "read_config": "recsys.runconfig",
    "Run": "recsys.core.runtime",
    "RecsysError": "recsys.core.errors",
    "EvaluationSettings": "recsys.evaluation.evaluator",
    "evaluate": "recsys.evaluation.evaluator",
}
__all__ = ["__version__", *PUBLIC]


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(importlib.import_module(PUBLIC[name]), name)
    raise AttributeError(f"module 'recsys' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
