"""Closed-form item-item regression: the Gram matrix, its inverse, and whether both fit into memory."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from recsys.core.errors import RankerError
from recsys.core.values import Interactions
from recsys.rankers.times import required_times

BYTES_A_PAIR = 12  # of items, at the peak: the inverse in float64 and the weights in float32
ROWS = 256  # of the item matrix worked on at a time
MEMINFO = Path("/proc/meminfo")
TIME_SCALE = "Seconds apart at which a pair of a user's items counts 1 / e; unset: all pairs count 1."


def refuse_too_many(n_items: int, ranker: str, bytes_a_pair: int = BYTES_A_PAIR) -> None:
    """Refuse item matrices that cannot be held, before hours are spent.

    Raises:
        RankerError: ``bytes_a_pair n_items^2`` bytes are more than there are.
    """
    needed, there = bytes_a_pair * n_items**2, available_memory()
    if there is not None and needed > there:
        raise RankerError(
            f"{ranker} with {n_items:,} items",
            f"needs {needed / 1e9:,.1f} GB of memory, of which {there / 1e9:,.1f} GB are available",
            "Keep fewer items with data.prepare.k_core, or use ranker rp3beta or item_knn.",
        )


def available_memory() -> int | None:
    """Return the bytes that can be had without swapping, ``None`` where the system does not tell.

    Linux has an estimate of its own, which counts the file cache as available
    (``SC_AVPHYS_PAGES`` does not); elsewhere it is all physical memory.
    """
    try:
        lines = MEMINFO.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows; a name that the system does not know
        return None


def gram_matrix(matrix: sp.csr_array) -> np.ndarray:
    """Return ``X^T X``, float64 ``[n_items, n_items]``, needing little beyond itself: made block by block."""
    matrix = matrix.astype(np.float64)
    columns = matrix.T.tocsr()  # [n_items, n_users]
    gram = np.empty((matrix.shape[1], matrix.shape[1]))
    for start in range(0, len(gram), ROWS):
        (columns[start : start + ROWS] @ matrix).toarray(out=gram[start : start + ROWS])
    return gram


def chosen_gram(train: Interactions, time_scale: float | None, ranker: str) -> np.ndarray:
    """Return ``timed_gram``, or ``gram_matrix`` where no scale is set.

    Raises:
        RankerError: a scale is set, and not all interactions have a time.
    """
    if not time_scale:
        return gram_matrix(train.matrix)
    required_times(train, ranker, "time_scale", time_scale)
    return timed_gram(train, time_scale)


def timed_gram(train: Interactions, scale: float) -> np.ndarray:
    """Return ``sum_u exp(-|t_ui - t_uj| / scale)`` over who took both, float64 ``[n_items, n_items]``.

    With growing ``scale`` it becomes ``X^T X``. It is positive definite with any ridge, for the kernel is. An item
    that a user took several times counts at the last of them.
    """
    gram = np.zeros((train.n_items, train.n_items))
    order = np.lexsort((train.instants, train.item_idx, train.user_idx))
    user, item, time = train.user_idx[order], train.item_idx[order], train.timestamp[order].astype(np.float64)
    last = np.append((np.diff(user) != 0) | (np.diff(item) != 0), True)
    user, item, time = user[last], item[last], time[last]
    starts = np.searchsorted(user, np.arange(train.n_users + 1))
    for first, end in itertools.pairwise(starts):
        taken, when = item[first:end], time[first:end]
        gram[np.ix_(taken, taken)] += np.exp(-np.abs(when[:, None] - when[None, :]) / scale)
    return gram


def item_regression(gram: np.ndarray, regularisation: float) -> np.ndarray:
    """Return ``B = I - P diag(1 / diag(P))`` with ``P = (gram + regularisation I)^-1``, float32, zero diagonal.

    Args:
        gram: such as ``X^T X``, float64 ``[n_items, n_items]``, row-major (else LAPACK makes a copy); overwritten.
        regularisation: lambda > 0.

    Raises:
        RankerError: the matrix is not positive definite in float64.
    """
    from scipy.linalg import lapack

    gram[np.diag_indices_from(gram)] += regularisation
    factor, failed = lapack.dpotrf(gram.T, lower=False, overwrite_a=True, clean=False)
    inverse, failed = lapack.dpotri(factor, lower=False, overwrite_c=True) if not failed else (factor, failed)
    if failed:
        raise RankerError("the item regression", "the item matrix is singular", "Use a larger ranker.regularisation.")
    lower = inverse.T  # row-major view; the lower triangle holds the result
    diagonal = lower.diagonal().copy()
    weights = lower.astype(np.float32)
    for start in range(0, len(weights), ROWS):  # mirror the triangle block by block, without a second full matrix
        stop = start + ROWS
        block = weights[start:stop, start:stop]
        weights[start:stop, start:stop] = np.tril(block) + np.tril(block, -1).T
        weights[start:stop, stop:] = weights[stop:, start:stop].T
    weights /= -diagonal.astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights
