"""Cells of tables: what each expression makes of a column, value by value."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.core.errors import DataError
from recsys.data.reading.cells import as_attributes, as_id, as_names, as_number, as_text, is_blank, listed, typed

FILE = Path("a.parquet")


def column(cells: list, dtype: pl.DataType | None = None) -> pl.DataFrame:
    return pl.DataFrame({"x": pl.Series(cells, dtype=dtype)})


def of(expression: pl.Expr, frame: pl.DataFrame) -> list:
    return frame.select(expression).to_series().to_list()


@pytest.mark.parametrize(
    ("cells", "nulls", "expected"),
    [
        (["a", "", " \t", None, " none ", "NONE"], ["none", ""], [False, True, True, True, True, False]),
        (["a", "b", "c"], ["a", "c"], [True, False, True]),
        ([0, None, 1], ["0"], [True, True, False]),
        ([-1.0, 1.0, None, float("nan")], ["-1", "x"], [True, False, True, False]),
        ([-1.0, float("nan")], ["NaN"], [False, True]),
        (["-1.00", "-1", "-1x", " -1 ", "NaN"], ["-1", "nan"], [True, True, False, True, True]),
        ([date(1900, 1, 1), date(1900, 1, 2), None], ["1900-01-01"], [True, False, True]),
        ([datetime(1900, 1, 1), datetime(1900, 1, 1, 1)], ["1900-01-01", "-1"], [True, False]),
        ([True, None], ["1"], [False, True]),
    ],
)
def test_a_cell_says_nothing(cells, nulls, expected):
    frame = column(cells)
    assert of(is_blank("x", frame.schema, nulls), frame) == expected


@pytest.mark.parametrize(
    ("cells", "dtype", "expected"),
    [
        ([" a", "1.0"], pl.String, [" a", "1.0"]),
        ([1, None, -2], pl.Int64, ["1", None, "-2"]),
        ([1.0, 2.5, float("nan"), None, 1e15], pl.Float64, ["1.0", "2.5", None, None, "1000000000000000.0"]),
        ([float("inf")], pl.Float64, ["inf"]),
        ([True], pl.Boolean, ["true"]),
    ],
)
def test_ids(cells, dtype, expected):
    frame = column(cells, dtype)
    assert of(as_id("x", frame.schema, FILE), frame) == expected


@pytest.mark.parametrize(
    ("cells", "dtype", "expected"),
    [
        ([" 1.5 ", "x", "", "1e3"], pl.String, [1.5, None, None, 1000.0]),
        ([1, None], pl.Int8, [1.0, None]),
        ([True, False], pl.Boolean, [1.0, 0.0]),
        ([None], pl.Null, [None]),
    ],
)
def test_numbers(cells, dtype, expected):
    frame = column(cells, dtype)
    found = frame.select(as_number("x", frame.schema, FILE)).to_series()
    assert (found.to_list(), found.dtype) == (expected, pl.Float64)


@pytest.mark.parametrize(
    ("read", "cells", "words"),
    [
        (as_id, [[1]], "holds List(Int64). Give one id a cell."),
        (as_id, [{"a": 1}], "holds Struct({'a': Int64}). Give one id a cell."),
        (as_id, [b"a"], "holds Binary. Give one id a cell."),
        (as_number, [[1]], "holds List(Int64). Give numbers."),
        (as_names, [[[1]]], "holds List(List(Int64)). Give text, numbers or lists of them."),
        (as_names, [b"a"], "holds Binary. Give text, numbers or lists of them."),
        (as_names, [[b"a"]], "holds List(Binary). Give text, numbers or lists of them."),
    ],
)
def test_columns_of_another_type_are_refused(read, cells, words):
    frame = column(cells)
    with pytest.raises(DataError) as caught:
        read("x", frame.schema, FILE)
    assert str(caught.value) == f"file a.parquet, column 'x': it {words}"


@pytest.mark.parametrize(
    ("cells", "given", "dtype", "expected"),
    [
        (["3", "3.0", "3.5", "x", "1e30", "-1e30", "inf", "nan", ""], pl.String, pl.Int64, [3, 3] + [None] * 7),
        (["3", "3.25", "x", " 1"], pl.String, pl.Float64, [3.0, 3.25, None, None]),
        (["3", ""], pl.String, pl.String, ["3", ""]),
        ([3.0, None], pl.Float64, pl.Int64, [3, None]),
        ([2**40, 1], pl.Int64, pl.Int32, [None, 1]),
        ([1, 2], pl.Int64, pl.String, ["1", "2"]),
    ],
)
def test_a_column_in_exactly_a_type(cells, given, dtype, expected):
    frame = column(cells, given)
    found = frame.select(typed("x", dtype, frame.schema)).to_series()
    assert (found.to_list(), found.dtype, found.name) == (expected, dtype, "x")


def test_texts_attributes_and_names():
    frame = pl.DataFrame(
        {
            "a": [" one ", "-", None, "two"],
            "b": [["x", " ", None, "-", "y"], ["-"], [], None],
            "c": ["p|q| |-", None, "", " r "],
            "n": [1.5, None, 2.0, None],
        }
    )
    schema, none = frame.schema, ["-"]
    assert of(as_text(["a", "b", "n"], schema, FILE, none), frame) == ["one\nx, y\n1.5", None, "2.0", "two"]
    assert of(as_text([], schema, FILE), frame) == [None]
    assert of(as_names("b", schema, FILE, none), frame) == ["x\ny", None, None, None]
    assert of(as_names("a", schema, FILE), frame) == ["one", "-", None, "two"]
    assert of(as_attributes(["b", "c", "n"], schema, "|", FILE, none), frame) == [
        ["b:x", "b:y", "c:p", "c:q", "n:1.5"], [], ["n:2.0"], ["c:r"],
    ]  # fmt: skip
    assert of(as_attributes([], schema, "|", FILE), frame) == [[]]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('["a", 1]', ["a", 1]), ("['a', 1]", ["a", 1]), ("('a',)", ["a"]), ("{'a'}", ["a"]), ('{"a": 1}', ["a"]),
        ("{'a': 1}", ["a"]), ("5", None), ("'a'", None), ("a", None), ("[", None), ("[" * 100_000, None), ("[]", []),
    ],
)  # fmt: skip
def test_lists_in_cells(text, values):
    assert listed(text) == values
