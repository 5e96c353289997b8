"""A history as contrasts look at it: each item once, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from recsys.core.errors import DataError
from recsys.core.values import FIRST_DATE


@dataclass(frozen=True)
class History:
    """What somebody took.

    Attributes:
        items: distinct item row numbers, int64 ``[n]``, oldest first.
        times: int64 ``[n]``, or ``None``.
        ratings: float64 ``[n]``, or ``None``; NaN where an item was not rated.
    """

    items: np.ndarray
    times: np.ndarray | None = None
    ratings: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(
        cls,
        items: Sequence[int],
        n_items: int,
        times: Sequence[int] | None = None,
        ratings: Sequence[float] | None = None,
    ) -> History:
        """Put a history in order; of an item that was taken again only the last time counts.

        Raises:
            DataError: an item that is not in the catalogue, or as many times or ratings as there are not items.
        """
        rows = np.asarray(items, dtype=np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= n_items):
            raise DataError("history", f"item rows must lie in 0 … {n_items - 1}", "Look ids up in the vocabulary.")
        for name, other in (("times", times), ("ratings", ratings)):
            if other is not None and len(other) != len(rows):
                raise DataError("history", f"has {len(rows)} items and {len(other)} {name}", "Give one an item.")
        order = np.arange(len(rows)) if times is None else np.argsort(np.asarray(times), kind="stable")
        last = {int(item): int(place) for place, item in zip(order, rows[order], strict=True)}
        kept = np.array([place for place in order if last[int(rows[place])] == place], dtype=np.int64)
        return cls(
            rows[kept],
            None if times is None else np.asarray(times, dtype=np.int64)[kept],
            None if ratings is None else np.asarray(ratings, dtype=np.float64)[kept],
        )

    @property
    def dated(self) -> bool:
        """Whether times are points in time."""
        return self.times is not None and len(self) > 0 and int(self.times.max()) >= FIRST_DATE

    def date(self, place: int) -> str | None:
        """Return the day of the item at ``place``."""
        if self.times is None or not FIRST_DATE <= self.times[place] < 2**36:
            return None
        return datetime.fromtimestamp(int(self.times[place]), UTC).strftime("%Y-%m-%d")

    def recency(self, half_life_days: float) -> np.ndarray:
        """Return how much each item counts, float64 ``[n]``, halved by each half-life before the last; 1 undated."""
        if not self.dated:
            return np.ones(len(self))
        return 0.5 ** ((self.times.max() - self.times) / 86400 / half_life_days)

    def rated(self) -> np.ndarray:
        """Return which items have a rating, bool ``[n]``."""
        return np.zeros(len(self), dtype=bool) if self.ratings is None else np.isfinite(self.ratings)
