"""The permutation test of REBECA (2025, arXiv 2502.18477): what is made for a user fits that user, not just anybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.evaluation.significance import bootstrap_interval


@dataclass(frozen=True)
class Swapped:
    """How well what is made for users fits them.

    Attributes:
        own, another: the mean fit of what is the user's own, and of all others'.
        difference, low, high: of the two, with its 95 % bootstrap interval over users.
        p: how often swapping everybody's at random fits at least as well, of ``draws`` times; one-sided, never 0.
    """

    own: float
    another: float
    difference: float
    low: float
    high: float
    p: float


def swap_test(fits: np.ndarray, rng: np.random.Generator, draws: int = 9_999) -> Swapped:
    """Compare the diagonal with the rest.

    Args:
        fits: how well what is made for the row's user fits the column's, ``[n, n]``, ``n >= 2``.
        rng: of the permutations.
        draws: how many.
    """
    n, own = len(fits), np.diag(fits)
    others = (fits.sum(axis=0) - own) / (n - 1)
    columns, mean = np.arange(n), own.mean()
    beyond = sum(fits[rng.permutation(n), columns].mean() >= mean - 1e-12 for _ in range(draws))
    low, high = bootstrap_interval(own - others)
    return Swapped(
        float(mean), float(others.mean()), float((own - others).mean()), low, high, float((beyond + 1) / (draws + 1))
    )
