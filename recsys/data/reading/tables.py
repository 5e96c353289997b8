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
from recsys.data.reading.records import conserved
from recsys.data.reading.repair import Sound, sound
from recsys.data.reading.times import Time, with_forms

ROW, _BLANK = "__row", "__blank"
Types = Mapping[str, Any]
# Keys of a JSON line are looked for in so many lines; a key that comes later is seen only if it is hoped for.
JSON_LOOK_AHEAD = 10_000
_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, *DAMAGE)


def open_table(
    path: Path, layout: Layout = CSV, *, as_text: bool = True, keys: Types | None = None, hoped: Collection[str] = ()
) -> pl.LazyFrame:
    """Open one table lazily. A table of text is looked through once, so that each record of it is read as one.

    Args:
        layout: of the cells in a text table.
        as_text: read every JSON value as String, so that no type is guessed from the first rows
            (CSV values always are; Parquet keeps its types).
        keys: type by key of the JSON values to read; ``None``: all that are in the first lines.
        hoped: keys that are read wherever in the file they first come.

    Raises:
        DataError: no such file, an empty one, one whose beginning cannot be read, or whose quotes are not sound.
    """
    try:
        file = sound(need(path), layout)
        name = glob.escape(str(file.path))  # for the one reader that always takes it for a pattern
        if kind_of(path) == "parquet":
            table = pl.scan_parquet(path, glob=False)
        elif kind_of(path) == "csv":
            table = _open_cells(file)
        elif as_text:
            table = pl.scan_ndjson(name, schema=dict(keys or dict.fromkeys(_json_keys(file.path, hoped), pl.String)))
        else:
            table = pl.scan_ndjson(name, infer_schema_length=None)
        table.collect_schema()
        return table
    except _FAILURES as error:
        raise explain(path, error, layout) from error


def n_records(path: Path, layout: Layout = CSV) -> int:
    """Return the number of records of a table, counted apart from the parser that reads it.

    Raises:
        DataError: as ``open_table``.
    """
    try:
        return sound(need(path), layout).survey.records
    except _FAILURES as error:
        raise explain(path, error, layout) from error


def short_rows(path: Path, layout: Layout = CSV) -> list[Count]:
    """Return a count of the records with fewer fields than the header, if there are any."""
    found = sound(path, layout).survey
    if not found.short:
        return []
    what = f"{path.name}: rows with fewer fields than the header: the others are empty"
    return [Count(what, found.short, f"first: line {found.first_short}")]


def _open_cells(file: Sound) -> pl.LazyFrame:
    layout = file.layout
    options: dict[str, Any] = {"separator": layout.separator, "quote_char": layout.quote, "infer_schema": False}
    if layout.names is not None:
        names = [name or f"column_{place}" for place, name in enumerate(layout.names)]
        options |= {"has_header": False, "schema": dict.fromkeys(names, pl.String), "missing_columns": "insert"}
    return pl.scan_csv(file.path, glob=False, **options)


def _json_keys(path: Path, hoped: Collection[str]) -> list[str]:
    """The keys of the first lines in order of appearance, and those hoped for that come later."""
    with open_bytes(path) as file:
        rows = [json.loads(line) for line in islice(file, JSON_LOOK_AHEAD) if line.strip()]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("not an object a line")
        keys = dict.fromkeys(key for row in rows for key in row)
        missing = [key for key in hoped if key not in keys]
        for line in file if missing else ():
            keys |= dict.fromkeys(
                key for key in missing if json.dumps(key).encode() in line and key in json.loads(line)
            )
    return list(keys)


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
    records: list[int] | None = None,
) -> pl.LazyFrame:
    """Scan a table into columns ``types``, in file order.

    Args:
        types: polars type by column name, ``Time`` for times; other columns of the file are ignored.
        optional: columns that may be missing, or null in some rows.
        counts: receives how many blank rows were skipped.
        records: receives how many rows the frame has to have.

    Raises:
        DataError: no such file, no rows, a column is missing, a value has the wrong type; names file and row.
    """
    total = n_records(path, layout)
    frame = None
    if kind_of(path) == "json":
        with contextlib.suppress(*_FAILURES):  # as text, below, what is wrong is found
            keys = {name: pl.Int64 if isinstance(dtype, Time) else dtype for name, dtype in types.items()}
            frame, skipped = _checked(open_table(path, keys=keys), path, types, optional, total)
    if frame is None:
        table = open_table(path, layout, keys=dict.fromkeys(types, pl.String))
        try:
            frame, skipped = _checked(table, path, types, optional, total)
        except _FAILURES as error:
            raise explain(path, error, layout) from error
    if counts is not None:
        counts += [Count(f"blank rows of {path.name} skipped", skipped)] if skipped else []
        counts += short_rows(path, layout)
    if records is not None:
        records.append(total - skipped)
    return frame


def _checked(
    table: pl.LazyFrame, path: Path, types: Types, optional: Collection[str], total: int
) -> tuple[pl.LazyFrame, int]:
    """Return the columns in their types, and the number of blank rows that were left out."""
    schema = table.collect_schema()
    _check_columns(path, [name for name in types if name not in optional], schema.names())
    # A blank line is a row of nulls in CSV, and no row at all in JSON lines.
    blank = pl.all_horizontal(pl.all().is_null()) if kind_of(path) == "csv" else pl.lit(False)
    types = with_forms(types, table, path)
    columns = [pl.col(name) if name in schema else pl.lit(None, pl.String).alias(name) for name in types]
    cells = table.select(blank.alias(_BLANK), *columns).with_row_index(ROW)
    skipped = _check(cells, types, optional, path, total)
    return cells.filter(~pl.col(_BLANK)).select(typed(name, dtype, schema) for name, dtype in types.items()), skipped


def _check_columns(path: Path, wanted: Collection[str], header: Sequence[str]) -> None:
    missing = next((name for name in wanted if name not in header), None)
    if missing:
        raise DataError(f"file {path}", f"has no column {missing!r}", did_you_mean(missing, header))
    refuse_twice(path, wanted, header)


def refuse_twice(path: Path, wanted: Collection[str], header: Collection[str]) -> None:
    """Refuse a column that the header names twice: nobody knows which one is meant.

    Raises:
        DataError: names the file and the column.
    """
    doubled = next((name for name in wanted if f"{name}_duplicated_0" in header), None)  # so polars renames it
    if doubled:
        raise DataError(f"file {path}", f"has column {doubled!r} twice", "Rename one of them.")


def _check(cells: pl.LazyFrame, types: Types, optional: Collection[str], path: Path, total: int) -> int:
    """Look for the first bad value of each column, count the rows; return the number of blank ones."""
    schema = cells.collect_schema()
    first = []
    for name, dtype in types.items():
        wrong = typed(name, dtype, schema).is_null()
        if name in optional:
            wrong &= pl.col(name).is_not_null()
        first.append(pl.col(ROW).filter(wrong & ~pl.col(_BLANK)).min().alias(name))
    totals = [pl.len().alias("__n"), pl.col(_BLANK).sum().alias("__skipped")]
    found = cells.select(*totals, *first).collect(engine="streaming").row(0, named=True)
    conserved(path, found["__n"], total)
    if found["__n"] == found["__skipped"]:
        raise DataError(f"file {path}", "has no rows", "Export or fetch it again.")
    rows = {name: found[name] for name in types if found[name] is not None}
    if rows:
        name = min(rows, key=rows.__getitem__)
        value = cells.filter(pl.col(ROW) == rows[name]).select(name).collect(engine="streaming").item()
        dtype = types[name]
        plain = {pl.String: "text", pl.Int64: "a whole number"}
        kind = dtype.wanted if isinstance(dtype, Time) else plain.get(dtype, "a number")
        cause = "is empty" if value is None else f"is {value!r:.80}, not {kind}"
        raise DataError(f"file {path}, row {rows[name] + 1}", f"column {name!r} {cause}", "Mend or remove that row.")
    return int(found["__skipped"])
