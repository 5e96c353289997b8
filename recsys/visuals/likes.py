"""Who liked what, as examples for a prior: a liked item, and its user by others of the items that they liked."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from recsys.core.values import Histories

MANY = 16  # a mean of so many items or more is made longer by no more than this many's would be


def user_vectors(taken: sp.csr_array, rows: np.ndarray) -> np.ndarray:
    """Return what the items of each user have in common, float32 ``[n_users, dim]``; a zero row where there is none.

    The first half of ``TasteSpace.user``, which depends on no target.

    Args:
        taken: 1 where a user has an item, ``[n_users, n_items]``.
        rows: where items lie (``TasteSpace.rows``), ``[n_items, dim]``.
    """
    counts = np.diff(taken.indptr)
    longer = np.sqrt(np.minimum(counts, MANY)) / np.maximum(counts, 1)
    return ((taken @ rows) * longer[:, None]).astype(np.float32)


class Likes:
    """Draws users as vectors.

    Args:
        users, items: parallel, one entry a like, int ``[n]``; those of ``histories`` alone are drawn from.
        rows: where items lie, ``[n_items, dim]``.
        known: liked items that a user is known by at most, drawn anew each time.
        histories: which items may stand in a history, bool ``[n_items]``; none: all.
    """

    def __init__(
        self, users: np.ndarray, items: np.ndarray, rows: np.ndarray, known: int, histories: np.ndarray | None = None
    ) -> None:
        self.rows, self.known = rows, known
        may = np.ones(len(items), dtype=bool) if histories is None else histories[items]
        n_users = int(users.max(initial=-1)) + 1
        order = np.argsort(users[may], kind="stable")
        self._items = items[may][order].astype(np.int64)
        self._starts = np.searchsorted(users[may][order], np.arange(n_users + 1))

    def of(self, user: int) -> np.ndarray:
        """Return what somebody liked, of what may stand in a history; nothing of nobody (-1), nor of a stranger."""
        known = 0 <= user < len(self._starts) - 1
        return self._items[self._starts[user] : self._starts[user + 1]] if known else self._items[:0]

    def vectors(self, users: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return user vectors ``[n, dim]``, each by other items than its target, drawn by ``rng`` alone."""
        drawn = []
        for user, target in zip(users.tolist(), targets.tolist(), strict=True):
            items = self.of(user)
            items = items[items != target]
            drawn.append(items if len(items) <= self.known else rng.choice(items, self.known, replace=False))
        return user_vectors(Histories.of(drawn, len(self.rows)).matrix(), self.rows)
