"""The canonical columns: those that a format lacks are added, those that it has are put in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from recsys.core.errors import DataError, names_in_words
from recsys.core.values import INTERACTION_SCHEMA, ITEM_SCHEMA, Count
from recsys.data.reading.tables import ROW
from recsys.data.reading.times import in_two_columns

PARTS = ("train", "valid", "test")


@dataclass
class Reading:
    """What is found out while files are read, one after the other.

    Attributes:
        counts: what was dropped or changed.
        records: interactions by file.
        unused: columns by file.
        origins: see ``Tables``.
    """

    counts: list[Count] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    unused: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    origins: dict[str, tuple[str, str]] = field(default_factory=dict)


def interactions(frame: pl.LazyFrame, *more: str) -> pl.LazyFrame:
    """Add the canonical columns that are missing as null (``weight`` as 1) and put all in order, ``more`` last.

    Times that ``scan_table`` read as ``Time`` become ``timestamp`` and ``nanosecond``.
    """
    frame = in_two_columns(frame)
    if "nanosecond" in frame.collect_schema():
        more = ("nanosecond", *more)
    return frame.select(*_in_order(frame, INTERACTION_SCHEMA, weight=1.0), *more)


def items(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Add the canonical columns that are missing as null and put all in order."""
    return frame.select(_in_order(frame, ITEM_SCHEMA))


def _in_order(frame: pl.LazyFrame, schema: Mapping[str, Any], **missing: float) -> list[pl.Expr]:
    have = frame.collect_schema().names()
    return [
        (pl.col(name) if name in have else pl.lit(missing.get(name))).cast(dtype).alias(name)
        for name, dtype in schema.items()
    ]


def no_items() -> pl.LazyFrame:
    """An item table without rows: canonicalisation adds an item for each id it meets."""
    return pl.LazyFrame(schema=ITEM_SCHEMA)


def of_part(frame: pl.LazyFrame, part: int) -> pl.LazyFrame:
    """Interactions that are all of one part of a split, as canonical columns and ``part``."""
    return interactions(frame.with_columns(part=pl.lit(part, dtype=pl.UInt8)), "part")


def part_of(labels: pl.LazyFrame, column: str, path: Path) -> pl.Expr:
    """The column of split labels as ``part``.

    Raises:
        DataError: a label that is not 0, 1 or 2; names file and row.
    """
    wrong = labels.select(column).with_row_index(ROW).filter(~pl.col(column).is_in([0, 1, 2]))
    found = wrong.head(1).collect(engine="streaming")
    if len(found):
        cause = f"{column} is {found[column][0]}, not 0, 1 or 2"
        raise DataError(f"file {path}, row {found[ROW][0] + 1}", cause, "Mend or remove that row.")
    return pl.col(column).cast(pl.UInt8).alias("part")


def unused_columns(columns: Mapping[Path, tuple[str, ...]]) -> list[Count]:
    """Return one line a file that has columns nothing reads; files that have the same ones share it.

    Args:
        columns: the unused ones, by file.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for path, names in columns.items():
        if names:
            alike.setdefault(names, []).append(path.name)
    counts = []
    for names, files in alike.items():
        more = f" and of {len(files) - 1} more" if len(files) > 1 else ""
        counts.append(Count(f"columns of {files[0]}{more} not used", len(names), names_in_words(names, most=20)))
    return counts
