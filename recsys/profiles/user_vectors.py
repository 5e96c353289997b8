"""One vector a user of what graph, texts and pictures say of the history, whoever's it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recsys.core.runtime import Run
from recsys.core.values import Histories, Interactions, ItemFeatures
from recsys.profiles.space import item_factors, truncated_svd, unit_rows

CONTENT = ("image", "text")


@dataclass(frozen=True)
class UserSpace:
    """Where histories lie: the mean of their items' rows, and the mean of the latest ones'.

    Attributes:
        rows: what is known of the items, float32 ``[n_items, dim]``: graph and content side by side.
        lately: items that the second mean is of.
        mean, deviation: of the vectors of the histories that it was made for, ``[2 dim]``.
    """

    rows: np.ndarray
    lately: int
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(
        cls,
        train: Interactions,
        features: ItemFeatures,
        *,
        dim: int,
        lately: int,
        vectors: np.ndarray | None = None,
        run: Run,
    ) -> UserSpace:
        """Make the space.

        Args:
            train: the interactions.
            features: item vectors; texts and pictures are used, each by its strongest directions.
            dim: of each part.
            lately: see above.
            vectors: item vectors of a ranker (``HasEmbeddings``), ``[n_items, any]``; none: factors of train.
            run: its seed.
        """
        graph = item_factors(train, dim, run.rng("user space")) if vectors is None else unit_rows(vectors)
        names = [name for name in CONTENT if name in features]
        parts = [truncated_svd(features.unit(name).T, dim, run.rng("user space", name)) for name in names]
        rows = np.hstack([graph, *map(unit_rows, parts)]).astype(np.float32)
        raw = cls(rows, lately, np.zeros(2 * rows.shape[1], np.float32), np.ones(2 * rows.shape[1], np.float32))
        found = raw(train.histories.take(np.flatnonzero(train.user_counts)))
        return cls(rows, lately, found.mean(axis=0), np.maximum(found.std(axis=0), 1e-6))

    @property
    def dim(self) -> int:
        return len(self.mean)

    def __call__(self, histories: Histories) -> np.ndarray:
        """Return float32 ``[n, 2 dim]``, standardised; an empty history is an average user."""
        found = np.hstack([self._means(histories, None), self._means(histories, self.lately)])
        known = np.diff(histories.indptr) > 0
        return np.where(known[:, None], (found - self.mean) / self.deviation, 0.0).astype(np.float32)

    def _means(self, histories: Histories, last: int | None) -> np.ndarray:
        result = np.zeros((len(histories), self.rows.shape[1]), dtype=np.float32)
        for place in range(len(histories)):
            items = histories[place] if last is None else histories[place][-last:]
            if len(items):
                result[place] = self.rows[items].mean(axis=0)
        return result

    def state(self) -> dict[str, np.ndarray]:
        return {
            "space.rows": self.rows, "space.lately": np.array([self.lately]), "space.mean": self.mean,
            "space.deviation": self.deviation,
        }  # fmt: skip

    @classmethod
    def restored(cls, state: Mapping[str, np.ndarray]) -> UserSpace:
        names = ("rows", "lately", "mean", "deviation")
        rows, lately, mean, deviation = (state[f"space.{name}"] for name in names)
        return cls(rows, int(lately[0]), mean, deviation)
