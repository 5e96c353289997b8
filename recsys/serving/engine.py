"""One trained ranker at work: lists for many people at once, new items included, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from recsys.core.protocols import Explains, ScoresSome
from recsys.core.values import Histories, Query
from recsys.evaluation.topk import top_k
from recsys.rankers.blending import rank_votes
from recsys.serving.fresh import FreshItems
from recsys.serving.people import Person
from recsys.serving.recommender import Reason, Recommender
from recsys.serving.shortlist import Found, Shortlist
from recsys.serving.wishes import Counterfactual, Line, Why, Wish

AGAINST = 0.5  # how much a disliked item takes away, beside what a liked one adds
POOL = 5  # times the list's length: what diversity chooses from
COUNTERFACTUALS = 5  # items of the history that are left out in turn


class Engine:
    """Answers for one ranker; it holds nothing that a request changes.

    Args:
        name: of the variant.
        key: of the trained artifact.
        recommender: the ranker with its data.
        vectors: rows of length 1 that items are told apart by, for diversity, ``[n_items, dim]``; none: no diversity.
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

    def answer(self, wishes: Sequence[Wish], fresh: FreshItems) -> list[list[Line]]:
        """Return a list for each wish, best first; shorter where fewer items are left."""
        lists = []
        for wish, (items, values) in zip(wishes, self._best(wishes, fresh), strict=True):
            chosen = self._spread(items, wish) if wish.diversity else np.arange(len(items))[: wish.k]
            lists.append(self._lines(items[chosen], values[chosen], wish, fresh))
        return lists

    def _best(self, wishes: Sequence[Wish], fresh: FreshItems) -> list[Found]:
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
        items, values = top_k(scores, max(wanted), seen=_closed(wishes, fresh, scores.shape), name=self.name)
        for row, width in enumerate(wanted):
            count = int((items[row, :width] >= 0).sum())
            yield items[row, :count], values[row, :count]

    def _near(self, wishes: Sequence[Wish], wanted: Sequence[int], fresh: FreshItems) -> Iterator[Found]:
        people = [one.person for one in wishes]
        return self.shortlist.best(self._query(people), [one.seen for one in people], wanted, fresh, self.stretch)

    def scores(self, people: Sequence[Person], fresh: FreshItems) -> np.ndarray:
        """Return scores of all items for each person, float32 ``[n, n_items + n_fresh]``."""
        query = self._query(people)
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

    def why(self, person: Person, item: int, fresh: FreshItems) -> Why:
        """Return why an item stands where it stands for somebody, and where it would without items of the history.

        Args:
            person: for whom.
            item: number of an item that the person has not seen, new ones included.
            fresh: the new items.
        """
        exact = isinstance(self.ranker, Explains) and hasattr(self.ranker, "weights")
        here = self._strongest(person, item)
        shorter = [replace(person, history=person.history[person.history != one], row=-1) for one in here.tolist()]
        scores = self.scores([person, *shorter], fresh)
        scores[:, person.seen[person.seen < scores.shape[1]]] = -np.inf
        scores[:, fresh.closed] = -np.inf
        places = (scores > scores[:, [item]]).sum(axis=1) + 1
        parts = self._shares(person, item, here) if exact and item < len(self.dataset.items) else [None] * len(here)
        without = tuple(
            Counterfactual(self.dataset.items[one], self.dataset.all_titles[one], share, int(place))
            for one, share, place in zip(here.tolist(), parts, places[1:], strict=True)
        )
        return Why(int(places[0]), exact, without, self._reasons(person, np.array([item]), fresh)[0])

    def similar(self, item: int, k: int, fresh: FreshItems) -> list[tuple[int, float]]:
        """Return the items that somebody who took nothing but ``item`` is given, with their scores."""
        history = np.array([item]) if item < len(self.dataset.items) else fresh.stand_ins(item)
        scores = self.scores([Person(history, np.array([item]))], fresh)
        scores[0, [item, *fresh.closed]] = scores.min()
        found, values = top_k(scores, min(k + 1, scores.shape[1]), name=self.name)
        pairs = zip(found[0].tolist(), values[0].tolist(), strict=True)
        return [(one, value) for one, value in pairs if one not in (-1, item)][:k]

    # -- how -------------------------------------------------------------------------------------------------

    def _query(self, people: Sequence[Person]) -> Query:
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
        """Take off what disliked items would add, where scores are sums over histories."""
        against = [row for row, one in enumerate(people) if len(one.disliked)]
        if not against or not hasattr(self.ranker, "weights"):
            return scores
        lists = [people[row].disliked for row in against]
        scores = np.array(scores, dtype=np.float32)
        scores[against] -= AGAINST * self.ranker.score(Query.of_histories(lists, len(self.dataset.items)))
        return scores

    def _spread(self, items: np.ndarray, wish: Wish) -> np.ndarray:
        """Return places of the chosen among candidates, best first (MMR: Carbonell & Goldstein, SIGIR 1998).

        The next one has the largest ``(1 - d) * relevance - d * likeness``, where relevance falls from 1 to 0 along the
        list and likeness is the largest cosine with those chosen before.
        """
        if self.vectors is None or not len(items):
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

    def _lines(self, items: np.ndarray, values: np.ndarray, wish: Wish, fresh: FreshItems) -> list[Line]:
        n, data, ids = len(self.dataset.items), self.dataset, self.dataset.items.texts
        why = self._reasons(wish.person, items, fresh) if wish.reasons else [()] * len(items)
        lines = []
        for item, value, because in zip(items.tolist(), values.tolist(), why, strict=True):
            if item < n:
                lines.append(Line(ids[item], data.all_titles[item], value, data.all_attributes[item], because))
            else:
                new = fresh.items[item - n]
                lines.append(Line(new.item_id, new.title, value, new.attributes, because, fresh=True))
        return lines

    def _reasons(self, person: Person, items: np.ndarray, fresh: FreshItems) -> list[tuple[Reason, ...]]:
        n = len(self.dataset.items)
        query = self._alone(person, person.row)
        old = items[items < n]
        told = iter(self.recommender.reasons_for(query, old) if len(old) else [])
        return [next(told) if item < n else self._new(fresh.items[item - n]) for item in items.tolist()]

    def _alone(self, person: Person, row: int = -1) -> Query:
        """Return one person as a ranker sees them: by the history, and by their row where it is given."""
        bounds = np.array([0, len(person.history)])
        return Query(Histories(bounds, person.history, len(self.dataset.items)), np.array([row]))

    def _new(self, item: object) -> tuple[Reason, ...]:
        titles = self.dataset.titles(item.neighbours[:2])  # type: ignore[attr-defined]
        return (Reason("new; reads or looks like " + " and ".join(titles) if titles else "new"),)

    def _strongest(self, person: Person, item: int) -> np.ndarray:
        """Return the items of the history that carry an item's score, the strongest first."""
        n = len(self.dataset.items)
        if not len(person.history):
            return person.history
        if item < n and isinstance(self.ranker, Explains):
            parts = self.ranker.contributions(self._alone(person), item)
            order = np.argsort(-parts, kind="stable")[:COUNTERFACTUALS]
            return person.history[order[parts[order] > 0]]
        return person.history[::-1][:COUNTERFACTUALS]

    def _shares(self, person: Person, item: int, items: np.ndarray) -> list[float | None]:
        parts = self.ranker.contributions(self._alone(person), item)
        total = float(np.maximum(parts, 0).sum())
        first = {int(one): place for place, one in reversed(list(enumerate(person.history)))}
        return [float(parts[first[int(one)]]) / total if total > 0 else None for one in items]


def _closed(wishes: Sequence[Wish], fresh: FreshItems, shape: tuple[int, int]) -> sp.csr_array:
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
