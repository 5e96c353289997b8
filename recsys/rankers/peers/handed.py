"""What a library handed over, as scores: products of vectors, users folded in, item neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.core.values import Histories, Query


@dataclass(frozen=True)
class HandedOver:
    """Arrays as the package's docstring lists them, with ``lengths``, the items that each user had in train."""

    arrays: Mapping[str, np.ndarray]

    def knows(self, query: Query) -> np.ndarray:
        """Return which queries can be scored, bool ``[n]``: all, unless users cannot be folded in."""
        folds = "item" not in self.arrays or "fold" in self.arrays
        return np.ones(len(query), dtype=bool) if folds else self._trained_length(query) > 0

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n, n_items]`` of queries that it knows."""
        if "item" in self.arrays:
            return (self._vectors(query) @ self.arrays["item"].T).astype(np.float32)
        if "nearest" in self.arrays:
            return self._by_nearest(query.histories)
        found = query.histories.matrix() @ self._weights
        return np.asarray(found.toarray() if sp.issparse(found) else found, dtype=np.float32)

    def _trained_length(self, query: Query) -> np.ndarray:
        """Return how many items each user had in train, 0 for others, int64 ``[n]``."""
        lengths = self.arrays["lengths"]
        known = (query.user_idx >= 0) & (query.user_idx < len(lengths))
        return np.where(known, lengths[np.where(known, query.user_idx, 0)], 0)

    def _vectors(self, query: Query) -> np.ndarray:
        """Return a vector a query, ``[n, dim]``: trained, or solved for where the history is not that of train."""
        users, before = self.arrays.get("user"), self._trained_length(query)
        if "fold" not in self.arrays:
            return users[query.user_idx]
        taken = query.histories.matrix()
        trained = (np.diff(taken.indptr) == before) & (before > 0) & (users is not None)
        result = np.zeros((len(query), self.arrays["item"].shape[1]))
        if trained.any():
            result[trained] = users[query.user_idx[trained]]
        for row in np.flatnonzero(~trained):
            result[row] = self._folded(taken.indices[taken.indptr[row] : taken.indptr[row + 1]])
        return result

    def _folded(self, items: np.ndarray) -> np.ndarray:
        """Return the vector of a history, ``[dim]``; of an empty one 0."""
        weight, ridge = self.arrays["fold"]
        mine = self.arrays["item"][items].astype(np.float64)  # [n_taken, dim]
        system = self._gram + weight * (mine.T @ mine)
        system[np.diag_indices_from(system)] += ridge
        return np.linalg.solve(system, (1.0 + weight) * mine.sum(axis=0))

    @cached_property
    def _gram(self) -> np.ndarray:
        item = self.arrays["item"].astype(np.float64)
        return item.T @ item

    @cached_property
    def _weights(self) -> Any:
        """Item weights, row: the item that was taken; dense or CSR ``[n_items, n_items]``."""
        if "weights" in self.arrays:
            return self.arrays["weights"]
        n_items = len(self.arrays["indptr"]) - 1
        parts = tuple(self.arrays[name] for name in ("data", "indices", "indptr"))
        return sp.csr_array(parts, shape=(n_items, n_items))

    def _by_nearest(self, histories: Histories) -> np.ndarray:
        """Return sums over the ``nearest`` largest weights alone, ``[n, n_items]``."""
        n, taken = int(self.arrays["nearest"][0]), histories.matrix()
        result = np.zeros(taken.shape, dtype=np.float32)
        for row in range(len(histories)):
            items = taken.indices[taken.indptr[row] : taken.indptr[row + 1]]
            rows = self._weights[items].toarray()  # [n_taken, n_items]
            rows = np.partition(rows, len(items) - n, axis=0)[-n:] if len(items) > n else rows
            result[row] = rows.sum(axis=0)
        return result
