"""Attributes as a matrix: which are kept, who has which, who has none."""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.core.values import ATTRIBUTES, ItemFeatures
from recsys.items.attributes import attribute_matrix


def test_attributes_by_hand() -> None:
    lists = [["genre:Drama", "year:1995"], ["genre:Drama", "genre:War", "genre:Drama"], None, ["genre:War"], ["x:once"]]
    found = attribute_matrix(pl.DataFrame({"attributes": lists}, schema={"attributes": pl.List(pl.String)}))
    none = [np.nan, np.nan]  # of the fifth, too: nobody else has what it has
    np.testing.assert_array_equal(found, np.array([[1, 0], [1, 1], none, [0, 1], none], np.float32))
    assert found.dtype == np.float32


def test_rare_ones_are_left_out_of_a_large_catalogue() -> None:
    lists = [
        ["genre:Drama"] if item % 2 else ["genre:War", *(["rare:yes"] if item < 20 else [])] for item in range(1000)
    ]
    assert attribute_matrix(pl.DataFrame({"attributes": lists})).shape == (1000, 3)
    assert attribute_matrix(pl.DataFrame({"attributes": lists + [["genre:Drama"]] * 1000})).shape == (
        2000,
        2,
    )  # ten are no hundredth any more


def test_they_count_only_where_they_are_asked_for() -> None:
    features = ItemFeatures({"text": np.zeros((2, 3), np.float32), ATTRIBUTES: np.ones((2, 1), np.float32)})
    assert list(features.only(()).matrices) == ["text"]
    assert list(features.only(("text", ATTRIBUTES)).matrices) == [ATTRIBUTES, "text"]
