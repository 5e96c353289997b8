"""Content item-kNN: an item is scored by how alike it is to what the user took (Lops et al., RS Handbook 2011)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.protocols import Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.graph.item_graph import knn_graph
from recsys.rankers.content import chosen_features, content_rows, modality_weights
from recsys.rankers.linear import LinearItemRanker


class ContentKNN(LinearItemRanker):
    """``score(u, i) = sum_j a_uj cos(i, j)`` over those ``j`` that are among the ``k`` nearest of ``i``.

    Nearest are looked for among the items that train knows: an untouched neighbour could not be in a history.
    It learns nothing from who took what, so untouched items are ranked like any other.
    """

    uses_features = True

    class Settings(BaseSettings):
        k: int = Field(50, ge=1, description="Neighbours kept for each item.")
        modalities: tuple[str, ...] = Field((), description="Which features to read; empty: all there are.")
        weights: dict[str, float] = Field({}, description="Weight of a modality in the similarity; else 1.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Find the neighbours.

        Raises:
            RankerError: there are no features to read.
        """
        with stopwatch() as times:
            self._trained = train.item_counts > 0
            self.weights = self._weights(features)
        return FitLog(best=dict(valid(self)) if valid else {}, **times)

    def _weights(self, features: ItemFeatures) -> sp.csr_array:
        chosen = chosen_features(features, self.settings.modalities, "content_knn")
        rows = content_rows(chosen, modality_weights(chosen, self.settings.weights, "content_knn"))
        nearest = knn_graph(rows, self.settings.k, among=self._trained)  # row i: the neighbours of target i
        return sp.csr_array(nearest.T, dtype=np.float32)

    def with_features(self, features: ItemFeatures) -> ContentKNN:
        """Return the ranker that other features give."""
        other = ContentKNN(self.settings)
        other._trained = self._trained
        other.weights = other._weights(features)
        return other

    def state(self) -> dict[str, np.ndarray]:
        return {**super().state(), "trained": self._trained}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        super().restore(state)
        self._trained = state["trained"].astype(bool)
