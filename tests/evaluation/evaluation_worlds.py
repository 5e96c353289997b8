"""A small random world and rankers whose scores are known beforehand."""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.core.values import Dataset, Interactions, Query, Split, Vocabulary


def make_split(users, items, part, n_users: int, n_items: int, *, kind: str = "random") -> Split:
    """A split from parallel lists: user, item and 0 train, 1 valid, 2 test."""
    interactions = Interactions(np.asarray(users, np.int32), np.asarray(items, np.int32), n_users, n_items)
    vocabularies = [Vocabulary(map(str, range(n))) for n in (n_users, n_items)]
    return Split(Dataset("world", *vocabularies, interactions, pl.DataFrame()), np.asarray(part, np.uint8), kind)


class TableRanker:
    """Looks scores up by user, so that evaluation alone is under test."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = table.astype(np.float32)
        self.queries: list[Query] = []

    def score(self, query: Query) -> np.ndarray:
        self.queries.append(query)
        return self.table[query.user_idx]


def random_split(kind: str = "random", seed: int = 0) -> Split:
    """A random world of 60 users and 40 items; the last two users have no train interaction."""
    rng = np.random.default_rng(seed)
    pairs = np.flatnonzero(rng.random(60 * 40) < 0.3)
    part = rng.choice(3, len(pairs), p=[0.6, 0.2, 0.2])
    part[pairs // 40 >= 58] = 2
    return make_split(pairs // 40, pairs % 40, part, 60, 40, kind=kind)
