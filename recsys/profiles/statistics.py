"""Intervals and tests, for many concepts at once."""

from __future__ import annotations

import numpy as np
from scipy import special

Z = 1.959964  # of a 95 % interval


def wilson(k: np.ndarray, n: np.ndarray | float, z: float = Z) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of a share of ``k`` in ``n`` (Wilson 1927)."""
    n = np.maximum(n, 1e-12)
    share = k / n
    middle, width = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return np.clip((middle - width) / scale, 0, 1), np.clip((middle + width) / scale, 0, 1)


def newcombe(k1: np.ndarray, n1: float, k2: np.ndarray, n2: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of ``k2 / n2 - k1 / n1`` (Newcombe 1998, method 10)."""
    (low1, high1), (low2, high2), share1, share2 = wilson(k1, n1), wilson(k2, n2), k1 / n1, k2 / n2
    gap = share2 - share1
    return (
        gap - np.sqrt((share2 - low2) ** 2 + (high1 - share1) ** 2),
        gap + np.sqrt((high2 - share2) ** 2 + (share1 - low1) ** 2),
    )


def binomial_tail(k: np.ndarray, n: int, p: np.ndarray) -> np.ndarray:
    """Return the chance of at least ``k`` in ``n``."""
    return np.where(k > 0, special.betainc(np.maximum(k, 1), n - k + 1.0, p), 1.0)


def student(gap: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Return the chance of a mean at least ``gap`` above 0 where the true one is 0."""
    return special.stdtr(freedom, -gap / np.maximum(error, 1e-12))


def discoveries(p: np.ndarray, rate: float) -> np.ndarray:
    """Return which tests count as found when at most ``rate`` of those may be false (Benjamini & Hochberg 1995)."""
    if not len(p):
        return np.zeros(0, dtype=bool)
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= rate * np.arange(1, len(p) + 1) / len(p))
    found = np.zeros(len(p), dtype=bool)
    if len(passed):
        found[order[: passed[-1] + 1]] = True
    return found


def divergence(share: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the relative entropy of two shares in bits: what knowing the one instead of the other is worth an item."""
    return (special.rel_entr(share, expected) + special.rel_entr(1 - share, 1 - expected)) / np.log(2)
