"""Tables about pictures of a world of two users and two directions, by values that are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation_worlds import make_split

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import Split
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
    with pytest.raises(DataError, match="only one user likes 2 test and 2 train items with pictures"):
        Cases.of(split, JudgeSettings(users=9, items=1, least=2, known=2), pictured)


def test_swapping_by_hand() -> None:
    """Only the order as it is puts both 1s on the diagonal: half of all orders of two."""
    found = swap_test(np.array([[1.0, 0.2], [0.4, 1.0]]), np.random.default_rng(0), draws=999)
    assert (found.own, found.another, found.difference) == (1.0, pytest.approx(0.3), pytest.approx(0.7))
    assert found.p == pytest.approx(0.5, abs=0.05)
    assert swap_test(np.ones((3, 3)), np.random.default_rng(0), draws=9).p == 1
    assert swap_test(np.eye(9), np.random.default_rng(0), draws=9).p == pytest.approx(1 / 10)


# -- more users than the first ten -----------------------------------------------------------------------------------


def ranked(n: int = 24) -> Verdict:
    """User u likes direction u; all pictures are alike and lean to user 0 most, so that user u is at rank u + 1."""
    axes, lean = np.eye(n), np.arange(n, 0, -1.0)
    users, rows = np.arange(n), [np.array([u]) for u in range(n)]
    cases = Cases(users, np.roll(users, 1), users[:, None], liked=rows, known=rows)
    drawn = np.tile(lean, (n, 1, 1))
    sights = {
        Way("own", "own", 0.5): (drawn, {}),
        Way("nobody", "nobody", 0.5): (-drawn, {}),
        Way("own at 1", "own", 1, first=True): (drawn[::-1], {}),
        Way("nobody at 1", "nobody", 1, first=True): (drawn * 0 - 1, {}),
    }
    return Verdict(cases, sights, np.concatenate([axes, -axes]), np.arange(2 * n), Run())


def test_hits_and_chance_among_more_than_ten() -> None:
    told = {(row["way"], row["pictures"], row["compares"]): row for row in ranked().whose()}
    assert [key[:2] for key in told if key[2] == "seen"] == [
        ("liked train pictures", "together"), ("own", "one by one"), ("own", "together"), ("own at 1", "one by one"),
        ("own at 1", "together"),
    ]  # fmt: skip
    seen = told["own", "one by one", "seen"]
    assert [seen[name][0] for name in ("hit@1", "hit@10")] == pytest.approx([1 / 24, 10 / 24])
    assert seen["mrr"][0] == pytest.approx(np.mean(1 / np.arange(1, 25)))
    assert (seen["chance of hit@1"], seen["chance of hit@10"]) == (1 / 24, 10 / 24)
    assert told["liked train pictures", "together", "seen"]["hit@1"] == [1, 1, 1]
    assert told["own", "one by one", "moved"]["hit@1"][0] == pytest.approx(1 / 24)


def test_pictures_are_taken_less_the_mean_of_trains_pictures() -> None:
    """The same world with everything moved by (5, 7), and a poster apart from it that train lacks: the same values."""
    moved = np.array([5.0, 7.0])
    plain = {sight.way: (sight.vectors + moved, sight.pixels) for sight in verdict().sights.values()}
    found = Verdict(CASES, plain, POSTERS + moved, np.array([0, 1, 2, 3, 8]), Run())
    for metric, values in verdict().values["own"].items():
        np.testing.assert_allclose(found.values["own"][metric], values)


def test_differences_of_cut_and_of_chosen_pictures_are_with_their_counterparts() -> None:
    """Of the first item alone: of user 7 its own item is (.6, .8), of user 9 (.8, .6)."""
    one = (np.array([[X], [Y]]), {})
    two = (np.array([[X], [NEAR_Y], [Y], [Y]]), {})
    sights = {
        Way("own", "own", 0.5): two, Way("another", "another", 0.5): two, Way("nobody", "nobody", 0.5): two,
        Way("own at 0.5", "own", 0.5, first=True): one,
        Way("own without soft", "own", 0.5, "soft", first=True): (np.array([[NEAR_Y], [NEAR_Y]]), {}),
        Way("own, chosen", "own", 0.5, candidates=3): two,
    }  # fmt: skip
    found = Verdict(CASES, sights, POSTERS, np.arange(4), Run()).gaps()
    assert list(found) == ["own - another", "own - nobody", "own, chosen - nobody", "own at 0.5 - own without soft"]
    cut = found["own at 0.5 - own without soft"]
    assert cut["item"]["mean"] == pytest.approx(((0.6 - 1) + (0.6 - 0.96)) / 2)
    assert cut["taste"]["mean"] == pytest.approx(((1 - 0.6) + (1 - 0.8)) / 2)
    assert cut["taste"]["ratio"] == pytest.approx(1 / 0.7)
    assert found["own - another"]["taste"] == {"mean": 0, "low": 0, "high": 0, "p": 1, "ratio": 1}


def test_all_tables_say_of_whom_and_of_how_many() -> None:
    cases = Cases(CASES.users, CASES.others, CASES.targets, [np.array([0]), np.array([2, 4, 5])], CASES.known)
    drawn = {Way("own", "own", 0.5): (np.array([[X], [NEAR_Y], [Y], [Y]]), {})}
    found = Verdict(cases, drawn, POSTERS, np.arange(4), Run()).to_dict()
    assert (found["users"], found["items_a_user"], found["liked_a_user"]) == (2, 2, 2.0)
    mean, low, high = found["means"]["own"]["item"]
    assert (mean, low, high) == (pytest.approx((0.78 + 0.7) / 2), pytest.approx(0.7), pytest.approx(0.78))
    assert set(found) == {
        "users", "items_a_user", "liked_a_user", "metrics", "means", "gaps", "real", "sweep", "whose", "realness",
    }  # fmt: skip


def test_the_terminal_has_the_figures_in_their_columns() -> None:
    lines = [line.split() for line in verdict().to_text().splitlines()]
    own = next(line for line in lines if line[:1] == ["own"])
    assert [float(value) for value in own[1:]] == pytest.approx([0.9, 0.9, 0.74, 0.95, 0.4], abs=0.005)


def test_ways_by_hand() -> None:
    names = lambda found: [(way.name, way.whose, way.dial) for way in found]  # noqa: E731
    compared = [(name, name, 0.5) for name in ("nobody", "own", "another")]
    assert names(ways(JudgeSettings(dials=()), [])) == compared
    assert names(ways(JudgeSettings(dials=(1, 0)), []))[3:] == [
        ("own at 0", "own", 0), ("own at 1", "own", 1), ("nobody at 1", "nobody", 1),
    ]  # fmt: skip
    assert names(ways(JudgeSettings(dials=()), ["soft"]))[3:] == [("own at 0.5", "own", 0.5),
                                                                  ("own without soft", "own", 0.5)]  # fmt: skip
    assert not any(way.first or way.candidates for way in ways(JudgeSettings(dials=()), []))


def judged_split() -> Split:
    """Users 0 to 3 took item 0 in train, 1 in validation and 2 in test; user 4 took 3, 4 and 5."""
    rows = [(user, item, part) for user in range(4) for part, item in enumerate((0, 1, 2))]
    rows += [(4, 3, 0), (4, 4, 1), (4, 5, 2)]
    users, items, part = np.array(rows).T
    split = make_split(users, items, part, 5, 6)
    rated = replace(split.dataset.interactions, rating=np.where(users == 3, 3.9, 4.0).astype(np.float32))
    return Split(replace(split.dataset, interactions=rated), split.part, split.kind)


@pytest.mark.parametrize(("part", "own", "item"), [("test", 2, 5), ("valid", 1, 4)])
def test_the_part_judges_with_items_that_are_new_in_it_and_liked_by_rating(part: str, own: int, item: int) -> None:
    settings = JudgeSettings(part=part, users=9, items=1, least=1, known=1)
    found = Cases.of(judged_split(), settings, np.ones(6, bool))
    assert sorted(found.users) == [0, 1, 2, 4]  # 3 rates below 4
    for user, rows, target in zip(found.users, found.liked, found.targets, strict=True):
        assert rows.tolist() == [item if user == 4 else own]
        assert target.tolist() == [own if user == 4 else item]
    whose = dict(zip(found.users.tolist(), found.others.tolist(), strict=True))
    assert sorted(whose.values()) == sorted(whose)
    assert all(user != other for user, other in whose.items())
    few = Cases.of(judged_split(), settings.model_copy(update={"users": 2}), np.ones(6, bool))
    assert len(few.users) == len(few.others) == 2


def test_nobody_who_likes_anything_is_said() -> None:
    with pytest.raises(DataError, match="no users like"):
        Cases.of(judged_split(), JudgeSettings(liked=5, least=1, known=1), np.ones(6, bool))
