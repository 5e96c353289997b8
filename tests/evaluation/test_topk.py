"""Exact, masked, indifferent to batching; ties favour nobody; scores that are not numbers are refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.core.errors import RankerError
from recsys.evaluation import topk
from recsys.evaluation.topk import places, tie_order, top_k


def plainest(scores: np.ndarray, k: int, seen: np.ndarray) -> list[list[int]]:
    """The rule in one line a user: best score first, then tie order, seen items left out."""
    order = tie_order(scores.shape[1])
    rows = []
    for row, taken in zip(scores.tolist(), seen.tolist(), strict=True):
        left = sorted((item for item in range(len(row)) if not taken[item]), key=lambda i: (-row[i], order[i]))
        rows.append([*left, *[-1] * k][:k])
    return rows


@settings(max_examples=150)
@given(data=st.data(), n=st.integers(0, 6), n_items=st.integers(1, 30), k=st.integers(1, 35))
def test_equals_a_plain_sort(data, n, n_items, k):
    levels = data.draw(st.sampled_from([1, 2, 5, 1000]))  # one level: all scores are tied
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    scores = (rng.integers(-levels, levels, (n, n_items)) / 3).astype(np.float32)
    seen = rng.random((n, n_items)) < data.draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    items, values = top_k(scores, k, seen=sp.csr_array(seen.astype(np.float32)))
    assert items.tolist() == plainest(scores, k, seen)
    found = np.take_along_axis(scores, np.maximum(items, 0), axis=1)
    np.testing.assert_array_equal(values, np.where(items < 0, -np.inf, found))


def test_many_blocks_equal_one_by_one(monkeypatch):
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 9, (50, 30)).astype(np.float32)
    seen = sp.csr_array((rng.random((50, 30)) < 0.3).astype(np.float32))
    whole = top_k(scores, 7, seen=seen)[0]
    monkeypatch.setattr(topk, "BLOCK_BYTES", 7 * 30 * 4)
    assert np.array_equal(top_k(scores, 7, seen=seen)[0], whole)
    single = [top_k(scores[[row]], 7, seen=seen[[row]])[0][0] for row in range(50)]
    assert np.array_equal(np.array(single), whole)


def test_no_seen_item_is_returned_and_nothing_left_is_minus_one():
    seen = sp.csr_array(np.array([[1, 0, 1, 0], [1, 1, 1, 1]], dtype=np.float32))
    items, values = top_k(np.array([[9, 1, 8, 2], [1, 2, 3, 4]], dtype=np.float32), 3, seen=seen)
    assert items.tolist() == [[3, 1, -1], [-1, -1, -1]]
    assert values[0].tolist() == [2, 1, -np.inf]


def test_banned_items_are_seen_by_everybody(monkeypatch):
    rng = np.random.default_rng(2)
    scores, taken = rng.integers(0, 9, (20, 30)).astype(np.float32), rng.random((20, 30)) < 0.3
    banned = rng.random(30) < 0.5
    expected = plainest(scores, 12, taken | banned)
    before = scores.copy()
    monkeypatch.setattr(topk, "BLOCK_BYTES", 7 * 30 * 4)
    assert top_k(scores, 12, seen=sp.csr_array(taken.astype(np.float32)), banned=banned)[0].tolist() == expected
    assert top_k(scores, 12, banned=banned)[0].tolist() == plainest(scores, 12, np.broadcast_to(banned, (20, 30)))
    np.testing.assert_array_equal(scores, before)
    assert (top_k(scores, 3, banned=np.ones(30, dtype=bool))[0] == -1).all()


def test_a_ban_costs_no_memory_for_each_user():
    n, n_items = 400, 20_000
    scores, banned = np.zeros((n, n_items), dtype=np.float32), np.arange(n_items) > 10
    top_k(scores[:1], 5, banned=banned)  # what is loaded and cached once
    tracemalloc.start()
    top_k(scores, 5, banned=banned)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < scores.nbytes / 4  # the banned pairs in a sparse matrix would take twice the scores


def test_scores_are_left_as_they_were_and_may_be_a_broadcast_of_doubles():
    row = np.linspace(0, 1, 12)
    scores = np.broadcast_to(row, (4, 12))
    items, _ = top_k(scores, 2, seen=sp.csr_array(np.eye(4, 12, k=8, dtype=np.float32)))
    assert items.tolist() == [[11, 10], [11, 10], [11, 9], [10, 9]]
    assert np.array_equal(scores[0], np.linspace(0, 1, 12))


def test_minus_zero_ties_with_zero():
    scores = np.zeros((1, 20), dtype=np.float32)
    flipped = np.where(np.arange(20) % 2, -0.0, 0.0).astype(np.float32)[None]
    assert top_k(flipped, 20)[0].tolist() == top_k(scores, 20)[0].tolist() == [np.argsort(tie_order(20)).tolist()]


@pytest.mark.parametrize(("bad", "words"), [(np.nan, "1 NaN and 0"), (np.inf, "0 NaN and 1"), (-np.inf, "0 NaN and 1")])
def test_scores_that_are_not_finite_are_refused_even_when_masked(bad, words):
    scores = np.zeros((3, 5), dtype=np.float32)
    scores[2, 4] = bad
    with pytest.raises(RankerError, match=f"scores of mine: {words} infinite"):
        top_k(scores, 2, seen=sp.csr_array(np.ones((3, 5), dtype=np.float32)), name="mine")


def test_opposite_infinities_and_values_beyond_float32_are_refused():
    for pair in ([np.inf, -np.inf], [1e300, 0.0]):
        with pytest.raises(RankerError, match="infinite"):
            top_k(np.array([pair]), 1)


def test_large_finite_scores_whose_sum_overflows_are_fine():
    scores = np.array([[3e38, 3.1e38, 2.9e38]], dtype=np.float32)
    assert top_k(scores, 2)[0].tolist() == [[1, 0]]


def test_a_wrong_shape_is_refused():
    with pytest.raises(RankerError, match="shape"):
        top_k(np.zeros((2, 3), dtype=np.float32), 1, seen=sp.csr_array((2, 4), dtype=np.float32))
    with pytest.raises(RankerError, match="shape"):
        top_k(np.zeros(3, dtype=np.float32), 1)
    for banned in (np.zeros(4, dtype=bool), np.zeros((2, 3), dtype=bool), np.zeros(3, dtype=np.int64)):
        with pytest.raises(RankerError, match=r"banned items: .* where bool \(3,\) is needed"):
            top_k(np.zeros((2, 3), dtype=np.float32), 1, banned=banned)


def test_tie_order_is_a_fixed_permutation():
    assert tie_order(10).tolist() == [7, 5, 0, 9, 1, 4, 2, 6, 3, 8]  # pinned: published figures with ties depend on it
    for n in (1, 2, 999, 5000):
        assert np.array_equal(np.sort(tie_order(n)), np.arange(n))


def test_tie_order_has_nothing_to_do_with_the_item_number():
    for n in (500, 1682, 3706, 20_000):
        correlation = np.corrcoef(tie_order(n), np.arange(n))[0, 1]
        assert abs(correlation) < 3.5 / np.sqrt(n)


def test_constant_scores_score_like_chance_whatever_the_numbering():
    """With items numbered by popularity, a tie rule by number would make a ranker without knowledge look good."""
    rng = np.random.default_rng(0)
    n_items, k = 400, 20
    weights = 1.0 / np.arange(1, n_items + 1)  # item 0 is the most popular one
    truth = rng.choice(n_items, 4000, p=weights / weights.sum())
    shown = top_k(np.zeros((1, n_items), dtype=np.float32), k)[0][0]
    recall_of = lambda numbering: np.isin(numbering[truth], shown).mean()  # noqa: E731
    at_random = np.array([recall_of(rng.permutation(n_items)) for _ in range(2000)])
    chance = k / n_items
    assert abs(at_random.mean() - chance) < 4 * at_random.std() / np.sqrt(len(at_random))
    as_given, reverse = recall_of(np.arange(n_items)), recall_of(np.arange(n_items)[::-1])
    for recall in (as_given, reverse):
        assert np.quantile(at_random, 0.005) < recall < np.quantile(at_random, 0.995)
    by_number = (truth < k).mean()
    assert by_number > 10 * chance  # what the rule guards against


@pytest.mark.parametrize("levels", [3, 40, 10_000_000])
def test_wide_rows_are_looked_through_by_segments_and_nothing_is_missed(levels) -> None:
    rng = np.random.default_rng(levels)
    scores = rng.integers(-levels, levels, (5, 20_011)).astype(np.float32)
    items, values = top_k(scores, 20)
    order = np.lexsort((np.broadcast_to(tie_order(scores.shape[1]), scores.shape), -scores), axis=1)[:, :20]
    assert (items == order).all()
    assert (values == np.take_along_axis(scores, order, axis=1)).all()


def test_places_are_those_of_the_list_without_what_is_closed() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 4, 30).astype(np.float32)  # many ties
    closed = np.array([2, 7, 7, 29])
    (order,) = plainest(scores[None], 30, np.isin(np.arange(30), closed)[None])
    expected = [order.index(item) + 1 if item in order else 0 for item in range(30)]
    assert places(scores, np.arange(30), closed).tolist() == expected
    assert places(scores, np.array([order[0], 7]), closed).tolist() == [1, 0]


def test_a_block_keeps_to_its_memory(monkeypatch) -> None:
    sizes, rank = [], topk._rank
    monkeypatch.setattr(topk, "BLOCK_BYTES", 7 * 30 * 4)
    monkeypatch.setattr(topk, "_rank", lambda block, k: sizes.append(len(block)) or rank(block, k))
    top_k(np.zeros((20, 30), dtype=np.float32), 2)
    assert sizes == [7, 7, 6]


def test_a_row_wider_than_a_block_is_ranked_alone(monkeypatch) -> None:
    monkeypatch.setattr(topk, "BLOCK_BYTES", 4)
    assert top_k(np.array([[1, 3, 2], [3, 1, 2]], dtype=np.float32), 2)[0].tolist() == [[1, 2], [0, 2]]
