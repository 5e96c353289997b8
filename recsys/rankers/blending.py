"""How much to trust each of several rankers: weights learned from the validation part alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEPS = (0.0, 0.5, 0.75, 0.9, 1.1, 1.33, 2.0)  # factors that a weight is tried with
ROUNDS = 6  # sweeps over all weights at most


def standardise(scores: np.ndarray) -> np.ndarray:
    """Return each row with mean 0 and standard deviation 1, float32; a constant row is all 0.

    Rankers' scores have their own units (counts, cosines, log-odds), and their own for each user.
    """
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return (centred / np.where(spread > 1e-9, spread, 1.0)).astype(np.float32)


@dataclass(frozen=True)
class Candidates:
    """What the weights are learned from: for each user the items that any member puts near the top.

    Attributes:
        features: standardised member scores, float32 ``[n_users, n_candidates, n_members]``; -inf where a
            user has fewer candidates.
        gains: 1 where the candidate is among the user's held-out items, float32 ``[n_users, n_candidates]``.
        n_truth: held-out items a user, those outside of the candidates included, int ``[n_users]``.
    """

    features: np.ndarray
    gains: np.ndarray
    n_truth: np.ndarray

    def take(self, users: np.ndarray) -> Candidates:
        return Candidates(self.features[users], self.gains[users], self.n_truth[users])


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
    known = np.isfinite(features[:, :, 0])
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


def learn_weights(candidates: Candidates, k: int, ridge: float) -> np.ndarray:
    """Return the weights, which sum to 1: those of the softmax, then bettered by ndcg@k."""
    return metric_weights(candidates, softmax_weights(candidates, ridge), k)


def cross_fitted(candidates: Candidates, k: int, ridge: float, folds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return for each fold of users the weights that were learned from the others."""
    everybody = np.arange(len(candidates.n_truth))
    return [learn_weights(candidates.take(np.setdiff1d(everybody, fold)), k, ridge) for fold in folds]
