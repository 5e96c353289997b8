"""Contrasts: what decides is found, what does not is not, and chance is not taken for taste."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from profiles.made import concepts
from profiles.tastes import N_ITEMS, QUIET, SETTINGS, anyhow, causes, history, made, make_world
from scipy import stats

from recsys.core.errors import DataError
from recsys.core.values import FIRST_DATE
from recsys.profiles.builder import ProfileBuilder
from recsys.profiles.changes import shifts
from recsys.profiles.concepts import Concept, Concepts, columns_of
from recsys.profiles.contrast import Contrast, Contrasts, ContrastSettings, _praised, item_leniency
from recsys.profiles.history import History
from recsys.profiles.statistics import binomial_tail, discoveries, divergence, newcombe, student, wilson

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


# -- figures by hand: every second of 200 items is a drama, every tenth horror, every fiftieth film noir -----

KNOWN = concepts()
UNIFORM = Contrasts.of_counts(KNOWN, np.full(200, 7), ContrastSettings())
DRAMA, HORROR, NOIR = range(3)


def with_horror(n_with: int, n: int) -> np.ndarray:
    """Return rows of so many horror films that are no film noir, then of items that are nothing."""
    horror = [item for item in range(0, 200, 10) if item % 50]
    return np.array([*horror[:n_with], *range(1, 2 * (n - n_with), 2)])


def logit(share: float) -> float:
    return np.log(share / (1 - share))


def test_the_weight_is_the_gain_in_log_odds_of_what_a_full_weight_is_worth() -> None:
    (found,) = UNIFORM.find(History.of(with_horror(8, 20), 200))  # 8 of 20 are dramas, too: fewer than half
    low, high = stats.binomtest(8, 20).proportion_ci(method="wilson")
    assert (found.column, found.polarity, found.places.tolist()) == (HORROR, "like", list(range(8)))
    support = found.support
    assert (support.kind, support.n, support.n_with) == ("share", 20, 8)
    assert (support.observed, support.expected) == (0.4, pytest.approx(0.1, abs=1e-4))
    assert (support.low, support.high) == pytest.approx((low, high), abs=1e-4)
    assert found.weight == pytest.approx((logit(low) - logit(0.1)) / np.log(1 + 1 / 0.1), abs=1e-3)
    bits = stats.entropy([low, 1 - low], [0.1, 0.9], base=2)
    assert found.strength == pytest.approx(bits, abs=1e-3)


@pytest.mark.parametrize(
    ("old", "half_lives", "factor"),
    [
        (range(8), 1, (4 / 16) / (8 / 20)), (range(8, 20), 1, (8 / 14) / (8 / 20)),
        (range(2, 20), 20, 1.5), (range(8), 20, 0.5),
    ],
)  # fmt: skip
def test_weights_follow_how_recent_the_items_are(old, half_lives, factor) -> None:
    """Items a half-life old count half; the factor is the weighted share over the plain one, from .5 to 1.5."""
    items = with_horror(8, 20)
    plain = UNIFORM.find(History.of(items, 200))[0].weight
    age = half_lives * ContrastSettings().half_life_days * DAY
    times = 2 * 10**9 - (np.isin(np.arange(20), old) * age).astype(np.int64)
    taken = History(items, times)
    (found,) = UNIFORM.find(taken)
    assert found.weight == pytest.approx(plain * factor, abs=2e-4)


def test_of_items_of_one_popularity_many_have_what_the_catalogue_has() -> None:
    for n in (1, 20, 150, 200):
        assert UNIFORM.expected(n) == pytest.approx([0.5, 0.1, 0.02], abs=1e-6)
    counts = np.where(np.arange(200) % 10 == 0, 30, 0)  # nobody took the others: each counts half a user
    few = Contrasts.of_counts(KNOWN, counts, ContrastSettings())
    assert few.popularity[:2].tolist() == [30.0, 0.5]
    assert few.expected(1)[HORROR] == pytest.approx(600 / 690, abs=0.01)
    assert few.reach == pytest.approx(np.log([1 + 2, 1 + 10, 1 + 50]))


@pytest.mark.parametrize(
    ("changes", "columns"),
    [
        ({}, [HORROR]), ({"likes": 0}, []), ({"likes": 1}, [HORROR]), ({"least": 12}, [HORROR]), ({"least": 13}, []),
        ({"lift": 2.0}, [HORROR]), ({"lift": 9.0}, []), ({"alike": 1.0}, [HORROR]),
    ],
)  # fmt: skip
def test_settings_say_what_becomes_a_statement(changes, columns) -> None:
    contrasts = Contrasts.of_counts(KNOWN, np.full(200, 7), ContrastSettings(**changes))
    assert [one.column for one in contrasts.find(History.of(with_horror(12, 30), 200))] == columns


def test_what_says_the_same_is_said_once_and_of_a_kind_only_so_much() -> None:
    taken = History.of([*with_horror(16, 16), *range(2, 24, 2)], 200)  # all dramas, two thirds horror, no film noir
    found = {alike: Contrasts.of_counts(KNOWN, np.full(200, 7), ContrastSettings(alike=alike)).find(taken)
             for alike in (0.5, 0.9)}  # fmt: skip
    assert [sorted(one.column for one in each) for each in found.values()] == [[HORROR], [DRAMA, HORROR]]
    one_each = Contrasts.of_counts(KNOWN, np.full(200, 7), ContrastSettings(alike=0.9, most_each=1))
    assert len(one_each.find(taken)) == 1


STARS = {True: [1.0, 2.0, 2.0, 3.0], False: [4.0, 4.0, 5.0, 5.0, 3.0, 3.0]}


def test_a_rating_contrast_by_hand() -> None:
    stars = [*STARS[True], *STARS[False]]
    taken = History.of(with_horror(4, 10), 200, None, stars)
    drama, found = UNIFORM.ratings(taken, UNIFORM.holding(taken))  # of the same items
    assert (found.column, found.polarity, found.places.tolist()) == (HORROR, "dislike", [0, 1, 2, 3])
    assert (drama.column, drama.support) == (DRAMA, found.support)
    spread = np.std(stars, ddof=1)
    freedom = 4 - 1 + 4.0
    variance = (2.0 + 4.0 * spread**2) / freedom  # their own squares, and four ratings' worth of the user's spread
    t = stats.t.ppf(0.975, freedom)
    support = found.support
    assert (support.kind, support.n, support.n_with, support.observed, support.expected) == ("rating", 10, 4, 2.0, 4.0)
    reach = t * np.sqrt(variance / 4)
    assert (support.low, support.high) == pytest.approx((2 - reach, 2 + reach), abs=1e-4)
    gap = 2.0 - t * np.sqrt(variance / 4 + spread**2 / 6)
    assert found.weight == pytest.approx(max(gap / spread, 0.01), abs=1e-4)
    assert found.strength == pytest.approx(gap / spread * 4 / 10)


@pytest.mark.parametrize(
    ("n_with", "stars"),
    [
        (4, [3.0] * 10),  # all the same
        (3, [1.0] * 3 + [4.0, 5.0] * 4),  # too few with it
        (10, [1.0] * 10 + [4.0, 5.0]),  # too few without
        (4, [1.0] * 4 + [5.0] + [np.nan] * 9),  # too few ratings
    ],
)
def test_ratings_that_tell_nothing(n_with, stars) -> None:
    taken = History.of(with_horror(n_with, len(stars)), 200, None, stars)
    assert UNIFORM.ratings(taken, UNIFORM.holding(taken)) == []


def test_items_without_a_rating_are_left_out_of_the_means() -> None:
    stars = [*STARS[True], *STARS[False], np.nan, np.nan]
    taken = History.of([*with_horror(4, 10), 10 * 18, 151], 200, None, stars)
    _, found = UNIFORM.ratings(taken, UNIFORM.holding(taken))
    assert (found.support.n, found.support.n_with, found.support.observed) == (10, 4, 2.0)
    assert found.places.tolist() == [0, 1, 2, 3]


def test_what_others_rate_lower_is_expected_lower() -> None:
    lenient = Contrasts.of_counts(KNOWN, np.full(200, 7), ContrastSettings())
    lenient.leniency = np.where(np.arange(200) % 10 == 0, -0.02, 0.03)
    taken = History.of(with_horror(4, 10), 200, None, [*STARS[True], *STARS[False]])
    _, found = lenient.ratings(taken, lenient.holding(taken))
    assert found.support.expected == pytest.approx(4.0 - 0.05)
    lenient.leniency = -lenient.leniency  # rated higher by others: nothing is taken off
    _, found = lenient.ratings(taken, lenient.holding(taken))
    assert found.support.expected == 4.0


def test_praise_adds_half_of_its_weight_of_what_is_left() -> None:
    share, rated = (Contrast(1, "like", None, weight, 0.5, np.arange(3)) for weight in (0.6, 0.5))
    assert _praised(share, None) is share
    assert _praised(share, rated).weight == 0.6 + 0.5 * 0.5 * 0.4


def moved(days: float, early: int = 20, late: int = 10) -> History:
    """Return items that are nothing, and then as many dramas as ``late``, so many days later."""
    items = [*range(1, 2 * early, 2), *(item for item in range(2, 100, 2) if item % 10)][: early + late]
    return History.of(items, 200, 10**9 + (np.arange(early + late) >= early) * int(days * DAY))


def test_a_shift_is_the_latest_third_against_the_rest() -> None:
    (found,) = shifts(UNIFORM, moved(30))
    assert (found.column, found.before, found.lately) == (DRAMA, 0.0, 1.0)
    assert found.places.tolist() == list(range(20, 30))
    low, high = newcombe(np.array([0.0]), 20, np.array([10.0]), 10)
    assert (found.low, found.high) == pytest.approx((low[0], high[0]))


@pytest.mark.parametrize(
    ("taken", "changes", "n"),
    [
        (moved(30), {}, 1), (moved(29.99), {}, 0), (moved(29.99), {"apart_days": 29}, 1),
        (moved(0), {"apart_days": 0}, 0),
        (moved(40, 12, 6), {}, 1), (moved(40, 11, 6), {}, 0), (moved(40, 12, 6), {"least": 4}, 0),
        (moved(40), {"changes": 0}, 0), (moved(40, 12, 6), {"rate": 1e-9}, 0),
    ],
)  # fmt: skip
def test_a_shift_needs_items_and_time(taken, changes, n) -> None:
    assert len(shifts(Contrasts.of_counts(KNOWN, np.full(200, 7), ContrastSettings(**changes)), taken)) == n


def test_shifts_of_the_same_items_are_told_once_and_only_the_clearest() -> None:
    items = [*range(1, 61, 2), *range(10, 190, 10)][:45]  # from what is nothing to horror, all of it drama
    taken = History.of(items, 200, 10**9 + (np.arange(45) >= 30) * 40 * DAY)
    assert len(shifts(UNIFORM, taken)) == 1  # drama and horror are the same items here
    items[-4:] = [2, 4, 6, 8]  # of fifteen dramas, eleven are horror: 11 / 15 alike
    taken = History.of(items, 200, taken.times)
    for changes, columns in (({"alike": 0.73}, [DRAMA]), ({"alike": 0.75}, [DRAMA, HORROR])):
        contrasts = Contrasts.of_counts(KNOWN, np.full(200, 7), ContrastSettings(**changes))
        assert [one.column for one in shifts(contrasts, taken)] == columns
    one = Contrasts.of_counts(KNOWN, np.full(200, 7), ContrastSettings(alike=0.75, changes=1))
    assert [each.column for each in shifts(one, taken)] == [DRAMA]


def test_recency_dates_and_ratings_of_a_history() -> None:
    taken = History.of([0, 1, 2], 3, [10**9, 10**9 + 100 * DAY, 10**9 + 200 * DAY], [np.nan, 4.0, 5.0])
    assert taken.recency(100) == pytest.approx([0.25, 0.5, 1.0])
    assert taken.rated().tolist() == [False, True, True]
    assert History.of([0, 1], 3).rated().tolist() == [False, False]
    assert History.of([0, 1], 3).recency(100).tolist() == [1.0, 1.0]
    assert History.of([0, 1], 3, [1, 2]).recency(1).tolist() == [1.0, 1.0]  # places in an order
    for second, date in ((FIRST_DATE - 1, None), (FIRST_DATE, "1973-03-03"), (2**36 - 1, "4147-08-20"), (2**36, None)):
        taken = History.of([0], 3, [second])
        assert (taken.dated, taken.date(0)) == (second >= FIRST_DATE, date)
    assert not History.of([], 3, []).dated
    with pytest.raises(DataError, match="0 … 2"):
        History.of([-1], 3)
    assert History.of([0, 2], 3).items.tolist() == [0, 2]


def test_concepts_are_put_together_by_key() -> None:
    one = columns_of([(Concept("a:1", "first", "text"), [3, 1, 3]), (Concept("a:2", "", "text"), [])], 4)
    two = columns_of([(Concept("a:1", "second", "text"), [0]), (Concept("b:1", "", "text"), [0, 2])], 4)
    both = Concepts.joined([one, two], 4)
    assert [(each.key, each.phrase) for each in both.all] == [("a:1", "first"), ("a:2", ""), ("b:1", "")]
    assert [both.items(key).tolist() for key in ("a:1", "a:2", "b:1", "gone")] == [[1, 3], [], [0, 2], []]
    assert both.members.toarray().tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert [each.kind for each in both.all] == ["a", "a", "b"]
    for empty in (Concepts.joined([], 4), columns_of([], 4)):
        assert (len(empty), empty.members.shape) == (0, (4, 0))


def test_intervals_and_tests_at_their_ends() -> None:
    low, high = wilson(np.array([0.0, 5.0]), np.array([0.0, 5.0]))
    assert (low[0], high[0], high[1]) == pytest.approx((0.0, 1.0, 1.0))
    assert binomial_tail(np.array([0.0, 1.0]), 5, np.array([0.3, 0.3])) == pytest.approx([1.0, 1 - 0.7**5])
    assert student(np.array([1.5, 0.0]), np.array([0.5, 0.0]), np.array([4.0, 4.0])) == pytest.approx(
        [stats.t.sf(3.0, 4), 0.5]
    )
    assert divergence(np.array([0.5, 0.25]), np.array([0.25, 0.25])) == pytest.approx([1 - 0.5 * np.log2(3), 0.0])
    assert discoveries(np.zeros(0), 0.05).shape == (0,)
    assert discoveries(np.array([0.05, 0.9]), 0.1).tolist() == [True, False]  # at the rate is found
