"""What a file of text holds, found apart from the parser that reads it: records, fields a record, sound quotes.

A parser that skips columns does not look at the quotes and separators in them, so a stray quote or a separator too many
can swallow rows or shift cells without an error. One pass over the bytes sees both, and gives the number of records
that reading has to arrive at. Quotes are those of RFC 4180: around a whole field, doubled inside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from recsys.core.errors import DataError
from recsys.data.reading.files import BOM, Layout, kind_of, open_bytes

BLOCK, LONGEST = 2**18, 2**24  # bytes: read at once (what a cache holds), and the longest record that is looked for
NEWLINE, RETURN, QUOTE = b'\n\r"'


@dataclass(frozen=True)
class Survey:
    """What one file holds.

    Attributes:
        records: after the header; blank lines count in a table of cells, not in JSON lines.
        short: records with fewer fields than the header, blank lines not counted.
        first_short: line of the first of them.
        quoted: whether there is a quote anywhere.
    """

    records: int = 0
    short: int = 0
    first_short: int = 0
    quoted: bool = False


class UnsoundError(Exception):
    """The bytes cannot be read as they are: for quotes that RFC 4180 does not know, separators or line ends.

    Args:
        cause: in words.
        line: where, 0 where it is all over the file.
    """

    def __init__(self, cause: str, line: int = 0) -> None:
        super().__init__(cause)
        self.line = line


def survey(path: Path, layout: Layout, shown: tuple[Path, str] | None = None) -> Survey:
    """Look through a file of cells or JSON lines, ``.gz`` too, in one pass.

    Args:
        path: of the file.
        layout: of its cells.
        shown: path and separator of the file that messages name, where this one is a copy.

    Raises:
        UnsoundError: a copy with sound quotes has to be read in its place (``repair``).
        DataError: a record with more fields than the header; names the line or row.
        OSError, EOFError, zlib.error: a damaged file.
    """
    if kind_of(path) == "json":
        return Survey(sum(int(np.count_nonzero(_filled(block))) for block in _lines(path)))
    if len(layout.separator.encode()) > 1:
        raise UnsoundError("its fields are parted by several bytes")
    scan = _Scan(layout, *(shown or (path, layout.separator)))
    with open_bytes(path) as file:
        skip_bom(file)
        rest = b""
        while piece := file.read(BLOCK):
            rest += piece
            rest = rest[scan.take(rest) :]
    rest += b"\n" * (rest[-1:] not in (b"", b"\n"))
    if scan.take(rest, last=True) < len(rest):
        raise UnsoundError("a quote is opened there and never closed", scan.lines + 1)
    return Survey(scan.records, scan.short, scan.first_short, scan.quoted)


def skip_bom(file: BinaryIO) -> None:
    """Move past a UTF-8 byte order mark at the beginning of a file, if there is one."""
    if file.read(len(BOM)) != BOM:
        file.seek(0)


def conserved(path: Path, found: int, records: int) -> None:
    """Hold the number of records that were read against the number that a file holds.

    Raises:
        DataError: they differ.
    """
    if found != records:
        cause = f"{found:,} records were read of {records:,} that it holds"
        raise DataError(
            f"file {path}", cause, "Write it as Parquet, and report the file: this is a fault of the reader."
        )


@dataclass
class _Scan:
    """The pass over a table of cells: blocks go in, each up to its last complete record."""

    layout: Layout
    path: Path  # for messages
    shown: str  # the separator, for messages
    records: int = 0
    short: int = 0
    first_short: int = 0
    quoted: bool = False
    width: int = field(init=False)
    lines: int = field(init=False, default=0)  # that earlier blocks held

    def __post_init__(self) -> None:
        self.width = len(self.layout.names or ())
        self.separator = ord(self.layout.separator)

    def take(self, block: bytes, last: bool = False) -> int:
        """Count the complete records of a block that begins with one; return their bytes."""
        has_quotes = bool(self.layout.quote) and b'"' in block
        if not has_quotes and self.width > 1 and (taken := self._regular(block)):
            return taken
        data = np.frombuffer(block, np.uint8)
        ends_line = data == NEWLINE
        marks = np.flatnonzero(ends_line | (data == self.separator))
        ends = ends_line[marks]
        quotes = np.zeros(0, np.int64)
        if has_quotes:
            quotes = np.flatnonzero(data == QUOTE)
        outside = (np.searchsorted(quotes, marks) & 1 == 0) if len(quotes) else np.ones(len(marks), dtype=bool)
        closing = np.flatnonzero(ends & outside)
        if not len(closing):
            if len(block) > LONGEST:
                raise UnsoundError("no record ends", self.lines + 1)
            if not last and not self.width and RETURN in block and not ends.any():
                raise UnsoundError("its lines end in a carriage return alone")
            return 0
        taken = int(marks[closing[-1]]) + 1
        if len(quotes):
            self.quoted = True
            self._check_quotes(data, quotes[: np.searchsorted(quotes, taken)])
        self._count(data, marks[: closing[-1] + 1], ends, outside)
        self.lines += int(np.count_nonzero(ends[: closing[-1] + 1]))
        return taken

    def _regular(self, block: bytes) -> int:
        """Count records without quotes, the usual case, if all have the header's fields; return their bytes, else 0."""
        taken = block.rfind(b"\n") + 1
        data = np.frombuffer(block, np.uint8, count=taken)
        is_mark = data == NEWLINE
        n_lines = int(np.count_nonzero(is_mark))
        is_mark |= data == self.separator
        marks = np.flatnonzero(is_mark)
        if len(marks) != n_lines * self.width or (data[marks[self.width - 1 :: self.width]] != NEWLINE).any():
            return 0
        self.records += n_lines
        self.lines += n_lines
        return taken

    def _check_quotes(self, data: np.ndarray, quotes: np.ndarray) -> None:
        """Refuse quotes that do not stand around a whole field: they alternate between opening and closing."""
        opening, closing = quotes[::2], quotes[1::2]
        before = np.where(opening > 0, data[opening - 1], NEWLINE)
        after, later = data[closing + 1], data[np.minimum(closing + 2, len(data) - 1)]
        around = (self.separator, NEWLINE, QUOTE)
        wrong = ~np.isin(before, around), ~(np.isin(after, around) | ((after == RETURN) & (later == NEWLINE)))
        bad = np.concatenate([opening[wrong[0]], closing[wrong[1]]])
        if len(bad):
            line = self.lines + 1 + int(np.count_nonzero(data[: bad.min()] == NEWLINE))
            raise UnsoundError("a quote stands inside a field", line)

    def _count(self, data: np.ndarray, marks: np.ndarray, ends: np.ndarray, outside: np.ndarray) -> None:
        ends, outside = ends[: len(marks)], outside[: len(marks)]
        kept = marks[outside]
        closing = np.flatnonzero(ends[outside])
        stops = kept[closing]
        starts = np.append(0, stops[:-1] + 1)
        fields = np.diff(closing, prepend=-1)
        length = stops - starts
        blank = (length == 0) | ((length == 1) & (data[starts] == RETURN))
        first = self._header(data, fields, starts, stops, blank) if not self.width else 0
        lines = self.lines + 1 + np.searchsorted(marks[ends], starts)  # that each record begins on
        if not outside.all() and self.layout.tolerant:
            self._compare_readings(ends, outside, fields, lines)
        wide = np.flatnonzero(fields[first:] > self.width)
        if len(wide):
            self._refuse_width(int(fields[first + wide[0]]), int(lines[first + wide[0]]), int(wide[0]))
        short = first + np.flatnonzero((fields[first:] < self.width) & ~blank[first:])
        if len(short):
            self.first_short = self.first_short or int(lines[short[0]])
        self.short += len(short)
        self.records += len(fields) - first

    def _header(
        self, data: np.ndarray, fields: np.ndarray, starts: np.ndarray, stops: np.ndarray, blank: np.ndarray
    ) -> int:
        """Take the width from the header; return the place of the first record after it."""
        if blank.all():
            return len(fields)  # blank lines before the header are none
        header = int(np.argmin(blank))
        text = data[starts[header] : stops[header]]
        if (text[:-1] == RETURN).any():
            raise UnsoundError("its lines end in a carriage return alone")
        self.width = int(fields[header])
        return header + 1

    def _compare_readings(self, ends: np.ndarray, outside: np.ndarray, fields: np.ndarray, lines: np.ndarray) -> None:
        """Find records whose lines would each be a whole record if the quotes were plain text.

        Quotes are taken for plain text where the record is not whole with them; else there is no telling.
        """
        at_end = np.flatnonzero(ends)
        fits = np.diff(at_end, prepend=-1) == self.width
        record = np.append(0, np.cumsum(outside[at_end])[:-1])
        n_lines, n_fits = np.bincount(record), np.bincount(record, weights=fits)
        fit = (n_lines == n_fits) & (self.width > 1)
        if len(literal := np.flatnonzero(fit & (fields != self.width))):
            raise UnsoundError("its quotes hide separators", int(lines[literal[0]]))
        if len(double := np.flatnonzero(fit & (n_lines > 1))):
            raise two_readings(self.path, int(lines[double[0]]), int(n_lines[double[0]]))

    def _refuse_width(self, fields: int, line: int, place: int) -> None:
        if self.layout.unit == "line":  # a table of one's own, whose delimiter is a setting
            cause = f"{fields} fields where the header has {self.width}"
            remedy = f"Quote the values that hold {self.shown!r}, or set data.options.delimiter."
            raise DataError(f"file {self.path}, line {line}", cause, remedy)
        cause = f"has {fields} columns where the file has {self.width}"
        thing = f"file {self.path}, row {self.records + place + 1}"
        raise DataError(thing, cause, "Quote or remove the extra separators.")


def two_readings(path: Path, line: int, n_lines: int) -> DataError:
    """Return the refusal of a quote that may begin a field of several lines or stand for itself."""
    return DataError(
        f"file {path}, line {line}",
        f"a quote opens a field there; either the field goes on for {n_lines} lines, or the quote is plain text and"
        f" these are {n_lines} records",
        "Set data.options.quoting to 'standard' (fields may hold line breaks) or to 'literal' (quotes are plain text);"
        " in other sources, mend that line.",
    )


def _lines(path: Path) -> Iterator[bytes]:
    """The bytes of a file in blocks of whole lines."""
    rest = b""
    with open_bytes(path) as file:
        skip_bom(file)
        while piece := file.read(BLOCK):
            end = piece.rfind(b"\n") + 1
            if end:
                yield rest + piece[:end]
                rest = piece[end:]
            else:
                rest += piece
    if rest:
        yield rest if rest.endswith(b"\n") else rest + b"\n"


def _filled(block: bytes) -> np.ndarray:
    """Which lines of a block hold more than white space."""
    data = np.frombuffer(block, np.uint8)
    stops = np.flatnonzero(data == NEWLINE)
    starts = np.append(0, stops[:-1] + 1)
    filled = stops > starts
    doubtful = np.flatnonzero(np.isin(data[starts], np.frombuffer(b" \t\r", np.uint8)))
    for line in doubtful.tolist():
        filled[line] = bool(block[starts[line] : stops[line]].strip())
    return filled
