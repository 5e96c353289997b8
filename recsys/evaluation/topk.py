"""Exact top-k of a score matrix: seen items masked, ties ordered by a rule that knows no model."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from recsys.core.errors import RankerError

if TYPE_CHECKING:
    import scipy.sparse as sp

SEGMENT = 128  # neighbouring items of which only the largest is looked at first
BLOCK_BYTES = 2 << 20  # rows are worked on in blocks that stay in the processor's cache
TIE_RULE = "equal scores are ordered by a fixed pseudo-random permutation of the items"


@lru_cache(maxsize=16)
def tie_order(n_items: int) -> np.ndarray:
    """Return each item's place among items of equal score, int64 ``[n_items]``, lower first.

    A pseudo-random permutation that depends on ``n_items`` alone: neither the item number
    (often the order of first appearance, hence of popularity) nor a model decides a tie.
    It sorts a hash of the item number (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)
    rather than a library's random stream, so it stays the same from release to release.
    """
    word = np.arange(1, n_items + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    place = np.empty(n_items, dtype=np.int64)
    place[np.argsort(word ^ (word >> np.uint64(31)), kind="stable")] = np.arange(n_items)
    place.flags.writeable = False  # it is cached and shared
    return place


def top_k(
    scores: np.ndarray,
    k: int,
    *,
    seen: sp.csr_array | None = None,
    banned: np.ndarray | None = None,
    name: str = "ranker",
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``k`` best items of each row, best first.

    Rows do not affect each other, so the result does not depend on how users are batched.
    ``scores`` is only read (a broadcast or a view will do): each block is masked in a scratch copy.

    Args:
        scores: float32 ``[n, n_items]``, finite, higher is better.
        k: how many, at least 1; more than ``n_items`` is allowed.
        seen: binary ``[n, n_items]``; its entries are never returned.
        banned: bool ``[n_items]``; these items are never returned to anybody.
        name: of the ranker, for messages.

    Returns:
        ``items`` int64 ``[n, k]`` and ``values`` float32 ``[n, k]``; ``-1`` and ``-inf``
        in the places for which no item is left.

    Raises:
        RankerError: a score is NaN or infinite, or a shape is wrong.
    """
    if scores.ndim != 2 or (seen is not None and seen.shape != scores.shape):
        expected = "[n, n_items]" if seen is None else str(seen.shape)
        raise RankerError(f"scores of {name}", f"shape {scores.shape} where {expected} is needed", "Mend its score().")
    n, n_items = scores.shape
    if banned is not None and (banned.shape != (n_items,) or banned.dtype != bool):
        found = f"{banned.dtype} {banned.shape} where bool ({n_items},) is needed"
        raise RankerError("banned items", found, "Give one truth value an item.")
    never = np.flatnonzero(banned) if banned is not None else np.zeros(0, dtype=np.int64)
    items = np.full((n, k), -1, dtype=np.int64)
    values = np.full((n, k), -np.inf, dtype=np.float32)
    width = min(k, n_items)
    step = max(1, BLOCK_BYTES // (4 * max(1, n_items)))
    scratch = np.empty((min(step, n), n_items), dtype=np.float32)
    for start in range(0, n if width else 0, step):
        rows = slice(start, min(start + step, n))
        block = scratch[: rows.stop - start]  # [b, n_items]
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows float32 is refused on the next line
            np.copyto(block, scores[rows], casting="same_kind")
        _refuse_non_finite(block, name)
        if seen is not None:
            _mask(block, seen, start)
        block[:, never] = -np.inf
        items[rows, :width], values[rows, :width] = _rank(block, width)
    items[np.isneginf(values)] = -1
    return items, values


def places(scores: np.ndarray, items: np.ndarray, closed: np.ndarray) -> np.ndarray:
    """Return where items stand in the list of all that is not closed, as ``top_k`` orders it.

    Args:
        scores: of one person, float32 ``[n_items]``.
        items: that are asked for, numbers, ``[n]``.
        closed: numbers of the items that the list leaves out; they need not be unique.

    Returns:
        int64 ``[n]``, from 1; 0 for an item that is closed itself.
    """
    order, may = tie_order(len(scores)), np.ones(len(scores), dtype=bool)
    may[closed] = False
    found = np.zeros(len(items), dtype=np.int64)
    for row, item in enumerate(items.tolist()):
        if may[item]:
            ahead = (scores > scores[item]) | ((scores == scores[item]) & (order < order[item]))
            found[row] = 1 + np.count_nonzero(ahead & may)
    return found


def _refuse_non_finite(block: np.ndarray, name: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(block.sum()):  # a NaN or an infinity never leaves a sum again: one cheap pass
            return
    n_nan, n_inf = int(np.isnan(block).sum()), int(np.isinf(block).sum())
    if n_nan + n_inf:  # else the sum of large, finite scores overflowed
        raise RankerError(
            f"scores of {name}",
            f"{n_nan:,} NaN and {n_inf:,} infinite among {block.size:,} (the first {len(block):,} users concerned)",
            "Look at the training loss and lower the learning rate; for a closed form raise the regularisation.",
        )


def _mask(block: np.ndarray, seen: sp.csr_array, start: int) -> None:
    bounds = seen.indptr[start : start + len(block) + 1].astype(np.int64)
    rows = np.repeat(np.arange(len(block), dtype=np.int64) * block.shape[1], np.diff(bounds))
    block.ravel()[rows + seen.indices[bounds[0] : bounds[-1]]] = -np.inf


def _rank(block: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return items and values ``[b, k]``; only rows that have a tie pay for the tie rule."""
    values, items = _largest(block, min(k + 1, block.shape[1]))  # one more, to see a tie at the border
    tie = (values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -np.inf)
    tied = np.flatnonzero(tie.any(axis=1))
    if len(tied):
        items[tied, :k] = _settle_ties(block[tied], values[tied, :k], items[tied, :k])
    return items[:, :k], values[:, :k]


def _largest(block: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``width`` largest values of each row, sorted, and where they are, in any order among equals.

    In wide rows only segments are looked through that have the largest maxima: no more than ``width`` of them can
    hold a value that is among the ``width`` largest, and finding maxima is several times quicker than ``topk``.
    """
    import torch

    rows = torch.from_numpy(block)
    n = block.shape[1]
    whole = n // SEGMENT * SEGMENT
    if 4 * width * SEGMENT > n:
        found = rows.topk(width)
        return found.values.numpy(), found.indices.numpy()
    peaks = rows[:, :whole].reshape(len(rows), -1, SEGMENT).amax(dim=2)  # [b, n_segments]
    chosen = peaks.topk(width, sorted=False).indices[:, :, None] * SEGMENT + torch.arange(SEGMENT)
    tail = torch.arange(whole, n).expand(len(rows), -1)
    places = torch.cat([chosen.reshape(len(rows), -1), tail], dim=1)  # [b, width * SEGMENT + tail]
    found = rows.gather(1, places).topk(width)
    return found.values.numpy(), places.gather(1, found.indices).numpy()


def _settle_ties(block: np.ndarray, values: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the items ``[b, k]`` of rows whose sorted ``values`` are known but whose ties are in any order."""
    import torch

    order = tie_order(block.shape[1]).astype(np.int32)
    last = values[:, -1:]  # [b, 1]
    # All items above the last value are in already; of those equal to it, the first by the rule fill the rest.
    place = np.where(block == last, order, np.int32(block.shape[1]))  # [b, n_items]
    equal = torch.topk(torch.from_numpy(place), values.shape[1], largest=False).indices.numpy()
    rest = np.arange(values.shape[1]) - (values > last).sum(axis=1, keepdims=True)  # negative: above the last value
    chosen = np.where(rest < 0, items, np.take_along_axis(equal, np.maximum(rest, 0), axis=1))
    return np.take_along_axis(chosen, np.lexsort((order[chosen], -values), axis=-1), axis=1)
