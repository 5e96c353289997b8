"""Searches that rank: BM25 against its formula, merging by hand, and a world whose texts tell the taste."""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest
from profiles.lm import THEMES, titled
from profiles.made import a_profile

from recsys.core.errors import ConfigError
from recsys.core.runtime import Run
from recsys.core.values import Histories, Query
from recsys.evaluation.evaluator import evaluate
from recsys.evaluation.task import EvaluationSettings
from recsys.profiles.queries import ItemSearch, QueryRanker, SearchSettings, coverage, diversity, merge, queries_of

TEXTS = ["alien ship ship", "alien love story", "western duel", "love song", ""]


def table(texts=TEXTS) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "title": [f"t{place}" for place in range(len(texts))],
            "text": texts,
            "attributes": [["genre:Odd"], *[[]] * 4],
        },
        schema_overrides={"attributes": pl.List(pl.String)},
    )


def test_scores_are_bm25() -> None:
    k1, b = 1.5, 0.6
    search = ItemSearch(table(), SearchSettings(k1=k1, b=b))
    lengths = np.array([5, 4, 3, 3, 1])  # words of title, text and attributes
    n = {"alien": 2, "love": 2, "duel": 1, "odd": 1, "ship": 1}
    idf = {word: np.log(1 + (5 - count + 0.5) / (count + 0.5)) for word, count in n.items()}
    having = {"alien": [1, 1, 0, 0, 0], "love": [0, 1, 0, 1, 0], "duel": [0, 0, 1, 0, 0], "odd": [1, 0, 0, 0, 0]}
    having["ship"] = [2, 0, 0, 0, 0]
    for words in (["alien"], ["alien", "love"], ["duel", "odd"], ["ship"]):
        held = k1 * (1 - b + b * lengths / lengths.mean())
        times = {word: np.array(having[word]) for word in words}
        expected = sum(idf[word] * times[word] / (times[word] + held) for word in words)
        np.testing.assert_allclose(search.scores(" ".join(words)), expected, rtol=1e-5)
    assert list(search.found("alien love")) == [1, 3, 0]  # 3 is shorter than 0
    assert list(search.found("alien love", np.array([9.0, 0, 0, 0, 9.0]))) == [0, 1, 3]  # 4 has none of the words
    assert not len(search.found("nothing of it"))
    assert not len(search.found(""))


def test_merging_gives_each_query_its_share_in_beam_order_without_repeats() -> None:
    first, second, third = np.array([1, 2, 3, 4]), np.array([2, 1, 5, 6]), np.array([7])
    assert list(merge([first, second, third], 6)) == [1, 2, 5, 6, 7, 3]
    assert list(merge([first, second], 4, skip=np.array([1]))) == [2, 3, 5, 6]
    assert list(merge([first, second], 3)) == [1, 2, 5]
    assert not len(merge([], 5))
    assert len(merge([first, second, third], 50)) == 7


def test_diversity_and_coverage() -> None:
    a, b = np.array([0, 1, 2]), np.array([2, 3, 4])
    assert diversity([a, b], 3) == pytest.approx(1 - 1 / 5)
    assert diversity([a, a], 3) == 0.0
    assert diversity([a], 3) == 1.0
    assert coverage([a, b], 2, 10) == pytest.approx(0.4)


def asking(shift: int):
    """Users search for the theme of their history, or for another."""
    return lambda query: [[THEMES[(query.histories[row][0] + shift) % 4]] for row in range(len(query))]


def test_queries_of_the_own_taste_rank_and_those_of_another_do_not() -> None:
    world = titled()
    search = ItemSearch(world.dataset.item_table.with_columns(pl.lit([], pl.List(pl.String)).alias("attributes")))
    own = QueryRanker(search, asking(0))
    other = QueryRanker(search, asking(1))
    settings = EvaluationSettings(ks=(5, 20), metric="recall@20", resamples=100)
    found = [evaluate(one, world, settings, run=Run()).summary["recall@5"] for one in (own, other)]
    assert found == [1.0, 0.0]


def test_a_user_without_queries_is_undecided_and_shown_what_is_popular() -> None:
    world = titled()
    search = ItemSearch(world.dataset.item_table)
    asked = queries_of({3: a_profile().model_copy(update={"queries": ("space",)})})
    scores = QueryRanker(search, asked).score(Query(Histories.of([[0, 4], [0, 4]], search.n_items), np.array([3, -1])))
    assert set(np.flatnonzero(scores[0])) == set(range(8, search.n_items, 4))
    assert not scores[1].any()


def test_without_the_package_the_error_says_what_to_do(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(ConfigError, match="'bm25s' is not installed"):
        ItemSearch(table())


def test_items_without_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="no item has a word"):
        ItemSearch(table()[4:].with_columns(pl.lit(None, pl.String).alias("title")))


def test_items_that_are_called_as_the_query_come_first_if_so_wished() -> None:
    titles = ["It Happened (1934)", "It (1990)", "it!", "It It It", None]
    named = table(["", "about it it it", "", "", "It"]).with_columns(pl.Series("title", titles))
    prior = np.array([9, 0, 1, 5, 7], dtype=np.float32)
    search, plain = (ItemSearch(named, SearchSettings(exact=exact)) for exact in (True, False))
    assert search.called("IT (2017)") == [1, 2]
    assert search.called("") == search.called("?!") == []
    assert list(search.found("It", prior)) == [2, 1, 0, 4, 3]
    assert list(plain.found("It", prior))[:2] == [0, 4]
    assert list(search.found("happened", prior)) == list(plain.found("happened", prior)) == [0]
