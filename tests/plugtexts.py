"""Texts of plug-ins that tests write beside a run, as a user would."""

from __future__ import annotations


def encoder_text(row: str) -> str:
    """Return a module with the encoder ``Letters``; ``row`` is the expression of one ``text``'s vector."""
    return f"""
import numpy as np
from recsys.core.config import Settings as Base

class Letters:
    modalities = ("text",)
    class Settings(Base):
        batch_size: int = 8
    def __init__(self, settings):
        self.settings = settings
    def identity(self):
        return "letters"
    def encode(self, inputs, modality, *, run):
        return np.array([{row} for text in inputs], dtype=np.float32)
"""


def ranker_text(name: str, sign: str = "1", settings: str = "pass") -> str:
    """Return a module with a ranker by popularity.

    Args:
        name: of its class.
        sign: expression that the counts are multiplied by.
        settings: body of its ``Settings``.
    """
    return f"""
import numpy as np
from recsys.core.config import Settings as Base
from recsys.core.values import FitLog

class {name}:
    class Settings(Base):
        {settings}
    def __init__(self, settings):
        self.settings = settings
    def fit(self, train, features, *, valid=None, run):
        self.counts = {sign} * train.item_counts.astype(np.float32)
        return FitLog(best=dict(valid(self)) if valid else {{}})
    def score(self, query):
        return np.tile(self.counts, (len(query), 1))
    def state(self):
        return {{"counts": self.counts}}
    def restore(self, state):
        self.counts = state["counts"]
"""
