"""Polars expressions that turn the cells of people's tables into canonical values; null = cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from recsys.core.errors import DataError
from recsys.data.reading.times import MOMENT, Time, as_moment


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
    if isinstance(dtype, Time):
        return as_moment(name, dtype, schema) if name in schema else pl.lit(None, MOMENT).alias(name)
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
