"""Scanning the files of a data set: lazily, checked in one streaming pass, errors name file and row.

Every scan reads all columns as text first, looks for the first value that cannot
be used (bounded memory: only row numbers are kept), and returns a lazy frame
that casts. A row number counts from 1 after the header.
"""

from __future__ import annotations

import csv
import glob
import gzip
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
from polars.exceptions import PolarsError

from recsys.core.errors import DataError, did_you_mean
from recsys.core.values import INTERACTION_SCHEMA, Count

ROW = "__row"
Types = Mapping[str, Any]


def need(path: Path, remedy: str) -> Path:
    """Return ``path``.

    Raises:
        DataError: there is no such file, or it is empty.
    """
    if not path.is_file():
        raise DataError(f"file {path}", "is not there", remedy)
    if path.stat().st_size == 0:
        raise DataError(f"file {path}", "is empty", remedy)
    return path


def pick(raw: Path, *names: str) -> Path | None:
    """Return the first of ``names`` that is a file in ``raw``."""
    return next((raw / name for name in names if (raw / name).is_file()), None)


def scan_table(
    path: Path,
    types: Types,
    *,
    separator: str = ",",
    names: Sequence[str] | None = None,
    quote: str | None = '"',
    optional: Collection[str] = (),
    counts: list[Count] | None = None,
) -> pl.LazyFrame:
    """Scan a delimited file (also gzipped) into columns ``types``, in file order.

    Args:
        types: polars type by column name; other columns of the file are ignored.
        names: the columns of a file without a header; ``""`` skips one.
        quote: ``None`` where quotes are plain text.
        optional: columns that may be missing, or null in some rows.
        counts: receives how many blank rows were skipped.

    Raises:
        DataError: no such file, no rows, a column is missing, a value has the wrong type; names file and row.
    """
    need(path, "Put the file there, or name the right folder.")
    header = list(names) if names is not None else _header(path, separator, quote)
    _check_columns(path, [name for name in types if name not in optional], header)
    positions = [f"column_{place}" for place in range(len(header))]
    frame = pl.scan_csv(
        path, glob=False, separator=separator, quote_char=quote, has_header=False, infer_schema=False,
        skip_rows=0 if names is not None else 1, row_index_name=ROW,
        schema=dict.fromkeys(positions, pl.String), missing_columns="insert",
    )  # fmt: skip
    places = dict(zip(header, positions, strict=True))
    blank = pl.all_horizontal(pl.col(positions).is_null())
    columns = [
        (pl.col(places[name]) if name in places else pl.lit(None, dtype=pl.String)).alias(name) for name in types
    ]
    text = frame.select(pl.col(ROW), blank.alias("__blank"), *columns)
    skipped = _check(text, types, optional, path, lambda: _bad_line(path, separator, quote, len(header), names is None))
    if skipped and counts is not None:
        counts.append(Count(f"blank rows of {path.name} skipped", skipped))
    return text.filter(~pl.col("__blank")).select(typed(name, dtype) for name, dtype in types.items())


def typed(name: str, dtype: Any) -> pl.Expr:
    """Cast a text column; null where the text is not of that type. Whole numbers may be written ``3.0``."""
    column = pl.col(name)
    if dtype == pl.String:
        return column
    number = column.cast(pl.Float64, strict=False)
    if dtype == pl.Int64:
        whole = number.is_finite() & (number == number.round())
        return pl.when(whole).then(number).cast(pl.Int64, strict=False).alias(name)
    return number.cast(dtype).alias(name)


def _check(text: pl.LazyFrame, types: Types, optional: Collection[str], path: Path, diagnose: Callable) -> int:
    """Look for the first bad value of each column; return the number of blank rows."""
    bad = {}
    for name, dtype in types.items():
        wrong = pl.col(name).is_not_null() & typed(name, dtype).is_null()
        bad[name] = ~pl.col("__blank") & (wrong if name in optional else wrong | pl.col(name).is_null())
    first = [pl.col(ROW).filter(mask).min().alias(name) for name, mask in bad.items()]
    totals = [pl.len().alias("__n"), pl.col("__blank").sum().alias("__skipped")]
    try:
        found = text.select(*totals, *first).collect(engine="streaming").row(0, named=True)
    except (PolarsError, OSError) as error:
        raise diagnose() or DataError(f"file {path}", str(error).splitlines()[0], "Mend the file.") from None
    if found["__n"] == found["__skipped"]:
        raise DataError(f"file {path}", "has no rows", "Check that it was written to the end.")
    rows = {name: found[name] for name in types if found[name] is not None}
    if rows:
        name = min(rows, key=rows.__getitem__)
        value = text.filter(pl.col(ROW) == rows[name]).select(name).collect(engine="streaming").item()
        raise bad_value(path, rows[name] + 1, name, value, types[name])
    return int(found["__skipped"])


def bad_value(path: Path, row: int, column: str, value: Any, dtype: Any) -> DataError:
    """The error of a value that cannot be used; ``row`` counts from 1."""
    kind = {pl.String: "text", pl.Int64: "a whole number"}.get(dtype, "a number")
    cause = "is empty" if value is None else f"is {value!r:.80}, not {kind}"
    return DataError(f"{path}, row {row}", f"column {column!r} {cause}", "Mend or remove that row.")


def _check_columns(path: Path, wanted: Collection[str], header: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in header]
    if missing:
        raise DataError(f"file {path}", f"has no column {missing[0]!r}", did_you_mean(missing[0], header))
    doubled = next((name for name in wanted if list(header).count(name) > 1), None)
    if doubled:
        raise DataError(f"file {path}", f"has column {doubled!r} twice", "Rename one of them.")


def header_of(path: Path, separator: str = ",", quote: str | None = '"') -> list[str]:
    """Return the column names in the first line of a delimited file."""
    return _header(need(path, "Put the file there, or name the right folder."), separator, quote)


def _header(path: Path, separator: str, quote: str | None) -> list[str]:
    try:
        with open_bytes(path) as file:
            line = file.readline(1 << 20).decode("utf-8-sig").rstrip("\r\n")
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise DataError(f"file {path}", f"its header cannot be read: {error}", "Save it as UTF-8 text.") from None
    return next(_rows([line], separator, quote), [])


def _rows(lines: Any, separator: str, quote: str | None) -> Iterator[list[str]]:
    csv.field_size_limit(1 << 24)
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=separator, quotechar=quote or None, quoting=quoting)


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading bytes, through gzip where the name ends in ``.gz``."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _bad_line(path: Path, separator: str, quote: str | None, width: int, has_header: bool) -> DataError | None:
    """Find the row that made the parser stop; slow, so it runs only after a failure."""
    row = 0
    try:
        with open_bytes(path) as file:
            lines = (line.decode("utf-8-sig" if place == 0 else "utf-8") for place, line in enumerate(file))
            for row, cells in enumerate(_rows(lines, separator, quote), start=0 if has_header else 1):
                if len(cells) > width:
                    cause = f"has {len(cells)} columns where the file has {width}"
                    return DataError(f"{path}, row {row}", cause, "Quote or remove the extra separators.")
                if quote and any("\n" in cell for cell in cells[-1:]) and not file.peek(1):  # type: ignore[attr-defined]
                    return DataError(f"{path}, row {row}", "has a quote that never ends", "Close the quote.")
    except UnicodeDecodeError as error:
        return DataError(f"{path}, row {row + 1}", f"is not UTF-8 text ({error.reason})", "Save the file as UTF-8.")
    except (csv.Error, OSError, EOFError) as error:
        return DataError(f"{path}, row {row + 1}", str(error), "Mend that row, or fetch the file again.")
    return None


def scan_json_lines(path: Path, types: Types, required: Collection[str]) -> pl.LazyFrame:
    """Scan one JSON object a line (also gzipped) into columns ``types``.

    Raises:
        DataError: no such file, no rows, or a line that is not such an object; names file and row.
    """
    need(path, "Put the file there, or name the right folder.")
    frame = pl.scan_ndjson(glob.escape(str(path)), schema=dict(types), row_index_name=ROW)  # the name is no pattern
    first = [pl.col(ROW).filter(pl.col(name).is_null()).min().alias(name) for name in required]
    try:
        found = frame.select(pl.len().alias("__n"), *first).collect(engine="streaming").row(0, named=True)
    except (PolarsError, OSError) as error:
        raise _bad_json_line(path, types, required) or DataError(
            f"file {path}", str(error).splitlines()[0], "Fetch it again."
        ) from None
    if not found["__n"]:
        raise DataError(f"file {path}", "has no rows", "Check that it was fetched to the end.")
    rows = {name: found[name] for name in required if found[name] is not None}
    if rows:
        name = min(rows, key=rows.__getitem__)
        raise bad_value(path, rows[name] + 1, name, None, types[name])
    return frame.select(list(types))


def _bad_json_line(path: Path, types: Types, required: Collection[str]) -> DataError | None:
    for row, value in iter_lines(path, json.loads):
        for name in types:
            cell = value.get(name)
            number = isinstance(cell, int | float) and not isinstance(cell, bool)
            if (cell is None and name in required) or (cell is not None and types[name].is_numeric() and not number):
                return bad_value(path, row, name, cell, types[name])
    return None


def iter_lines(path: Path, parse: Callable[[str], Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row, mapping) for each non-blank line.

    Raises:
        DataError: a line that ``parse`` refuses or that is no mapping, or a damaged file; names file and row.
    """
    row = 0
    try:
        with open_bytes(path) as file:
            for row, line in enumerate(file, start=1):
                if line.strip():
                    value = parse(line.decode("utf-8"))
                    if not isinstance(value, dict):
                        raise ValueError(f"is {type(value).__name__}, not an object")
                    yield row, value
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        cause = f"cannot be read: {error}"[:200]
        raise DataError(f"{path}, row {row}", cause, "Mend or remove that line.") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path}, after row {row}", f"is damaged: {error}", "Fetch it again.") from None


def interactions(frame: pl.LazyFrame, *more: str) -> pl.LazyFrame:
    """Add the canonical columns that are missing as null (``weight`` as 1) and put all in order, ``more`` last."""
    have = frame.collect_schema().names()
    columns = []
    for name, dtype in INTERACTION_SCHEMA.items():
        missing = pl.lit(1.0 if name == "weight" else None)
        columns.append((pl.col(name) if name in have else missing).cast(dtype).alias(name))
    return frame.select(*columns, *more)
