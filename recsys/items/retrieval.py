"""Which vectors lie near, and how well one of a pair finds the other: recall with intervals, and what chance gives."""

from __future__ import annotations

import math

import numpy as np

KS = (1, 10)
Z = 1.959963984540054  # of a 95 % interval


def ranks(scores: np.ndarray) -> np.ndarray:
    """Return the place of the own partner for each query, int64 ``[n]`` from 1.

    Args:
        scores: ``[n, n]``; entry ``(q, q)`` is the own partner's. Of equal scores the own comes last.
    """
    return (scores >= np.diagonal(scores)[:, None]).sum(axis=1)


def pair_figures(scores: np.ndarray) -> dict[str, float]:
    """Return ``n``, ``median_rank``, ``mrr`` (the mean of 1 / rank), and recall for k of 1 and 10.

    Recall is ``recall@k``, with the ends of its 95 % interval ``_low`` and ``_high``, and ``chance@k``.
    """
    place, n = ranks(scores), len(scores)
    found: dict[str, float] = {"n": n, "median_rank": float(np.median(place)), "mrr": float(np.mean(1 / place))}
    for k in KS:
        hits = int((place <= k).sum())
        low, high = wilson(hits, n)
        found |= {f"recall@{k}": hits / n, f"recall@{k}_low": low, f"recall@{k}_high": high}
        found[f"chance@{k}"] = min(k / n, 1.0)
    return found


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, JASA 1927)."""
    share, spread = hits / n, Z * Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def nearest(vectors: np.ndarray, scores_of: np.ndarray, k: int) -> np.ndarray:
    """Return the ``k`` rows of ``vectors`` nearest each row of ``scores_of`` by product, int64 ``[n, k]``.

    Args:
        vectors: ``[n_items, dim]`` of length 1; rows of zeros (nothing was encoded) come last.
        scores_of: ``[n, dim]``.
        k: how many; of equal scores the first item comes first.
    """
    scores = scores_of @ vectors.T  # [n, n_items]
    scores[:, ~vectors.any(axis=1)] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def spread_out(vectors: np.ndarray, n: int) -> np.ndarray:
    """Return ``n`` rows that lie far apart, int64: the most central first, then each the least like those before.

    The choice among the third that is nearest to the others of the catalogue, so that no odd item is shown
    for its oddness (farthest-point sampling, Gonzalez, TCS 1985).

    Args:
        vectors: ``[n_items, dim]`` of length 1; rows of zeros are never chosen.
        n: how many; fewer are returned where there are fewer.
    """
    rows = np.flatnonzero(vectors.any(axis=1))
    if not len(rows):
        return rows
    density = vectors[rows] @ vectors[rows].mean(axis=0)
    rows = rows[np.argsort(-density, kind="stable")[: max(n, len(rows) // 3)]]
    chosen = [0]
    closest = vectors[rows] @ vectors[rows[0]]
    while len(chosen) < min(n, len(rows)):
        chosen.append(int(np.argmin(closest)))
        closest = np.maximum(closest, vectors[rows] @ vectors[rows[chosen[-1]]])
    return rows[chosen]
