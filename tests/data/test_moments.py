"""Times cell by cell: what a spelling says to the nanosecond, and which form a column has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.core.errors import DataError
from recsys.data.reading.times import (
    MOMENT,
    Time,
    as_moment,
    first_cells,
    in_seconds,
    in_two_columns,
    moment_text,
    read_moments,
    with_form,
)

FILE = Path("a.parquet")
DAY = 86_400
BILLION = 10**9


@pytest.mark.parametrize(
    ("cells", "time", "expected"),
    [
        (["5", "-1.5", ".25", "1e-9", "2.5e-10", "-1e-9", "x", "", None, "+7."], Time("s", "number"),
         [(5, 0), (-2, 500_000_000), (0, 250_000_000), (0, 1), (0, 0), (-1, 999_999_999), None, None, None, (7, 0)]),
        (["12345.678901234567e2", "0.00000000049e9", "007", "1e18", "1e19", "9e99", "1e-99", "e5"], Time("s", "number"),
         [(1_234_567, 890_123_456), (0, 490_000_000), (7, 0), (10**18, 0), None, None, (0, 0), None]),
        ([1500, -1, 1_000_000], Time("ms", "number"), [(1, 500_000_000), (-1, 999_000_000), (1000, 0)]),
        (["1.5", "-0.5", "1000.000001"], Time("ms", "number"), [(0, 1_500_000), (-1, 999_500_000), (1, 1)]),
        (["2500000.5", "1"], Time("us", "number"), [(2, 500_000_500), (0, 1000)]),
        ([3 * BILLION + 1], Time("ns", "number"), [(3, 1)]),
        (["1.5", "2"], Time("auto", "number"), [(1, 500_000_000), (2, 0)]),
        ([1.5, -0.25, 2.0**62, 2.0**63, float("nan"), float("inf"), None], Time("s", "number"),
         [(1, 500_000_000), (-1, 750_000_000), (2**62, 0), None, None, None, None]),
        (["1970", "197002", "19700102", "1970010203", "197001020304", "19700102030405", "19700102030405678"],
         Time("date"), [(0, 0), (31 * DAY, 0), (DAY, 0), (DAY + 10_800, 0), (DAY + 11_040, 0), (DAY + 11_045, 0),
                        (DAY + 11_045, 678_000_000)]),
        (["19700102030405.25", "19700102030405678.5", "19700102.5", "197", "19701301", "0", "-1970", "19700102.0"],
         Time("date"), [(DAY + 11_045, 250_000_000), (DAY + 11_045, 678_500_000), None, None, None, None, None,
                        (DAY, 0)]),
        ([1970, 197002], Time("date"), [(0, 0), (31 * DAY, 0)]),
        (["0001", "9999"], Time("date"), [None, (253_370_764_800, 0)]),
        (["00010101", "1000"], Time("auto", "digits"), [None, (-30_610_224_000, 0)]),
        (["1970-01-02", "1970/1/2 3", "1970-01-02T03:04", "19700102 0304", " 1970-01-02 03:04:05,1234567891 "],
         Time("auto", "iso"), [(DAY, 0), (DAY + 10_800, 0), (DAY + 11_040, 0), (DAY + 11_040, 0),
                               (DAY + 11_045, 123_456_789)]),
        (["1970-01-02T03:04:05+01:30", "1970-01-02T03:04:05-0130", "1970-01-02T03 +01", "1970-01-02 03:04:05.5Z"],
         Time("auto", "iso"), [(DAY + 5645, 0), (DAY + 16_445, 0), (DAY + 7200, 0), (DAY + 11_045, 500_000_000)]),
        (["1970-01-02 00:00 +23:59", "1970-01-02 00:00 -24:00", "1970-01-02 00:00 +01:60", "1970-02-30", "19700102",
          "", None],
         Time("auto", "iso"), [(60, 0)] + [None] * 6),
    ],
)  # fmt: skip
def test_moments_digit_by_digit(cells, time, expected):
    found = read_moments(pl.Series("t", cells), time)
    assert found.name == "t"
    assert [None if one is None else (one["timestamp"], one["nanosecond"]) for one in found] == expected


@pytest.mark.parametrize(("unit", "factor"), [("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_moments_of_columns_of_datetimes(unit, factor):
    cells = pl.Series("t", [0, -1, 5 * factor + 1, None]).cast(pl.Datetime(unit))
    step = BILLION // factor
    found = read_moments(cells, Time())
    assert found.struct.field("timestamp").to_list() == [0, -1, 5, None]
    assert found.struct.field("nanosecond").to_list() == [0, BILLION - step, step, None]
    assert found.dtype == MOMENT


def test_units_of_which_a_second_has_many():
    whole, part = pl.Series([1999, -1]), pl.Series([500_000_000, 1_000])
    assert in_seconds(whole, part, 1) == (whole, part)
    seconds, within = in_seconds(whole, None, 1000)
    assert (seconds.to_list(), within.to_list()) == ([1, -1], [999_000_000, 999_000_000])
    seconds, within = in_seconds(whole, part, 1000)
    assert (seconds.to_list(), within.to_list()) == ([1, -1], [999_500_000, 999_000_001])


@pytest.mark.parametrize(
    ("cells", "unit", "form"),
    [
        (["1", "2", "2022-06-24"], "auto", "number"),
        (["1", "2022-06-24"], "auto", "number"),  # as many of each
        (["1", "2022-06-24", "2022-06-25"], "auto", "iso"),
        (["x", "y"], "auto", "iso"),
        ([None, None], "auto", "number"),
        (["20220624"], "s", "number"),
        (["20220624"], "date", "digits"),
        (["20220624", "7"], "auto", "digits"),  # half of them spell dates
        (["20220624", "7", "8"], "auto", "number"),
        (["20220624", "202206"], "auto", None),  # half of the dates may be numbers
        (["20220624", "20220625", "202206"], "auto", "digits"),
        (["19000101"], "auto", "digits"),
        (["18991231"], "auto", "number"),
        (["21001231"], "auto", "digits"),
        (["21010101"], "auto", "number"),
        ([2022], "auto", None),
        ([2022062421], "auto", None),
        ([202206242105], "auto", "digits"),
    ],
)
def test_the_form_of_a_column_is_that_of_most_cells(cells, unit, form):
    series = pl.Series("t", cells, dtype=pl.Int64 if cells[0] is None else None)
    if form:
        assert with_form(Time(unit), series, FILE) == Time(unit, form)
        return
    with pytest.raises(DataError, match=r"file a\.parquet, column 't': numbers such as \d+ may spell dates"):
        with_form(Time(unit), series, FILE)


def test_a_form_that_is_given_or_a_column_of_dates_is_not_asked():
    assert with_form(Time("s", "iso"), pl.Series([1]), FILE) == Time("s", "iso")
    assert with_form(Time(), pl.Series([0]).cast(pl.Date), FILE) == Time()


def test_a_thousand_cells_that_are_not_blank_tell_the_form():
    cells = ["", None, " "] + [str(number) for number in range(1_200)]
    found = first_cells(pl.LazyFrame({"t": cells}), "t").collect()["t"]
    assert found.to_list() == [str(number) for number in range(1_000)]
    assert first_cells(pl.LazyFrame({"t": [None, 1, 2]}), "t").collect()["t"].to_list() == [1, 2]


def test_a_column_that_can_hold_no_times_is_refused():
    for path, thing in ((None, "column 'x'"), (FILE, "file a.parquet, column 'x'")):
        with pytest.raises(DataError) as caught:
            as_moment("x", Time(), pl.Schema({"x": pl.List(pl.Int64)}), path)
        assert str(caught.value) == f"{thing}: it holds List(Int64). Give dates, or numbers since 1970."


def test_a_moment_becomes_two_columns():
    floats = pl.LazyFrame({"timestamp": [1.5], "b": [1]})
    assert in_two_columns(floats).collect().to_dict(as_series=False) == {
        "timestamp": [1], "nanosecond": [500_000_000], "b": [1],
    }  # fmt: skip
    moments = pl.LazyFrame({"timestamp": read_moments(pl.Series(["7.25"]), Time("s", "number"))})
    assert in_two_columns(moments).collect().rows() == [(7, 250_000_000)]
    for frame in (pl.LazyFrame({"timestamp": [1]}), pl.LazyFrame({"b": [1]})):
        assert in_two_columns(frame).collect().equals(frame.collect())
    both = pl.LazyFrame({"timestamp": [1.5], "nanosecond": [3]})
    assert in_two_columns(both).collect().rows() == [(1.5, 3)]


def test_moments_as_decimal_numbers():
    seconds, finer = (
        np.array([0, 5, -1, -1, -2, -2, 100]),
        np.array([0, 1, 0, 999_999_999, 500_000_000, 0, 120_000_000]),
    )
    assert moment_text(seconds, finer).to_list() == [
        "0", "5.000000001", "-1", "-0.000000001", "-1.5", "-2", "100.12",
    ]  # fmt: skip
