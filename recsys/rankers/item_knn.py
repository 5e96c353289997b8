"""Item-kNN: similar by who took them (Sarwar et al., WWW 2001; Deshpande & Karypis, TOIS 2004)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.protocols import Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.graph.item_graph import top_k_rows
from recsys.rankers.linear import LinearItemRanker

BLOCK_ROWS = 1024


class ItemKNN(LinearItemRanker):
    """Score of ``i`` = sum of its similarities to those of its ``k`` nearest items that the user took."""

    class Settings(BaseSettings):
        k: int = Field(100, ge=1, description="Neighbours kept for each item.")
        shrink: float = Field(10.0, ge=0, description="Added to the denominator: distrusts small overlaps.")
        weighting: Literal["none", "tfidf", "bm25"] = Field(
            "none", description="Weight of an interaction before comparing: rare items and short histories say more."
        )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        with stopwatch() as times:
            by_item = sp.csr_array(weigh(train.matrix, self.settings.weighting).T)  # [n_items, n_users]
            norms = np.sqrt(np.asarray(by_item.multiply(by_item).sum(axis=1)).ravel())
            blocks = []
            for start in run.bar(range(0, train.n_items, BLOCK_ROWS), "item_knn"):
                overlap = (by_item[start : start + BLOCK_ROWS] @ by_item.T).toarray()  # [block, n_items]
                overlap /= norms[start : start + BLOCK_ROWS, None] * norms[None, :] + self.settings.shrink + 1e-12
                blocks.append(top_k_rows(overlap, self.settings.k, start))
            nearest = sp.vstack(blocks, format="csr")  # row i: the neighbours of target i
            self.weights = sp.csr_array(nearest.T, dtype=np.float32)
        return FitLog(best=dict(valid(self)) if valid else {}, **times)


def weigh(matrix: sp.csr_array, weighting: str) -> sp.csr_array:
    """Return ``[n_users, n_items]`` weighted; BM25 with k1 = 1.2, b = 0.75 (users are documents, items are words)."""
    if weighting == "none":
        return matrix
    n_users = matrix.shape[0]
    idf = np.log1p(n_users / (1.0 + np.asarray(matrix.sum(axis=0)).ravel()))
    lengths = np.asarray(matrix.sum(axis=1)).ravel()
    if weighting == "tfidf":
        per_user = 1.0 / np.sqrt(np.maximum(lengths, 1.0))
    else:
        k1, b = 1.2, 0.75
        per_user = (k1 + 1.0) / (1.0 + k1 * (1.0 - b + b * lengths / max(lengths.mean(), 1e-12)))
    return sp.csr_array(sp.diags_array(per_user) @ matrix @ sp.diags_array(idf), dtype=np.float32)
