"""What would break first: memory as data grows, and the largest numbers that types of columns and indices hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from counting import World
from scipy.sparse import get_index_dtype

MEMORIES = (24, 256, 1024)  # GB
POPULAR = 0.8  # an item of rank r is drawn with probability ~ r^-0.8
DAYS = 10 * 365  # between the first and the last interaction
MIB = 2**20


def breaks(peaks: dict[str, Callable[[World], float]], grown: Callable[[float], World]) -> dict[str, Any]:
    """Return, for machines by GB, interactions at which each stage no longer fits, fewest first.

    Args:
        peaks: MiB of each stage in a world.
        grown: the world of so many interactions; users grow with them, items with their root.
    """
    found = {}
    for memory in MEMORIES:
        ends = {name: _until(peak, grown, memory * 1e9 / MIB) for name, peak in peaks.items()}
        found[f"{memory} GB"] = dict(sorted(ends.items(), key=lambda pair: pair[1]))
    return found


def _until(peak: Callable[[World], float], grown: Callable[[float], World], most: float) -> float:
    """Return the largest number of interactions, to 1 %, whose peak is below ``most`` MiB; 0: none from 1,000 up."""
    low, high = 1e3, 1e14
    if peak(grown(low)) > most:
        return 0.0
    while high / low > 1.01:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if peak(grown(middle)) <= most else (low, middle)
    return low


def limits(world: World) -> list[dict[str, Any]]:
    """Return what a type can hold, how much of it a world uses, and what happens beyond.

    Raises:
        AssertionError: a library no longer does what is told here.
    """
    most = np.iinfo(np.int32).max
    assert pl.get_index_type() == pl.UInt32
    assert (get_index_dtype(maxval=most), get_index_dtype(maxval=most + 1)) == (np.int32, np.int64)
    head = min(world.users, world.kept / (np.arange(1, int(world.items) + 1) ** -POPULAR).sum())
    span = world.users * DAYS * 86_400
    rows = [
        ("rows read: polars' row index, UInt32 (read_rows)", world.rows, 2**32 - 1, "polars panics"),
        ("users, items: int32 (Interactions)", world.users, most, "the cast is refused"),
        ("directed edges: int32 columns of scipy (adjacency)", world.edges, most,
         "scipy goes over to int64 by itself, half as much memory again an edge"),
        ("users of one item: float64 sum of ones (normalise)", head, 2**53, "degrees stay at 9e15"),
        ("users x items: int64 keys (drop_duplicates, NegativeSampler)", world.users * world.items, 2**63 - 1,
         "keys run over"),
        ("users x seconds: int64 keys (stable_order)", span, 2**63 - 1, "it sorts by two keys, three times as slowly"),
    ]  # fmt: skip
    return [{"what": what, "used": used, "limit": limit, "share": used / limit, "beyond": then}
            for what, used, limit, then in rows]  # fmt: skip
