"""Spaces that items lie in, and groups within them: truncated SVD, k-means, silhouette; seeded."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import aslinearoperator

from recsys.core.values import Interactions
from recsys.graph.interaction import normalise

OVERSAMPLE, POWER = 10, 4  # of the randomised SVD (Halko, Martinsson & Tropp 2011)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Return rows of length 1, float32; a zero row stays zero."""
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def truncated_svd(matrix: Any, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Return the right singular vectors times their values, float32 ``[n_columns, min(dim, rank)]``, strongest first.

    Args:
        matrix: ``[n_rows, n_columns]``, dense, sparse, or an operator.
        dim: how many at most.
        rng: of the random projection.
    """
    size = min(dim + OVERSAMPLE, *matrix.shape)
    if size == 0:
        return np.zeros((matrix.shape[1], 0), dtype=np.float32)
    basis = np.linalg.qr(matrix @ rng.standard_normal((matrix.shape[1], size)))[0]  # [n_rows, size]
    for _ in range(POWER):
        basis = np.linalg.qr(matrix @ np.linalg.qr(matrix.T @ basis)[0])[0]
    _, values, right = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    kept = min(dim, int((values > 1e-6 * max(values[0], 1e-12)).sum()))
    vectors = right[:kept] * values[:kept, None]
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(kept), largest])  # a singular vector's sign is free: take one that is stable
    return (vectors * signs[:, None]).T.astype(np.float32)


def item_factors(train: Interactions, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Return where items lie by who took them, unit rows, float32 ``[n_items, <= dim]``; 0 for items never taken.

    A factor of the degree-normalised graph is popularity itself: the roots of the degrees, with singular value 1 (as
    in correspondence analysis, Greenacre 1984). It is taken off beforehand, for where the graph falls into parts
    others have that value, too, and the first one found would be any mixture of them.
    """
    user, item = (_unit(np.sqrt(counts)) for counts in (train.user_counts, train.item_counts))
    popularity = aslinearoperator(user[:, None]) @ aslinearoperator(item[None, :])
    return unit_rows(truncated_svd(aslinearoperator(normalise(train.matrix)) - popularity, dim, rng))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def k_means(
    rows: np.ndarray, k: int, rng: np.random.Generator, *, steps: int = 30, tries: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Group rows by Lloyd's algorithm, started by k-means++.

    Returns:
        The group of each row, int64 ``[n]``, and the centres, float32 ``[<= k, dim]``; groups are never empty.
    """
    found = [_lloyd(rows, min(k, len(rows)), rng, steps) for _ in range(tries)]
    groups, centres, _ = min(found, key=lambda one: one[2])
    return groups, centres


def _lloyd(rows: np.ndarray, k: int, rng: np.random.Generator, steps: int) -> tuple[np.ndarray, np.ndarray, float]:
    centres, groups = _spread(rows, k, rng), np.full(len(rows), -1)
    for _ in range(steps):
        distance = _distances(rows, centres)
        now = distance.argmin(axis=1)
        if np.array_equal(now, groups):
            break
        groups = now
        used, groups = np.unique(groups, return_inverse=True)
        member = np.eye(len(used), dtype=np.float32)[groups]  # [n, k]
        centres = (member.T @ rows) / member.sum(axis=0)[:, None]
    distance = _distances(rows, centres)
    used, groups = np.unique(distance.argmin(axis=1), return_inverse=True)
    return groups.astype(np.int64), centres[used], float(distance.min(axis=1).sum())


def _spread(rows: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Choose first centres far from each other."""
    chosen = [int(rng.integers(len(rows)))]
    nearest = _distances(rows, rows[chosen])[:, 0]
    while len(chosen) < k:
        total = nearest.sum()
        if total <= 1e-9:
            break  # fewer distinct rows than groups
        chosen.append(int(rng.choice(len(rows), p=nearest / total)))
        nearest = np.minimum(nearest, _distances(rows, rows[chosen[-1:]])[:, 0])
    return rows[chosen].astype(np.float32)


def _distances(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return squared distances ``[n, k]``."""
    squares = (rows**2).sum(axis=1)[:, None] - 2 * rows @ centres.T + (centres**2).sum(axis=1)
    return np.maximum(squares, 0.0).astype(np.float64)


def silhouette(distance: np.ndarray, groups: np.ndarray) -> float:
    """Return the mean silhouette (Rousseeuw 1987) of a grouping; 0 for a single group.

    Args:
        distance: ``[n, n]``.
        groups: int ``[n]``, every number from 0 on in use.
    """
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        return 0.0
    member = np.eye(len(sizes), dtype=distance.dtype)[groups]  # [n, k]
    sums, rows = distance @ member, np.arange(len(groups))
    own = sums[rows, groups] / np.maximum(sizes[groups] - 1, 1)
    means = sums / sizes
    means[rows, groups] = np.inf
    other = means.min(axis=1)
    scores = np.where(sizes[groups] > 1, (other - own) / np.maximum(np.maximum(own, other), 1e-12), 0.0)
    return float(scores.mean())
