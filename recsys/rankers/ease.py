"""EASE: the closed-form item-item regression (Steck, WWW 2019, eq. 8)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import RankerError
from recsys.core.protocols import Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.rankers.linear import LinearItemRanker


class EASE(LinearItemRanker):
    """Minimises ``|X - X B|^2 + regularisation |B|^2`` with a zero diagonal."""

    class Settings(BaseSettings):
        regularisation: float = Field(250.0, gt=0, description="Lambda: larger shrinks towards popularity.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        with stopwatch() as times:
            gram = (train.matrix.T @ train.matrix).toarray().astype(np.float64)  # [n_items, n_items]
            self.weights = item_regression(gram, self.settings.regularisation)
        return FitLog(best=dict(valid(self)) if valid else {}, **times)


def item_regression(gram: np.ndarray, regularisation: float) -> np.ndarray:
    """Return ``B = I - P diag(1 / diag(P))`` with ``P = (gram + regularisation I)^-1``, float32, zero diagonal.

    Args:
        gram: ``X^T X``, float64 ``[n_items, n_items]``; overwritten.
        regularisation: lambda > 0.

    Raises:
        RankerError: the matrix is not positive definite in float64.
    """
    from scipy.linalg import lapack

    gram[np.diag_indices_from(gram)] += regularisation
    factor, failed = lapack.dpotrf(gram.T, lower=False, overwrite_a=True, clean=False)
    inverse, failed = lapack.dpotri(factor, lower=False, overwrite_c=True) if not failed else (factor, failed)
    if failed:
        raise RankerError("ease", "the item matrix is singular", "Use a larger ranker.regularisation.")
    lower = inverse.T  # row-major view; the lower triangle holds the result
    diagonal = lower.diagonal().copy()
    weights = lower.astype(np.float32)
    for start in range(0, len(weights), 1024):  # mirror the triangle block by block, without a second full matrix
        stop = start + 1024
        block = weights[start:stop, start:stop]
        weights[start:stop, start:stop] = np.tril(block) + np.tril(block, -1).T
        weights[start:stop, stop:] = weights[stop:, start:stop].T
    weights /= -diagonal.astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights
