"""Contrasts: what decides is found, what does not is not, and chance is not taken for taste."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from profiles.tastes import N_ITEMS, QUIET, SETTINGS, anyhow, causes, history, made, make_world
from scipy import stats

from recsys.core.errors import DataError
from recsys.profiles.builder import ProfileBuilder
from recsys.profiles.contrast import item_leniency
from recsys.profiles.history import History
from recsys.profiles.statistics import binomial_tail, discoveries, newcombe, wilson

DAY = 86400


@pytest.mark.parametrize("cause", ["genre", "pictures", "neighbours", "term"])
@pytest.mark.parametrize("seed", range(3))
def test_only_what_decides_is_found(cause, seed) -> None:
    builder = made()
    profile = builder.build(history(cause, seed=seed))
    kinds = {one.concept.partition(":")[0] for one in profile.statements}
    assert kinds == {cause}
    items = builder.concepts.items(profile.statements[0].concept)
    assert np.isin(items, np.flatnonzero(causes()[cause] == 1)).mean() > 0.95


@pytest.mark.parametrize("n", [20, 60, 200])
def test_chance_is_not_taken_for_taste(n) -> None:
    builder, rng = made(), np.random.default_rng(n)
    found = []
    for seed in range(120):
        stars = np.clip(rng.normal(3.5, 1.0, n).round(), 1, 5)
        found.append(builder.contrasts.find(History.of(anyhow(n, seed), N_ITEMS, None, stars)))
    assert np.mean([len(one) > 0 for one in found]) <= 0.1  # likes and dislikes are tested at 5 % each


def test_expectation_is_what_drawing_by_popularity_gives() -> None:
    contrasts = made().contrasts
    drawn = np.mean(
        [contrasts.holding(History.of(anyhow(150, seed), N_ITEMS)).mean(axis=0) for seed in range(200)], axis=0
    )
    np.testing.assert_allclose(contrasts.expected(150), drawn, atol=0.012)


def test_support_can_be_worked_out_again_by_hand() -> None:
    builder, taken = made(), history("genre")
    one = builder.build(taken).statements[0]
    k = len(set(taken) & set(builder.concepts.items(one.concept).tolist()))
    assert (one.support.n, one.support.n_with) == (40, k)
    assert one.support.observed == pytest.approx(k / 40)
    low, high = stats.binomtest(k, 40).proportion_ci(method="wilson")
    assert (one.support.low, one.support.high) == pytest.approx((low, high), abs=1e-4)


def test_low_ratings_make_a_dislike_and_high_ones_more_weight() -> None:
    builder, taken = made(), history("genre", share=0.5, n=60)
    inside = causes()["genre"][taken] == 1
    noise = np.random.default_rng(0).normal(0, 0.3, len(taken))
    plain = builder.build(taken, ratings=3.5 + noise)
    low = builder.build(taken, ratings=np.where(inside, 2.0, 4.0) + noise)
    high = builder.build(taken, ratings=np.where(inside, 4.5, 2.5) + noise)
    disliked = [one for one in low.statements if one.concept == "genre:G1"]
    assert [one.polarity for one in disliked] == ["dislike"]
    assert disliked[0].support.high < disliked[0].support.expected
    (before,) = (one for one in plain.statements if one.concept == "genre:G1")
    (after,) = (one for one in high.statements if one.concept == "genre:G1")
    assert after.polarity == "like"
    assert after.weight > before.weight
    assert not [one for one in plain.statements if one.polarity == "dislike"]


def test_what_everybody_rates_low_is_nobodys_dislike() -> None:
    builder = made()
    taken = History.of(history("genre", share=0.5, n=60), N_ITEMS)
    inside = causes()["genre"][taken.items] == 1
    stars = np.where(inside, 2.0, 4.0) + np.random.default_rng(0).normal(0, 0.3, 60)
    rated, contrasts = History(taken.items, None, stars), builder.contrasts
    has = contrasts.holding(rated)
    column = contrasts.concepts.place["genre:G1"]
    assert column in {one.column for one in contrasts.ratings(rated, has)}
    usual = contrasts.leniency
    try:
        contrasts.leniency = np.where(causes()["genre"] == 1, -2.0, 0.0)
        assert column not in {one.column for one in contrasts.ratings(rated, has)}
    finally:
        contrasts.leniency = usual


def test_recent_items_weigh_more() -> None:
    builder, taken = made(), history("genre", share=0.5, n=60)
    inside = causes()["genre"][taken] == 1
    years = np.where(inside, 0, 3)
    weights = []
    for way in (years, 3 - years):
        profile = builder.build(taken, times=10**9 + way * 365 * DAY)
        weights += [one.weight for one in profile.statements if one.concept == "genre:G1"]
    assert weights[0] < weights[1]


def test_a_change_is_told_and_a_sitting_is_none() -> None:
    builder = made()
    before, after = history("genre", group=0, n=40, seed=1), history("genre", group=2, n=25, seed=2)
    taken = list(dict.fromkeys(before + after))
    days = np.where(np.arange(len(taken)) < 40, 0, 400) + np.arange(len(taken)) % 7
    told = {one.concept: one for one in builder.build(taken, times=10**9 + days * DAY).changes}
    assert told["genre:G2"].lately > told["genre:G2"].before
    assert told["genre:G0"].lately < told["genre:G0"].before
    assert builder.build(taken, times=10**9 + np.arange(len(taken))).changes == ()
    assert builder.build(taken).changes == ()


def test_two_concepts_of_the_same_items_make_one_statement() -> None:
    world = make_world()
    twice = pl.col("attributes").list.eval(pl.concat_list(pl.element(), pl.element().str.replace("genre:", "mood:")))
    doubled = replace(world, table=world.table.with_columns(twice.list.eval(pl.element().explode())))
    builder = ProfileBuilder(SETTINGS).fit(doubled, run=QUIET)
    assert {"genre:G1", "mood:G1"} <= set(builder.concepts.place)
    found = [one.concept for one in builder.build(history("genre")).statements]
    assert len(found) == 1
    assert found[0] in ("genre:G1", "mood:G1")


def test_statistics_agree_with_scipy() -> None:
    k, p = np.array([0.0, 3.0, 9.0]), np.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(binomial_tail(k, 12, p), stats.binom.sf(k - 1, 12, p), rtol=1e-9)
    p = np.random.default_rng(0).uniform(size=200) ** 3
    np.testing.assert_array_equal(discoveries(p, 0.05), stats.false_discovery_control(p) <= 0.05)
    low, high = wilson(np.array([3.0]), 12)
    assert (low[0], high[0]) == pytest.approx(stats.binomtest(3, 12).proportion_ci(method="wilson"), abs=1e-6)
    low, high = newcombe(np.array([56.0]), 70.0, np.array([48.0]), 80.0)  # Newcombe 1998, table II, (a)
    assert (-high[0], -low[0]) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_leniency_is_what_raters_give_beyond_their_means() -> None:
    train = made().world.train
    bias = item_leniency(train)
    mine = np.flatnonzero(train.item_idx == 7)
    means = [train.rating[train.user_idx == user].mean() for user in train.user_idx[mine]]
    assert bias[7] == pytest.approx((train.rating[mine] - means).sum() / (len(mine) + 5.0), abs=1e-5)


def test_histories_are_checked_and_put_in_order() -> None:
    taken = History.of([3, 1, 3, 2], 5, [30, 10, 20, 40], [1.0, 2.0, 3.0, 4.0])
    assert taken.items.tolist() == [1, 3, 2]
    assert taken.ratings.tolist() == [2.0, 1.0, 4.0]
    with pytest.raises(DataError, match="0 … 4"):
        History.of([5], 5)
    with pytest.raises(DataError, match="2 items and 1 times"):
        History.of([1, 2], 5, [1])
    assert History.of([1], 5, [7]).date(0) is None  # a place in an order is no date
    assert History.of([1], 5, [10**9]).date(0) == "2001-09-09"
