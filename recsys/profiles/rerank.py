"""A language model re-ranks the top of another ranker's list by how likely titles are under a user's soft tokens.

It is made where the data set is at hand (titles, language model), around a fitted ranker: rankers themselves are given
no titles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recsys.core.protocols import Scorer, Validator
from recsys.core.values import Query
from recsys.profiles.soft_tokens import SoftTokens

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class SoftReranker:
    """A ``Scorer``: the best ``top`` items that are not in the history change places among themselves, no others.

    They are ordered by the base's scores plus ``weight`` times the preferences, both in standard deviations of a
    user's ``top``. Their scores are those of the base, handed out in the new order.

    Attributes:
        base: what is re-ranked.
        soft: fitted soft tokens.
        top: items of each list that the language model reads.
        weight: of the preferences; 0: the base's scores, to the last bit, and the language model reads nothing.
    """

    base: Scorer
    soft: SoftTokens
    top: int = 20
    weight: float = 1.0
    _read: dict[bytes, np.ndarray] = field(default_factory=dict, repr=False)

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``."""
        scores = np.array(self.base.score(query), dtype=np.float32)
        if not self.weight or not len(query):
            return scores
        items = self._top(scores, query)  # [n, top]
        old = np.take_along_axis(scores, items, axis=1)  # falling
        mixed = _standard(old) + self.weight * _standard(self._preferences(query, items))
        order = np.argsort(-mixed, axis=1, kind="stable")
        np.put_along_axis(scores, np.take_along_axis(items, order, axis=1), old, axis=1)
        return scores

    def with_weight(self, weight: float) -> SoftReranker:
        """Return the same with another weight; titles that were read already are not read again."""
        return SoftReranker(self.base, self.soft, self.top, weight, self._read)

    def chosen(self, valid: Validator, weights: Sequence[float] = WEIGHTS) -> SoftReranker:
        """Return the one that validates best; among equals the smallest weight, so that it is never worse there."""
        tried = [self.with_weight(weight) for weight in sorted({0.0, *weights})]
        values = [valid(one)[valid.metric] for one in tried]
        return tried[int(np.argmax(values))]

    def _top(self, scores: np.ndarray, query: Query) -> np.ndarray:
        """Return the best items outside of each history, best first, ``[n, <= top]``."""
        open_to = np.where(query.histories.matrix().toarray() > 0, -np.inf, scores)
        return np.argsort(-open_to, axis=1, kind="stable")[:, : self.top]

    def _preferences(self, query: Query, items: np.ndarray) -> np.ndarray:
        keys = [query.histories[row].tobytes() + b"|" + items[row].tobytes() for row in range(len(query))]
        new = np.array([row for row, key in enumerate(keys) if key not in self._read], dtype=np.int64)
        if len(new):
            found = self.soft.scores(query.histories.take(new), items[new])
            self._read.update((keys[row], found[place]) for place, row in enumerate(new))
        return np.stack([self._read[key] for key in keys])


def _standard(values: np.ndarray) -> np.ndarray:
    """Return rows of mean 0 and deviation 1; equal numbers become 0."""
    centred = values - values.mean(axis=1, keepdims=True)
    return centred / np.maximum(values.std(axis=1, keepdims=True), 1e-9)
