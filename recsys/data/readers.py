"""Opening the tables people bring: CSV, TSV, JSON lines (all also .gz) and Parquet.

Faults are met with the file, the row and the value; the search for the row runs
only after the fast reader has failed.
"""

from __future__ import annotations

import csv
import glob
import gzip
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import polars as pl

from recsys.core.errors import DataError

CSV_DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet", ".pq")
KNOWN = "CSV (.csv), TSV (.tsv), JSON lines (.jsonl), each also as .gz, or Parquet (.parquet)"
# Keys of a JSON line are looked for in so many lines; a key that comes later is not seen.
JSON_LOOK_AHEAD = 10_000


def kind_of(path: Path) -> str:
    """Return the suffix that decides how a file is read, ``.gz`` set aside."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")


def check_file(path: Path) -> None:
    """Refuse what is no table file at all.

    Raises:
        DataError: missing, a folder, empty, of an unknown kind, or text in UTF-16.
    """
    thing = f"file {path}"
    if path.is_dir():
        raise DataError(thing, "it is a folder", f"Name the file, or a pattern such as {path.name}/*.csv.")
    if not path.is_file():
        near = sorted(other.name for other in path.parent.glob("*"))[:8] if path.parent.is_dir() else []
        raise DataError(
            thing, "no such file", f"In that folder: {', '.join(near)}." if near else "Check the folder's name."
        )
    if path.stat().st_size == 0:
        raise DataError(thing, "it is empty (0 bytes)", "Export or fetch it again.")
    if kind_of(path) not in (*CSV_DELIMITERS, *JSON_SUFFIXES, *PARQUET_SUFFIXES):
        raise DataError(thing, f"files ending in {path.suffix!r} are not read", f"Give {KNOWN}.")
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(thing, "it is UTF-16 text", "Save it as UTF-8.")


def scan_table(path: Path, delimiter: str = "auto", *, as_text: bool = True) -> pl.LazyFrame:
    """Open one table lazily; nothing but its header is read.

    Args:
        path: of a known kind.
        delimiter: between the fields of a CSV file; ``"auto"``: by the file's suffix.
        as_text: read every JSON value as String, so that no type is guessed from the first rows
            (CSV values always are; Parquet keeps its types).

    Raises:
        DataError: the file is missing or its beginning cannot be read.
    """
    check_file(path)
    kind, name = kind_of(path), glob.escape(str(path))  # a name is no pattern
    try:
        if kind in PARQUET_SUFFIXES:
            table = pl.scan_parquet(path, glob=False)
        elif kind in JSON_SUFFIXES and as_text:
            table = pl.scan_ndjson(name, schema=dict.fromkeys(_json_keys(path), pl.String))
        elif kind in JSON_SUFFIXES:
            table = pl.scan_ndjson(name, infer_schema_length=None)
        else:
            separator = CSV_DELIMITERS[kind] if delimiter == "auto" else delimiter
            table = pl.scan_csv(path, glob=False, separator=separator, infer_schema=False)
        table.collect_schema()
        return table
    except (pl.exceptions.PolarsError, OSError, EOFError, ValueError) as error:
        raise explain(path, error, delimiter) from error


def collect_table(table: pl.LazyFrame, path: Path, delimiter: str = "auto") -> pl.DataFrame:
    """Collect a query over the table of ``path``; a fault becomes a DataError that says where."""
    try:
        return table.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise explain(path, error, delimiter) from error


def explain(path: Path, error: Exception, delimiter: str = "auto") -> DataError:
    """Find the row at which a file is broken, and say what to do about it."""
    kind, thing = kind_of(path), f"file {path}"
    if kind in PARQUET_SUFFIXES:
        return DataError(thing, f"not a whole Parquet file ({_first_line(error)})", "Export or fetch it again.")
    try:
        found = _bad_text(path) or (_bad_json(path) if kind in JSON_SUFFIXES else _bad_csv(path, kind, delimiter))
    except (EOFError, OSError) as broken:
        cause = "the gzip file ends too early" if isinstance(broken, EOFError) else str(broken)
        return DataError(thing, cause, "It was not written or fetched whole: do that again.")
    if found:
        line, cause, remedy = found
        return DataError(f"{thing}, line {line}", cause, remedy)
    return DataError(thing, f"cannot be read: {_first_line(error)}", "Check the file.")


Found = tuple[int, str, str]


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _bad_text(path: Path) -> Found | None:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                shown = line[max(error.start - 10, 0) : error.start + 10].decode("latin-1").strip()
                cause = f"not UTF-8 text (byte 0x{line[error.start]:02x} in {shown!r})"
                return number, cause, "Save the file as UTF-8; it may be Latin-1 or Windows-1252."
    return None


def _json_keys(path: Path) -> list[str]:
    """The keys of the first lines, in order of appearance."""
    with _open(path) as file:
        rows = [json.loads(line) for line in islice(file, JSON_LOOK_AHEAD) if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("not an object a line")
    return list(dict.fromkeys(key for row in rows for key in row))


def _bad_json(path: Path) -> Found | None:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    shape_of: dict[str, str] = {}
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value: Any = json.loads(line, parse_constant=refuse)
            except ValueError as error:
                cut = not line.endswith(b"\n")
                cause = "the line is cut off" if cut else f"not JSON: {error}"
                remedy = "The file was not written or fetched whole: do that again." if cut else "Write null instead."
                if not cut and "is not JSON" not in str(error):
                    remedy = "Write one JSON object a line."
                return number, cause, remedy
            if not isinstance(value, dict):
                cause = f"a JSON {type(value).__name__}, not an object"
                return number, cause, 'Write one object a line: {"user_id": "u1", "item_id": "i1"}.'
            for key, cell in value.items():
                shape = {list: "a list", dict: "an object"}.get(type(cell), "a plain value")
                if cell is not None and shape_of.setdefault(key, shape) != shape:
                    cause = f"{key!r} is {shape} here and {shape_of[key]} in an earlier line"
                    return number, cause, "Write it in one way on every line."
    return None


def _bad_csv(path: Path, kind: str, delimiter: str) -> Found | None:
    separator = CSV_DELIMITERS[kind] if delimiter == "auto" else delimiter
    with _open(path) as file:
        reader = csv.reader(_lines(file.readline), delimiter=separator, strict=True)
        try:
            width = len(next(reader))
            for row in reader:
                if len(row) > width:
                    cause = f"{len(row)} fields where the header has {width}"
                    return reader.line_num, cause, f"Quote the values that hold {separator!r}, or set delimiter."
        except csv.Error as error:
            # A quote that is never closed swallows the rest of the file, so the last line is where it shows.
            return reader.line_num, f"not CSV: {error}", "Look for an opened quote that is never closed."
    return None


def _lines(readline: Callable[[], bytes]) -> Iterator[str]:
    for line in iter(readline, b""):
        yield line.decode()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
