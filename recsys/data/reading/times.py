"""Times in people's tables: how a column writes them, and what a cell says, to the nanosecond.

A column is written in one form. Numbers count from 1970; ISO 8601 dates and times are UTC where no zone is given;
digits spell a date, as 20220624 or 20220624210500 do. Text is taken apart as text: no time goes through a float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from recsys.core.errors import DataError

Unit = Literal["auto", "s", "ms", "us", "ns", "date"]
Form = Literal["number", "iso", "digits"]
FACTOR = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
MOMENT = pl.Struct({"timestamp": pl.Int64, "nanosecond": pl.Int32})  # null as a whole where a cell cannot be read
SAMPLE = 1_000  # cells that tell the form of a column
READ = {
    "number": "a number since 1970",
    "iso": "an ISO 8601 time such as 2022-06-24 or 2022-06-24T21:05:00.25+02:00",
    "digits": "a date in digits such as 20220624 or 20220624210500",
}
_BILLION = 10**9
_NUMBER = r"^([+-]?)([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]{1,2}))?$"
_ISO = (
    r"^(?:([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})|([0-9]{4})([0-9]{2})([0-9]{2}))"
    r"(?:(?:[Tt]|\s+)([0-9]{1,2})(?::?([0-9]{2})(?::?([0-9]{2})(?:[.,]([0-9]+))?)?)?"
    r"\s*(?:[Zz]|UTC|utc|GMT|gmt|([+-])([0-9]{2})(?::?([0-9]{2}))?)?)?$"
)
# Lengths at which digits spell a date, from YYYY to YYYYMMDDHHMMSSmmm; some are likely numbers as well.
_SPELLED, _DOUBTFUL = (4, 6, 8, 10, 12, 14, 17), (4, 6, 10)
_FIRST, _LAST = 1900, 2100  # years of which numbers are taken for dates without being asked
_REST = "00000101000000000"  # what a shorter one leaves out


@dataclass(frozen=True)
class Time:
    """The type of a column of times, for ``scan_table``; it becomes a column of ``MOMENT``.

    Attributes:
        unit: of numbers. ``"auto"`` leaves them in their own: ``timestamp`` is then whole units, ``nanosecond``
            billionths of one, and canonicalisation tells units apart by size. ``"date"``: digits that spell dates.
        form: how the column is written; ``None``: its first cells tell.
    """

    unit: Unit = "auto"
    form: Form | None = None

    @property
    def wanted(self) -> str:
        """What a cell should have been, in words."""
        if self.form in ("number", "digits"):
            return f"{READ[self.form]}, as most of this column are"
        return f"{READ['iso']}, or {READ['number']} in every row"


def first_cells(table: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """The first cells of a column that are not blank; they tell its form."""
    blank = pl.col(name).is_null()
    if table.collect_schema()[name] == pl.String:
        blank |= pl.col(name).str.strip_chars() == ""
    return table.select(name).filter(~blank).head(SAMPLE)


def with_form(time: Time, cells: pl.Series, path: Path) -> Time:
    """Return ``time`` with the form that most of the ``cells`` of a column have.

    Raises:
        DataError: they may be numbers or dates alike, and no unit is set.
    """
    if time.form or not _is_plain(cells.dtype):
        return time
    return replace(time, form=_form_of(cells, time.unit, f"file {path}, column {cells.name!r}"))


def with_forms(types: Mapping[str, Any], table: pl.LazyFrame, path: Path) -> dict[str, Any]:
    """Return types by column, each ``Time`` among them ``with_form``."""
    schema, found = table.collect_schema(), dict(types)
    for name, dtype in types.items():
        if isinstance(dtype, Time) and not dtype.form and name in schema:
            cells = first_cells(table, name).collect(engine="streaming")[name]
            found[name] = with_form(dtype, cells, path)
    return found


def as_moment(name: str, time: Time, schema: pl.Schema, path: Path | None = None) -> pl.Expr:
    """A column of times as ``MOMENT``.

    Raises:
        DataError: the column can hold no times.
    """
    dtype = schema[name]
    if not _is_plain(dtype) and dtype not in (pl.Date, pl.Datetime):
        thing = f"column {name!r}" if path is None else f"file {path}, column {name!r}"
        raise DataError(thing, f"it holds {dtype}", "Give dates, or numbers since 1970.")
    read = lambda cells: read_moments(cells, time)  # noqa: E731
    return pl.col(name).map_batches(read, return_dtype=MOMENT, is_elementwise=True)


def in_two_columns(table: pl.LazyFrame) -> pl.LazyFrame:
    """Return a table whose ``timestamp``, a ``MOMENT`` or a float, is ``timestamp`` and ``nanosecond``, the last."""
    schema = table.collect_schema()
    if schema.get("timestamp", pl.Int64).is_float() and "nanosecond" not in schema:
        table = table.with_columns(as_moment("timestamp", Time("auto", "number"), schema))
    elif schema.get("timestamp") != MOMENT:
        return table
    return table.with_columns(pl.col("timestamp").struct.unnest())


def read_moments(cells: pl.Series, time: Time) -> pl.Series:
    """Read text, numbers, dates or datetimes as ``MOMENT``; null = cannot be read, or blank."""
    dtype = cells.dtype
    if dtype == pl.Date:
        seconds, part = cells.to_physical().cast(pl.Int64) * 86_400, None
    elif isinstance(dtype, pl.Datetime):
        seconds, part = in_seconds(cells.to_physical(), None, FACTOR[dtype.time_unit])
    elif time.form == "iso":
        seconds, part = _iso(cells.cast(pl.String).str.strip_chars())
    else:
        seconds, part = _numbers(cells)
        if time.form == "digits" or time.unit == "date":
            seconds, part = _spelled(seconds, part, 1, 9999)
        elif time.unit != "auto":
            seconds, part = in_seconds(seconds, part, FACTOR[time.unit])
    part = pl.zeros(len(cells), dtype=pl.Int32, eager=True) if part is None else part
    frame = pl.DataFrame([seconds.alias("timestamp"), part.fill_null(0).cast(pl.Int32).alias("nanosecond")])
    both = pl.struct("timestamp", "nanosecond")
    return frame.select(pl.when(pl.col("timestamp").is_not_null()).then(both).alias(cells.name))[cells.name]


def in_seconds(whole: pl.Series, part: pl.Series | None, factor: int) -> tuple[pl.Series, pl.Series | None]:
    """Return whole seconds, and the nanoseconds within them, of units of which a second has ``factor``.

    Args:
        whole: units, Int64.
        part: billionths of a unit; ``None``: 0.
    """
    if factor == 1:
        return whole, part
    within = whole % factor * (_BILLION // factor)
    return whole // factor, within if part is None else within + part // factor


def _is_plain(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Null) or dtype.is_numeric()


def _form_of(cells: pl.Series, unit: Unit, thing: str) -> Form:
    """Tell numbers, dates and dates in digits by the majority."""
    whole, part = _numbers(cells)
    n_numbers = len(whole) - whole.null_count()
    dates = _iso(cells.cast(pl.String))[0]
    if len(dates) - dates.null_count() > n_numbers or (cells.dtype == pl.String and not n_numbers):
        return "iso"
    if unit != "auto":
        return "digits" if unit == "date" else "number"
    spelled, _ = _spelled(whole, part, _FIRST, _LAST)
    likely = whole.filter(spelled.is_not_null())
    if not len(likely) or 2 * len(likely) < n_numbers:
        return "number"
    doubtful = likely.filter(likely.cast(pl.String).str.len_chars().is_in(_DOUBTFUL))
    if 2 * len(doubtful) < len(likely):
        return "digits"
    raise DataError(
        thing,
        f"numbers such as {doubtful[0]} may spell dates (YYYY, YYYYMM, YYYYMMDDHH) or count seconds since 1970",
        "Set timestamp_unit to 'date' or to 's'; or write times as ISO 8601 dates.",
    )


def _numbers(cells: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Numbers as whole units, Int64, and billionths of one (``None``: there are no fractions)."""
    whole = cells.cast(pl.Int64, strict=False) if not cells.dtype.is_float() else _whole_floats(cells)
    if cells.dtype.is_integer():
        return whole, None
    text = cells.cast(pl.String).str.strip_chars()
    rest = (whole.is_null() & text.is_not_null() & (text != "")).arg_true()
    if not len(rest):
        return whole, None
    few, few_parts = _decimals(text.gather(rest))
    part = pl.zeros(len(cells), dtype=pl.Int64, eager=True)
    return whole.scatter(rest, few), part.scatter(rest, few_parts.fill_null(0))


def _whole_floats(cells: pl.Series) -> pl.Series:
    frame = cells.cast(pl.Float64).alias("x").to_frame()
    is_whole = (pl.col("x") == pl.col("x").floor()) & (pl.col("x") >= -(2**63)) & (pl.col("x") < 2**63)
    return frame.select(pl.when(is_whole).then(pl.col("x")).cast(pl.Int64, strict=False))["x"]


def _decimals(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """``-1.5e3`` digit by digit, exactly: the whole part rounded down, and billionths above it."""
    groups = text.str.extract_groups(_NUMBER).struct.unnest()
    groups.columns = ["sign", "whole", "part", "exponent"]
    if groups["exponent"].null_count() < len(groups):
        groups = _shifted(groups)
    part = pl.col("part").str.pad_end(9, "0").str.slice(0, 9).cast(pl.Int64)
    some = pl.col("whole") + pl.col("part") != ""
    whole = pl.when(some).then(pl.col("whole").str.strip_chars_start("0").replace("", "0"))
    frame = groups.select("sign", whole=whole.cast(pl.Int64, strict=False), part=part)
    below = (pl.col("sign") == "-") & (pl.col("part") > 0)
    frame = frame.select(
        whole=pl.when(pl.col("sign") == "-").then(-pl.col("whole") - below.cast(pl.Int64)).otherwise("whole"),
        part=pl.when(below).then(_BILLION - pl.col("part")).otherwise("part"),
    )
    return frame["whole"], frame["part"]


def _shifted(groups: pl.DataFrame) -> pl.DataFrame:
    """Move the decimal point by the exponent, of at most two digits."""
    digits = pl.col("whole") + pl.col("part")
    padded = pl.when(digits != "").then("0" * 100 + digits + "0" * 109).otherwise(pl.lit(""))
    shift = pl.col("exponent").cast(pl.Int64).fill_null(0)
    point = 100 + pl.col("whole").str.len_chars().cast(pl.Int64) + shift
    frame = groups.with_columns(padded=padded, point=point)
    return frame.select(
        "sign",
        whole=pl.col("padded").str.slice(0, pl.col("point")),
        part=pl.col("padded").str.slice(pl.col("point"), 9),
    )


def _iso(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """ISO 8601 dates and times, and the like: a blank for the T, UTC or GMT, any number of digits of a second."""
    plain = text.str.replace("T", " ", literal=True).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="ms")
    seconds, part = plain.dt.epoch("s"), pl.zeros(len(text), dtype=pl.Int64, eager=True)
    rest = (seconds.is_null() & text.is_not_null() & ~text.str.contains("^[0-9]*$")).arg_true()
    if len(rest):
        few, few_parts = _iso_by_parts(text.gather(rest))
        seconds, part = seconds.scatter(rest, few), part.scatter(rest, few_parts)
    return seconds, part


def _iso_by_parts(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    groups = text.str.extract_groups(_ISO).struct.unnest()
    names = ["y", "m", "d", "y2", "m2", "d2", "hour", "minute", "second", "part", "sign", "zone_hour", "zone_minute"]
    groups.columns = names
    padded = lambda *parts: pl.coalesce(*parts, pl.lit("0")).str.zfill(2)  # noqa: E731
    day = pl.concat_str(pl.coalesce("y", "y2"), padded("m", "m2"), padded("d", "d2"), separator="-")
    clock = pl.concat_str(padded("hour"), padded("minute"), padded("second"), separator=":")
    moment = pl.concat_str(day, clock, separator=" ").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="ms")
    number = lambda name: pl.col(name).cast(pl.Int64).fill_null(0)  # noqa: E731
    zone = (number("zone_hour") * 60 + number("zone_minute")) * 60
    zone = pl.when(number("zone_hour") < 24, number("zone_minute") < 60).then(zone)
    frame = groups.select(
        seconds=moment.dt.epoch("s") - pl.when(pl.col("sign") == "-").then(-zone).otherwise(zone),
        part=pl.col("part").fill_null("").str.pad_end(9, "0").str.slice(0, 9).cast(pl.Int64),
    )
    return frame["seconds"], frame["part"]


def _spelled(
    whole: pl.Series, part: pl.Series | None, first_year: int, last_year: int
) -> tuple[pl.Series, pl.Series | None]:
    """Numbers whose digits are a date (``_SPELLED``) as seconds and nanoseconds; null where they are none."""
    length = pl.col("text").str.len_chars()
    moment = pl.col("filled").str.slice(0, 14).str.to_datetime("%Y%m%d%H%M%S", strict=False, time_unit="ms")
    milliseconds = pl.col("filled").str.slice(14, 3).cast(pl.Int64, strict=False)
    fraction = pl.lit(0, pl.Int64) if part is None else pl.col("part")
    # A fraction belongs to a second or a millisecond: 20220624.5 says nothing.
    sound = length.is_in(_SPELLED) & (pl.col("whole") > 0) & ((fraction == 0) | (length >= 14))
    columns = [whole.alias("whole"), whole.cast(pl.String).alias("text")]
    columns += [] if part is None else [part.alias("part")]
    frame = pl.DataFrame(columns).with_columns(filled=pl.col("text") + pl.lit(_REST).str.slice(length.cast(pl.Int64)))
    found = frame.with_columns(moment=pl.when(sound).then(moment)).select(
        pl.when(pl.col("moment").dt.year().is_between(first_year, last_year)).then(pl.col("moment").dt.epoch("s")),
        part=pl.when(length == 17).then(milliseconds * 10**6 + fraction // 1000).otherwise(fraction),
    )
    return found["moment"], found["part"]


def moment_text(seconds: np.ndarray, nanoseconds: np.ndarray) -> pl.Series:
    """Return times as decimal numbers of seconds, digit by digit: ``978300760.25``, ``-0.5``."""
    below = (seconds < 0) & (nanoseconds > 0)  # -1 s and 500,000,000 ns are -0.5
    whole = np.where(below, seconds + 1, seconds)
    parts = np.where(below, _BILLION - nanoseconds, nanoseconds)
    frame = pl.DataFrame({"negative": seconds < 0, "whole": np.abs(whole), "part": parts})
    sign = pl.when("negative").then(pl.lit("-")).otherwise(pl.lit(""))
    part = pl.col("part").cast(pl.String).str.zfill(9).str.strip_chars_end("0")
    return frame.select(pl.concat_str(sign, "whole", pl.lit("."), part).str.strip_chars_end("."))["literal"]
