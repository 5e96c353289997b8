"""Lists by way of an index: candidates from the graph of neighbours, their scores exact, new items beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from recsys.core.values import Query
from recsys.evaluation.topk import tie_order
from recsys.serving.fresh import FreshItems
from recsys.serving.index import ItemIndex
from recsys.serving.person import Person

Found = tuple[np.ndarray, np.ndarray]


class Shortlist:
    """Best items of those whom an index can answer.

    Args:
        ranker: scores by a product of vectors (``ScoresByVectors``).
        index: of its items; it passed its gate (``index.gated``).
    """

    def __init__(self, ranker: Any, index: ItemIndex) -> None:
        self.ranker, self.index = ranker, index
        self._middle = index.vectors.mean(axis=0)
        self._new: WeakKeyDictionary[FreshItems, np.ndarray] = WeakKeyDictionary()

    def takes(self, person: Person, filtered: bool) -> bool:
        """Return whether the index can answer: filters and edits need all scores, no history what is popular."""
        return not filtered and person.steering is None and len(person.history) > 0

    def best(
        self, query: Query, closed: Sequence[np.ndarray], wanted: Sequence[int], fresh: FreshItems, stretch: float
    ) -> Iterator[Found]:
        """Yield the best items of each query with their scores, best first, at most ``wanted`` of them.

        Args:
            query: who asks.
            closed: items not to be shown to each, numbers.
            wanted: how many for each.
            fresh: the new items.
            stretch: of their scores (``FreshItems.extended``).
        """
        queries = self.ranker.query_vectors(query)
        width = max(many + len(shut) for many, shut in zip(wanted, closed, strict=True))
        found = self.index.search(queries, width)
        new = self._middle + stretch * (self._of_new(fresh) - self._middle)
        order = tie_order(len(self.index.vectors) + len(fresh))
        for vector, items, shut, many in zip(queries, found, closed, wanted, strict=True):
            items = items[items >= 0]
            scores = np.concatenate([self.index.vectors[items] @ vector, new @ vector])
            numbers = np.concatenate([items, np.arange(len(new)) + fresh.n_items])
            may = ~np.isin(numbers, np.concatenate([shut, fresh.closed, fresh.unplaced]))
            numbers, scores = numbers[may], scores[may]
            place = np.lexsort((order[numbers], -scores))[:many]
            yield numbers[place], scores[place]

    def _of_new(self, fresh: FreshItems) -> np.ndarray:
        """Return vectors of the new items: a mean of scores is the score of a mean, ``[n_fresh, dim]``."""
        if fresh not in self._new:
            self._new[fresh] = fresh.mixed(self.index.vectors)
        return self._new[fresh]
