"""One trained ranker at work: lists for many people at once, new items included, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from recsys.core.protocols import AddsUp, Explains
from recsys.evaluation.topk import top_k
from recsys.serving.fresh import FreshItems
from recsys.serving.list_reasons import closed_reasons, diversity_reasons, edit_reasons, edit_shares, new_reason
from recsys.serving.person import Person
from recsys.serving.ranking import Ranking, closed
from recsys.serving.reasons import Account, Reason
from recsys.serving.wishes import Counterfactual, Line, Why, Wish

COUNTERFACTUALS = 5  # items of the history that are left out in turn


class Engine(Ranking):
    """Answers for one ranker, and says why."""

    def answer(self, wishes: Sequence[Wish], fresh: FreshItems) -> list[list[Line]]:
        """Return a list for each wish, best first; shorter where fewer items are left."""
        lists = []
        for wish, (items, values) in zip(wishes, self.best(wishes, fresh), strict=True):
            order = self.spread(items, wish)
            shown, scores = items[order], values[order]
            why: Sequence[tuple[Reason, ...]] = [()] * len(shown)
            if wish.reasons:
                why = self._because(wish, shown, scores, order + 1, fresh)
                if wish.diversity:
                    spread = diversity_reasons(items, order, lambda one: self._named(one, fresh)[1])
                    why = [(*changed, *own) for changed, own in zip(spread, why, strict=True)]
            lists.append(self._lines(shown, scores, why, fresh))
        return lists

    def why(
        self, wish: Wish, item: int, fresh: FreshItems, shorter: Callable[[int], Person] | None = None,
        asked: Sequence[str] = (),
    ) -> Why:  # fmt: skip
        """Return why an item stands where it stands in the list that is wished for, and where without what was taken.

        All places are those of lists that this engine gives: the same scores, ties, filters, dislikes, edits and new
        items. Only where an index answers, places are counted in the exact list.

        Args:
            wish: for whom, and which list; with diversity an item beyond its ``k`` has no place.
            item: number of an item that the person has not seen, new ones included.
            fresh: the new items.
            shorter: the person without an item that was taken, by its number; by default the same person with a shorter
                history, what edits do held fixed.
            asked: what of the wish leaves the item out, in words (``Offered.excluding``).
        """
        person, one = wish.person, np.array([item])
        free = self.place(_unedited(wish), item, fresh) if person.steering is not None else None
        if item in closed([wish], fresh, (1, len(self.dataset.items) + len(fresh))).indices:
            return Why(None, False, (), free, closed_reasons(item, person.steering, fresh, asked))
        score, now = self.scores([person], fresh)[0, one], self.places(wish, one, fresh)
        place = self.place(wish, item, fresh) if wish.diversity else int(now[0])
        if wish.diversity and place is not None:
            reasons = self.answer([replace(wish, reasons=True)], fresh)[0][place - 1].reasons
        else:
            reasons = self._because(wish, one, score, now, fresh)[0]
        shorter = shorter or person.without
        without = tuple(
            Counterfactual(
                *self._named(source, fresh), share, self.place(replace(wish, person=shorter(source)), item, fresh)
            )
            for source, share in self._strongest(person, item, score, fresh)
        )
        return Why(place, self._exact_for(wish, item), without, free, reasons)

    def similar(self, item: int, k: int, fresh: FreshItems) -> list[tuple[int, float]]:
        """Return the items that somebody who took nothing but ``item`` is given, with their scores."""
        history = np.array([item]) if item < len(self.dataset.items) else fresh.stand_ins(item)
        scores = self.scores([Person(history, np.array([item]))], fresh)
        banned = np.zeros(scores.shape[1], dtype=bool)
        banned[[item, *fresh.closed]] = True
        found, values = top_k(scores, min(k, len(banned)), banned=banned, name=self.name)
        return [(one, value) for one, value in zip(found[0].tolist(), values[0].tolist(), strict=True) if one >= 0]

    def _lines(
        self, items: np.ndarray, values: np.ndarray, why: Sequence[tuple[Reason, ...]], fresh: FreshItems
    ) -> list[Line]:
        n, data, ids = len(self.dataset.items), self.dataset, self.dataset.items.texts
        lines = []
        for item, value, because in zip(items.tolist(), values.tolist(), why, strict=True):
            if item < n:
                lines.append(Line(ids[item], data.all_titles[item], value, data.all_attributes[item], because))
            else:
                new = fresh.items[item - n]
                lines.append(Line(new.item_id, new.title, value, new.attributes, because, fresh=True))
        return lines

    # -- why -------------------------------------------------------------------------------------------------

    def _because(
        self, wish: Wish, items: np.ndarray, values: np.ndarray, now: np.ndarray, fresh: FreshItems
    ) -> list[tuple[Reason, ...]]:
        """Return the reasons of items with their scores and places, diversity aside."""
        person, n, scale = wish.person, len(self.dataset.items), None
        edits: Sequence[tuple[Reason, ...]] = [()] * len(items)
        if person.steering is not None:
            scale, shares = edit_shares(person.steering, items, values, fresh, self.stretch)
            was = self.places(_unedited(wish), items, fresh)
            edits = edit_reasons(person.steering, items, shares, was, now, fresh)
        old = items < n
        account = self._account(person, fresh, None if scale is None else scale[old])
        own = iter(self.recommender.reasoning.of(self.query([person]), items[old], account) if old.any() else ())
        return [
            (*edit, *(next(own) if item < n else (self._new(item, fresh),)))
            for edit, item in zip(edits, items.tolist(), strict=True)
        ]

    def _account(self, person: Person, fresh: FreshItems, scale: np.ndarray | None = None) -> Account:
        disliked = person.disliked if self._takes_off else None
        named = None if person.sources is None else lambda item: self._named(item, fresh)  # all are trained items
        return Account(person.sources, disliked, scale, named)

    def _new(self, item: int, fresh: FreshItems) -> Reason:
        return new_reason(fresh.items[item - fresh.n_items], self.stretch, lambda one: self.dataset.all_titles[one])

    def _named(self, item: int, fresh: FreshItems) -> tuple[str, str]:
        """Return an item's id and title."""
        if item < fresh.n_items:
            return self.dataset.items.texts[item], self.dataset.all_titles[item]
        new = fresh.items[item - fresh.n_items]
        return new.item_id, new.title

    def _exact_for(self, wish: Wish, item: int) -> bool:
        """Return whether an item's score is a sum over what the person took and disliked, and alone places it."""
        person, query = wish.person, self.query([wish.person])
        index = self.shortlist is not None and self.shortlist.takes(person, wish.allowed is not None)
        if person.steering is not None or wish.diversity or index or item >= len(self.dataset.items):
            return False
        sums = isinstance(self.ranker, AddsUp) and self.ranker.adds_up(query)
        return bool(sums and len(person.history) and self.recommender.reasoning.answers(query))

    def _strongest(
        self, person: Person, item: int, score: np.ndarray, fresh: FreshItems
    ) -> list[tuple[int, float | None]]:
        """Return what was taken that carries an item's score, the strongest first, with shares where it has any."""
        n, query, reasoning = len(self.dataset.items), self.query([person]), self.recommender.reasoning
        rows, weights = np.array([item]), np.ones(1)
        if item >= n:
            rows, weights = fresh.items[item - n].neighbours, fresh.items[item - n].weights
        if not (isinstance(self.ranker, Explains) and len(person.history) and len(rows) and reasoning.answers(query)):
            newest = dict.fromkeys(person.taken[::-1].tolist())
            return [(source, None) for source in newest][:COUNTERFACTUALS]
        scale = None
        if person.steering is not None and item < n:
            scale, _ = edit_shares(person.steering, rows, score, fresh, self.stretch)
        parts = reasoning.parts(query, rows, self._account(person, fresh))
        brought, shares = weights @ parts.brought, None
        if parts.whole and item < n:
            shares = parts.shares(scale)[0][0].tolist()
        order = np.argsort(-brought, kind="stable")[:COUNTERFACTUALS]
        return [
            (int(parts.sources[one]), shares[one] if shares else None) for one in order.tolist() if brought[one] > 0
        ]


def _unedited(wish: Wish) -> Wish:
    """Return the wish of the same person without edits of the profile."""
    return replace(wish, person=replace(wish.person, steering=None))
