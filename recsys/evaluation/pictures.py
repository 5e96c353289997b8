"""Metrics of pictures that were made for somebody: true to the item, to the taste, to real pictures, and not copied.

All of them but the pixels' work on vectors of one picture encoder, which must be another than those that draw, that
conditions are made with, and that choose: what was chosen by an encoder looks good to that encoder. Vectors are taken
less the mean of the catalogue's real pictures, for pictures have much in common that tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NEAREST = 5  # liked pictures that the nearest mean is of (GReCF's test_top5)
SUBSETS, SUBSET = 100, 100  # of KID


@dataclass(frozen=True)
class Identified:
    """How well pictures tell whom they were made for.

    Attributes:
        better: users with a higher score than the right one, int ``[n]``.
        equal: users with the same score, the right one among them, int ``[n]``; among them the order is guessed.
        users: among whom.
    """

    better: np.ndarray
    equal: np.ndarray
    users: int

    @property
    def ranks(self) -> np.ndarray:
        """1 for the right user first, float64 ``[n]``; ties count by their middle."""
        return self.better + (self.equal + 1) / 2

    def hit(self, k: int) -> np.ndarray:
        """Return whether the right user is among the first ``k``, float64 ``[n]``; of ties the chance of it."""
        return np.clip((k - self.better) / self.equal, 0, 1)

    @property
    def reciprocal(self) -> np.ndarray:
        """One by the rank, float64 ``[n]``; of ties the mean."""
        sums = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, self.users + 1))])  # of the first ranks
        return (sums[self.better + self.equal] - sums[self.better]) / self.equal

    def chance(self, k: int) -> float:
        """Return the hit rate of guessing."""
        return min(1.0, k / self.users)


def centred(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return vectors ``[n, dim]`` less ``centre``, of length 1, float64; what is unknown (NaN) stays so."""
    apart = np.asarray(vectors, dtype=np.float64) - centre
    return apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)


def likeness_to_liked(pictures: np.ndarray, liked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean cosine to liked pictures, and to the nearest five of them, float64 ``[n]`` each.

    Args:
        pictures: unit vectors ``[n, dim]``.
        liked: unit vectors of what one user likes, ``[m, dim]``, ``m >= 1``.
    """
    cosine = pictures @ liked.T  # [n, m]
    return cosine.mean(axis=1), np.sort(cosine, axis=1)[:, -NEAREST:].mean(axis=1)


def identified(scores: np.ndarray, own: np.ndarray) -> Identified:
    """Return the rank of the right user.

    Args:
        scores: of every user for every picture, ``[n, users]``.
        own: for whom each picture was made, int ``[n]``.
    """
    right = scores[np.arange(len(scores)), own][:, None]
    better, equal = (scores > right).sum(axis=1), (scores == right).sum(axis=1)
    return Identified(better, equal, scores.shape[1])


def kid(pictures: np.ndarray, real: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the kernel distance of two sets of pictures, and its standard deviation over subsets.

    The unbiased MMD² with the kernel ``(x · y / dim + 1)³`` (Bińkowski et al., ICLR 2018), mean over random subsets, on
    unit vectors times ``√dim``; another encoder than Inception, so figures compare within one table only.

    Args:
        pictures, real: unit vectors, ``[n, dim]`` and ``[m, dim]``, at least 2 each.
        rng: of the subsets.
    """
    size = min(SUBSET, len(pictures), len(real))
    found = []
    for _ in range(SUBSETS):
        x, y = (rows[rng.choice(len(rows), size, replace=False)] for rows in (pictures, real))
        xx, yy, xy = ((one @ two.T + 1) ** 3 for one, two in ((x, x), (y, y), (x, y)))
        inner = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (size * (size - 1))
        found.append(inner - 2 * xy.mean())
    return float(np.mean(found)), float(np.std(found))


def nearest_likeness(pictures: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the largest cosine of each picture to any of ``known``, float64 ``[n]``: how much of it is a copy."""
    return (pictures @ known.T).max(axis=1)


def spread(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Return one minus the mean cosine of pairs in each group of unit vectors ``[n, dim]``, float64; NaN for n < 2."""
    found = []
    for rows in groups:
        n = len(rows)
        total = float(np.square(rows.sum(axis=0)).sum()) - float(np.square(rows).sum())
        found.append(1 - total / (n * (n - 1)) if n > 1 else np.nan)
    return np.array(found)


def sign_flips(gaps: np.ndarray, rng: np.random.Generator, times: int = 10_000) -> float:
    """Return the permutation p of a mean of paired differences ``[n]``, two-sided: own and other change places."""
    signs = rng.choice([-1.0, 1.0], size=(times, len(gaps)))
    means = np.abs(signs @ gaps) / len(gaps)
    slack = 1e-12 * np.abs(gaps).max()  # equal sums may differ in their last bit
    return float(((means >= abs(gaps.mean()) - slack).sum() + 1) / (times + 1))
