"""RP3beta: three steps of a random walk, popular ends discounted (Paudel et al., TiiS 2017; Cooper et al. 2014)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.protocols import Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.graph.interaction import normalise
from recsys.graph.item_graph import top_k_rows
from recsys.rankers.linear import LinearItemRanker

BLOCK_ROWS = 1024


class RP3beta(LinearItemRanker):
    """``w_ji = sum_u P(u|j)^alpha P(i|u)^alpha / popularity(i)^beta``, the ``k`` largest a row."""

    class Settings(BaseSettings):
        alpha: float = Field(0.8, gt=0, description="Exponent of the step probabilities.")
        beta: float = Field(0.4, ge=0, description="Exponent of the popularity that an end is divided by.")
        k: int = Field(500, ge=1, description="Ends kept for each starting item.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        with stopwatch() as times:
            to_item = normalise(train.matrix, "row").power(self.settings.alpha)  # [n_users, n_items]
            to_user = normalise(sp.csr_array(train.matrix.T), "row").power(self.settings.alpha)  # [n_items, n_users]
            discount = np.maximum(train.item_counts, 1).astype(np.float64) ** -self.settings.beta
            blocks = []
            for start in run.bar(range(0, train.n_items, BLOCK_ROWS), "rp3beta"):
                walk = (to_user[start : start + BLOCK_ROWS] @ to_item).toarray() * discount  # [block, n_items]
                blocks.append(top_k_rows(walk, self.settings.k, start))
            self.weights = sp.csr_array(sp.vstack(blocks, format="csr"), dtype=np.float32)
        return FitLog(best=dict(valid(self)) if valid else {}, **times)
