"""iALS: implicit feedback by alternating least squares (Hu, Koren, Volinsky, ICDM 2008; Rendle et al., RecSys 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.protocols import Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Interactions, ItemFeatures, Query

CHUNK_NUMBERS = 2**22  # of the small systems held at a time: 32 MiB in float64


class IALS:
    """Minimises ``sum_ui c_ui (a_ui - x_u y_i)^2 + sum_u r_u |x_u|^2 + sum_i r_i |y_i|^2``.

    ``c = 1 + alpha`` where the user took the item, else 1; ``r = regularisation * (number taken * alpha + number of
    the other side) ^ nu`` (Rendle et al.; ``nu = 0`` is Hu et al.). Users are solved from their history when they are
    scored, so newcomers and new items in a history need no path of their own.
    """

    class Settings(BaseSettings):
        embedding_dim: int = Field(64, ge=1, description="Numbers in a vector.")
        alpha: float = Field(5.0, gt=0, description="How much more a taken item counts than one that was not.")
        regularisation: float = Field(50.0, gt=0, description="L2 on the vectors.")
        nu: float = Field(0.0, ge=0, le=1, description="How the L2 grows with the number of interactions.")
        iterations: int = Field(12, ge=1, description="Rounds of users, then items.")
        init_std: float = Field(0.1, gt=0, description="Standard deviation of the first item vectors.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Alternate; no random number but the start."""
        chosen, taken = self.settings, train.matrix
        by_item = sp.csr_array(taken.T)
        with stopwatch() as times:
            start = run.rng("ials").normal(0.0, chosen.init_std, size=(train.n_items, chosen.embedding_dim))
            start[train.item_counts == 0] = 0.0  # nobody's taste
            self._items = start  # [n_items, dim]
            for _ in run.bar(range(chosen.iterations), "ials"):
                self._items = self._solve(by_item, self._solve(taken, self._items))
        self._items = self._items.astype(np.float32)
        return FitLog(best=dict(valid(self)) if valid else {}, **times)

    def _solve(self, taken: sp.csr_array, others: np.ndarray) -> np.ndarray:
        """Return the vectors of the rows of ``taken`` ``[n, m]`` given those of the columns; an empty row's is 0."""
        n, dim = taken.shape[0], others.shape[1]
        others = others.astype(np.float64)
        gram, result = others.T @ others, np.zeros((n, dim))
        step = max(1, CHUNK_NUMBERS // dim**2)
        for first in range(0, n, step):
            rows = np.arange(first, min(first + step, n))
            systems = np.stack([self._system(taken, row, gram, others) for row in rows])  # [b, dim, dim]
            wanted = (1.0 + self.settings.alpha) * (taken[rows] @ others)  # [b, dim]
            result[rows] = np.linalg.solve(systems, wanted[:, :, None])[:, :, 0]
        return result

    def _system(self, taken: sp.csr_array, row: int, gram: np.ndarray, others: np.ndarray) -> np.ndarray:
        chosen = self.settings
        mine = others[taken.indices[taken.indptr[row] : taken.indptr[row + 1]]]  # [n_taken, dim]
        penalty = chosen.regularisation * (len(mine) * chosen.alpha + len(others)) ** chosen.nu
        system = gram + chosen.alpha * (mine.T @ mine)
        system[np.diag_indices_from(system)] += penalty
        return system

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``."""
        return self.query_vectors(query) @ self._items.T

    def query_vectors(self, query: Query) -> np.ndarray:
        """Return the solved users, float32 ``[n_queries, dim]``; zeros for an empty history."""
        return self._solve(query.histories.matrix(), self._items).astype(np.float32)

    def item_vectors(self) -> np.ndarray:
        """Return float32 ``[n_items, dim]``."""
        return self._items

    def contributions_to(self, query: Query, item_idx: np.ndarray) -> np.ndarray:
        """Return what each history item adds to each score, which it sums to (Hu et al., section 5).

        Returns:
            float32 ``[len(item_idx), len(history)]``.
        """
        history = query.histories[0]
        first = np.zeros(len(history), dtype=bool)
        first[np.unique(history, return_index=True)[1]] = True
        others = self._items.astype(np.float64)
        system = self._system(query.histories.matrix(), 0, others.T @ others, others)
        brought = np.linalg.solve(system, (1.0 + self.settings.alpha) * others[history].T)  # [dim, n_history]
        return np.where(first, others[item_idx] @ brought, 0.0).astype(np.float32)

    def adds_up(self, query: Query) -> bool:
        """Return whether contributions sum to the score: always, for nobody has a vector but the solved one."""
        return True

    def contributions(self, query: Query, item_idx: int) -> np.ndarray:
        """Return the parts of one score, ``[len(history)]``."""
        return self.contributions_to(query, np.array([item_idx]))[0]

    def embeddings(self) -> Mapping[str, np.ndarray]:
        """Return the ``item`` vectors ``[n_items, dim]``; users have none of their own."""
        return {"item": self._items}

    def state(self) -> dict[str, np.ndarray]:
        return {"item": self._items}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._items = state["item"]
