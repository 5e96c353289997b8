"""Popularity: the same list for everybody. The floor that any model must clear."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.protocols import Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Interactions, ItemFeatures, Query
from recsys.rankers.times import required_times


class Popularity:
    """Score = how many users took the item in train."""

    class Settings(BaseSettings):
        half_life_days: float | None = Field(
            None, gt=0, description="Count an interaction half as much for each such period before the newest one."
        )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Count.

        Raises:
            RankerError: ``half_life_days`` is set, and not all interactions have a time.
        """
        with stopwatch() as times:
            weights = self._weights(train) if self.settings.half_life_days else None
            self.counts = np.bincount(train.item_idx, weights, minlength=train.n_items).astype(np.float32)  # [n_items]
        return FitLog(best=dict(valid(self)) if valid else {}, **times)

    def _weights(self, train: Interactions) -> np.ndarray:
        chosen = self.settings.half_life_days
        times = required_times(train, "popularity", "half_life_days", chosen)
        return 0.5 ** ((times.max() - times) / 86_400 / chosen)  # [n]

    def score(self, query: Query) -> np.ndarray:
        return np.broadcast_to(self.counts, (len(query), len(self.counts))).copy()  # [n_queries, n_items]

    def state(self) -> dict[str, np.ndarray]:
        return {"counts": self.counts}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.counts = state["counts"]
