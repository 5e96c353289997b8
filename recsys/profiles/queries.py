"""Profiles that rank by searching: queries, BM25 over the items' texts, results merged (GPT4Rec, Li et al. 2023)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.errors import ConfigError
from recsys.core.values import Query
from recsys.profiles.matching import singular
from recsys.profiles.naming import spoken_title
from recsys.profiles.schema import UserProfile


class SearchSettings(Settings):
    """How items are found by words."""

    k1: float = Field(1.2, ge=0, description="How soon a word that occurs again counts no more.")
    b: float = Field(0.75, ge=0, le=1, description="How much long texts are held back.")
    results: int = Field(100, ge=1, description="Items that all queries of a user bring together.")
    exact: bool = Field(False, description="Items that are called as the whole query says come before all others.")


class ItemSearch:
    """BM25 (Lucene's variant) over titles, texts and attributes.

    Args:
        table: one row an item in vocabulary order, columns of ``ITEM_SCHEMA``.
        settings: see there.

    Raises:
        ConfigError: the package ``bm25s`` is not installed, or no item has a word.
    """

    def __init__(self, table: pl.DataFrame, settings: SearchSettings | None = None) -> None:
        try:
            import bm25s
        except ModuleNotFoundError:
            raise ConfigError("item search", "the package 'bm25s' is not installed", "Run: make setup") from None
        self.settings, self.n_items = settings or SearchSettings(), len(table)
        words = [item_words(row) for row in table.select("title", "text", "attributes").iter_rows(named=True)]
        self.known = {word for row in words for word in row}
        if not self.known:
            raise ConfigError("item search", "no item has a word", "Give items titles, texts or attributes.")
        self._called: dict[tuple[str, ...], list[int]] = {}
        for item, title in enumerate(table["title"]):
            self._called.setdefault(title_key(title or ""), []).append(item)
        self._index: Any = bm25s.BM25(k1=self.settings.k1, b=self.settings.b)
        self._index.index(words, show_progress=False)

    def scores(self, query: str) -> np.ndarray:
        """Return BM25 of every item, float32 ``[n_items]``; 0 where it has none of the words."""
        words = [word for word in dict.fromkeys(search_words(query)) if word in self.known]
        if not words:
            return np.zeros(self.n_items, dtype=np.float32)
        return np.asarray(self._index.get_scores(words), dtype=np.float32)

    def found(self, query: str, prior: np.ndarray | None = None) -> np.ndarray:
        """Return the items that have any of the words, best first; equal ones in vocabulary order.

        Args:
            query: words.
            prior: added to BM25, such as log popularity, ``[n_items]``.
        """
        scores = self.scores(query)
        total = scores if prior is None else scores + prior
        order = np.argsort(-total, kind="stable")
        order = order[scores[order] > 0]
        if not self.settings.exact:
            return order
        called = np.isin(order, self.called(query))
        return np.concatenate([order[called], order[~called]])

    def called(self, query: str) -> list[int]:
        """Return the items that have the query for a title; capitals, year and marks do not matter."""
        return self._called.get(title_key(query), []) if title_key(query) else []


def title_key(title: str) -> tuple[str, ...]:
    """Return what titles are compared by: the words that are spoken of it."""
    return tuple(search_words(spoken_title(title)))


def search_words(text: str) -> list[str]:
    """Return all words, singular and in lower case, as often as they occur: BM25 itself tells which say little."""
    return [singular(word) for word in re.findall(r"\w+", text.lower())]


def item_words(row: dict[str, Any]) -> list[str]:
    """Return the words of an item: of its title, its text, and the values of its attributes."""
    values = [one.partition(":")[2] for one in row["attributes"] or ()]
    said = [row["title"] or "", row["text"] or "", *values]
    return [word for part in said for word in search_words(part)]


def merge(results: Sequence[np.ndarray], most: int, skip: np.ndarray | None = None) -> np.ndarray:
    """Return items of several queries as one list: each query's best ``most / m`` that no earlier one brought.

    The order is that of the queries (of the beam), as in GPT4Rec; what a query lacks, the next ones may fill up, and at
    last all of them in turn.

    Args:
        results: items of each query, best first.
        most: items at most.
        skip: items left out, such as the history.
    """
    if not results:
        return np.zeros(0, dtype=np.int64)
    share, taken = -(-most // len(results)), set() if skip is None else set(map(int, skip))
    merged: list[int] = []
    for part in (share, most):
        for items in results:
            fresh = list(islice((int(item) for item in items if int(item) not in taken), min(part, most - len(merged))))
            merged += fresh
            taken.update(fresh)
    return np.array(merged, dtype=np.int64)


def queries_of(profiles: Mapping[int, UserProfile]) -> Callable[[Query], list[tuple[str, ...]]]:
    """Return the profiles' own queries by user row number; users without a profile ask nothing."""
    told = {user: profile.queries for user, profile in profiles.items()}
    return lambda query: [told.get(int(user), ()) for user in query.user_idx]


class QueryRanker:
    """Ranks by searches: a ``Scorer`` for evaluation.

    Items that no search brings score 0, in the order of nothing; a user without queries is thereby undecided, and is
    shown popular items by evaluation and serving.

    Args:
        search: over the items.
        queries: gives the queries of each user of a ``Query``, the best first.
        prior: see ``ItemSearch.found``: a word such as a genre is had by hundreds of items, and BM25 hardly tells them
            apart.
    """

    def __init__(
        self,
        search: ItemSearch,
        queries: Callable[[Query], Sequence[Sequence[str]]],
        prior: np.ndarray | None = None,
    ) -> None:
        self.search, self.queries, self.prior = search, queries, prior

    def lists(self, query: Query) -> list[np.ndarray]:
        """Return what each user's searches bring, without the history, best first."""
        found = []
        for row, asked in enumerate(self.queries(query)):
            results = [self.search.found(one, self.prior) for one in asked]
            found.append(merge(results, self.search.settings.results, skip=query.histories[row]))
        return found

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``: 1 for the first of a user's list, falling evenly to above 0."""
        result = np.zeros((len(query), self.search.n_items), dtype=np.float32)
        for row, items in enumerate(self.lists(query)):
            result[row, items] = 1.0 - np.arange(len(items), dtype=np.float32) / max(len(items), 1)
        return result


def diversity(results: Sequence[np.ndarray], k: int) -> float:
    """Return how little a user's queries bring the same: 1 - mean Jaccard of their best ``k``; 1 for a single query."""
    tops = [set(map(int, items[:k])) for items in results]
    pairs = [(a, b) for place, a in enumerate(tops) for b in tops[:place] if a | b]
    return 1.0 - float(np.mean([len(a & b) / len(a | b) for a, b in pairs])) if pairs else 1.0


def coverage(lists: Sequence[np.ndarray], k: int, n_items: int) -> float:
    """Return the share of the catalogue that is among anybody's best ``k``."""
    shown = {int(item) for items in lists for item in items[:k]}
    return len(shown) / max(n_items, 1)
