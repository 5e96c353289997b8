"""Source tables to canonical tables: ids become row numbers, bad rows go, everything is counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from recsys.core.amounts import amount
from recsys.core.config import Settings
from recsys.core.erased import id_hash
from recsys.core.errors import DataError, names_in_words
from recsys.core.runtime import Run
from recsys.core.values import INTERACTION_SCHEMA, ITEM_SCHEMA, OPTIONAL_COLUMNS, Count, Tables
from recsys.data import filters, item_table
from recsys.data.filters import Rows
from recsys.data.ids import Spelling, alike, distinct_ids, number_ids, spelling_of
from recsys.data.reading.times import in_two_columns
from recsys.data.store import load_dataset, load_features, read_interactions, write_dataset

KINDS = ("user", "item")  # of ids
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


def canonicalise(
    tables: Tables,
    settings: CanonicalSettings,
    name: str,
    folder: Path,
    *,
    erased: Collection[str] = (),
    run: Run,
) -> list[Count]:
    """Clean the tables of a source and write them as a data set folder.

    In this order: ids are read in one way in all tables (``recsys.data.ids``); rows of
    erased users, without ids or with NaN ratings go; times become seconds and nanoseconds;
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
        erased: hashes of the ids of users who are left out (``recsys.core.erased``).
        run: for its log.

    Returns:
        what was dropped or changed, by the source and here.

    Raises:
        DataError: a column is missing or of the wrong type, or no row is left; says at which step.
    """
    frame, items = read_rows(tables, name), read_items(tables.items, name)
    n_read = len(frame)
    rows, item_ids = _with_ids(frame, items["item_id"], tables, name, frozenset(erased))
    del frame
    filters.drop_unusable(rows)
    filters.to_seconds(rows)
    filters.report_times(rows)
    filters.drop_duplicates(rows, settings.duplicates)
    filters.drop_low_ratings(rows, settings.min_rating)
    filters.drop_outside_core(rows, *settings.least())
    items = item_table.tidied(items, item_ids, rows.counts)
    pictures = tables.pictures
    if pictures is not None:
        pictures = item_table.named_pictures(pictures, item_ids, items, rows)
    users, table, interactions = _number(rows, items, keep_idle=settings.keeps_idle_items())
    if pictures is not None:
        table = item_table.with_pictures(table, pictures, rows.counts)
    sizes = f"{amount(len(users), 'user')}, {amount(len(table), 'item')}"
    run.log(f"{name}: {len(interactions):,} of {amount(n_read, 'interaction')}, {sizes}")
    features = {
        modality: replace(raw, item_ids=item_ids.read(pl.Series(raw.item_ids, dtype=pl.String)).to_list())
        for modality, raw in tables.features.items()
    }
    return write_dataset(folder, name, users, table, interactions, features, rows.counts)


def read_rows(tables: Tables, name: str) -> pl.DataFrame:
    """Read the interactions once, streaming, with ids as they are written.

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
        raise DataError(f"data set {name!r}", "the interaction table has no rows", "Export or fetch its files again.")
    if "part" in frame.columns and (bad := ~frame["part"].is_between(0, 2).fill_null(False)).any():
        row = bad.arg_max()
        raise DataError(
            f"data set {name!r}, input row {row + 1}",
            f"split label {frame['part'][row]!r} is none of 0 (train), 1 (valid), 2 (test)",
            "Correct the label.",
        )
    for role, (where, setting) in tables.origins.items():
        if role not in kinds and frame[role].null_count() == len(frame):
            remedy = f'Set {setting} to the column of that, or to "" if there is none.'
            raise DataError(where, f"it is empty throughout, so it holds no {role}", remedy)
    return frame.with_columns(pl.col("weight").fill_null(1.0)) if frame["weight"].null_count() else frame


def _with_ids(
    frame: pl.DataFrame, item_ids: pl.Series, tables: Tables, name: str, erased: frozenset[str]
) -> tuple[Rows, Spelling]:
    """Return the rows with numbers for ids, those of erased users left out, and how item ids are read."""
    users, items = distinct_ids(frame["user_id"]), distinct_ids(frame["item_id"])
    where = {kind: tables.origins.get(f"{kind}_id", (f"data set {name!r}, {kind} ids",))[0] for kind in KINDS}
    user_spelling = spelling_of("user", tables.null_values, [users["spelled"]], where["user"])
    names = [pl.Series(raw.item_ids, dtype=pl.String) for raw in tables.features.values()]
    names += [] if tables.pictures is None else [tables.pictures["item_id"]]
    spelling = spelling_of("item", tables.null_values, [items["spelled"], item_ids], where["item"], names)
    counts = list(tables.counts)
    if erased:
        read = user_spelling.read(users["spelled"])
        both = zip(users["spelled"], read, strict=True)
        gone = read.is_in([text for was, text in both if text and erased & {id_hash(was), id_hash(text)}])
        rows = frame["user_id"].to_physical().is_in(users.filter(gone)["code"].implode()).fill_null(False)
        if rows.any():  # without an example: it would tell an id that is to be forgotten
            counts.append(Count("interactions of users who were erased", int(rows.sum())))
        frame, users = frame.filter(~rows), users.filter(~gone)
    user_ids, user_idx, user_counts = number_ids(frame["user_id"], users, user_spelling)
    ids, item_idx, item_counts = number_ids(frame["item_id"], items, spelling)
    counts += [*user_counts, *alike(user_ids, "user"), *item_counts, *alike(ids, "item")]
    frame = frame.drop("user_id", "item_id").with_columns(user_idx.alias("user_idx"), item_idx.alias("item_idx"))
    return Rows(name, frame, user_ids, ids, counts), spelling


def _columns(schema: pl.Schema, name: str, kinds: Mapping[str, pl.Categorical]) -> list[pl.Expr]:
    """The expressions that bring a source's interaction columns to their types."""
    expressions = []
    for column, dtype in (INTERACTION_SCHEMA | OPTIONAL_COLUMNS).items():
        if column not in schema:
            if column in kinds:
                raise DataError(
                    f"data set {name!r}",
                    f"the interaction table has no column {column!r}; it has {names_in_words(schema)}",
                    "A source must give user_id and item_id.",
                )
            if column not in OPTIONAL_COLUMNS:
                expressions.append(pl.lit(1.0 if column == "weight" else None, dtype=dtype).alias(column))
        elif column in kinds:
            expressions.append(pl.col(column).cast(pl.String).cast(kinds[column]))
        elif not (schema[column].is_numeric() or schema[column] == pl.Null):
            raise DataError(
                f"data set {name!r}, column {column!r}", f"its type is {schema[column]}", "A source must give numbers."
            )
        else:
            expressions.append(pl.col(column).cast(dtype, strict=False))
    return expressions


def read_items(items: pl.LazyFrame, name: str) -> pl.DataFrame:
    """Read the item table: columns of ``ITEM_SCHEMA``, ids as they are written."""
    try:
        schema = items.collect_schema()
        if "item_id" not in schema:
            if schema:
                cause = f"the item table has no column 'item_id'; it has {names_in_words(schema)}"
                raise DataError(f"data set {name!r}", cause, "A source must give item_id.")
            return pl.DataFrame(schema=ITEM_SCHEMA)
        columns = [
            pl.col(column).cast(dtype) if column in schema else pl.lit(None, dtype=dtype).alias(column)
            for column, dtype in ITEM_SCHEMA.items()
        ]
        return items.select(columns).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(name, "items", error) from error


def _number(rows: Rows, items: pl.DataFrame, *, keep_idle: bool) -> tuple[pl.Series, pl.DataFrame, pl.DataFrame]:
    """Number the users and items that are left; return users, the item table and ordered interactions."""
    user_idx, item_idx = rows.column("user_idx"), rows.column("item_idx")
    used_users, used_items = (np.flatnonzero(np.bincount(idx)) for idx in (user_idx, item_idx))
    users, item_ids = rows.users.gather(used_users), rows.items.gather(used_items)
    item_table.count_items(rows, items["item_id"], item_ids, keep_idle=keep_idle)
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


def _unreadable(name: str, table: str, error: Exception) -> DataError:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return DataError(
        f"data set {name!r}, {table}",
        f"cannot be read: {first_line}",
        "Export or fetch its files again, or write them as Parquet.",
    )
