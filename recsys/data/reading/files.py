"""Files that hold tables: which kind they are, how they are opened, which one is meant."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from recsys.core.errors import DataError

BOM = b"\xef\xbb\xbf"  # the byte order mark of UTF-8
Kind = Literal["csv", "json", "parquet"]
KINDS: dict[str, Kind] = {
    ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


# How files begin that are no text, with what they are and what to do.
_OTHERS = {
    b"\xff\xfe": ("UTF-16 text", "Save it as UTF-8."),
    b"\xfe\xff": ("UTF-16 text", "Save it as UTF-8."),
    b"PAR1\x15": ("a Parquet file", "Let its name end in .parquet."),
    b"\x1f\x8b": ("a gzip file", "Let its name end in .gz."),
    b"PK\x03\x04": ("a zip file or an Excel workbook", "Unpack it, or export the sheet as CSV."),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "Export the sheet as CSV."),
    b"ARROW1\0": ("an Arrow (Feather) file", "Write it as Parquet."),
    b"SQLite format 3": ("an SQLite database", "Export its table as CSV or Parquet."),
    b"BZh91AY&SY": ("a bzip2 file", "Unpack it."),
    b"\xfd7zXZ": ("an xz file", "Unpack it."),
    b"\x28\xb5\x2f\xfd": ("a Zstandard file", "Unpack it."),
    b"%PDF-": ("a PDF file", "Export the table as CSV."),
}


@dataclass(frozen=True)
class Layout:
    """How the cells of a text table are told apart.

    Attributes:
        separator: of any length; files whose separator has more than one byte are read slowly.
        quote: ``None`` where quotes are plain text.
        tolerant: a quote that does not stand around a whole field is plain text; else it is refused.
        names: the columns of a file without a header; ``""`` skips one.
        unit: how the place of a fault is told: by lines as an editor counts them, or by rows after the header.
    """

    separator: str = ","
    quote: str | None = '"'
    names: tuple[str, ...] | None = None
    unit: Literal["line", "row"] = "row"
    tolerant: bool = True


CSV = Layout()
TABS = Layout("\t", quote=None)
LINES = Layout("\x1f", quote=None, names=("line",))  # a character that parts nothing: one cell a line


def suffix_of(path: Path) -> str:
    """Return the suffix that tells what a file holds, ``.gz`` set aside."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")


def kind_of(path: Path) -> Kind:
    """Return how a file is written; lines of cells where the suffix does not tell."""
    return KINDS.get(suffix_of(path), "csv")


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading bytes, through gzip where the name ends in ``.gz``."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def need(path: Path, remedy: str | None = None) -> Path:
    """Return ``path``.

    Raises:
        DataError: there is no such file, or it is empty.
    """
    if not path.is_file():
        near = sorted(other.name for other in path.parent.glob("*"))[:8] if path.parent.is_dir() else []
        usual = f"In that folder: {', '.join(near)}." if near else "Check the folder's name."
        raise DataError(f"file {path}", "is not there: no such file", remedy or usual)
    if path.stat().st_size == 0:
        raise DataError(f"file {path}", "is empty (0 bytes)", remedy or "Export or fetch it again.")
    return path


def need_text(path: Path) -> Path:
    """Return ``path``, of a table of text.

    Raises:
        DataError: there is no such file, it is empty, or it begins as another kind of file does; says which.
    """
    with need(path).open("rb") as file:
        head = file.read(16)
    for start, (what, remedy) in _OTHERS.items():
        if head.startswith(start) and not (what == "a gzip file" and path.suffix.lower() == ".gz"):
            raise DataError(f"file {path}", f"is {what}, by its first bytes", remedy)
    return path


def pick(raw: Path, *names: str) -> Path | None:
    """Return the first of ``names`` that is a file in ``raw``."""
    return next((raw / name for name in names if (raw / name).is_file()), None)


def only(raw: Path, found: Sequence[str], kind: str, remedy: str) -> str:
    """Return the one name in ``found``.

    Raises:
        DataError: ``raw`` holds none of that ``kind``, or several.
    """
    if len(found) != 1:
        raise DataError(f"folder {raw}", f"holds {', '.join(found) or f'no {kind}'}", remedy)
    return found[0]
