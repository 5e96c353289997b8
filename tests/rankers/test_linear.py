"""The closed forms: reasons that add up and come quickly, and what they refuse."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.core.errors import RankerError
from recsys.core.runtime import Run
from recsys.core.values import Interactions, ItemFeatures, Query
from recsys.rankers.linear import LinearItemRanker
from recsys.rankers.popularity import Popularity


def linear(weights: np.ndarray | sp.csr_array) -> LinearItemRanker:
    ranker = LinearItemRanker()
    ranker.weights = weights
    return ranker


@pytest.fixture(params=["dense", "sparse"])
def ranker(request: pytest.FixtureRequest) -> LinearItemRanker:
    rng = np.random.default_rng(0)
    weights = (rng.normal(size=(30, 30)) * (rng.random((30, 30)) < 0.4)).astype(np.float32)
    return linear(weights if request.param == "dense" else sp.csr_array(weights))


def test_contributions_sum_to_the_score_and_items_count_once(ranker: LinearItemRanker) -> None:
    query = Query.of_histories([[3, 7, 3, 12]], 30)
    scores = ranker.score(query)[0]
    weights = ranker.weights if isinstance(ranker.weights, np.ndarray) else ranker.weights.toarray()
    for item in range(30):
        parts = ranker.contributions(query, item)
        np.testing.assert_array_equal(parts, [weights[3, item], weights[7, item], 0.0, weights[12, item]])
        assert parts.dtype == np.float32
        np.testing.assert_allclose(parts.sum(), scores[item], rtol=1e-5, atol=1e-6)


def test_contributions_to_several_items_are_those_to_each(ranker: LinearItemRanker) -> None:
    query, items = Query.of_histories([[3, 7, 3, 12]], 30), np.array([29, 3, 3, 0])
    together = ranker.contributions_to(query, items)
    np.testing.assert_array_equal(together, [ranker.contributions(query, item) for item in items])
    assert ranker.contributions_to(Query.of_histories([[]], 30), items).shape == (4, 0)
    together[:] = -7.0
    assert not (ranker.contributions_to(query, items) == -7.0).any()


def test_reasons_of_a_list_read_the_history_alone() -> None:
    """Against a column of the whole matrix, timed here too so that a slow machine is no excuse."""
    rng = np.random.default_rng(0)
    n_items, k = 20_000, 100
    indices = rng.integers(0, n_items, n_items * k).astype(np.int32)
    parts = (rng.random(n_items * k).astype(np.float32), indices, np.arange(0, n_items * k + 1, k, dtype=np.int32))
    ranker = linear(sp.csr_array(parts, shape=(n_items, n_items)))
    query, items = Query.of_histories([rng.choice(n_items, 100)], n_items), np.arange(10)
    one_column = min(seconds(lambda: ranker.weights[:, [5]].toarray()) for _ in range(5))
    assert min(seconds(lambda: ranker.contributions(query, 5)) for _ in range(5)) < one_column / 2
    assert min(seconds(lambda: ranker.contributions_to(query, items)) for _ in range(5)) < one_column / 2


def seconds(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


DAYS = Interactions(
    np.array([0, 1, 2], np.int32), np.array([0, 0, 1], np.int32), 3, 2, timestamp=np.array([0, 0, 10]) * 86_400
)


def test_popularity_halves_with_each_half_life_and_needs_times(run: Run) -> None:
    ranker = Popularity(Popularity.Settings(half_life_days=5))
    ranker.fit(DAYS, ItemFeatures(), run=run)
    np.testing.assert_allclose(ranker.counts, [0.5, 1.0])
    for times, missing in ((None, 3), (np.array([0, np.nan, 10]), 1)):
        said = rf"half_life_days 5: {missing} of 3 interactions have no timestamp.*Leave ranker\.half_life_days unset"
        with pytest.raises(RankerError, match=said):
            ranker.fit(replace(DAYS, timestamp=times), ItemFeatures(), run=run)
    always = Popularity(Popularity.Settings())
    always.fit(replace(DAYS, timestamp=None), ItemFeatures(), run=run)
    np.testing.assert_array_equal(always.counts, [2.0, 1.0])
