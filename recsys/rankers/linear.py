"""What linear item-item rankers share: ``score = history @ weights``, folding in anybody at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp

from recsys.core.values import Query


class LinearItemRanker:
    """Scores are sums over the history: exact reasons, and no user is special.

    Attributes:
        weights: ``[n_items, n_items]``, dense float32 or csr; entry ``(j, i)`` = what taking ``j`` adds to ``i``.
    """

    weights: np.ndarray | sp.csr_array

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``."""
        history = query.histories.matrix()  # [n_queries, n_items]
        if isinstance(self.weights, np.ndarray):
            return _dense_product(history, self.weights)
        return np.asarray((history @ self.weights).toarray(), dtype=np.float32)

    def adds_up(self, query: Query) -> bool:
        """Return whether contributions sum to the score: always."""
        return True

    def contributions(self, query: Query, item_idx: int) -> np.ndarray:
        """Return what each history item adds to the score of ``item_idx``; they sum to it (items count once)."""
        return self.contributions_to(query, np.array([item_idx]))[0]

    def contributions_to(self, query: Query, item_idx: np.ndarray) -> np.ndarray:
        """Return ``contributions`` to several items at once, float32 ``[len(item_idx), len(history)]``.

        Costs about what one item costs: only the history's rows of the weights are read.
        """
        history = query.histories[0]
        if isinstance(self.weights, np.ndarray):
            parts = self.weights[np.ix_(history, item_idx)].T  # [n, len(history)]
        else:
            parts = self.weights[history][:, item_idx].toarray().T
        parts = np.array(parts, dtype=np.float32, order="C")
        again = np.ones(len(history), dtype=bool)
        again[np.unique(history, return_index=True)[1]] = False
        parts[:, again] = 0.0
        return parts

    def state(self) -> dict[str, np.ndarray]:
        if isinstance(self.weights, np.ndarray):
            return {"weights": self.weights}
        weights = self.weights
        return {
            "data": weights.data, "indices": weights.indices.astype(np.int32),
            "indptr": weights.indptr.astype(np.int64), "shape": np.array(weights.shape, dtype=np.int64),
        }  # fmt: skip

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        if "weights" in state:
            self.weights = state["weights"]
            return
        parts = (state["data"], state["indices"], state["indptr"])
        self.weights = sp.csr_array(parts, shape=tuple(int(size) for size in state["shape"]))


def _dense_product(history: sp.csr_array, weights: np.ndarray) -> np.ndarray:
    """Sum the weight rows of each history with PyTorch's threaded kernel (scipy's has one thread)."""
    import torch
    import torch.nn.functional as F

    indices, indptr = (torch.from_numpy(array.astype(np.int64)) for array in (history.indices, history.indptr))
    return F.embedding_bag(indices, torch.from_numpy(weights), indptr, mode="sum", include_last_offset=True).numpy()
