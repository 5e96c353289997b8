"""Where a text file is broken: line by line and slow, so it is asked only after the fast reader has failed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from recsys.core.errors import DataError
from recsys.data.reading.files import CSV, Layout, kind_of, open_bytes
from recsys.data.reading.repair import sound

AGAIN = "It was not written or fetched whole: do that again."
MAX_LINE = 16 * 2**20  # bytes; a longer line is read in pieces
DAMAGE = (OSError, EOFError, zlib.error)


class Fault(ValueError):
    """What is wrong with a line, and what to do about it."""

    def __init__(self, cause: str, remedy: str = "Mend or remove that line.") -> None:
        super().__init__(cause)
        self.remedy = remedy


def explain(path: Path, error: Exception, layout: Layout = CSV) -> DataError:
    """Find the place at which a file is broken.

    Args:
        error: of the fast reader; told where nothing else is found.
        layout: of a text table.
    """
    thing = f"file {path}"
    if kind_of(path) == "parquet":
        return DataError(thing, f"not a whole Parquet file ({first_line(error)})", "Export or fetch it again.")
    row = 0
    try:
        for line, row, fault in _json_faults(path) if kind_of(path) == "json" else _cell_faults(path, layout):
            if fault:
                place = line if layout.unit == "line" else row
                return DataError(f"{thing}, {layout.unit} {place}", str(fault), fault.remedy)
    except DAMAGE as broken:
        return _damaged(path, broken, row)
    return DataError(thing, f"cannot be read: {first_line(error)}", "Export it again, or write it as Parquet.")


def parsed_lines(path: Path, parse: Callable[[str], Any]) -> Iterator[tuple[int, dict[str, Any] | Fault]]:
    """Yield (row, mapping) of each line that is not blank, or (row, what is wrong with it).

    Args:
        parse: raises an error, a ``Fault`` at best, where it cannot read a line.

    Raises:
        DataError: a damaged gzip file; names the last sound row.
    """
    row = 0
    try:
        with open_bytes(path) as file:
            for row, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), start=1):
                if line.strip():
                    yield row, _parsed(line, parse)
    except DAMAGE as error:
        raise _damaged(path, error, row) from None


def _parsed(line: bytes, parse: Callable[[str], Any]) -> dict[str, Any] | Fault:
    try:
        value = parse(decoded(line))
    except Fault as fault:
        return fault
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        return Fault(f"cannot be read: {error}"[:200])
    return value if isinstance(value, dict) else Fault(f"cannot be read: is {type(value).__name__}, not an object")


def decoded(line: bytes) -> str:
    """Return a line as text.

    Raises:
        Fault: it is not UTF-8; tells the byte and what stands around it.
    """
    try:
        return line.decode("utf-8-sig")  # a byte order mark is no part of the first cell
    except UnicodeDecodeError as error:
        shown = line[max(error.start - 10, 0) : error.start + 10].decode("latin-1").strip()
        cause = f"is not UTF-8 text (byte 0x{line[error.start]:02x} in {shown!r})"
        raise Fault(cause, "Save the file as UTF-8; it may be Latin-1 or Windows-1252.") from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _damaged(path: Path, error: Exception, row: int) -> DataError:
    cause = "the gzip file ends too early" if isinstance(error, EOFError) else str(error)
    return DataError(f"file {path}, after row {row}", f"is damaged: {cause}", AGAIN)


Place = tuple[int, int, Fault | None]


def _json_faults(path: Path) -> Iterator[Place]:
    shape_of: dict[str, str] = {}
    odd = None  # told only where every line is JSON: a reader of other keys does not mind
    for row, value in parsed_lines(path, _strict_json):
        yield row, row, value if isinstance(value, Fault) else None
        if odd is None and isinstance(value, dict) and (fault := _other_shape(value, shape_of)):
            odd = row, row, fault
    if odd:
        yield odd


def _strict_json(line: str) -> Any:
    def refuse(constant: str) -> None:
        raise Fault(f"cannot be read: {constant} is not JSON", "Write null instead.")

    try:
        return json.loads(line, parse_constant=refuse)
    except json.JSONDecodeError as error:
        if not line.endswith("\n"):
            raise Fault("cannot be read: the line is cut off", AGAIN) from None
        raise Fault(f"cannot be read: not JSON: {error}", "Write one JSON object a line.") from None


def _other_shape(value: dict[str, Any], shape_of: dict[str, str]) -> Fault | None:
    for key, cell in value.items():
        shape = {list: "a list", dict: "an object"}.get(type(cell), "a plain value")
        if cell is not None and shape_of.setdefault(key, shape) != shape:
            cause = f"{key!r} is {shape} here and {shape_of[key]} in an earlier line"
            return Fault(cause, "Write it in one way on every line.")
    return None


def _cell_faults(path: Path, layout: Layout) -> Iterator[Place]:
    """Yield (line, row, fault) of every record of cells; the header is row 0."""
    try:
        file = sound(path, layout)
        path, layout = file.path, file.layout
    except DAMAGE:
        layout = replace(layout, quote=None)
    row, line, record = (0 if layout.names is None else 1), 0, b""
    with open_bytes(path) as lines:
        for line, text in enumerate(lines, start=1):
            record += text
            if layout.quote and record.count(b'"') % 2:
                continue  # it goes on
            try:
                decoded(record)
                yield line, row, None
            except Fault as fault:
                yield line, row, fault
            row += bool(row or record.strip())  # blank lines before the header are not counted
            record = b""
