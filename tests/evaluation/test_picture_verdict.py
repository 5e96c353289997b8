"""Tables about pictures of a world of two users and two directions, by values that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_worlds import make_split

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.evaluation.permutation import swap_test
from recsys.evaluation.picture_cases import Cases, JudgeSettings, Way, ways
from recsys.evaluation.picture_verdict import Verdict

X, Y, NEAR_Y, NEAR_X = [1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]
POSTERS = np.array([X, [-1.0, 0.0], Y, [0.0, -1.0], NEAR_Y, NEAR_X, NEAR_Y, NEAR_X, [np.nan, np.nan]])
CASES = Cases(
    users=np.array([7, 9]), others=np.array([9, 7]), targets=np.array([[4, 5], [5, 4]]),
    liked=[np.array([0]), np.array([2])], known=[np.array([0]), np.array([2, 4])],
)  # fmt: skip


def verdict(**drawn: list[list[float]]) -> Verdict:
    """Own pictures of user 7: X and (.6, .8), of user 9: Y and Y; what else is given is of the first item alone."""
    sights = {
        Way("own", "own", 0.5): (np.array([[X], [NEAR_Y], [Y], [Y]]), {"ssim": np.array([0.1, 0.3, 0.5, 0.7])}),
        Way("nobody", "nobody", 0.5): (np.array([[NEAR_Y], [NEAR_X]] * 2), {"ssim": np.full(4, 0.25)}),
    }
    for name, rows in drawn.items():
        dial = float(name.partition("_")[2])
        sights[Way(f"own at {dial:g}", "own", dial, first=True)] = (np.array(rows)[:, None], {"ssim": np.ones(2)})
    return Verdict(CASES, sights, POSTERS, np.arange(4), Run())


def test_each_metric_is_the_mean_over_a_users_pictures() -> None:
    own = verdict().values["own"]
    np.testing.assert_allclose(own["taste"], [(1 + 0.6) / 2, 1])
    np.testing.assert_allclose(own["item"], [(0.6 + 0.96) / 2, (0.6 + 0.8) / 2])
    np.testing.assert_allclose(own["copied"], [(1 + 0.8) / 2, 1])
    np.testing.assert_allclose(own["ssim"], [0.2, 0.6])


def test_a_difference_is_of_the_same_users_and_has_a_ratio_unless_there_is_nothing() -> None:
    found = verdict().gaps()
    assert list(found) == ["own - nobody"]  # of the pairs, both of which were drawn
    gap = found["own - nobody"]["ssim"]
    assert (gap["mean"], gap["ratio"]) == (pytest.approx(0.15), pytest.approx(0.4 / 0.25))
    zero = Verdict(CASES, {Way(name, name, 0.5): (np.array([[X]] * 4), {"ssim": np.zeros(4)})
                           for name in ("own", "nobody")}, POSTERS, np.arange(4), Run())  # fmt: skip
    assert zero.gap("own", "nobody", "ssim")["ratio"] is None


def test_real_pictures_are_those_of_the_user_and_of_the_wrong_one() -> None:
    """User 7 knows X and likes X; user 9 knows Y and (.6, .8) and likes Y."""
    taste = verdict().real()["taste"]
    assert taste["mean"] == pytest.approx(((1 - 0.3) + ((1 + 0.8) / 2 - 0)) / 2)


def test_a_sweep_is_over_dials_and_needs_two_of_them() -> None:
    swept = verdict(at_1=[X, Y], at_0=[NEAR_Y, NEAR_Y]).sweep()
    assert swept["dials"] == [0, 1]
    assert swept["taste"]["means"] == pytest.approx([0.7, 1.0])
    assert (swept["taste"]["spearman"], swept["taste"]["within"]) == (pytest.approx(1), pytest.approx(1))
    assert (swept["ssim"]["spearman"], swept["ssim"]["within"]) == (None, None)  # the dial changes nothing
    assert verdict(at_0=[X, Y]).sweep() == {"dials": [0]}


def test_pictures_tell_whose_they_are_by_ranks() -> None:
    """Less their mean, likes are (1, −1) and (−1, 1): X is user 7's, (.6, .8) and Y are user 9's."""
    (single,) = [row for row in verdict().whose()
                 if (row["way"], row["pictures"], row["compares"]) == ("own", "one by one", "seen")]  # fmt: skip
    assert single["hit@1"][0] == pytest.approx((0.5 + 1) / 2)
    assert single["mrr"][0] == pytest.approx(((1 + 0.5) / 2 + 1) / 2)
    assert (single["chance of hit@1"], single["chance of hit@10"], single["users"]) == (0.5, 1.0, 2)
    (together,) = [row for row in verdict().whose()
                   if (row["way"], row["pictures"], row["compares"]) == ("own", "together", "moved")]  # fmt: skip
    assert together["hit@1"][0] == 1  # what taste changed: (.1, −.3) for user 7, (−.7, .3) for user 9


def test_variety_needs_two_pictures_of_a_pair_and_copies_are_of_train() -> None:
    found = verdict().realness()
    assert found["own"]["spread"] is None
    assert found["own"]["copied"] == pytest.approx((1 + 0.8 + 1 + 1) / 4)
    assert found["real: one half of the held-out to the other"]["copied"] == pytest.approx(0.8)
    pairs = Verdict(CASES, {Way("own", "own", 0.5): (np.array([[X, X], [X, Y]] * 2), {})}, POSTERS, np.arange(4), Run())
    assert pairs.realness()["own"]["spread"] == pytest.approx((0 + 1) / 2)


def test_the_terminal_has_the_means_and_the_share_of_hits() -> None:
    text = verdict(at_1=[X, Y], at_0=[NEAR_Y, NEAR_Y]).to_text()
    assert [line for line in text.splitlines() if line in ("means over users", "the dial", "whose is it?")] == [
        "means over users", "the dial", "whose is it?",
    ]  # fmt: skip
    assert "own - nobody" in text


# -- who is judged ---------------------------------------------------------------------------------------------------


def test_ways_that_are_swept_or_cut_are_of_the_first_item_alone() -> None:
    found = ways(JudgeSettings(dials=(0, 1), dial=0.5, candidates=3), ["soft"])
    by_name = {way.name: way for way in found}
    assert {name for name, way in by_name.items() if way.first} == {
        "own at 0", "own at 0.5", "own at 1", "nobody at 1", "own without soft",
    }  # fmt: skip
    assert (by_name["own without soft"].without, by_name["nobody at 1"].dial) == ("soft", 1)
    assert [way.name for way in found if way.candidates == 3] == ["own, chosen", "another, chosen"]


def test_those_are_judged_who_like_enough_pictured_items_and_by_items_they_never_took() -> None:
    """Items 0 to 3 are in train, 4 to 7 in test alone; 3 and 7 have no picture; user 2 has nothing in test."""
    train = [(user, item) for user in (0, 1, 2) for item in (2, 0, 3)]
    test = [(0, 5), (0, 4), (1, 6), (1, 7)]
    users, items = np.array(train + test).T
    part = [0] * len(train) + [2] * len(test)
    split = make_split(users, items, part, 3, 8)
    pictured = ~np.isin(np.arange(8), [3, 7])
    found = Cases.of(split, JudgeSettings(users=9, items=1, least=1, known=2), pictured)
    assert sorted(found.users) == [0, 1]
    assert found.others.tolist() == found.users[::-1].tolist()  # each has the other's taste
    row = {user: place for place, user in enumerate(found.users.tolist())}
    assert [found.liked[row[0]].tolist(), found.liked[row[1]].tolist()] == [[4, 5], [6]]
    assert [found.known[row[0]].tolist(), found.known[row[1]].tolist()] == [[0, 2], [0, 2]]
    assert found.targets[row[0]].tolist() == [6]  # the only one with a picture that user 0 never took
    assert set(found.targets[row[1]]) <= {4, 5}
    with pytest.raises(DataError, match="2 a user are needed"):
        Cases.of(split, JudgeSettings(users=9, items=2, least=1, known=2), pictured)
    with pytest.raises(DataError, match="1 users like 2 test and 2 train items"):
        Cases.of(split, JudgeSettings(users=9, items=1, least=2, known=2), pictured)


def test_swapping_by_hand() -> None:
    """Only the order as it is puts both 1s on the diagonal: half of all orders of two."""
    found = swap_test(np.array([[1.0, 0.2], [0.4, 1.0]]), np.random.default_rng(0), draws=999)
    assert (found.own, found.another, found.difference) == (1.0, pytest.approx(0.3), pytest.approx(0.7))
    assert found.p == pytest.approx(0.5, abs=0.05)
    assert swap_test(np.ones((3, 3)), np.random.default_rng(0), draws=9).p == 1
    assert swap_test(np.eye(9), np.random.default_rng(0), draws=9).p == pytest.approx(1 / 10)
