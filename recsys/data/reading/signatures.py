"""What a file is by its first bytes, whatever its name says: a table under a wrong name, or no table at all."""

from __future__ import annotations

from pathlib import Path

from recsys.core.errors import DataError
from recsys.data.reading.files import kind_of, open_bytes

HEAD = 512  # bytes that are looked at
PARQUET, GZIP = b"PAR1", b"\x1f\x8b"
UNPACK, CONVERT = "Unpack it, and name the file inside.", "Convert it to Parquet or CSV."
OTHERS = {  # what begins so, and what to do about it; none of these is how a text can begin
    b"\xff\xfe": ("UTF-16 text", "Save it as UTF-8."),
    b"\xfe\xff": ("UTF-16 text", "Save it as UTF-8."),
    PARQUET + b"\x15": ("a Parquet file", "Let its name end in .parquet."),
    GZIP: ("a gzip file", "Let its name end in .gz."),
    b"PK\x03\x04": ("a zip file or an Excel workbook", "Unpack it, or export the sheet as CSV."),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "Export the sheet as CSV."),
    b"SQLite format 3\0": ("an SQLite database", "Export its table as CSV or Parquet."),
    b"%PDF-": ("a PDF file", "Export the table as CSV."),
    b"ARROW1\0": ("an Arrow (Feather) file", CONVERT),
    b"\x89HDF\r\n": ("an HDF5 file", CONVERT),
    b"\x93NUMPY": ("a NumPy array", CONVERT),
    b"Obj\x01": ("an Avro file", CONVERT),
    b"\x80\x04\x95": ("a pickle", CONVERT),
    b"\x80\x05\x95": ("a pickle", CONVERT),
    b"7z\xbc\xaf": ("a 7-Zip file", UNPACK),
    b"Rar!\x1a": ("a RAR file", UNPACK),
    b"BZh91AY&SY": ("a bzip2 file", UNPACK),
    b"\xfd7zXZ": ("an xz file", UNPACK),
    b"\x28\xb5\x2f\xfd": ("a Zstandard file", UNPACK),
}


def refuse_other(path: Path) -> None:
    """Refuse a file that is something else than its name says.

    Raises:
        DataError: says what it is, and the remedy.
        OSError, EOFError, zlib.error: a damaged gzip file.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    found = _other(head)
    if kind_of(path) == "parquet":
        found = None if head.startswith(PARQUET) else found or ("no Parquet file", "Let its name say what it is.")
    elif path.suffix.lower() == ".gz":
        if head.startswith(GZIP):
            with open_bytes(path) as file:
                found = _other(file.read(HEAD))
        else:
            found = found or ("no gzip file", "Let its name end without .gz.")
    if found:
        what, remedy = found
        raise DataError(f"file {path}", f"is {what}, by its first bytes", remedy)


def _other(head: bytes) -> tuple[str, str] | None:
    """Return what begins so, and what to do about it; ``None`` where it may be a table of text."""
    for start, found in OTHERS.items():
        if head.startswith(start):
            return found
    if head[257:262] == b"ustar":
        return "a tar file", UNPACK
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower().startswith((b"<!doctype html", b"<html>", b"<html ")):
        return "a web page (HTML)", "Fetch the file itself: the page may ask to sign in, or name an error."
    if b"\0" in head.partition(b"\n")[0]:
        return "no text", "Export it as CSV in UTF-8, or as Parquet with a name that ends in .parquet."
    return None
