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
