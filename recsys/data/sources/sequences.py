"""Plain sequences, one user a line: ``user item item …``, oldest first (S3-Rec, P5).

K. Zhou et al.: S3-Rec. CIKM 2020. Times are not in such files: ``timestamp`` is the
position in the line, 0, 1, 2 …, an order and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import Tables
from recsys.data.reading.files import LINES, need, only
from recsys.data.reading.records import conserved
from recsys.data.reading.tables import ROW, collect_table, n_records, open_table
from recsys.data.sources._columns import interactions, items, no_items


class Sequences:
    """``<name>.txt`` and, where it lies beside it, ``<name>_item2attributes.json``."""

    class Settings(Settings):
        """Which file to read."""

        file: Path | None = Field(None, description="the .txt file, relative to the raw folder; default: the only one")
        attributes: bool = Field(True, description="read <name>_item2attributes.json as attributes number:<n>")

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or self.Settings()

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read the sequences; a user without items is refused, as is one that comes twice."""
        path = need(raw / self.settings.file if self.settings.file else _only_text(raw), "Set the setting file.")
        lines = open_table(path, LINES).with_row_index(ROW)
        cells = pl.col("line").str.strip_chars().str.split(by=" ").list.eval(pl.element().filter(pl.element() != ""))
        rows = lines.select(ROW, cells=cells).filter(pl.col("cells").list.len() > 0)
        rows = rows.select(ROW, user_id=pl.col("cells").list.first(), item_id=pl.col("cells").list.slice(1))
        n_lines = collect_table(lines.select(pl.col("line").count() + pl.col("line").null_count()), path, LINES).item()
        conserved(path, n_lines, n_records(path, LINES))
        _check(rows, path)
        order = pl.int_ranges(0, pl.col("item_id").list.len()).alias("timestamp")
        frame = rows.select("user_id", "item_id", order).explode("item_id", "timestamp")
        side = _attribute_file(path)
        table = _attributes(side) if self.settings.attributes and side.is_file() else no_items()
        return Tables(interactions(frame), table)

    def files(self, raw: Path) -> Iterator[Path]:
        """Yield the sequences and their attributes (see ``ListsFiles``)."""
        for path in [raw / self.settings.file] if self.settings.file else _texts(raw):
            yield from (path, _attribute_file(path))


def _attribute_file(path: Path) -> Path:
    return path.with_name(f"{path.stem}_item2attributes.json")


def _texts(raw: Path) -> list[Path]:
    return [path for path in sorted(raw.glob("*.txt")) if path.name.lower() not in ("source.txt", "readme.txt")]


def _only_text(raw: Path) -> Path:
    return raw / only(raw, [path.name for path in _texts(raw)], ".txt file", "Set the setting file to the one to read.")


def _check(rows: pl.LazyFrame, path: Path) -> None:
    lonely = pl.col(ROW).filter(pl.col("item_id").list.len() == 0).min().alias("lonely")
    double = pl.col(ROW).filter(~pl.col("user_id").is_first_distinct()).min().alias("double")
    found = collect_table(rows.select(pl.len().alias("n"), lonely, double), path, LINES).row(0, named=True)
    if not found["n"]:
        raise DataError(f"file {path}", "has no rows", "Export or fetch it again.")
    if found["lonely"] is not None:
        cause = "names a user and no item"
        raise DataError(f"{path}, row {found['lonely'] + 1}", cause, "Remove that row, or separate by blanks.")
    if found["double"] is not None:
        raise DataError(f"{path}, row {found['double'] + 1}", "is of a user met before", "Join the two rows.")


def _attributes(path: Path) -> pl.LazyFrame:
    try:
        table = json.loads(need(path, "Put it there.").read_text(encoding="utf-8"))
        rows = {str(item): [f"number:{value}" for value in values] for item, values in table.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        cause = f"is no mapping of items to lists: {error}"
        raise DataError(f"file {path}", cause, "Mend it, or set attributes = false.") from None
    schema = {"item_id": pl.String, "attributes": pl.List(pl.String)}
    return items(pl.LazyFrame({"item_id": list(rows), "attributes": list(rows.values())}, schema=schema))
