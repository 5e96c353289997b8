"""Polars expressions that turn the cells of people's tables into canonical values; null = cannot be read."""

from __future__ import annotations

import ast
import json
import operator
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import polars as pl

from recsys.core.errors import DataError
from recsys.data.reading.times import Time, as_moment, read_moments


def is_blank(name: str, schema: pl.Schema, nulls: Sequence[str] = ()) -> pl.Expr:
    """Whether a cell says nothing: null, blank text, or one of ``nulls``."""
    column, dtype = pl.col(name), schema[name]
    if dtype in (pl.Date, pl.Datetime):
        moments = read_moments(pl.Series(nulls, dtype=pl.String), Time(form="iso")).drop_nulls()
        return column.is_null() | as_moment(name, Time(), schema).is_in(moments.implode()).fill_null(False)
    if dtype == pl.String:
        return column.is_null() | _says_nothing(column.str.strip_chars(), nulls)
    return column.is_null() | (_is_one_of(column, nulls) if dtype.is_numeric() else False)


def _says_nothing(text: pl.Expr, nulls: Sequence[str]) -> pl.Expr:
    """Whether text, without blanks around it, is empty or one of ``nulls``; ``-1`` there means ``-1.0`` as well."""
    return reduce(operator.or_, (text == word for word in nulls if word), text == "") | _is_one_of(text, nulls)


def _is_one_of(value: pl.Expr, nulls: Sequence[str]) -> pl.Expr:
    """Whether a number, or text that is one, is among those that ``nulls`` spell."""
    numbers = pl.Series(nulls, dtype=pl.String).cast(pl.Float64, strict=False).drop_nulls()
    if numbers.is_empty():
        return pl.lit(False)
    return value.cast(pl.Float64, strict=False).is_in(numbers.implode()).fill_null(False)


def as_id(name: str, schema: pl.Schema, path: Path) -> pl.Expr:
    """An id as text, as it is written; a whole number that a table keeps as a float ends in ``.0``."""
    column, dtype = pl.col(name), schema[name]
    if dtype.is_nested() or dtype == pl.Binary:
        raise _wrong_type(path, name, schema, "one id a cell")
    if not dtype.is_float():
        return column.cast(pl.String)
    whole = column.cast(pl.Int128, strict=False)
    text = pl.when(whole == column).then(whole.cast(pl.String) + ".0").otherwise(column.cast(pl.String))
    return pl.when(column.is_not_nan()).then(text)


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
        return as_moment(name, dtype, pl.Schema({name: schema.get(name, pl.String)}))  # a column may be missing
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


def as_text(names: Sequence[str], schema: pl.Schema, path: Path, nulls: Sequence[str] = ()) -> pl.Expr:
    """One or several columns joined line by line; lists are joined by commas, cells that say nothing left out."""
    if not names:
        return pl.lit(None, pl.String)
    parts = [_text_cell(name, schema, path, nulls) for name in names]
    joined = pl.concat_str(parts, separator="\n", ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def as_attributes(
    names: Sequence[str], schema: pl.Schema, delimiter: str, path: Path, nulls: Sequence[str] = ()
) -> pl.Expr:
    """The values of some columns as a list of ``"column:value"``; cells are lists or delimited text."""
    lists = []
    for name in names:
        _refuse_nested(name, schema, path)
        cells = pl.col(name) if schema[name] == pl.List else pl.col(name).cast(pl.String).str.split(delimiter)
        value = pl.element().cast(pl.String).str.strip_chars()
        kept = cells.list.eval((pl.lit(f"{name}:") + value).filter(~_says_nothing(value, nulls)))
        lists.append(kept.fill_null(pl.lit([], dtype=pl.List(pl.String))))
    return pl.concat_list(lists) if lists else pl.lit([], dtype=pl.List(pl.String))


def as_names(name: str, schema: pl.Schema, path: Path, nulls: Sequence[str] = ()) -> pl.Expr:
    """File names or addresses, those of a list one a line."""
    return _text_cell(name, schema, path, nulls, separator="\n")


def _text_cell(name: str, schema: pl.Schema, path: Path, nulls: Sequence[str], separator: str = ", ") -> pl.Expr:
    _refuse_nested(name, schema, path)
    column = pl.col(name)
    if schema[name] == pl.List:
        known = pl.element().filter(~_says_nothing(pl.element().str.strip_chars(), nulls))
        column = column.cast(pl.List(pl.String)).list.eval(known).list.join(separator)
    text = column.cast(pl.String).str.strip_chars()
    return pl.when(~_says_nothing(text, nulls)).then(text)


def _refuse_nested(name: str, schema: pl.Schema, path: Path) -> None:
    dtype = schema[name]
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    if inner.is_nested() or inner == pl.Binary:
        raise _wrong_type(path, name, schema, "text, numbers or lists of them")


def _wrong_type(path: Path, name: str, schema: pl.Schema, wanted: str) -> DataError:
    return DataError(f"file {path}, column {name!r}", f"it holds {schema[name]}", f"Give {wanted}.")


def listed(text: str) -> list[Any] | None:
    """Return the values of a list, or of an object, that a cell holds as JSON or as Python writes it; else ``None``."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return None
    return list(value) if isinstance(value, list | tuple | dict | set) else None
