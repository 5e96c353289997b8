"""What a split gives away is counted by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recsys.core.values import Dataset, Interactions, Split, Vocabulary
from recsys.data.leaks import leaks

NEVER, LATER = "older than the newest in train", "older than the user's newest in train"


def split(timestamp: list[int] | None) -> Split:
    """Two users; of the four test rows one repeats a pair of train, and one has an item that train lacks."""
    user, item = np.array([0, 0, 1, 0, 0, 1, 1], np.int32), np.array([0, 1, 2, 1, 2, 0, 3], np.int32)
    times = None if timestamp is None else np.array(timestamp)
    users, items = Vocabulary(["a", "b"]), Vocabulary(["w", "x", "y", "z"])
    data = Dataset("toy", users, items, Interactions(user, item, 2, 4, timestamp=times), pl.DataFrame())
    return Split(data, np.array([0, 0, 0, 2, 2, 2, 2], np.uint8), "random")


def test_what_somebody_did_later_is_told_apart_from_what_others_did() -> None:
    found = leaks(split([10, 20, 50, 15, 30, 60, 40]))
    assert found[LATER] == pytest.approx(2 / 4)  # 15 before the user's 20, 40 before the user's 50
    assert found[NEVER] == pytest.approx(3 / 4)  # and 30 before the other's 50


def test_pairs_in_train_and_items_that_train_lacks() -> None:
    found = leaks(split([1, 2, 3, 4, 5, 6, 7]))
    assert found["pair in train"] == pytest.approx(1 / 4)
    assert found["item not in train"] == pytest.approx(1 / 4)
    assert found[NEVER] == found[LATER] == 0


def test_without_times_nothing_is_said_of_them() -> None:
    found = leaks(split(None))
    assert found[LATER] is None
    assert found[NEVER] is None
    assert found["pair in train"] == pytest.approx(1 / 4)
