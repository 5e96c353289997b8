"""What the fast parser is given: the file, or where it would misread that, a copy that it reads right.

Quotes inside a field stand for themselves, as in Python's csv module; one at the beginning of a field, too, unless the
field ends with another. Such files are rare and this is slow: line by line, in Python.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import BinaryIO

import polars as pl

from recsys.core.errors import DataError
from recsys.data.reading.files import BOM, Layout, kind_of, open_bytes
from recsys.data.reading.records import LONGEST, Survey, UnsoundError, skip_bom, survey, two_readings
from recsys.data.reading.signatures import refuse_other

MOST_LINES = 1000  # that one field may take
QUOTE = b'"'
QUOTED = re.compile(rb'"([^"]*(?:""[^"]*)*)("?)')  # up to the first quote that is not doubled, or to the end


@dataclass(frozen=True)
class Sound:
    """A file that the parser reads right.

    Attributes:
        path: of the file, or of a copy.
        layout: of its cells.
        survey: what it holds.
    """

    path: Path
    layout: Layout
    survey: Survey


def sound(path: Path, layout: Layout) -> Sound:
    """Look through a file and return it, or a copy that is kept until the process ends; once a state of the file.

    Raises:
        DataError: a file of another kind than its name says; a record that cannot be read, or in two ways.
        polars.exceptions.PolarsError, OSError, EOFError, zlib.error: a damaged file.
    """
    about = path.stat()
    return _sound(path, layout, (about.st_size, about.st_mtime_ns, about.st_ctime_ns))


@lru_cache(maxsize=256)
def _sound(path: Path, layout: Layout, state: tuple[int, int, int]) -> Sound:
    refuse_other(path)
    if kind_of(path) == "parquet":
        return Sound(path, layout, Survey(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()))
    if kind_of(path) == "json":
        path = _without_bom(path) if _begins_with_bom(path) else path
        return Sound(path, layout, survey(path, layout))
    try:
        found = survey(path, layout)
        return Sound(path, layout if found.quoted else replace(layout, quote=None), found)
    except UnsoundError as fault:
        if fault.line and layout.quote and not layout.tolerant:
            remedy = "Double it and quote the whole field, or set data.options.quoting='auto'."
            raise DataError(f"file {path}, line {fault.line}", str(fault), remedy) from None
        copy = _sound_copy(path, layout)
    plain = replace(layout, separator=",", quote='"', tolerant=False)
    try:
        return Sound(copy, plain, survey(copy, plain, (path, layout.separator)))
    except UnsoundError as fault:  # a header that holds carriage returns, a record that is too long
        place = f"file {path}, line {fault.line}" if fault.line else f"file {path}"
        remedy = "Export it again with one kind of line end, or write it as Parquet."
        raise DataError(place, str(fault), remedy) from None


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """A private folder for the copies, removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="recsys-")


def _without_bom(path: Path) -> Path:
    """Return a copy of a file without the byte order mark at its beginning."""
    target = _target(path)
    with open_bytes(path) as source, target.open("wb") as out:
        skip_bom(source)
        shutil.copyfileobj(source, out)
    return target


def _begins_with_bom(path: Path) -> bool:
    """Return whether a file, unpacked, begins with a byte order mark."""
    with open_bytes(path) as file:
        return file.read(len(BOM)) == BOM


def _sound_copy(path: Path, layout: Layout) -> Path:
    """Return a copy with commas between fields and with RFC 4180's quotes, line for line.

    Raises:
        DataError: a field can be read in two ways, or not at all; names the line.
    """
    target = _target(path)
    table = _Table(path, layout)
    with open_bytes(path) as source, target.open("wb") as out:
        skip_bom(source)
        for cells in table.records(_lines(source)):
            out.write(b",".join(map(_encoded, cells)) + b"\n")
    return target


def _target(path: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=_folder().name)) / path.name.removesuffix(".gz")


def _encoded(cell: bytes) -> bytes:
    return b'"' + cell.replace(QUOTE, b'""') + b'"' if re.search(rb'[",\r\n]', cell) else cell


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines without their ends; a file without line feeds is cut at carriage returns."""
    for line in source:
        if line.endswith(b"\n"):
            yield line[:-1].removesuffix(b"\r")
        else:
            yield from line.removesuffix(b"\r").split(b"\r")


class _Table:
    """Reads the records of one file, a line at a time and further where a field goes on."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self.layout, self.width = path, layout, len(layout.names or ())
        self.separator = layout.separator.encode()

    def records(self, lines: Iterator[bytes]) -> Iterator[list[bytes]]:
        """Yield the cells of each record; blank lines have one, empty."""
        waiting: list[bytes] = []  # lines that were looked at ahead
        number = 0
        while True:
            line = waiting.pop(0) if waiting else next(lines, None)
            if line is None:
                return
            number += 1
            cells, is_open = self._cells(line)
            if is_open:
                whole, n_lines = self._joined(line, waiting, lines)
                if whole and self._fit([line, *waiting[: n_lines - 1]]):
                    raise two_readings(self.path, number, n_lines)
                if whole:
                    cells = whole
                    del waiting[: n_lines - 1]
                    number += n_lines - 1
                elif self.width and len(cells) != self.width:
                    cause = "a quote is opened there and never closed"
                    remedy = "Close it, or double it if it is part of the text."
                    raise DataError(f"file {self.path}, line {number}", cause, remedy)
            elif len(cells) != self.width and self._fit([line]):
                cells = [self._cells(cell)[0][0] for cell in line.split(self.separator)]
            self.width = self.width or (len(cells) if line.strip() else 0)
            yield cells

    def _fit(self, lines: list[bytes]) -> bool:
        """Whether each line would be a whole record if quotes were plain text."""
        return all(line.count(self.separator) + 1 == self.width for line in lines) and self.width > 1

    def _joined(self, line: bytes, waiting: list[bytes], lines: Iterator[bytes]) -> tuple[list[bytes] | None, int]:
        """Return the cells of a record that goes on over the next lines, and how many it takes; none if it does not."""
        text = line
        for taken in range(1, MOST_LINES):
            if len(waiting) < taken:
                if (further := next(lines, None)) is None:
                    break
                waiting.append(further)
            text += b"\n" + waiting[taken - 1]
            if len(text) > LONGEST:
                break
            if QUOTE not in waiting[taken - 1]:
                continue
            cells, is_open = self._cells(text)
            if not is_open:
                return (cells, taken + 1) if cells and len(cells) == (self.width or len(cells)) else (None, 0)
        return None, 0

    def _cells(self, text: bytes) -> tuple[list[bytes], bool]:
        """Return the cells of a text, and whether a quote at the beginning of one of them is still open at its end.

        There are no cells where one that is not quoted would hold a line break.
        """
        cells, place, is_open = [], 0, False
        while True:
            found = QUOTED.match(text, place) if self.layout.quote else None
            end = found.end() if found else -1
            if found and found[2] and (end == len(text) or text.startswith(self.separator, end)):
                cells.append(found[1].replace(b'""', QUOTE))
            else:
                is_open |= bool(found) and not found[2]
                end = text.find(self.separator, place)
                end = len(text) if end < 0 else end
                if b"\n" in text[place:end] and not is_open:
                    return [], False
                cells.append(text[place:end])
            if end == len(text):
                return cells, is_open
            place = end + len(self.separator)
