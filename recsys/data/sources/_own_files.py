"""Files of people's own tables: what the settings name, which part of a split each is, where pictures may be."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recsys.core.errors import DataError

Names = str | tuple[str, ...]  # file names or patterns


def matching(raw: Path, given: Names) -> Iterator[Path]:
    """Yield the files that names and patterns stand for; a name that is no pattern stands for itself."""
    for pattern in (given,) if isinstance(given, str) else given:
        if not glob.has_magic(pattern) or (raw / pattern).exists():
            yield raw / pattern
        else:
            yield from map(Path, sorted(glob.glob(str(Path(glob.escape(str(raw)), pattern)))))


def files_of(raw: Path, given: Names, setting: str) -> list[Path]:
    """Return the files that names and patterns stand for, each once, in order.

    Raises:
        DataError: a pattern that no file matches.
    """
    for pattern in (given,) if isinstance(given, str) else given:
        if not any(matching(raw, pattern)):
            raise DataError(f"folder {raw}", f"no file matches {pattern!r}", f"Correct the setting {setting}.")
    return list(dict.fromkeys(matching(raw, given)))


def parts_of(raw: Path, chosen: Any) -> dict[int, list[Path]]:
    """Return the interaction files by part: 0 (train), 1 (valid), 2 (test); all are 0 where no split is given.

    Args:
        raw: their folder.
        chosen: settings of ``OwnTables``.

    Raises:
        DataError: a file of two parts, or parts given twice over.
    """
    parts = {0: files_of(raw, chosen.interactions, "interactions")}
    for part, (name, given) in enumerate((("valid", chosen.valid), ("test", chosen.test)), start=1):
        if files := files_of(raw, given, name):
            taken = {path for other in parts.values() for path in other}
            if path := next((path for path in files if path in taken), None):
                remedy = f"Name it in interactions, valid or test alone: {name} names it now, and another does."
                raise DataError(f"file {path}", "it is in two parts of the split", remedy)
            parts[part] = files
    if len(parts) > 1 and chosen.columns.part:
        cause = "the split is given twice, by files and by a column"
        raise DataError(f"folder {raw}", cause, "Unset data.options.columns.part, or valid and test.")
    return parts


def may_have_images(path: Path, column: str | None) -> bool:
    """Return whether an item file may name pictures; a CSV's header tells, without a pass over the file.

    Args:
        path: of the file.
        column: that the settings name for pictures; ``None``: ``image``, where there is one; empty: none.
    """
    if column is not None or not path.is_file() or path.suffix.lower() not in (".csv", ".tsv"):
        return column != ""
    with path.open("rb") as file:
        return b"image" in file.readline(1 << 20)
