"""Facts by hand, and trees that see whom a member is right for, where no weight could."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_fusion import MEASURE, QUIET, Noise, noise

from recsys.core.values import TEST, TRAIN, VALID, Histories, Interactions, ItemFeatures, Query, Split
from recsys.evaluation.evaluator import evaluate, make_validator
from recsys.rankers.blending import rank_votes
from recsys.rankers.fusion import Fusion
from recsys.rankers.stacking import DAY, Facts, from_array, to_array, train_trees
from recsys.rankers.store import make_ranker

from worlds import blocks, split_of

# User 0 takes items 0, 1, 2 on days 0, 30 and 90; user 1 takes item 1 on day 100; nobody takes item 3.
DAYS = np.array([0.0, 30.0, 90.0, 100.0])
TAKEN = Interactions(
    np.array([0, 0, 0, 1], np.int32), np.array([0, 1, 2, 1], np.int32), 2, 4,
    rating=np.array([5.0, 3.0, np.nan, 1.0], np.float32), timestamp=DAYS * DAY,
)  # fmt: skip


def test_facts_by_hand() -> None:
    facts = Facts.of(TAKEN)
    np.testing.assert_allclose(facts.popularity, np.log([2, 3, 2, 1]), rtol=1e-6)
    mean = 3.0  # of the three ratings there are; every item and user is thought to have five such
    np.testing.assert_allclose(facts.item_rating, [(5 + 15) / 6, (3 + 1 + 15) / 7, mean, mean], rtol=1e-6)
    np.testing.assert_allclose(facts.user_rating, [(5 + 3 + 15) / 7, (1 + 15) / 6], rtol=1e-6)
    np.testing.assert_allclose(facts.item_day, [0, 30, 90, 100])  # one that nobody took is new on the last day
    np.testing.assert_allclose(facts.user_day, [30, 100])
    # Months 0 to 3 have 1, 1, 0 and 2 interactions; neighbours count half: of item 1 there are .5, 1, .5 + .5, 1.
    near, of_all = np.array([0.5, 1.0, 1.0, 1.0]), np.array([1.5, 1.5, 1.5, 2.0])
    wanted = np.log((near / of_all + 1 / 4) / (3 / 8 + 1 / 4))
    np.testing.assert_allclose(facts.seasons[1], wanted, rtol=1e-5)
    assert (facts.seasons[3] < 0).all()


def test_a_table_tells_of_user_and_candidate() -> None:
    facts = Facts.of(TAKEN)
    items = np.array([[0, 3], [1, 2], [1, 2]])
    query = Query(Histories.of([[0, 1], [], [1]], 4), np.array([0, 1, -1]))
    popular, length, usual, rating, mean, age, season = facts.table(query, items)
    np.testing.assert_allclose(popular, np.log([[2, 1], [3, 2], [3, 2]]), rtol=1e-6)
    np.testing.assert_allclose(length[:, 0], np.log([3, 1, 2]), rtol=1e-6)
    np.testing.assert_allclose(usual[:, 1], [np.log(6) / 2, 0, np.log(3)], rtol=1e-6)
    np.testing.assert_array_equal(rating, facts.item_rating[items])
    np.testing.assert_allclose(mean[:, 0], [*facts.user_rating, facts.user_rating.mean()])
    np.testing.assert_allclose(age, [[30, -70], [70, 10], [70, 10]])  # the newcomer lives on the last day
    np.testing.assert_array_equal(season[:, 0], [facts.seasons[0, 1], facts.seasons[1, 3], facts.seasons[1, 3]])
    assert all(column.shape == (3, 2) and column.dtype == np.float32 for column in facts.table(query, items))


@pytest.mark.parametrize(
    "changes",
    [
        {"rating": None, "timestamp": None},
        {"rating": np.full(4, 4.0, np.float32), "timestamp": np.arange(4)},  # all alike; an order, no times
        {"rating": np.array([2, 2, np.nan, 2], np.float32), "timestamp": np.array([0, np.nan, 9e9, 9e9])},
    ],
)
def test_what_the_data_do_not_say_is_no_fact(changes: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = Facts.of(replace(TAKEN, **changes))
    assert len(facts.table(Query.of_histories([[0]], 4), np.array([[1, 2]]))) == 3
    again = Facts.restored(facts.state())
    assert all(np.array_equal(vars(again)[name], array) for name, array in vars(facts).items())


def test_trees_come_back_from_their_text() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 3)).astype(np.float32)
    gains = ((rows[:, 0] > 0) == (rows[:, 1] > 0)).astype(np.float32)  # no single number tells
    trees = train_trees(rows, gains, 60, seed=1)
    found = trees.predict(rows, raw_score=True)
    assert found[gains > 0].mean() > found[gains == 0].mean() + 1.0
    np.testing.assert_array_equal(from_array(to_array(trees)).predict(rows, raw_score=True), found)
    np.testing.assert_array_equal(train_trees(rows, gains, 60, seed=1).predict(rows, raw_score=True), found)


class Half(Noise):
    """Knows the block of every second user, and says anything for the others."""

    class Settings(Noise.Settings):
        knows: int = 0

    def fit(self, train: Any, features: ItemFeatures, *, valid: Any = None, run: Any) -> Any:
        log = super().fit(train, features, valid=valid, run=run)
        users, items = np.arange(train.n_users), np.arange(train.n_items)
        right = (items[None, :] % 4 == users[:, None] % 4) & ((users[:, None] // 4) % 2 == self.settings.knows)
        self.scores[:-1] += right
        self.scores = self.scores.argsort(axis=1).argsort(axis=1).astype(np.float32)  # their spread tells nothing
        return log


def two_kinds() -> Split:
    """Four blocks of 20 items, which users take whole; of every second user train has 12, of the others 4 of them."""
    rng, rows = np.random.default_rng(0), []
    for user in range(160):
        known = 4 if (user // 4) % 2 else 12
        parts = [TRAIN] * known + [VALID, TEST] * ((20 - known) // 2)
        taken = rng.permutation(20) * 4 + user % 4
        rows += [(user, item, part, place) for place, (item, part) in enumerate(zip(taken, parts, strict=True))]
    return split_of(rows, 160, 80, "random")


def test_trees_see_whom_a_member_is_right_for() -> None:
    """By the length of the history it is known which member to trust; one weight for all users cannot say that."""
    world = two_kinds()
    members = [{"name": "test_stacking:Half", "seed": seed, "knows": seed} for seed in (0, 1)]
    figures = {}
    for objective in ("ndcg", "trees"):
        config = {"name": "fusion", "members": members, "objective": objective, "reranked": 40, "rounds": 100, "k": 2}
        ranker = make_ranker(config)
        log = ranker.fit(world.train, ItemFeatures(), valid=make_validator(world, MEASURE), run=QUIET)
        figures[objective] = (log.best["ndcg@2"], evaluate(ranker, world, MEASURE, run=QUIET).summary["ndcg@2"])
    assert figures["trees"][0] > figures["ndcg"][0] + 0.05
    assert figures["trees"][1] > figures["ndcg"][1] + 0.05


def test_trees_of_noise_are_told_as_chance() -> None:
    world, told, flattered = blocks(), [], []
    for trial in range(4):
        members = [noise(10 * trial + n) for n in range(4)]
        config = {"name": "fusion", "members": members, "objective": "trees", "reranked": 30, "rounds": 60, "k": 2}
        ranker = make_ranker(config)
        told.append(ranker.fit(world.train, ItemFeatures(), valid=make_validator(world, MEASURE), run=QUIET).best)
        flattered.append(make_validator(world, MEASURE)(ranker)["ndcg@2"])
    chance, error = (1 + 1 / np.log2(3)) / 38, 0.17 / np.sqrt(96 * 4)
    assert abs(np.mean([one["ndcg@2"] for one in told]) - chance) < 3 * error
    assert np.mean(flattered) > chance + 3 * error


def test_only_the_first_items_are_put_in_another_order() -> None:
    world = blocks()
    members = [{"name": "ease", "regularisation": 20.0}, noise(1)]
    ranker: Fusion = make_ranker(
        {"name": "fusion", "members": members, "objective": "trees", "reranked": 20, "rounds": 9}
    )
    ranker.fit(world.train, ItemFeatures(), valid=make_validator(world, MEASURE), run=QUIET)
    query = Query.of_users(world.train, np.arange(9))
    votes = [rank_votes(member.score(query), query.histories.matrix()) for member in ranker.members]
    sums = sum(np.float32(weight) * part for (_, weight), part in zip(ranker.told_weights(), votes, strict=True))
    scores = ranker.score(query)
    for row in range(9):
        first = np.argsort(-sums[row], kind="stable")[:20]
        rest = np.setdiff1d(np.arange(48), first)
        assert scores[row, first].min() > scores[row, rest].max() + 1.0  # however near the sums are
        np.testing.assert_allclose(scores[row, rest], sums[row, rest], rtol=1e-5)
        assert len(np.unique(scores[row, first])) > 10


def test_the_affinity_is_the_mean_log_ratio_to_what_is_usual() -> None:
    # Attributes: 0 is had by items 0 and 1, 1 by items 1 and 2; item 3 has none. Of four interactions three are with 0.
    attributes = np.array([[1, 0], [1, 1], [0, 1], [np.nan, np.nan]], np.float32)
    facts = Facts.of(TAKEN, attributes)
    np.testing.assert_allclose(facts.usual, [3 / 4, 3 / 4])
    query = Query(Histories.of([[2], []], 4), np.array([0, -1]))
    affinity = facts.table(query, np.array([[0, 1, 2, 3]] * 2))[-1]
    less, more = np.log(10 * 0.75 / 11 / 0.75), np.log((1 + 10 * 0.75) / 11 / 0.75)  # ten items of everybody's added
    np.testing.assert_allclose(affinity[0], [less, (less + more) / 2, more, 0], atol=1e-5)
    np.testing.assert_allclose(affinity[1], 0, atol=1e-6)  # of a newcomer it says nothing
    swapped = facts.with_attributes(attributes[::-1])
    np.testing.assert_array_equal(swapped.usual, facts.usual)
    np.testing.assert_allclose(swapped.table(query, np.array([[0, 1]] * 2))[-1][0], [0, more], atol=1e-5)
    again = Facts.restored(facts.state())
    assert all(np.array_equal(vars(again)[name], array) for name, array in vars(facts).items())
