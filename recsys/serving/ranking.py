"""What one trained ranker would list for whom: scores of many people at once, new items included, and the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from recsys.core.protocols import ScoresSome
from recsys.core.values import Histories, Query
from recsys.evaluation.topk import places, top_k
from recsys.rankers.blending import rank_votes
from recsys.serving.fresh import FreshItems
from recsys.serving.person import Person
from recsys.serving.reasons import AGAINST
from recsys.serving.recommender import Recommender
from recsys.serving.shortlist import Found, Shortlist
from recsys.serving.wishes import Wish

POOL = 5  # times the list's length: what diversity chooses from


class Ranking:
    """Ranks for one ranker; it holds nothing that a request changes.

    Args:
        name: of the variant.
        key: of the trained artifact.
        recommender: the ranker with its data.
        vectors: rows of length 1 by which items are compared, for diversity, ``[n_items, dim]``; none: no diversity.
        shortlist: finds the best items without scoring all of them, where it can; none: all lists are exact.

    Attributes:
        stretch: of new items' scores (``FreshItems.extended``).
    """

    def __init__(
        self, name: str, key: str, recommender: Recommender, vectors: np.ndarray | None = None,
        shortlist: Shortlist | None = None,
    ) -> None:  # fmt: skip
        self.name, self.key, self.recommender, self.vectors = name, key, recommender, vectors
        self.shortlist, self.stretch = shortlist, 1.0
        self.ranker, self.dataset = recommender.ranker, recommender.dataset
        self._picky = isinstance(self.ranker, ScoresSome)
        self._takes_off = hasattr(self.ranker, "weights")  # scores are sums over histories: dislikes can be subtracted

    def scores(self, people: Sequence[Person], fresh: FreshItems) -> np.ndarray:
        """Return scores of all items for each person, float32 ``[n, n_items + n_fresh]``."""
        query = self.query(people)
        scores, able = self._scored(query)
        if not (able.all() and all(len(one.history) for one in people)):
            blank = query.undecided(scores) | ~able  # nothing to go on: what most people take
            scores = np.where(blank[:, None], self.recommender.known.item_counts.astype(np.float32), scores)
        scores = self._less_disliked(scores, people)
        for row, one in enumerate(people):
            if one.steering is not None:
                if not scores.flags.writeable:
                    scores = scores.copy()
                votes = rank_votes(scores[row : row + 1], query.histories.take(np.array([row])).matrix())
                scores[row] = votes[0] + one.steering.moved
        return fresh.extended(scores, self.stretch)

    def best(self, wishes: Sequence[Wish], fresh: FreshItems) -> list[Found]:
        """Return what each list is chosen from, best first, with scores: by the index whom it can answer."""
        n = len(self.dataset.items) + len(fresh)
        wanted = [min(one.k * (POOL if one.diversity else 1), n) for one in wishes]
        short = self.shortlist
        quick = [short is not None and short.takes(one.person, one.allowed is not None) for one in wishes]
        found: list[Found | None] = [None] * len(wishes)
        for which, find in ((True, self._near), (False, self._exact)):
            places = [place for place, one in enumerate(quick) if one is which]
            if places:
                asked = [wishes[place] for place in places], [wanted[place] for place in places]
                for place, best in zip(places, find(*asked, fresh), strict=True):
                    found[place] = best
        return found  # type: ignore[return-value]  # every wish is in one of the two

    def _exact(self, wishes: Sequence[Wish], wanted: Sequence[int], fresh: FreshItems) -> Iterator[Found]:
        scores = self.scores([one.person for one in wishes], fresh)
        items, values = top_k(scores, max(wanted), seen=closed(wishes, fresh, scores.shape), name=self.name)
        for row, width in enumerate(wanted):
            count = int((items[row, :width] >= 0).sum())
            yield items[row, :count], values[row, :count]

    def _near(self, wishes: Sequence[Wish], wanted: Sequence[int], fresh: FreshItems) -> Iterator[Found]:
        people = [one.person for one in wishes]
        return self.shortlist.best(self.query(people), [one.seen for one in people], wanted, fresh, self.stretch)

    def place(self, wish: Wish, item: int, fresh: FreshItems) -> int | None:
        """Return where an item stands in a list; none: the list does not hold it."""
        if not wish.diversity:
            return int(self.places(wish, np.array([item]), fresh)[0]) or None
        ((items, _),) = self.best([wish], fresh)
        found = np.flatnonzero(items[self.spread(items, wish)] == item)
        return int(found[0]) + 1 if len(found) else None

    def places(self, wish: Wish, items: np.ndarray, fresh: FreshItems) -> np.ndarray:
        """Return where items stand in the list without diversity, 0 for items not shown, ``[n]``."""
        scores = self.scores([wish.person], fresh)
        return places(scores[0], items, closed([wish], fresh, scores.shape).indices)

    def query(self, people: Sequence[Person]) -> Query:
        """Return who they are to the ranker: a trained user, or a history where that says more."""
        n = len(self.dataset.items)
        rows = np.array([one.row for one in people], dtype=np.int64)
        rows = np.where((rows >= 0) & self.recommender.trained[np.maximum(rows, 0)], rows, -1)
        changed = np.array([one.changed for one in people], dtype=bool)
        query = Query(Histories.of([one.history for one in people], n), np.where(changed, -1, rows))
        if self._picky and changed.any():  # it cannot fold in what was said since
            rows = np.where(self.ranker.can_score(query), query.user_idx, rows)
            return Query(query.histories, rows)
        return query

    def _scored(self, query: Query) -> tuple[np.ndarray, np.ndarray]:
        """Return scores ``[n, n_items]``, and for whom the ranker could give any, bool ``[n]``."""
        able = np.ones(len(query), dtype=bool)
        if self._picky:
            able = self.ranker.can_score(query)
        if able.all():
            return self.ranker.score(query), able
        scores = np.zeros((len(query), len(self.dataset.items)), dtype=np.float32)
        if able.any():
            scores[able] = self.ranker.score(query.take(np.flatnonzero(able)))
        return scores, able

    def _less_disliked(self, scores: np.ndarray, people: Sequence[Person]) -> np.ndarray:
        """Take off what disliked items would add, where the ranker allows it."""
        against = [row for row, one in enumerate(people) if len(one.disliked)]
        if not against or not self._takes_off:
            return scores
        lists = [people[row].disliked for row in against]
        scores = np.array(scores, dtype=np.float32)
        scores[against] -= AGAINST * self.ranker.score(Query.of_histories(lists, len(self.dataset.items)))
        return scores

    def spread(self, items: np.ndarray, wish: Wish) -> np.ndarray:
        """Return places of the chosen among candidates, best first (MMR: Carbonell & Goldstein, SIGIR 1998).

        The next one has the largest ``(1 - d) * relevance - d * likeness``, where relevance falls from 1 to 0 along the
        list and likeness is the largest cosine with those chosen before.
        """
        if not wish.diversity or self.vectors is None or not len(items):
            return np.arange(len(items))[: wish.k]
        rows = np.zeros((len(items), self.vectors.shape[1]), dtype=np.float32)
        trained = items < len(self.vectors)
        rows[trained] = self.vectors[items[trained]]
        left = (1 - wish.diversity) * np.linspace(1, 0, len(items))  # of relevance; minus infinity once it is chosen
        chosen: list[int] = []
        likeness = np.zeros(len(items), dtype=np.float32)
        for _ in range(min(wish.k, len(items))):
            best = int((left - wish.diversity * likeness).argmax())
            chosen.append(best)
            left[best] = -np.inf
            np.maximum(likeness, rows @ rows[best], out=likeness)
        return np.array(chosen, dtype=np.int64)


def closed(wishes: Sequence[Wish], fresh: FreshItems, shape: tuple[int, int]) -> sp.csr_array:
    """Return what may not be shown to whom, binary ``[n, n_items + n_fresh]``."""
    rows = []
    for wish in wishes:
        parts = [wish.person.seen[wish.person.seen < shape[1]], *([fresh.closed] if len(fresh.closed) else [])]
        if wish.allowed is not None:
            parts.append(np.flatnonzero(~wish.allowed))
        if wish.person.steering is not None:
            parts.append(wish.person.steering.never)
        rows.append(np.unique(np.concatenate(parts)) if len(parts) > 1 else parts[0])
    bounds = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    columns = np.concatenate(rows)
    return sp.csr_array((np.ones(len(columns), np.float32), columns, bounds), shape=shape)
