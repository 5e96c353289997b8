"""Source tables to canonical tables: ids become row numbers, bad rows go, everything is counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import INTERACTION_SCHEMA, ITEM_SCHEMA, OPTIONAL_COLUMNS, Count, Tables
from recsys.data import filters
from recsys.data.filters import Rows
from recsys.data.reading.times import in_two_columns
from recsys.data.store import load_dataset, load_features, read_interactions, write_dataset

__all__ = ["CanonicalSettings", "canonicalise", "load_dataset", "load_features", "read_interactions"]


class CanonicalSettings(Settings):
    """Which interactions count."""

    min_rating: float | None = Field(None, description="keep interactions rated at least this; unset: all")
    k_core: int = Field(0, ge=0, description="keep users and items with this many interactions, iterated")
    min_user: int | None = Field(None, ge=0, description="interactions a user must have; unset: k_core")
    min_item: int | None = Field(None, ge=0, description="interactions an item must have; unset: k_core")
    duplicates: Literal["last", "first", "keep", "error"] = Field(
        "last", description="which row of a repeated (user, item) stays: the newest, the oldest, all, or refuse"
    )
    items_without_interactions: Literal["auto", "keep", "drop"] = Field(
        "auto", description="items nobody took; auto: dropped when k_core or min_item asks for any, else kept"
    )

    def least(self) -> tuple[int, int]:
        """Return the interactions a user and an item must have."""
        return (
            self.k_core if self.min_user is None else self.min_user,
            self.k_core if self.min_item is None else self.min_item,
        )

    def keeps_idle_items(self) -> bool:
        """Return whether items without interactions stay in the vocabulary."""
        if self.items_without_interactions == "auto":
            return self.least()[1] == 0
        return self.items_without_interactions == "keep"


def canonicalise(tables: Tables, settings: CanonicalSettings, name: str, folder: Path, *, run: Run) -> list[Count]:
    """Clean the tables of a source and write them as a data set folder.

    In this order: rows without ids or with NaN ratings go; times become seconds and nanoseconds;
    of a repeated (user, item) one row stays (the newest opinion, so that the
    threshold judges that one); ratings below ``min_rating`` go; users and items
    outside the core go. Users and items are numbered by (length of id, id), and
    interactions ordered by (user, time, input order), so that the same input
    always gives the same tables.

    Args:
        tables: of a source; interactions are read once, streaming.
        settings: thresholds.
        name: of the data set.
        folder: gets ``interactions.parquet``, ``users.parquet``, ``items.parquet``,
            ``features/<modality>.npy`` and, last, ``dataset.json``.
        run: for its log.

    Returns:
        what was dropped or changed, by the source and here.

    Raises:
        DataError: a column is missing or of the wrong type, or no row is left; says at which step.
    """
    rows = read_rows(tables, name)
    n_read = len(rows.frame)
    filters.drop_unusable(rows)
    filters.to_seconds(rows)
    filters.report_times(rows)
    filters.drop_duplicates(rows, settings.duplicates)
    filters.drop_low_ratings(rows, settings.min_rating)
    filters.drop_outside_core(rows, *settings.least())
    items = read_items(tables.items, name, rows.counts)
    users, item_table, interactions = _number(rows, items, keep_idle=settings.keeps_idle_items())
    run.log(
        f"{name}: {len(interactions):,} of {n_read:,} interactions, {len(users):,} users, {len(item_table):,} items"
    )
    counts = write_dataset(folder, name, users, item_table, interactions, tables.features, rows.counts)
    return counts


def read_rows(tables: Tables, name: str) -> Rows:
    """Read the interactions once, streaming, with ids turned into numbers on the way.

    Ids pass through categoricals, so no column of strings is ever held in memory.
    """
    # A random namespace: its strings are freed with the frame, instead of living as long as the process.
    kinds = {"user_id": pl.Categorical(pl.Categories.random()), "item_id": pl.Categorical(pl.Categories.random())}
    try:
        table = in_two_columns(tables.interactions)
        columns = _columns(table.collect_schema(), name, kinds)
        frame = table.select(columns).with_row_index("row").collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(name, "interactions", error) from error
    if tables.records not in (None, len(frame)):
        cause = f"{len(frame):,} interactions were read of {tables.records:,} that its files hold"
        raise DataError(
            f"data set {name!r}", cause, "Write the files as Parquet, and report them: the reader is at fault."
        )
    if frame.is_empty():
        raise DataError(f"data set {name!r}", "the interaction table has no rows", "Check the source's files.")
    if "part" in frame.columns and (bad := ~frame["part"].is_between(0, 2).fill_null(False)).any():
        row = bad.arg_max()
        raise DataError(
            f"data set {name!r}, input row {row + 1}",
            f"split label {frame['part'][row]!r} is none of 0 (train), 1 (valid), 2 (test)",
            "Correct the label.",
        )
    users, user_idx = _number_ids(frame["user_id"])
    items, item_idx = _number_ids(frame["item_id"])
    frame = frame.drop("user_id", "item_id").with_columns(user_idx.alias("user_idx"), item_idx.alias("item_idx"))
    return Rows(name, frame, users, items, list(tables.counts))


def _columns(schema: pl.Schema, name: str, kinds: Mapping[str, pl.Categorical]) -> list[pl.Expr]:
    """The expressions that bring a source's interaction columns to their types."""
    expressions = []
    for column, dtype in (INTERACTION_SCHEMA | OPTIONAL_COLUMNS).items():
        if column not in schema:
            if column in kinds:
                raise DataError(
                    f"data set {name!r}",
                    f"the interaction table has no column {column!r}; it has {', '.join(schema)}",
                    "A source must give user_id and item_id.",
                )
            if column not in OPTIONAL_COLUMNS:
                expressions.append(pl.lit(1.0 if column == "weight" else None, dtype=dtype).alias(column))
        elif column in kinds:
            text = pl.col(column).cast(pl.String)
            blank = text.str.strip_chars() == ""
            expressions.append(pl.when(~blank).then(text).cast(kinds[column]).alias(column))
        elif not (schema[column].is_numeric() or schema[column] == pl.Null):
            raise DataError(
                f"data set {name!r}, column {column!r}", f"its type is {schema[column]}", "A source must give numbers."
            )
        else:
            cast = pl.col(column).cast(dtype, strict=False)
            expressions.append(cast.fill_null(1.0) if column == "weight" else cast)
    return expressions


def _number_ids(ids: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return the distinct ids in vocabulary order, and each row's position among them (null stays null)."""
    distinct = ids.drop_nulls().unique()
    table = pl.DataFrame({"id": distinct.cast(pl.String), "code": distinct.to_physical()})
    table = table.sort(pl.col("id").str.len_chars(), "id")
    if table.is_empty():
        return table["id"], pl.Series(ids.name, [None] * len(ids), dtype=pl.UInt32)
    position = np.zeros(int(table["code"].max()) + 1, dtype=np.uint32)
    position[table["code"].to_numpy()] = np.arange(len(table), dtype=np.uint32)
    return table["id"], pl.Series(position).gather(ids.to_physical())


def read_items(items: pl.LazyFrame, name: str, counts: list[Count]) -> pl.DataFrame:
    """Read the item table: columns of ``ITEM_SCHEMA``, one row an id; blank cells become null."""
    try:
        schema = items.collect_schema()
        if "item_id" not in schema:
            if schema:
                cause = f"the item table has no column 'item_id'; it has {', '.join(schema)}"
                raise DataError(f"data set {name!r}", cause, "A source must give item_id.")
            return pl.DataFrame(schema=ITEM_SCHEMA)
        columns = [
            pl.col(column).cast(dtype) if column in schema else pl.lit(None, dtype=dtype).alias(column)
            for column, dtype in ITEM_SCHEMA.items()
        ]
        frame = items.select(columns).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(name, "items", error) from error
    blank_to_null = [
        pl.when(pl.col(column).str.strip_chars() != "").then(pl.col(column)).alias(column)
        for column, dtype in ITEM_SCHEMA.items()
        if dtype == pl.String
    ]
    frame = frame.with_columns(blank_to_null)
    if missing := frame["item_id"].null_count():
        counts.append(Count("item rows without an id: dropped", missing))
    frame = frame.filter(pl.col("item_id").is_not_null())
    repeated = ~frame["item_id"].is_first_distinct()
    if repeated.any():
        example = f"first: item {frame['item_id'][repeated.arg_max()]!r}"
        counts.append(Count("repeated item rows, the first kept: dropped", int(repeated.sum()), example))
    return frame.filter(~repeated)


def _number(rows: Rows, items: pl.DataFrame, *, keep_idle: bool) -> tuple[pl.Series, pl.DataFrame, pl.DataFrame]:
    """Number the users and items that are left; return users, the item table and ordered interactions."""
    user_idx, item_idx = rows.column("user_idx"), rows.column("item_idx")
    used_users, used_items = (np.flatnonzero(np.bincount(idx)) for idx in (user_idx, item_idx))
    users, item_ids = rows.users.gather(used_users), rows.items.gather(used_items)
    _count_items(rows, items["item_id"], item_ids, keep_idle=keep_idle)
    if keep_idle:
        every = pl.DataFrame({"item_id": pl.concat([item_ids.alias("item_id"), items["item_id"]])}).unique()
    else:
        every = pl.DataFrame({"item_id": item_ids})
    every = every.sort(pl.col("item_id").str.len_chars(), "item_id").with_row_index("idx")
    table = every.drop("idx").join(items, on="item_id", how="left", maintain_order="left")
    table = table.with_columns(pl.col("attributes").fill_null([]))
    if untitled := table["title"].null_count():
        rows.counts.append(Count("items without a title: their id is shown", untitled))
    position = pl.DataFrame({"item_id": item_ids}).join(every, on="item_id", how="left", maintain_order="left")["idx"]
    frame = rows.frame.with_columns(
        _renumber(user_idx, used_users, np.arange(len(users))).alias("user_idx"),
        _renumber(item_idx, used_items, position.to_numpy()).alias("item_idx"),
    ).drop("row")
    return users, table.select(list(ITEM_SCHEMA)), frame[_order(frame)]


def _renumber(old: np.ndarray, used: np.ndarray, new: np.ndarray) -> pl.Series:
    lookup = np.zeros(int(used[-1]) + 1, dtype=np.uint32)
    lookup[used] = new
    return pl.Series(lookup[old])


def _order(frame: pl.DataFrame) -> np.ndarray:
    """The order (user, time, input order)."""
    user = frame["user_idx"].to_numpy()
    if frame["timestamp"].null_count():
        return np.argsort(user, kind="stable")
    return filters.stable_order(user, filters.instants_of(frame))


def _count_items(rows: Rows, table: pl.Series, used: pl.Series, *, keep_idle: bool) -> None:
    added = used.filter(~used.is_in(table.implode()))
    if len(table) and len(added) == len(used):
        raise DataError(
            f"data set {rows.name!r}",
            f"no item of the interactions ({used[0]!r}, …) has a row in the item table ({table[0]!r}, …)",
            "Check that both tables name items by the same ids.",
        )
    if len(added) and len(table):
        what = "items without a row in the item table: row added"
        rows.counts.append(Count(what, len(added), f"first: {added[0]!r}"))
    idle = table.filter(~table.is_in(used.implode()))
    if len(idle):
        what = f"items without any interaction: {'kept' if keep_idle else 'dropped'}"
        rows.counts.append(Count(what, len(idle), f"first: {idle[0]!r}"))


def _unreadable(name: str, table: str, error: Exception) -> DataError:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return DataError(
        f"data set {name!r}, {table}", f"cannot be read: {first_line}", "Check (or fetch again) the source's files."
    )
