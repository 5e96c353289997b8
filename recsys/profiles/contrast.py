"""What a history has more of than popularity alone would bring, and what is rated below the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from scipy import special

from recsys.core.config import Settings
from recsys.core.values import Interactions
from recsys.profiles.concepts import Concepts
from recsys.profiles.history import History
from recsys.profiles.schema import Polarity, Support
from recsys.profiles.statistics import binomial_tail, discoveries, divergence, student, wilson

UNSEEN = 0.5  # an item that nobody took counts as half a user, so that it is not impossible
READABLE = {"pictures": 0.6, "neighbours": 0.7, "term": 0.85}  # what is read less easily must be stronger by as much


class ContrastSettings(Settings):
    """When a difference becomes a statement."""

    rate: float = Field(0.05, gt=0, lt=1, description="False statements among all, at most (Benjamini-Hochberg).")
    lift: float = Field(1.1, ge=1, description="The interval's lower end must be so many times what popularity gives.")
    least: int = Field(3, ge=1, description="Items of the history that a statement rests on.")
    half_life_days: float = Field(730.0, gt=0, description="After so long an item counts half in a statement's weight.")
    prior: float = Field(4.0, gt=0, description="Ratings that a user's own spread is worth in that of a concept.")
    alike: float = Field(0.6, gt=0, le=1, description="Overlap (Jaccard) from which on two concepts say the same.")
    most_each: int = Field(4, ge=1, description="Likes of one kind (genre, term, …) at most.")
    likes: int = Field(12, ge=0, description="Likes at most.")
    dislikes: int = Field(5, ge=0, description="Dislikes at most.")
    apart_days: float = Field(30.0, ge=0, description="Days from the earlier items to the latest, by their medians.")
    changes: int = Field(3, ge=0, description="Changes at most.")


@dataclass(frozen=True)
class Contrast:
    """A measured difference.

    Attributes:
        column: of the concept.
        polarity: like or dislike.
        support: the numbers.
        weight: from 0 to 1, from the interval's end that speaks least for it.
        strength: what it is worth, in bits an item; for choosing among contrasts.
        places: of the history's items with the concept, int64.
    """

    column: int
    polarity: Polarity
    support: Support
    weight: float
    strength: float
    places: np.ndarray


class Contrasts:
    """Compares histories with what train says that anybody would take.

    Args:
        concepts: what is looked for.
        train: whom histories are compared with.
        settings: when a difference counts.
    """

    def __init__(self, concepts: Concepts, train: Interactions, settings: ContrastSettings) -> None:
        self._compare(concepts, train.item_counts, item_leniency(train), settings)

    @classmethod
    def of_counts(cls, concepts: Concepts, counts: np.ndarray, settings: ContrastSettings) -> Contrasts:
        """Return what compares histories without ratings, by how many took each item, ``[n_items]``."""
        made = cls.__new__(cls)
        made._compare(concepts, counts, np.zeros(len(counts)), settings)
        return made

    def _compare(
        self, concepts: Concepts, counts: np.ndarray, leniency: np.ndarray, settings: ContrastSettings
    ) -> None:
        self.concepts, self.settings, self.leniency = concepts, settings, leniency
        self.members = sp.csr_array(concepts.members)  # [n_items, n_concepts]
        self.popularity = np.maximum(counts, UNSEEN).astype(np.float64)
        share = np.asarray(self.members.sum(axis=0)) / max(len(counts), 1)
        self.reach = np.log1p(1 / np.maximum(share, 1e-9))  # what a full weight is worth: see matching.strength
        self.readable = np.array([READABLE.get(one.kind, 1.0) for one in concepts.all])
        self.expected = lru_cache(maxsize=4096)(self._expected)

    def holding(self, history: History) -> np.ndarray:
        """Return which item has which concept, bool ``[n, n_concepts]``."""
        return self.members[history.items].toarray() > 0

    def _expected(self, n: int) -> np.ndarray:
        """Return the share that ``n`` items drawn by popularity, each at most once, would have of each concept.

        An item's chance to be among them is ``1 - exp(-rate * count)``, the rate such that ``n`` are drawn: who takes
        half of the catalogue cannot take only what is popular.
        """
        rate, weights = n / self.popularity.sum(), self.popularity
        wanted = min(n, 0.99 * len(weights))
        for _ in range(50):
            left = np.exp(-rate * weights)
            gap = wanted - (1 - left).sum()
            rate += gap / (weights * left).sum()
            if abs(gap) < 1e-6 * max(wanted, 1):
                break
        chance = 1 - np.exp(-rate * weights)
        return np.clip((chance @ self.members) / chance.sum(), 1e-9, 1 - 1e-9)

    # -- statements ------------------------------------------------------------------------------------------

    def find(self, history: History) -> list[Contrast]:
        """Return what stands out: likes, the strongest first, then dislikes; no two that say the same."""
        if not len(history) or not len(self.concepts):
            return []
        has = self.holding(history)
        shares, ratings = self.shares(history, has), self.ratings(history, has)
        low = {one.column for one in ratings if one.polarity == "dislike"}
        praised = {one.column: one for one in ratings if one.polarity == "like"}
        likes = [_praised(one, praised.get(one.column)) for one in shares if one.column not in low]
        known = {one.column for one in likes}
        likes += [one for one in praised.values() if one.column not in known]
        dislikes = [one for one in ratings if one.polarity == "dislike"]
        return [*self._distinct(likes, self.settings.likes), *self._distinct(dislikes, self.settings.dislikes)]

    def shares(self, history: History, has: np.ndarray) -> list[Contrast]:
        """Return the concepts that more of the items have than popularity gives."""
        settings, n = self.settings, len(history)
        k, expected = has.sum(axis=0).astype(np.float64), self.expected(n)
        found = discoveries(binomial_tail(k, n, expected), settings.rate)
        low, high = wilson(k, n)
        found &= (k >= settings.least) & (low >= settings.lift * expected)
        columns = np.flatnonzero(found)
        weights = self._weights(history, has, columns, k, low, expected)
        strengths = divergence(low, expected)
        return [
            Contrast(
                int(one), "like", self._share(n, k[one], expected[one], low[one], high[one]), float(weight),
                float(strengths[one]), np.flatnonzero(has[:, one]),
            )
            for one, weight in zip(columns, weights, strict=True)
        ]  # fmt: skip

    def _share(self, n: int, k: float, expected: float, low: float, high: float) -> Support:
        return Support(
            kind="share", n=n, n_with=int(k), observed=_round(k / n), expected=_round(expected),
            low=_round(low), high=_round(high),
        )  # fmt: skip

    def _weights(
        self,
        history: History,
        has: np.ndarray,
        columns: np.ndarray,
        k: np.ndarray,
        low: np.ndarray,
        expected: np.ndarray,
    ) -> np.ndarray:
        """How far the lower end lies above popularity in log odds, of what a full weight is worth; halved when old."""
        recent = history.recency(self.settings.half_life_days)
        lately = (recent @ has[:, columns]) / max(recent.sum(), 1e-12) * len(history) / k[columns]
        gain = special.logit(np.minimum(low, 0.999)) - special.logit(expected)
        return np.clip(gain[columns] / self.reach[columns] * np.clip(lately, 0.5, 1.5), 0.01, 1.0).round(4)

    def ratings(self, history: History, has: np.ndarray) -> list[Contrast]:
        """Return the concepts that are rated above or below both the rest and what others rate those items."""
        settings, rated = self.settings, history.rated()
        if rated.sum() < 2 * settings.least:
            return []
        stars, has = history.ratings[rated], has[rated]
        places, n, spread = np.flatnonzero(rated), len(stars), float(stars.std(ddof=1))
        k = has.sum(axis=0).astype(np.float64)
        columns = np.flatnonzero((k >= settings.least + 1) & (k <= n - settings.least))
        if not len(columns) or spread < 1e-6:
            return []
        has, k = has[:, columns].astype(np.float64), k[columns]
        mean, rest = _two_means(stars, has, k)
        bias, others = _two_means(self.leniency[history.items[rated]], has, k)
        within = np.maximum((stars**2) @ has - k * mean**2, 0)
        freedom = k - 1 + settings.prior
        variance = (within + settings.prior * spread**2) / freedom
        error = np.sqrt(variance / k + spread**2 / (n - k))  # of the difference
        quantile = special.stdtrit(freedom, 0.975)
        reach = quantile * np.sqrt(variance / k)
        found = []
        for sign, polarity in ((1.0, "like"), (-1.0, "dislike")):
            expected = rest + sign * np.maximum(sign * (bias - others), 0)
            kept = discoveries(student(sign * (mean - expected), error, freedom), settings.rate)
            gap = sign * (mean - expected) - quantile * error  # at its least
            for one in np.flatnonzero(kept & (gap > 0)):
                support = Support(
                    kind="rating", n=n, n_with=int(k[one]), observed=_round(mean[one]),
                    expected=_round(expected[one]), low=_round(mean[one] - reach[one]),
                    high=_round(mean[one] + reach[one]),
                )  # fmt: skip
                weight = round(float(np.clip(gap[one] / spread, 0.01, 1.0)), 4)
                strength = float(gap[one] / spread * k[one] / n)
                with_it = places[has[:, one] > 0]
                found.append(Contrast(int(columns[one]), polarity, support, weight, strength, with_it))
        return found

    def _distinct(self, contrasts: Sequence[Contrast], most: int) -> list[Contrast]:
        """Return the strongest and most readable, no two of which rest on nearly the same items."""
        order = sorted(contrasts, key=lambda one: (-one.strength * self.readable[one.column], one.column))
        kept: list[Contrast] = []
        sets: list[set[int]] = []
        for one in order:
            kind, places = self.concepts.all[one.column].kind, set(one.places.tolist())
            full = sum(self.concepts.all[each.column].kind == kind for each in kept) >= self.settings.most_each
            if len(kept) >= most or full or any(overlap(places, other) >= self.settings.alike for other in sets):
                continue
            kept.append(one)
            sets.append(places)
        return kept


def _two_means(values: np.ndarray, has: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the items with each concept, and of those without."""
    sums = values @ has
    return sums / k, (values.sum() - sums) / (len(values) - k)


def overlap(one: set[int], other: set[int]) -> float:
    """Return the Jaccard overlap of two sets."""
    return len(one & other) / max(len(one | other), 1)


def item_leniency(train: Interactions, prior: float = 5.0) -> np.ndarray:
    """Return how much above or below their own mean users rate each item, shrunk, float64 ``[n_items]``."""
    if train.rating is None:
        return np.zeros(train.n_items)
    known = np.isfinite(train.rating)
    users, items, stars = train.user_idx[known], train.item_idx[known], train.rating[known].astype(np.float64)
    means = np.bincount(users, stars, train.n_users) / np.maximum(np.bincount(users, minlength=train.n_users), 1)
    return np.bincount(items, stars - means[users], train.n_items) / (
        np.bincount(items, minlength=train.n_items) + prior
    )


def _praised(share: Contrast, rating: Contrast | None) -> Contrast:
    """Return a like with more weight where its items are rated above the rest, too."""
    if rating is None:
        return share
    weight = round(min(1.0, share.weight + 0.5 * rating.weight * (1 - share.weight)), 4)
    return Contrast(share.column, "like", share.support, weight, share.strength, share.places)


def _round(value: float) -> float:
    return 0.0 if not math.isfinite(value) else round(float(value), 4)
