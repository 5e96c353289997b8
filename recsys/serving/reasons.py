"""Why items are in a list: what of the history speaks for them, and what dislikes take away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsys.core.protocols import AddsUp, Explains, HasEmbeddings, Ranker, ScoresSome
from recsys.core.values import Dataset, Interactions, Query

AGAINST = 0.5  # how much a disliked item takes away, beside what a liked one adds
N_REASONS = 3
LEAST = 0.005  # share of a dislike that is worth a line
Kind = Literal["history", "near", "popularity", "dislike", "edit", "new", "diversity", "closed"]
Named = Callable[[int], tuple[str, str]]  # an item's number to its id and title


@dataclass(slots=True)  # not frozen, which takes three times as long: a server makes sixty for each list
class Reason:
    """One of the things that put an item where it stands.

    Attributes:
        text: in words.
        item_id: the item of the history, or the disliked one, that it is about.
        share: its part of all that speaks for the item, negative for what speaks against it; ``None`` where the score
            is not a sum of such parts.
        kind: ``history``: part of the score; ``near``: an item of the history that the ranker puts near, which is no
            part of the score; ``popularity``: nothing better is known; ``dislike``, ``edit``, ``diversity``: what these
            did; ``new``: how an item that came after training is placed; ``closed``: why it is not shown.
    """

    text: str
    item_id: str | None = None
    share: float | None = None
    kind: Kind = "history"


@dataclass(frozen=True)
class Account:
    """What a list rests on besides the history as the ranker sees it.

    Attributes:
        sources: the item that each entry of the history comes from, ``[len(history)]``; ``None``: itself.
        disliked: items of whose parts ``AGAINST`` times is taken off the scores.
        scale: share of the ranker in each item's score where something was added to it, ``[n_items]``.
        named: see ``Named``; ``None``: as the data set does.
    """

    sources: np.ndarray | None = None
    disliked: np.ndarray | None = None
    scale: np.ndarray | None = None
    named: Named | None = None


@dataclass(frozen=True)
class Parts:
    """What items of the history bring to scores.

    Attributes:
        sources: numbers of the items, ``[n_sources]``.
        brought: by each of them, ``[n_items, n_sources]``.
        disliked: numbers of the disliked items, ``[n_disliked]``.
        added: by each of these, mostly negative, ``[n_items, n_disliked]``.
        whole: all of them sum to the scores.
    """

    sources: np.ndarray
    brought: np.ndarray
    disliked: np.ndarray
    added: np.ndarray
    whole: bool

    def shares(self, scale: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return ``brought`` and ``added`` as shares of all that speaks for an item."""
        total = np.maximum(self.brought, 0).sum(axis=1) + np.maximum(self.added, 0).sum(axis=1)
        factor = (1.0 if scale is None else scale) / np.where(total > 0, total, 1)
        return self.brought * factor[:, None], self.added * factor[:, None]


class Reasons:
    """Says why, for one ranker.

    Args:
        dataset: titles and ids.
        ranker: whose lists are explained.
        known: what each user is known to have taken.
    """

    def __init__(self, dataset: Dataset, ranker: Ranker, known: Interactions) -> None:
        self.dataset, self.ranker, self.known = dataset, ranker, known
        self._explains, self._embeds = isinstance(ranker, Explains), isinstance(ranker, HasEmbeddings)
        self._sums, self._picky = isinstance(ranker, AddsUp), isinstance(ranker, ScoresSome)  # slow to find out

    def of(self, query: Query, items: np.ndarray, account: Account | None = None) -> list[tuple[Reason, ...]]:
        """Return what speaks most for each of ``items``, trained ones (the query holds one user).

        Where parts sum to the score (``AddsUp``), each has its share. Other rankers that explain themselves name their
        parts without shares, those with vectors the history's nearest items in that space. For others, and where there
        is nothing to go by, the reason is how many took the item.
        """
        account, history = account or Account(), query.histories[0]
        found: list[tuple[Reason, ...]] = [()] * len(items)
        if len(history) and self.answers(query):
            if self._explains:
                found = self._by_parts(self.parts(query, items, account), account)
            elif self._embeds:
                vectors = self.ranker.embeddings()["item"]
                sources, near = _grouped(
                    history, account.sources, _cosines(vectors[items], vectors[history]), np.maximum
                )
                found = self._worded(sources, near, "close to", account, shares=False)
        return [reasons or (self._count(item),) for reasons, item in zip(found, items.tolist(), strict=True)]

    def parts(self, query: Query, items: np.ndarray, account: Account) -> Parts:
        """Return what history and dislikes bring to ``items``, by a ranker that explains itself."""
        whole = self._sums and self.ranker.adds_up(query)
        history, brought = query.histories[0], self._contributions(query, items)
        sources, brought = _grouped(history, account.sources, brought, np.add)
        disliked = account.disliked if whole and account.disliked is not None else history[:0]
        added = np.zeros((len(items), len(disliked)), dtype=np.float32)
        if len(disliked):
            against = Query.of_histories([disliked], len(self.dataset.items))
            added = -np.float32(AGAINST) * self._contributions(against, items)
        return Parts(sources, brought, disliked, added, whole)

    def answers(self, query: Query) -> bool:
        """Return whether the ranker scores the only query; where it does not, what is popular is listed."""
        return not self._picky or bool(self.ranker.can_score(query)[0])

    def _by_parts(self, parts: Parts, account: Account) -> list[tuple[Reason, ...]]:
        if not parts.whole:
            return self._worded(parts.sources, parts.brought, "goes with", account, shares=False)
        brought, added = parts.shares(account.scale)
        found = self._worded(parts.sources, brought, "because of", account, shares=True)
        if not len(parts.disliked):
            return found
        strongest = np.abs(added).argmax(axis=1)
        against = [self._disliked(parts.disliked[column], share[column], account)
                   for column, share in zip(strongest, added, strict=True)]  # fmt: skip
        return [(*reasons, *one) for reasons, one in zip(found, against, strict=True)]

    def _disliked(self, item: int, share: float, account: Account) -> tuple[Reason, ...]:
        if abs(share) < LEAST:
            return ()
        item_id, title = self._named(int(item), account)
        word = "because you dislike" if share > 0 else "less because you dislike"
        return (Reason(f"{word} {title} ({share:+.0%})", item_id, float(share), "dislike"),)

    def _worded(
        self, sources: np.ndarray, parts: np.ndarray, word: str, account: Account, *, shares: bool
    ) -> list[tuple[Reason, ...]]:
        """Return reasons for each row of ``parts``, ``[n, len(sources)]``: the items with the largest."""
        order = np.argsort(-parts, axis=1, kind="stable")[:, :N_REASONS]
        values, numbers = parts[np.arange(len(parts))[:, None], order].tolist(), sources[order].tolist()
        ids, titles = self.dataset.items.texts, self.dataset.all_titles
        if account.named is not None:
            names = {number: account.named(number) for row in numbers for number in row}
            ids, titles = ({number: name[part] for number, name in names.items()} for part in (0, 1))
        if not shares:
            return [
                tuple([Reason(f"{word} {titles[i]}", ids[i], None, "near")
                       for i, part in zip(row, own, strict=True) if part > 0])
                for row, own in zip(numbers, values, strict=True)
            ]  # fmt: skip
        return [
            tuple([Reason(f"{word} {titles[i]} ({part:.0%})", ids[i], part)
                   for i, part in zip(row, own, strict=True) if part > 0])
            for row, own in zip(numbers, values, strict=True)
        ]  # fmt: skip

    def _named(self, item: int, account: Account) -> tuple[str, str]:
        if account.named is not None:
            return account.named(item)
        return self.dataset.items.texts[item], self.dataset.all_titles[item]

    def _count(self, item: int) -> Reason:
        text = f"{self.known.item_counts[item]:,} of {self.known.n_users:,} users took it"
        return Reason(text, kind="popularity")

    def _contributions(self, query: Query, items: np.ndarray) -> np.ndarray:
        together = getattr(self.ranker, "contributions_to", None)  # some rankers explain a whole list at once
        if together is not None:
            return together(query, items)
        parts = [self.ranker.contributions(query, int(item)) for item in items]
        return np.array(parts, dtype=np.float32).reshape(len(items), -1)


def _grouped(
    history: np.ndarray, sources: np.ndarray | None, parts: np.ndarray, join: np.ufunc
) -> tuple[np.ndarray, np.ndarray]:
    """Return each source once, and what its entries of the history bring together, ``[n, n_sources]``."""
    if sources is None:
        return history, parts
    order = np.argsort(sources, kind="stable")
    unique, starts = np.unique(sources[order], return_index=True)
    return unique, join.reduceat(parts[:, order], starts, axis=1)


def _cosines(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the cosine of each row with each of ``others``, ``[len(rows), len(others)]``."""
    lengths = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(others, axis=1)
    return (rows @ others.T) / np.maximum(lengths, 1e-12)
