"""Next items, and others that are as popular: what a preference is learned from and measured on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recsys.core.errors import DataError
from recsys.core.protocols import Scorer
from recsys.core.values import Histories, Interactions, Query

NEAREST = 100  # items of like popularity that others are drawn among


@dataclass(frozen=True)
class Examples:
    """Histories with the item that came next.

    Attributes:
        histories: what was known, ``n`` lists.
        items: what came next, int64 ``[n]``.
        users: whose they are, int64 ``[n]``.
    """

    histories: Histories
    items: np.ndarray
    users: np.ndarray

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: np.ndarray) -> Examples:
        """Return the examples at ``rows``."""
        return Examples(self.histories.take(rows), self.items[rows], self.users[rows])


def last_steps(train: Interactions, each: int) -> Examples:
    """Return each user's last ``each`` items with what was taken before; a first item follows nothing."""
    histories = train.histories
    lists, items, users = [], [], []
    for user in range(train.n_users):
        row = histories[user]
        for place in range(max(1, len(row) - each), len(row)):
            lists.append(row[:place])
            items.append(row[place])
            users.append(user)
    return Examples(Histories.of(lists, train.n_items), np.array(items, np.int64), np.array(users, np.int64))


def first_held_out(known: Interactions, held_out: Interactions) -> Examples:
    """Return what each user took first in a held-out part, with the history of ``known``; no users without any."""
    users = np.flatnonzero((known.user_counts > 0) & (held_out.user_counts > 0))
    items = np.array([held_out.histories[user][0] for user in users], dtype=np.int64)
    return Examples(known.histories.take(users), items, users)


def popularity_matched(
    train: Interactions, examples: Examples, n: int, known: Interactions, rng: np.random.Generator
) -> np.ndarray:
    """Return ``n`` other items for each example, about as popular as its own, int64 ``[len(examples), n]``.

    Drawn among the ``NEAREST`` items by number of train users, without those that ``known`` gives the user.

    Raises:
        DataError: a user knows nearly all items.
    """
    counts = train.item_counts
    taken = np.flatnonzero(counts)
    order = taken[np.argsort(counts[taken], kind="stable")]
    found = np.empty((len(examples), n), dtype=np.int64)
    for place, (item, user) in enumerate(zip(examples.items, examples.users, strict=True)):
        own = known.matrix[[user]].indices
        others = order[~np.isin(order, own) & (order != item)]
        if len(others) < n:
            raise DataError(
                f"others for user {user}", f"{len(others)} items are left, and {n} are wanted", "Take fewer."
            )
        gap = np.abs(np.log1p(counts[others]) - np.log1p(counts[item])) + 1e-9 * rng.random(len(others))
        nearest = others[np.argsort(gap, kind="stable")[: max(n, NEAREST)]]
        found[place] = rng.choice(nearest, size=n, replace=False)
    return found


def matched_batches(counts: np.ndarray, items: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield rows in batches of ``size``, each of items of like popularity, in random order; a small rest is left out.

    So the others of a batch are popularity-matched counterexamples for each of its items.
    """
    if len(items) < size:
        if len(items) > 1:
            yield rng.permutation(len(items))
        return
    order = np.argsort(np.log1p(counts[items]) + 0.2 * rng.standard_normal(len(items)), kind="stable")
    order = order[rng.integers(len(order) % size + 1) :]
    for batch in rng.permutation(len(order) // size):
        yield order[batch * size : (batch + 1) * size]


def wins(scores: np.ndarray) -> np.ndarray:
    """Return the share of others that the first column lies above, ties half, float64 ``[n]``."""
    first, others = scores[:, :1], scores[:, 1:]
    return ((first > others) + 0.5 * (first == others)).mean(axis=1)


@dataclass(frozen=True)
class Another:
    """A ranker that is shown another user's history: what is gained by the own one must be lost.

    Attributes:
        ranker: folds in anybody.
        histories: of all users.
        of: whose each user is shown, int64 ``[n_users]``, such as ``strangers`` draws.
    """

    ranker: Scorer
    histories: Histories
    of: np.ndarray

    def score(self, query: Query) -> np.ndarray:
        """Return scores of all items, ``[n, n_items]``."""
        return self.ranker.score(Query(self.histories.take(self.of[query.user_idx]), np.full(len(query), -1)))


def strangers(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return for each of ``n`` users the number of another one, drawn at random."""
    return (np.arange(n) + rng.integers(1, max(n, 2), size=n)) % max(n, 1)


def shuffled(train: Interactions, users: np.ndarray, histories: Histories, rng: np.random.Generator) -> Histories:
    """Return histories as long, each item drawn from the history of a user drawn at random among all the others.

    Args:
        train: whose histories are drawn from.
        users: whose ``histories`` are, ``[n]``.
        histories: only their lengths count.
        rng: of the draws.
    """
    known, lists = np.flatnonzero(train.user_counts), []
    for row, user in enumerate(users):
        others = rng.choice(known[known != user], size=len(histories[row]))
        lists.append([int(rng.choice(train.histories[other])) for other in others])
    return Histories.of(lists, train.n_items)
