"""Polars expressions that turn the cells of people's tables into canonical values; null = cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from recsys.core.errors import DataError

FACTOR = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def is_blank(name: str, schema: pl.Schema) -> pl.Expr:
    """Whether a cell says nothing: null, or text of spaces only."""
    column = pl.col(name)
    return column.is_null() | (column.str.strip_chars() == "") if schema[name] == pl.String else column.is_null()


def as_id(name: str, schema: pl.Schema) -> pl.Expr:
    """An id as text; whole numbers that a table keeps as floats lose their ``.0``."""
    column = pl.col(name)
    if schema[name].is_float():
        whole = column.cast(pl.Int64, strict=False)
        return pl.when(whole == column).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))
    return column.cast(pl.String)


def as_number(name: str, schema: pl.Schema, path: Path) -> pl.Expr:
    """A number as Float64."""
    if schema[name] == pl.String:
        return pl.col(name).str.strip_chars().cast(pl.Float64, strict=False)
    if schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null):
        return pl.col(name).cast(pl.Float64, strict=False)
    raise _wrong_type(path, name, schema, "numbers")


def typed(name: str, dtype: Any, schema: pl.Schema) -> pl.Expr:
    """A column in exactly this type; null where text does not say it. Whole numbers may be written ``3.0``."""
    column = pl.col(name)
    if schema.get(name, pl.String) != pl.String:
        return column.cast(dtype, strict=False)
    if dtype == pl.String:
        return column
    number = column.cast(pl.Float64, strict=False)
    if dtype == pl.Int64:
        whole = number.is_finite() & (number == number.round())
        return pl.when(whole).then(number).cast(pl.Int64, strict=False).alias(name)
    return number.cast(dtype).alias(name)


def as_seconds(name: str, schema: pl.Schema, sample: pl.Series, unit: str, path: Path) -> pl.Expr:
    """A time as whole seconds since 1970, Int64.

    Args:
        name: of the column: dates, numbers, or text of either kind.
        schema: of the table.
        sample: one cell that is not blank; decides whether text holds numbers or dates.
        unit: of numbers; ``"auto"`` leaves them as they are.
        path: of the file, for messages.
    """
    column, dtype = pl.col(name), schema[name]
    if dtype in (pl.Date, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.epoch("s")
    if dtype == pl.String:
        column = column.str.strip_chars()
        is_number = sample.str.strip_chars().cast(pl.Float64, strict=False).is_not_null().any()
        if len(sample) and not is_number:
            return _iso_seconds(column)
    elif not (dtype.is_numeric() or dtype == pl.Null):
        raise _wrong_type(path, name, schema, "dates, or numbers since 1970")
    whole = column.cast(pl.Int64, strict=False)
    # Whole numbers are read exactly; "1.7e9" and "1700000000.5" go through floats, which are exact to 9e15.
    if dtype == pl.String or dtype.is_float():
        real = column.cast(pl.Float64, strict=False)
        whole = pl.coalesce(whole, real.floor().cast(pl.Int64, strict=False)) if dtype == pl.String else real.floor()
    return whole.cast(pl.Int64, strict=False) // FACTOR.get(unit, 1)


def _iso_seconds(text: pl.Expr) -> pl.Expr:
    """ISO 8601 dates and times; UTC where no zone is given."""
    text = text.str.replace(" ", "T", literal=True)
    moment = pl.coalesce(
        text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us"),
        text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us").dt.replace_time_zone(None),
        text.str.to_datetime("%Y-%m-%dT%H:%M", strict=False, time_unit="us"),
        text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")),
    )
    return moment.dt.epoch("s")


def as_text(names: Sequence[str], schema: pl.Schema, path: Path) -> pl.Expr:
    """One or several columns joined line by line; lists are joined by commas, blank cells left out."""
    if not names:
        return pl.lit(None, pl.String)
    parts = [_text_cell(name, schema, path) for name in names]
    joined = pl.concat_str(parts, separator="\n", ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def as_attributes(names: Sequence[str], schema: pl.Schema, delimiter: str, path: Path) -> pl.Expr:
    """The values of some columns as a list of ``"column:value"``; cells are lists or delimited text."""
    lists = []
    for name in names:
        _refuse_nested(name, schema, path)
        cells = pl.col(name) if schema[name] == pl.List else pl.col(name).cast(pl.String).str.split(delimiter)
        value = pl.element().cast(pl.String).str.strip_chars()
        kept = cells.list.eval((pl.lit(f"{name}:") + value).filter(value.is_not_null() & (value != "")))
        lists.append(kept.fill_null(pl.lit([], dtype=pl.List(pl.String))))
    return pl.concat_list(lists) if lists else pl.lit([], dtype=pl.List(pl.String))


def _text_cell(name: str, schema: pl.Schema, path: Path) -> pl.Expr:
    _refuse_nested(name, schema, path)
    column = pl.col(name)
    text = column.cast(pl.List(pl.String)).list.join(", ") if schema[name] == pl.List else column.cast(pl.String)
    text = text.str.strip_chars()
    return pl.when(text != "").then(text)


def _refuse_nested(name: str, schema: pl.Schema, path: Path) -> None:
    dtype = schema[name]
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    if inner.is_nested() or inner == pl.Binary:
        raise _wrong_type(path, name, schema, "text, numbers or lists of them")


def _wrong_type(path: Path, name: str, schema: pl.Schema, wanted: str) -> DataError:
    return DataError(f"file {path}, column {name!r}", f"it holds {schema[name]}", f"Give {wanted}.")
