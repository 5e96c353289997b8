"""Cold start by hand: which truth, which candidates, which part of a history."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_worlds import TableRanker, make_split, random_split

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import TEST, Histories, Query, Split
from recsys.evaluation.cold import (
    Among,
    DrawnItems,
    Newcomers,
    drawn_users,
    evaluate_among,
    evaluate_newcomers,
    first_of,
    fixed_items,
    harmonic,
    only_truth,
    only_users,
    without_users,
)
from recsys.evaluation.evaluator import EvaluationSettings, evaluate
from recsys.rankers.store import make_ranker

from worlds import blocks, content_world, shuffled

RUN = Run(seed=0, log=lambda message: None)
MEASURE = EvaluationSettings(ks=(2,), metric="recall@2", resamples=100)


def fitted(config: dict, split: Split, features=None):
    ranker = make_ranker(config)
    ranker.fit(split.train, features, run=RUN)
    return ranker


# -- truth and candidates ----------------------------------------------------------------------------------------


def test_truth_is_restricted_and_the_rest_is_neither_truth_nor_masked() -> None:
    split = make_split([0, 0, 0, 1, 1], [0, 1, 2, 0, 3], [0, 2, 2, 0, 2], 2, 4)
    found = only_truth(split, np.array([False, False, True, False]))
    assert (found.test.user_idx.tolist(), found.test.item_idx.tolist()) == ([0], [2])
    assert len(found.train) == 2
    scores = np.array([[0, 9, 8, 0], [0, 0, 0, 0]])
    assert evaluate(TableRanker(scores), found, MEASURE, run=RUN).summary["recall@2"] == 1.0
    narrow = MEASURE.model_copy(update={"ks": (1,), "metric": "recall@1"})
    assert evaluate(TableRanker(scores), found, narrow, run=RUN).summary["recall@1"] == 0.0, "item 1 is no truth"
    with pytest.raises(DataError, match="no interactions of the items wanted"):
        only_truth(split, np.zeros(4, bool))


def test_only_the_users_wanted_are_asked() -> None:
    split = random_split()
    found = only_users(split, np.array([3, 7]))
    assert set(found.test.user_idx.tolist()) == {3, 7}
    assert len(found.train) == len(split.train)


def test_among_some_items_only_their_order_counts() -> None:
    split = make_split([0, 0, 1], [0, 3, 1], [0, 2, 0], 2, 5)
    ranker = TableRanker(np.array([[0, 9, 8, 7, 6], [0, 0, 0, 0, 0]]))
    one = EvaluationSettings(ks=(1,), metric="recall@1", resamples=100)
    assert evaluate(ranker, split, one, run=RUN).summary["recall@1"] == 0.0
    allowed = fixed_items(np.array([True, False, False, True, True]))
    found = evaluate_among(ranker, split, one, allowed, "items 0, 3 and 4", run=RUN, name="table")
    assert found.summary["recall@1"] == 1.0
    assert found.top_items.tolist() == [[3]]
    assert found.protocol["ranking"] == "items 0, 3 and 4"
    assert found.protocol["fingerprint"] != evaluate(ranker, split, one, run=RUN).protocol["fingerprint"]


class KnowsTheFirst(TableRanker):
    def can_score(self, query: Query) -> np.ndarray:
        return query.user_idx == 0


def test_whom_a_ranker_does_not_know_gets_the_popular_of_the_allowed_items() -> None:
    among = Among(
        KnowsTheFirst(np.array([[1.0, 2, 3]])), fixed_items(np.array([True, True, False])), np.array([5, 7, 9])
    )
    scores = among.score(Query(Histories.of([[], []], 3), np.array([0, -1])))
    assert scores[:, :2].tolist() == [[1, 2], [5, 7]]
    assert (scores[:, 2] < -1e30).all()
    assert np.isfinite(scores.sum())


def test_drawn_items_are_the_truth_and_strangers_of_train() -> None:
    split = random_split()
    users = np.flatnonzero((split.test.user_counts > 0) & (split.train.user_counts > 0))
    drawn = DrawnItems(split, 15, RUN)
    query = Query.of_users(split.train, users)
    allowed = drawn(query)
    np.testing.assert_array_equal(allowed[::-1], drawn(query.take(np.arange(len(users))[::-1])))
    warm = split.train.item_counts > 0
    for user, row in zip(users, allowed, strict=True):
        truth, seen = split.test.histories[user], split.train_valid.histories[user]
        assert row[truth].all()
        assert not row[np.setdiff1d(seen, truth)].any()
        assert warm[np.setdiff1d(np.flatnonzero(row), truth)].all()
        assert row.sum() == min(max(15, len(truth)), len(truth) + np.count_nonzero(warm) - np.isin(
            np.flatnonzero(warm), np.concatenate([truth, seen])).sum())  # fmt: skip
    others = allowed.copy()
    others[split.test.matrix[users].toarray() > 0] = False
    share = others.mean(axis=0)
    assert share[warm].min() > 0.05, "every item is drawn for somebody"


def test_among_equally_many_chance_is_equal() -> None:
    """Random scores: what is found among drawn items is what is found among fixed ones, 2 of 12."""
    world = blocks(users_each=100)
    table = TableRanker(np.random.default_rng(0).random((world.train.n_users, world.train.n_items)))
    found = evaluate_among(table, world, MEASURE, DrawnItems(world, 12, RUN), "drawn", run=RUN, name="chance")
    assert found.summary["recall@2"] == pytest.approx(2 / 12, abs=0.05)


def test_cold_items_are_found_by_content_alone() -> None:
    """Of 12 cold items three are a user's: content finds them, popularity and EASE are at chance (2 of 12)."""
    world, features = content_world("image")
    cold = np.bincount(world.test.item_idx, minlength=world.train.n_items) > 0
    assert cold.sum() == 12
    assert not (world.train.item_counts[cold] > 0).any()
    figures = {}
    for name, told in (
        ("content_knn", features),
        ("shuffled", shuffled(features)),
        ("ease", None),
        ("popularity", None),
    ):
        ranker = fitted({"name": "content_knn" if name == "shuffled" else name}, world, told)
        found = evaluate_among(ranker, world, MEASURE, fixed_items(cold), "the cold items", run=RUN, name=name)
        figures[name] = found.summary["recall@2"]
    assert figures["content_knn"] > 0.6  # 2 of 3 at most
    assert max(figures["ease"], figures["popularity"], figures["shuffled"]) < 0.35


def test_the_harmonic_mean_is_high_only_where_both_are() -> None:
    assert harmonic(0.2, 0.3) == pytest.approx(0.24)
    assert harmonic(0.0, 0.9) == harmonic(0.0, 0.0) == 0.0


# -- users -------------------------------------------------------------------------------------------------------


def test_the_first_of_each_history() -> None:
    lists = Histories.of([[4, 2, 3], [], [1], [3, 0]], 5)
    found = first_of(lists, 2)
    assert [found[row].tolist() for row in range(4)] == [[4, 2], [], [1], [3, 0]]
    assert [first_of(lists, 1)[row].tolist() for row in range(4)] == [[4], [], [1], [3]]


def test_users_are_drawn_from_those_with_enough_and_always_the_same() -> None:
    split = random_split()
    users = drawn_users(split, 0.1, 5, RUN)
    assert len(users) == round(0.1 * np.count_nonzero(split.train.user_counts))
    assert (split.train.user_counts[users] >= 5).all()
    assert (split.test.user_counts[users] > 0).all()
    np.testing.assert_array_equal(users, drawn_users(split, 0.1, 5, RUN))
    assert users.tolist() != drawn_users(split, 0.1, 5, Run(seed=1)).tolist()
    with pytest.raises(DataError, match="no user has 99 train interactions"):
        drawn_users(split, 0.1, 99, RUN)


def test_nothing_of_a_cold_user_is_trained_on_or_validated() -> None:
    split = random_split()
    users = drawn_users(split, 0.1, 5, RUN)
    found = without_users(split, users)
    theirs = np.isin(split.dataset.interactions.user_idx, users)
    assert (found.part[theirs] == TEST).all()
    np.testing.assert_array_equal(found.part[~theirs], split.part[~theirs])
    with pytest.raises(DataError, match="smaller share"):
        without_users(split, np.arange(split.train.n_users))


class Records:
    """Keeps what it is asked."""

    def __init__(self, n_items: int, able: bool = True) -> None:
        self.n_items, self.able, self.asked = n_items, able, []

    def can_score(self, query: Query) -> np.ndarray:
        return np.full(len(query), self.able)

    def score(self, query: Query) -> np.ndarray:
        self.asked.append(query)
        return np.zeros((len(query), self.n_items), dtype=np.float32)


def test_a_newcomer_is_nobody_and_the_first_items_are_known() -> None:
    ranker = Records(9)
    query = Query(Histories.of([[5, 3, 1], [2]], 9), np.array([0, 1]))
    Newcomers(ranker, 2).score(query)
    Newcomers(ranker, None).score(query)
    assert [q.user_idx.tolist() for q in ranker.asked] == [[-1, -1], [-1, -1]]
    assert [ranker.asked[0].histories[row].tolist() for row in (0, 1)] == [[5, 3], [2]]
    assert ranker.asked[1].histories[0].tolist() == [5, 3, 1]


def test_one_item_tells_the_block_and_popularity_never_does() -> None:
    world = blocks()
    users = drawn_users(world, 0.25, 5, RUN)
    train = without_users(world, users)
    for n in (1, 3, None):
        found = {
            name: evaluate_newcomers(fitted(config, train), world, users, n, MEASURE, run=RUN, name=name)
            for name, config in (
                ("ease", {"name": "ease", "regularisation": 20.0}),
                ("popularity", {"name": "popularity"}),
            )
        }
        assert found["ease"].summary["recall@2"] > 0.9
        assert found["popularity"].summary["recall@2"] < 0.3
        assert len(found["ease"].per_user) == len(users)
        np.testing.assert_array_equal(found["ease"].per_user["user_idx"].to_numpy(), users)


def test_a_ranker_that_knows_only_its_own_users_is_not_asked() -> None:
    world = blocks()
    ranker = Records(world.train.n_items, able=False)
    assert evaluate_newcomers(ranker, world, np.array([1, 2]), 1, MEASURE, run=RUN, name="own") is None
    assert not ranker.asked


def test_a_user_with_just_enough_can_be_drawn() -> None:
    split = make_split([0, 0, 0, 1, 1], [0, 1, 2, 0, 3], [0, 0, 2, 0, 2], 2, 4)
    assert drawn_users(split, 1.0, 2, RUN).tolist() == [0]
    assert drawn_users(split, 1.0, 1, RUN).tolist() == [0, 1]
    assert drawn_users(split, 0.01, 1, RUN).shape == (1,)  # one at least


def test_the_protocol_says_what_is_known_of_newcomers() -> None:
    split = make_split([0, 0, 1, 1], [0, 1, 1, 2], [0, 2, 0, 2], 2, 3)
    for n, said in ((2, "their first 2 train items"), (None, "all their train items")):
        found = evaluate_newcomers(Records(3), split, np.array([1]), n, MEASURE, run=RUN, name="r")
        assert found.protocol["known of them"] == f"{said}; they are not in train"
        assert found.per_user["user_idx"].to_list() == [1]


def test_equal_words_are_comparable_and_other_words_are_not() -> None:
    split = random_split()
    ranker, allowed = TableRanker(np.zeros((60, 40))), fixed_items(np.arange(40) < 20)
    marks = [
        evaluate_among(ranker, split, MEASURE, allowed, told, run=RUN, name="t").protocol["fingerprint"]
        for told in ("a", "a", "b")
    ]
    assert marks[0] == marks[1] != marks[2]
    assert marks[0].startswith(evaluate(ranker, split, MEASURE, run=RUN).protocol["fingerprint"] + "-")


def test_users_with_validation_items_alone_are_not_asked_and_all_may_be_drawn() -> None:
    split = make_split([0, 0, 1, 1, 2], [0, 1, 0, 1, 0], [0, 2, 0, 1, 2], 3, 2)
    assert drawn_users(split, 1.0, 1, RUN).tolist() == [0]  # 1 has nothing in test, 2 nothing in train
