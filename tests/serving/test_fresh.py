"""New items: whose scores they take, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.core.values import ItemFeatures
from recsys.serving.fresh import FreshItem, FreshItems, Neighbourhood
from recsys.serving.list_reasons import edit_shares, new_reason
from recsys.serving.person import Steering

NAN = [np.nan, np.nan]  # no text, no picture
TEXT = np.array([[3, 1], [1, 2], [0, 1], [0, 0], NAN], np.float32)
IMAGE = np.array([[0, 5], [4, 2], [-4, -1], NAN, NAN], np.float32)


def cosines(matrix: np.ndarray, vector: list[float]) -> np.ndarray:
    """Cosines of vectors centred on the mean of those there are; NaN of others."""
    middle = np.nanmean(matrix, axis=0)
    rows, one = matrix - middle, np.array(vector) - middle
    return rows @ one / (np.linalg.norm(rows, axis=1) * np.linalg.norm(one))


def near(**vectors: list[float]) -> FreshItem:
    features = ItemFeatures({"text": TEXT, "image": IMAGE})
    return Neighbourhood(features).place(
        "new", "New", ("a:b",), {name: np.array(vector, np.float32) for name, vector in vectors.items()}
    )


def by_hand(*of: tuple[np.ndarray, list[float]]) -> dict[int, float]:
    """Shares by item: squares of the mean positive likeness."""
    found = np.array([cosines(*one) for one in of])
    likeness = np.nansum(found, axis=0) / np.maximum(np.isfinite(found).sum(axis=0), 1)
    squares = np.maximum(likeness, 0) ** 2
    return {int(item): squares[item] / squares.sum() for item in np.flatnonzero(squares)}


@pytest.mark.parametrize(
    ("vectors", "of"),
    [
        ({"text": [4, 1]}, [(TEXT, [4, 1])]),
        ({"text": [40, 9]}, [(TEXT, [40, 9])]),
        ({"image": [1, 4]}, [(IMAGE, [1, 4])]),
        ({"text": [30, 1], "image": [1, 4]}, [(TEXT, [30, 1]), (IMAGE, [1, 4])]),  # each counts alike, however long
        ({"text": [1.1, 1.0], "image": [-9, 4]}, [(TEXT, [1.1, 1.0]), (IMAGE, [-9, 4])]),
        ({"text": [4, 1], "image": [1, 2, 3]}, [(TEXT, [4, 1])]),  # of another size: not by this encoder
        ({"text": [4, 1], "audio": [1, 2]}, [(TEXT, [4, 1])]),
    ],
)
def test_shares_are_squares_of_the_mean_likeness(vectors: dict, of: list) -> None:
    new, expected = near(**vectors), by_hand(*of)
    shares = {int(item): weight for item, weight in zip(new.neighbours, new.weights, strict=True) if weight > 0}
    assert shares == pytest.approx(expected, abs=1e-5)
    assert list(shares) == sorted(expected, key=lambda item: -expected[item])


@pytest.mark.parametrize("vectors", [{}, {"audio": [1.0]}, {"text": [1.0, 2.0, 3.0]}])
def test_an_item_of_which_nothing_is_known_has_no_neighbours(vectors: dict) -> None:
    new = near(**vectors)
    assert (new.item_id, new.title, new.attributes, len(new.neighbours)) == ("new", "New", ("a:b",), 0)


def test_an_item_that_is_like_no_other_has_no_neighbours() -> None:
    middle = np.nanmean(TEXT, axis=0).tolist()  # nowhere
    assert len(near(text=middle).neighbours) == 0


def test_a_trained_item_that_plays_the_new_one_is_not_among_its_neighbours() -> None:
    features = ItemFeatures({"text": TEXT})
    new = Neighbourhood(features).place("0", "0", (), {"text": TEXT[0]}, apart=0)
    assert 0 not in [item for item, weight in zip(new.neighbours, new.weights, strict=True) if weight > 0]


def test_scores_of_new_items_are_means_of_their_neighbours_stretched_from_the_middle() -> None:
    known = FreshItem("a", "A", (), np.array([0, 2]), np.array([0.75, 0.25], np.float32))
    fresh = FreshItems(4, [known, FreshItem("b", "B")])
    scores = np.array([[1, 2, 5, 0], [8, 3, 4, 5]], np.float32)
    assert fresh.extended(scores)[:, 4].tolist() == [2.0, 7.0]
    assert fresh.extended(scores, 3.0)[:, 4].tolist() == [2.0, 11.0]  # from the means, 2 and 5
    last = fresh.extended(scores)[:, 5]  # of nothing known: behind all of its row
    assert last.tolist() == pytest.approx([0, 3])
    assert (last < [0, 3]).all()
    assert fresh.extended(scores)[:, :4].tolist() == scores.tolist()
    assert FreshItems(4).extended(scores) is scores


def test_items_keep_their_numbers_when_others_go_and_come() -> None:
    items = [FreshItem(name, name) for name in "abc"]
    fresh = FreshItems(4, items).updated([items[2], FreshItem("d", "d"), items[0]])
    assert fresh.place == {"a": 4, "c": 6, "d": 7}
    assert fresh.closed.tolist() == [5]
    assert [one.gone for one in fresh.items] == [False, True, False, False]
    back = fresh.updated([*items, FreshItem("d", "d")])
    assert back.place == {"a": 4, "b": 5, "c": 6, "d": 7}
    assert len(back) == 4


def test_of_an_item_of_which_nothing_is_known_edits_have_no_share() -> None:
    known = FreshItem("a", "A", (), np.array([0, 2]), np.array([0.75, 0.25], np.float32))
    fresh = FreshItems(3, [known, FreshItem("b", "B")])
    steering = Steering(np.array([2, 0, 0], np.float32))
    ranker, edits = edit_shares(steering, np.array([0, 1, 3, 4]), np.array([4.0, 1.0, 3.0, 0.5]), fresh, 1.0)
    assert ranker.tolist() == [0.5, 1.0, 0.5, 1.0]
    assert edits.tolist() == [0.5, 0.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("near", "stretch", "said"),
    [
        ([], 2.0, "new; nothing is known of it, so it comes last"),
        ([2], 1.0, "new; reads or looks like T2, and is scored as its like"),
        (
            [2, 0, 1],
            1.25,
            "new; reads or looks like T2 and T0, and is scored as its like, 1.25 times as far from the mean",
        ),
    ],
)
def test_a_new_item_says_what_it_is_scored_by(near: list[int], stretch: float, said: str) -> None:
    reason = new_reason(FreshItem("a", "A", (), np.array(near, np.int64)), stretch, "T{}".format)
    assert (reason.text, reason.kind, reason.share) == (said, "new", None)


def test_a_liked_new_item_counts_as_its_three_nearest() -> None:
    new = FreshItem("a", "A", (), np.array([7, 3, 5, 1]), np.full(4, 0.25, np.float32))
    fresh = FreshItems(9, [FreshItem("b", "B"), new])
    assert fresh.stand_ins(10).tolist() == [7, 3, 5]
    assert fresh.unplaced.tolist() == [9]
    assert fresh.mixed(np.eye(9, dtype=np.float32))[1].tolist() == [0, 0.25, 0, 0.25, 0, 0.25, 0, 0.25, 0]
