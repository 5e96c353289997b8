"""Cold start: items that nobody took in train, and users of whom only the first few items are known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from recsys.core.errors import DataError
from recsys.core.protocols import Scorer
from recsys.core.runtime import Run
from recsys.core.values import TEST, Histories, Query, Split
from recsys.evaluation.evaluator import Evaluation, evaluate, known_to
from recsys.evaluation.task import EvaluationSettings

Allowed = Callable[[Query], np.ndarray]  # which items each query may be shown, bool [n_queries, n_items]


def only_truth(split: Split, items: np.ndarray) -> Split:
    """Return the split whose test part has the interactions with ``items`` (bool ``[n_items]``) alone.

    The other test interactions are gone from it: neither truth nor masked. Train and validation stay as they are.

    Raises:
        DataError: nothing is left.
    """
    data = split.dataset.interactions
    return _kept(split, (split.part != TEST) | items[data.item_idx], "of the items wanted")


def only_users(split: Split, users: np.ndarray) -> Split:
    """Return the split whose test part has the interactions of ``users`` (row numbers) alone.

    Raises:
        DataError: nothing is left.
    """
    return _kept(split, (split.part != TEST) | np.isin(split.dataset.interactions.user_idx, users), "of these users")


def _kept(split: Split, keep: np.ndarray, whose: str) -> Split:
    if not (split.part[keep] == TEST).any():
        raise DataError("test part of the split", f"it has no interactions {whose}", "Choose other split settings.")
    dataset = replace(split.dataset, interactions=split.dataset.interactions.select(keep), part=None)
    return Split(dataset, split.part[keep], split.kind)


def harmonic(cold: float, warm: float) -> float:
    """Return ``2 c w / (c + w)``, 0 where both are 0: high only where a ranker serves both."""
    return 2 * cold * warm / (cold + warm) if cold + warm else 0.0


# -- items -------------------------------------------------------------------------------------------------------


class Among:
    """A ranker whose lists hold allowed items alone: all others score below every allowed one.

    Users whom it cannot score get popularity here already, so that they too are shown allowed items.
    """

    def __init__(self, ranker: Scorer, allowed: Allowed, popularity: np.ndarray) -> None:
        self.ranker, self.allowed, self.popularity = ranker, allowed, popularity.astype(np.float32)

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``."""
        scores = np.tile(self.popularity, (len(query), 1))
        known = np.flatnonzero(known_to(self.ranker, query))
        if len(known):
            scores[known] = self.ranker.score(query if len(known) == len(query) else query.take(known))
        floor = np.finfo(np.float32).min / (2 * scores.shape[1])  # so low, and yet their sum is finite
        return np.where(self.allowed(query), scores, np.float32(floor))


def fixed_items(items: np.ndarray) -> Allowed:
    """Allow everybody the same ``items``, bool ``[n_items]``."""
    return lambda query: np.broadcast_to(items, (len(query), len(items)))


@dataclass(frozen=True)
class DrawnItems:
    """Allow each user their own test items and others drawn at random, ``size`` together.

    Drawn are items of train that the user has not taken, each as likely as any other, the same whenever asked.
    It is the counterpart of a list among ``size`` strictly cold items: those are a random part of the catalogue,
    too, and hold the user's test items and items that the user did not take.

    Attributes:
        split: whose test part is the truth; everybody in it must have train interactions.
        size: items allowed; more where a user has more test items than that.
        run: its seed decides.
    """

    split: Split
    size: int
    run: Run

    def __call__(self, query: Query) -> np.ndarray:
        """Return bool ``[n_queries, n_items]``."""
        warm = self.split.train.item_counts > 0
        allowed = np.zeros((len(query), len(warm)), dtype=bool)
        for row, user in zip(allowed, query.user_idx.tolist(), strict=True):
            truth = self.split.test.histories[user]
            free = warm.copy()
            free[self.split.train_valid.histories[user]] = False
            free[truth] = False
            pool, wanted = np.flatnonzero(free), max(0, self.size - len(np.unique(truth)))
            row[self.run.rng("drawn items", user).choice(pool, min(wanted, len(pool)), replace=False)] = True
            row[truth] = True
        return allowed


def evaluate_among(
    ranker: Scorer, split: Split, settings: EvaluationSettings, allowed: Allowed, told: str, *, run: Run, name: str
) -> Evaluation:
    """Measure a ranker on the test part with lists of allowed items alone.

    Args:
        told: what is allowed, in words, for the protocol; two evaluations that differ in it cannot be compared.

    Raises:
        DataError: the test part is empty.
        RankerError: scores of a wrong shape, or not finite.
    """
    found = evaluate(Among(ranker, allowed, split.train.item_counts), split, settings, run=run, name=name)
    mark = hashlib.blake2b(told.encode(), digest_size=4).hexdigest()
    protocol = {**found.protocol, "ranking": told, "fingerprint": f"{found.protocol['fingerprint']}-{mark}"}
    return replace(found, protocol=protocol)


# -- users -------------------------------------------------------------------------------------------------------


def drawn_users(split: Split, share: float, least: int, run: Run) -> np.ndarray:
    """Return users to be taken out of train: ``share`` of all who have some, at random, int64 ascending.

    They are drawn among those with ``least`` train interactions or more and something in test, so that the same
    users can be asked with one known item and with ``least``.

    Raises:
        DataError: nobody has that many.
    """
    active = np.count_nonzero(split.train.user_counts)
    able = np.flatnonzero((split.train.user_counts >= least) & (split.test.user_counts > 0))
    if not len(able):
        cause = f"no user has {least} train interactions and one in test"
        raise DataError(f"cold users of {split.dataset.name}", cause, "Ask with shorter histories, or other data.")
    size = min(len(able), max(1, round(share * active)))
    return np.sort(run.rng("cold users").choice(able, size, replace=False))


def without_users(split: Split, users: np.ndarray) -> Split:
    """Return the split to train on: all interactions of ``users`` are test, those of others are what they were.

    Raises:
        DataError: nobody is left in train.
    """
    part = split.part.copy()
    part[np.isin(split.dataset.interactions.user_idx, users)] = TEST
    if (part == TEST).all():
        raise DataError("cold users", "all users would be taken out of train", "Choose a smaller share.")
    return Split(split.dataset, part, "cold_users")


class Newcomers:
    """A ranker that is told the first ``n`` items of a user's history (``None``: all) and not who the user is."""

    def __init__(self, ranker: Scorer, n: int | None) -> None:
        self.ranker, self.n = ranker, n

    def _asked(self, query: Query) -> Query:
        histories = query.histories if self.n is None else first_of(query.histories, self.n)
        return Query(histories, np.full(len(query), -1, dtype=np.int64))

    def can_score(self, query: Query) -> np.ndarray:
        """Return which of them the ranker can score, bool ``[n_queries]``."""
        return known_to(self.ranker, self._asked(query))

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``."""
        return self.ranker.score(self._asked(query))


def first_of(histories: Histories, n: int) -> Histories:
    """Return the first ``n`` items of each list, all of a shorter one."""
    lengths = np.minimum(np.diff(histories.indptr), n)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    position = np.arange(indptr[-1]) + np.repeat(histories.indptr[:-1] - indptr[:-1], lengths)
    return Histories(indptr, histories.items[position], histories.n_items)


def evaluate_newcomers(
    ranker: Scorer, split: Split, users: np.ndarray, n: int | None, settings: EvaluationSettings, *, run: Run, name: str
) -> Evaluation | None:
    """Measure a ranker, trained without ``users``, on their test items when it is told their first ``n`` train items.

    Left out of the lists are all their train and validation items, whatever ``n`` is: all figures are of the same
    candidates and the same truth.

    Returns:
        ``None`` where the ranker cannot score users that it was not trained on.
    """
    asked = Newcomers(ranker, n)
    alone = only_users(split, users)
    if not asked.can_score(Query.of_users(alone.train, users)).any():
        return None
    found = evaluate(asked, alone, settings, run=run, name=name)
    known = "all their train items" if n is None else f"their first {n} train items"
    return replace(found, protocol={**found.protocol, "known of them": f"{known}; they are not in train"})
