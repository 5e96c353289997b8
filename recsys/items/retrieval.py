"""How well one of a pair finds the other: ranks, recall with intervals, and what chance would give."""

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


def retrieval(scores: np.ndarray) -> dict[str, float]:
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
    return middle - half, middle + half
