"""How much to trust each of several rankers: weights learned from the validation part alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

DAMPING = 10.0  # how little the very first ranks differ (60 in reciprocal rank fusion, which has no weights)
STEPS = (0.0, 0.5, 0.75, 0.9, 1.1, 1.33, 2.0)  # factors that a weight is tried with
ABSENT = -1e4  # the vote for a candidate that is none
ROUNDS = 6  # sweeps over all weights at most


def rank_votes(scores: np.ndarray, history: sp.csr_array) -> np.ndarray:
    """Return ``log((n_items + 10) / (rank + 10))`` of each item, float32 ``[n, n_items]``; the first rank is 0.

    Args:
        scores: ``[n, n_items]``.
        history: ``[n, n_items]``; the items in it rank last, for they will not be shown.

    Items that share a row's median (a sparse ranker's zeros) share their middle rank, so that the order of the
    table does not decide between them.
    """
    n, n_items = scores.shape
    scores = np.array(scores, dtype=np.float32)
    rows = np.repeat(np.arange(n), np.diff(history.indptr))
    scores[rows, history.indices] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")
    votes = np.empty((n, n_items), dtype=np.float32)
    worth = np.log((n_items + DAMPING) / (np.arange(n_items) + DAMPING)).astype(np.float32)
    np.put_along_axis(votes, order, worth[None, :], axis=1)
    middle = np.take_along_axis(scores, order[:, n_items // 2, None], axis=1)  # [n, 1]
    tied = scores == middle
    above = (scores > middle).sum(axis=1)
    shared = worth[np.minimum(above + tied.sum(axis=1) // 2, n_items - 1)]
    return np.where(tied, shared[:, None], votes)


def standardise(scores: np.ndarray) -> np.ndarray:
    """Return each row with mean 0 and standard deviation 1, float32; a constant row is all 0."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return (centred / np.where(spread > 1e-9, spread, 1.0)).astype(np.float32)


@dataclass(frozen=True)
class Candidates:
    """What the weights are learned from: for each user the items that any member puts near the top.

    Attributes:
        features: member votes, float32 ``[n_users, n_candidates, n_members]``; ``ABSENT`` where a user has fewer.
        gains: 1 where the candidate is among the user's held-out items, float32 ``[n_users, n_candidates]``.
        n_truth: held-out items a user, those outside of the candidates included, int ``[n_users]``.
    """

    features: np.ndarray
    gains: np.ndarray
    n_truth: np.ndarray

    def take(self, users: np.ndarray) -> Candidates:
        return Candidates(self.features[users], self.gains[users], self.n_truth[users])

    @classmethod
    def of(cls, votes: np.ndarray, truth: sp.csr_array, size: int) -> Candidates:
        """Collect the candidates of some users.

        Args:
            votes: ``[n_members, n_users, n_items]``.
            truth: held-out items, binary ``[n_users, n_items]``.
            size: how many to take from the top of each member's list.
        """
        size = min(size, votes.shape[2])
        top = np.argpartition(-votes, size - 1, axis=2)[:, :, :size]
        found = [np.unique(top[:, user]) for user in range(votes.shape[1])]
        features = np.full((len(found), max(map(len, found)), len(votes)), ABSENT, dtype=np.float32)
        gains = np.zeros(features.shape[:2], dtype=np.float32)
        for user, items in enumerate(found):
            features[user, : len(items)] = votes[:, user, items].T
            gains[user, : len(items)] = np.isin(items, truth.indices[truth.indptr[user] : truth.indptr[user + 1]])
        return cls(features, gains, np.diff(truth.indptr))

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """Put those of several groups of users together."""
        width = max(part.gains.shape[1] for part in parts)
        features, gains = [], []
        for part in parts:
            missing = width - part.gains.shape[1]
            features.append(np.pad(part.features, ((0, 0), (0, missing), (0, 0)), constant_values=ABSENT))
            gains.append(np.pad(part.gains, ((0, 0), (0, missing))))
        return cls(np.concatenate(features), np.concatenate(gains), np.concatenate([part.n_truth for part in parts]))


def ndcg(candidates: Candidates, weights: np.ndarray, k: int) -> float:
    """Return the mean ndcg@k of the weighted sum, ranked among the candidates."""
    scores = candidates.features @ weights.astype(np.float32)  # [n_users, n_candidates]
    k = min(k, scores.shape[1])
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.take_along_axis(scores, top, axis=1).argsort(axis=1)[:, ::-1]
    gains = np.take_along_axis(candidates.gains, np.take_along_axis(top, order, axis=1), axis=1)
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(candidates.n_truth, k) - 1]
    return float((gains @ discount / ideal).mean())


def softmax_weights(candidates: Candidates, ridge: float) -> np.ndarray:
    """Return the weights >= 0 that make the held-out items most likely: a convex problem, so there is one answer.

    Minimises the mean over users of ``log sum_c exp(x_c w) - mean_positive x_p w``, plus ``ridge / 2 |w|^2``.

    Returns:
        float64 ``[n_members]``.
    """
    from scipy.optimize import minimize

    users = np.flatnonzero(candidates.gains.any(axis=1))
    n_members = candidates.features.shape[2]
    if not len(users):
        return np.ones(n_members)
    features, gains = candidates.features[users], candidates.gains[users]
    known = features[:, :, 0] != ABSENT
    features = np.where(known[:, :, None], features, 0.0)
    share = gains / gains.sum(axis=1, keepdims=True)
    agreement = np.einsum("uc,ucm->m", share, features, dtype=np.float64) / len(users)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = np.where(known, features @ weights.astype(np.float32), -np.inf)
        top = scores.max(axis=1, keepdims=True)
        mass = np.exp(scores - top)
        total = mass.sum(axis=1, keepdims=True)
        expected = np.einsum("uc,ucm->m", mass / total, features, dtype=np.float64) / len(users)
        value = float((np.log(total) + top).mean()) - agreement @ weights + ridge / 2 * weights @ weights
        return value, expected - agreement + ridge * weights

    found = minimize(loss, np.ones(n_members), jac=True, method="L-BFGS-B", bounds=[(0, None)] * n_members)
    return found.x


def metric_weights(candidates: Candidates, start: np.ndarray, k: int) -> np.ndarray:
    """Return weights >= 0 that are better by ndcg@k than ``start``, found by trying one weight after the other.

    The metric has steps and no gradient; only a gain of a ten-thousandth of it is taken, so that noise is not.
    """
    weights = start / max(start.sum(), 1e-12)
    best = ndcg(candidates, weights, k)
    floor = 0.1 * weights.max()
    for _ in range(ROUNDS):
        before = best
        for member in range(len(weights)):
            for step in STEPS:
                tried = weights.copy()
                tried[member] = max(weights[member], floor) * step
                value = ndcg(candidates, tried, k) if tried.any() else -1.0
                if value > best * 1.0001:
                    best, weights = value, tried
        if best <= before * 1.0005:
            break
    return weights / weights.sum()


def learn_weights(candidates: Candidates, k: int, ridge: float, *, by_metric: bool) -> np.ndarray:
    """Return the weights, which sum to 1: those of the softmax, with ``by_metric`` then bettered by ndcg@k."""
    weights = softmax_weights(candidates, ridge)
    weights = weights / weights.sum() if weights.any() else np.full(len(weights), 1.0 / len(weights))
    return metric_weights(candidates, weights, k) if by_metric else weights
