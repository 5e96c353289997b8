"""Opening and scanning tables: CSV and its kin, JSON lines (all also .gz) and Parquet.

Text is read as text first; a scan into given types looks for the first value that
cannot be used in one streaming pass (only row numbers are kept) and returns a lazy
frame that casts. A row number counts from 1 after the header.
"""

from __future__ import annotations

import contextlib
import glob
import json
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from recsys.core.errors import DataError, did_you_mean
from recsys.core.values import Count
from recsys.data.reading.cells import typed
from recsys.data.reading.faults import DAMAGE, explain
from recsys.data.reading.files import CSV, Layout, kind_of, need, open_bytes

ROW, _BLANK = "__row", "__blank"
Types = Mapping[str, Any]
# Keys of a JSON line are looked for in so many lines; a key that comes later is not seen.
JSON_LOOK_AHEAD = 10_000
_FAILURES = (pl.exceptions.PolarsError, ValueError, *DAMAGE)


def open_table(path: Path, layout: Layout = CSV, *, as_text: bool = True, keys: Types | None = None) -> pl.LazyFrame:
    """Open one table lazily; nothing but its beginning is read.

    Args:
        layout: of the cells in a text table.
        as_text: read every JSON value as String, so that no type is guessed from the first rows
            (CSV values always are; Parquet keeps its types).
        keys: type by key of the JSON values to read; ``None``: all that are in the first lines.

    Raises:
        DataError: no such file, an empty one, or one whose beginning cannot be read.
    """
    with need(path).open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"file {path}", "its header cannot be read: it is UTF-16 text", "Save it as UTF-8.")
    name = glob.escape(str(path))  # for the one reader that always takes it for a pattern
    try:
        if kind_of(path) == "parquet":
            table = pl.scan_parquet(path, glob=False)
        elif kind_of(path) == "csv":
            table = _open_cells(path, layout)
        elif as_text:
            table = pl.scan_ndjson(name, schema=dict(keys or dict.fromkeys(_json_keys(path), pl.String)))
        else:
            table = pl.scan_ndjson(name, infer_schema_length=None)
        table.collect_schema()
        return table
    except _FAILURES as error:
        raise explain(path, error, layout) from error


def _open_cells(path: Path, layout: Layout) -> pl.LazyFrame:
    options: dict[str, Any] = {"separator": layout.separator, "quote_char": layout.quote, "infer_schema": False}
    if layout.names is not None:
        names = [name or f"column_{place}" for place, name in enumerate(layout.names)]
        options |= {"has_header": False, "schema": dict.fromkeys(names, pl.String), "missing_columns": "insert"}
    return pl.scan_csv(path, glob=False, **options)


def _json_keys(path: Path) -> list[str]:
    """The keys of the first lines, in order of appearance."""
    with open_bytes(path) as file:
        rows = [json.loads(line) for line in islice(file, JSON_LOOK_AHEAD) if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("not an object a line")
    return list(dict.fromkeys(key for row in rows for key in row))


def collect_table(table: pl.LazyFrame, path: Path, layout: Layout = CSV) -> pl.DataFrame:
    """Collect a query over the table of ``path``; a fault becomes a DataError that says where."""
    try:
        return table.collect(engine="streaming")
    except _FAILURES as error:
        raise explain(path, error, layout) from error


def header_of(path: Path, layout: Layout = CSV) -> list[str]:
    """Return the column names of a table."""
    return open_table(path, layout).collect_schema().names()


def scan_table(
    path: Path,
    types: Types,
    layout: Layout = CSV,
    *,
    optional: Collection[str] = (),
    counts: list[Count] | None = None,
) -> pl.LazyFrame:
    """Scan a table into columns ``types``, in file order.

    Args:
        types: polars type by column name; other columns of the file are ignored.
        optional: columns that may be missing, or null in some rows.
        counts: receives how many blank rows were skipped.

    Raises:
        DataError: no such file, no rows, a column is missing, a value has the wrong type; names file and row.
    """
    if kind_of(path) == "json":
        with contextlib.suppress(*_FAILURES):  # as text, below, what is wrong is found
            return _checked(open_table(path, keys=types), path, types, optional, counts)
    table = open_table(path, layout, keys=dict.fromkeys(types, pl.String))
    try:
        return _checked(table, path, types, optional, counts)
    except _FAILURES as error:
        raise explain(path, error, layout) from error


def _checked(
    table: pl.LazyFrame, path: Path, types: Types, optional: Collection[str], counts: list[Count] | None
) -> pl.LazyFrame:
    schema = table.collect_schema()
    _check_columns(path, [name for name in types if name not in optional], schema.names())
    # A blank line is a row of nulls in CSV, and no row at all in JSON lines.
    blank = pl.all_horizontal(pl.all().is_null()) if kind_of(path) == "csv" else pl.lit(False)
    columns = [pl.col(name) if name in schema else pl.lit(None, pl.String).alias(name) for name in types]
    cells = table.select(blank.alias(_BLANK), *columns).with_row_index(ROW)
    skipped = _check(cells, types, optional, path)
    if skipped and counts is not None:
        counts.append(Count(f"blank rows of {path.name} skipped", skipped))
    return cells.filter(~pl.col(_BLANK)).select(typed(name, dtype, schema) for name, dtype in types.items())


def _check_columns(path: Path, wanted: Collection[str], header: Sequence[str]) -> None:
    missing = next((name for name in wanted if name not in header), None)
    if missing:
        raise DataError(f"file {path}", f"has no column {missing!r}", did_you_mean(missing, header))
    doubled = next((name for name in wanted if f"{name}_duplicated_0" in header), None)  # so polars renames it
    if doubled:
        raise DataError(f"file {path}", f"has column {doubled!r} twice", "Rename one of them.")


def _check(cells: pl.LazyFrame, types: Types, optional: Collection[str], path: Path) -> int:
    """Look for the first bad value of each column; return the number of blank rows."""
    schema = cells.collect_schema()
    first = []
    for name, dtype in types.items():
        wrong = typed(name, dtype, schema).is_null()
        if name in optional:
            wrong &= pl.col(name).is_not_null()
        first.append(pl.col(ROW).filter(wrong & ~pl.col(_BLANK)).min().alias(name))
    totals = [pl.len().alias("__n"), pl.col(_BLANK).sum().alias("__skipped")]
    found = cells.select(*totals, *first).collect(engine="streaming").row(0, named=True)
    if found["__n"] == found["__skipped"]:
        raise DataError(f"file {path}", "has no rows", "Check that it was written to the end.")
    rows = {name: found[name] for name in types if found[name] is not None}
    if rows:
        name = min(rows, key=rows.__getitem__)
        value = cells.filter(pl.col(ROW) == rows[name]).select(name).collect(engine="streaming").item()
        kind = {pl.String: "text", pl.Int64: "a whole number"}.get(types[name], "a number")
        cause = "is empty" if value is None else f"is {value!r:.80}, not {kind}"
        raise DataError(f"file {path}, row {rows[name] + 1}", f"column {name!r} {cause}", "Mend or remove that row.")
    return int(found["__skipped"])
