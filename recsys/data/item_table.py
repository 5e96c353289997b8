"""The item table on its way to canonical form: one row an id, pictures found, every item of the interactions in it."""

from __future__ import annotations

import polars as pl

from recsys.core.errors import DataError
from recsys.core.values import ITEM_SCHEMA, Count
from recsys.data.filters import Rows
from recsys.data.ids import Spelling
from recsys.data.pictures import count_names


def tidied(items: pl.DataFrame, spelling: Spelling, counts: list[Count]) -> pl.DataFrame:
    """Return the item table with one row an id; blank cells become null.

    Args:
        items: columns of ``ITEM_SCHEMA``, ids as they are written.
        spelling: how ids are read.
        counts: receives what was changed and dropped.
    """
    ids = spelling.read(items["item_id"])
    counts += [Count(f"item table: {c.what}", c.rows, c.example) for c in spelling.count(items["item_id"], ids)]
    blank_to_null = [
        pl.when(pl.col(column).str.strip_chars() != "").then(pl.col(column)).alias(column)
        for column in ("title", "text", "image")
    ]
    items = items.with_columns(ids.alias("item_id"), *blank_to_null)
    if missing := items["item_id"].null_count():
        counts.append(Count("item rows without an id: dropped", missing))
    items = items.filter(pl.col("item_id").is_not_null())
    repeated = ~items["item_id"].is_first_distinct()
    if repeated.any():
        example = f"first: item {items['item_id'][repeated.arg_max()]!r}"
        counts.append(Count("repeated item rows, the first kept: dropped", int(repeated.sum()), example))
    return items.filter(~repeated)


def named_pictures(pictures: pl.DataFrame, spelling: Spelling, items: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    """Return the first picture of each id, whose names are read as ids are.

    Args:
        pictures: columns of ``PICTURE_SCHEMA``, in order of preference.
        spelling: how ids are read.
        items: the item table.
        rows: the interactions; they receive what was left aside.

    Raises:
        DataError: none of them is named by an item, and the item table has no picture either.
    """
    shown, known = pictures["name"], pl.concat([rows.items, items["item_id"]])
    pictures = pictures.with_columns(spelling.read(pictures["item_id"]).alias("item_id")).drop_nulls("item_id")
    useless = not pictures["item_id"].is_in(known.implode()).any() and items["image"].is_null().all()
    if len(shown) and useless:
        cause = f"no picture ({shown[0]!r}, …) is named by the id of an item ({known[0]!r}, …)"
        remedy = "Name each picture by the id of its item, or in the image column; or unset image_folder."
        raise DataError(f"data set {rows.name!r}", cause, remedy)
    first = pictures["item_id"].is_first_distinct()
    count_names(rows.counts, "second pictures of an item: left aside", pictures.filter(~first)["name"])
    return pictures.filter(first)


def with_pictures(items: pl.DataFrame, pictures: pl.DataFrame, counts: list[Count]) -> pl.DataFrame:
    """Give items without an image the picture that is named by their id; what is left aside is counted.

    Args:
        items: all of the data set, columns of ``ITEM_SCHEMA``.
        pictures: see ``named_pictures``.
    """
    strange = pictures.filter(~pl.col("item_id").is_in(items["item_id"].implode()))
    count_names(counts, "pictures whose name is the id of no item in the data set: left aside", strange["name"])
    found = pictures.select("item_id", pl.col("image").alias("__found"))
    items = items.join(found, on="item_id", how="left", maintain_order="left")
    items = items.with_columns(pl.coalesce("image", "__found").alias("image"))
    count_names(counts, "items without a picture", items.filter(pl.col("image").is_null())["item_id"])
    return items.select(list(ITEM_SCHEMA))


def count_items(rows: Rows, table: pl.Series, used: pl.Series, *, keep_idle: bool) -> None:
    """Count item rows that are added, and those without interactions.

    Raises:
        DataError: the item table has none of the items of the interactions.
    """
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
