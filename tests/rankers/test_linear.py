"""The closed forms: reasons that add up and come quickly, and what they refuse."""

from __future__ import annotations

import importlib.util
import os
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from recsys.core.errors import RankerError
from recsys.core.runtime import Run
from recsys.core.values import Dataset, Interactions, ItemFeatures, Query, Split, Vocabulary
from recsys.evaluation.evaluator import EvaluationSettings, evaluate
from recsys.rankers import closed_form, ease
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
    """Against a column of the whole matrix, in CPU time of this thread: other work of the machine does not count."""
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
    started = time.thread_time()
    work()
    return time.thread_time() - started


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


def crowded(n_users: int, n_items: int) -> Interactions:
    """Nearly all pairs of items are taken together by somebody: the worst case for a sparse product."""
    rng = np.random.default_rng(0)
    taken = np.argwhere(rng.random((n_users, n_items)) < 0.4).astype(np.int32)
    return Interactions(taken[:, 0], taken[:, 1], n_users, n_items)


def peak_bytes(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_gram_matrix_is_exact_and_made_without_a_second_one() -> None:
    train = crowded(60, 2000)
    dense = train.matrix.toarray().astype(np.float64)
    gram = closed_form.gram_matrix(train.matrix)
    assert gram.dtype == np.float64
    np.testing.assert_array_equal(gram, dense.T @ dense)
    assert peak_bytes(lambda: closed_form.gram_matrix(train.matrix)) < 11 * 2000**2  # 8 are the result


def test_ease_needs_what_it_says(run: Run) -> None:
    train = crowded(60, 2000)
    ranker = ease.EASE(ease.EASE.Settings())
    ranker.fit(crowded(10, 20), ItemFeatures(), run=run)  # what is loaded once
    assert train.matrix is not None  # made once, and part of the data
    peak = peak_bytes(lambda: ranker.fit(train, ItemFeatures(), run=run))
    assert closed_form.BYTES_A_PAIR * 2000**2 <= peak < 1.1 * closed_form.BYTES_A_PAIR * 2000**2


def test_ease_weights_are_the_closed_form(run: Run) -> None:
    train = crowded(60, 300)  # more than a block of rows, and no multiple of it
    ranker = ease.EASE(ease.EASE.Settings(regularisation=20.0))
    ranker.fit(train, ItemFeatures(), run=run)
    dense = train.matrix.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 20.0 * np.eye(300))
    expected = inverse / -np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(ranker.weights, expected, rtol=1e-4, atol=1e-6)


def test_with_a_time_scale_pairs_count_by_how_near_they_were_taken(run: Run) -> None:
    # User 0 takes items 0 and 1 together and item 2 ten seconds later; user 1 takes 0 twice, the last time with 2.
    user, item = np.array([0, 0, 0, 1, 1, 1], np.int32), np.array([0, 1, 2, 0, 0, 2], np.int32)
    train = Interactions(user, item, 2, 3, timestamp=np.array([5, 5, 15, 0, 90, 90]))
    far = np.exp(-1.0)
    np.testing.assert_allclose(
        closed_form.timed_gram(train, 10.0), [[2, 1, far + 1], [1, 1, far], [far + 1, far, 2]], rtol=1e-12
    )
    np.testing.assert_allclose(closed_form.timed_gram(train, 1e12), closed_form.gram_matrix(train.matrix), rtol=1e-9)
    timed, plain = (ease.EASE(ease.EASE.Settings(time_scale=scale)) for scale in (1e12, None))
    for ranker in (timed, plain):
        ranker.fit(train, ItemFeatures(), run=run)
    np.testing.assert_allclose(timed.weights, plain.weights, rtol=1e-5)
    with pytest.raises(RankerError, match=r"ease with time_scale 10: 6 of 6 interactions have no timestamp"):
        ease.EASE(ease.EASE.Settings(time_scale=10)).fit(replace(train, timestamp=None), ItemFeatures(), run=run)


def test_ease_refuses_more_items_than_memory_holds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ranker = ease.EASE(ease.EASE.Settings())
    many = replace(DAYS, n_items=200_000)
    monkeypatch.setattr(closed_form, "available_memory", lambda: 64 * 10**9)
    said = r"ease with 200,000 items: needs 480\.0 GB of memory, of which 64\.0 GB.*data\.prepare\.k_core.*rp3beta"
    with pytest.raises(RankerError, match=said):
        ranker.fit(many, ItemFeatures(), run=run)
    for there in (12 * 2**2, None):  # just enough; a system that does not tell
        monkeypatch.setattr(closed_form, "available_memory", lambda there=there: there)
        ranker.fit(DAYS, ItemFeatures(), run=run)
        assert np.isfinite(ranker.weights).all()


def test_available_memory_is_read_from_the_system(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__, raising=False)
    assert closed_form.available_memory() == 4_096_000
    (tmp_path / "meminfo").write_text("MemTotal:  300 kB\nMemFree:  50 kB\nMemAvailable:  200 kB\n")
    assert closed_form.available_memory() == 204_800
    (tmp_path / "meminfo").write_text("MemTotal:  300 kB\n")  # kernels before 3.14
    assert closed_form.available_memory() == 4_096_000
    monkeypatch.delattr(os, "sysconf")
    assert closed_form.available_memory() is None


def test_ease_on_the_shared_split_is_as_measured_with_other_libraries(shared_data: Path, run: Run) -> None:
    """Figures of four other libraries' EASE with the same split and settings."""
    package = importlib.util.find_spec("recbole")
    if package is None:
        pytest.skip("ml-100k is read from the recbole wheel, which is not installed")
    table = pl.read_csv(Path(package.origin).parent / "dataset_example" / "ml-100k" / "ml-100k.inter", separator="\t")
    users, items = (table[column].rank("dense").to_numpy().astype(np.int32) - 1 for column in table.columns[:2])
    part = pl.read_csv(shared_data / "ml100k-peers" / "labels.csv")["random_811"].to_numpy().astype(np.uint8)
    taken = Interactions(users, items, users.max() + 1, items.max() + 1)
    ids = [Vocabulary(map(str, range(n))) for n in (taken.n_users, taken.n_items)]
    split = Split(Dataset("ml-100k", *ids, taken, pl.DataFrame()), part, "random")
    ranker = ease.EASE(ease.EASE.Settings(regularisation=250.0))
    ranker.fit(split.train, ItemFeatures(), run=run)
    found = evaluate(ranker, split, EvaluationSettings(ks=(20,), metrics=("recall", "ndcg")), run=run).summary
    assert (round(found["recall@20"], 4), round(found["ndcg@20"], 4)) == (0.3971, 0.3441)
