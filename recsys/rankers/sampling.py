"""Negatives, drawn for a whole batch at once and never among the positives."""

from __future__ import annotations

import numpy as np

from recsys.core.values import Interactions

MAX_ROUNDS = 20


class NegativeSampler:
    """Draws items uniformly from those that a user has not taken in train.

    Args:
        train: the positives.
        trained_only: never draw an item that nobody took in train: for rankers that read item features, who
            would else learn that new items are disliked.
    """

    def __init__(self, train: Interactions, *, trained_only: bool = False) -> None:
        self.n_items = train.n_items
        self.pool = np.flatnonzero(train.item_counts) if trained_only else np.arange(train.n_items)
        matrix = train.matrix
        users = np.repeat(np.arange(train.n_users, dtype=np.int64), np.diff(matrix.indptr))
        self.keys = users * self.n_items + matrix.indices  # sorted, since the matrix is
        self.open_users = train.user_counts < len(self.pool)

    def draw(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return one item a user, int64 ``[B]``; a user who took everything gets any of them."""
        items = self.pool[rng.integers(0, len(self.pool), size=len(users))]
        users = users.astype(np.int64)
        wrong = np.flatnonzero(self._taken(users, items) & self.open_users[users])
        for _ in range(MAX_ROUNDS):
            if not len(wrong):
                return items
            items[wrong] = self.pool[rng.integers(0, len(self.pool), size=len(wrong))]
            wrong = wrong[self._taken(users[wrong], items[wrong])]
        items[wrong] = [self._exact(user, rng) for user in users[wrong]]  # users who left only a few items
        return items

    def _taken(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        wanted = users * self.n_items + items
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return self.keys[place] == wanted

    def _exact(self, user: int, rng: np.random.Generator) -> int:
        low, high = np.searchsorted(self.keys, (user * self.n_items, (user + 1) * self.n_items))
        free = np.setdiff1d(self.pool, self.keys[low:high] - user * self.n_items, assume_unique=True)
        return int(rng.choice(free))
