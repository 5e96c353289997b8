"""Finding the picture of each item: by an image column, or by files named after the item's id.

Pictures are not opened here; what is no picture shows, and is counted, when they are encoded.
"""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from recsys.core.values import ITEM_SCHEMA, Count

# Where one item has several files, the earlier suffix wins.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def match_by_name(items: pl.DataFrame, folder: Path, counts: list[Count], *, add_items: bool) -> pl.DataFrame:
    """Set ``image`` to ``<folder>/<item_id>.<suffix>`` where there is such a file.

    Args:
        items: columns of ``ITEM_SCHEMA``.
        folder: of pictures; folders in it are not looked into.
        counts: receives what was left aside.
        add_items: make an item row of every picture (where there is no item table).
    """
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith("."))
    files = pl.DataFrame({"name": pl.Series(names, dtype=pl.String)})
    files = files.with_columns(
        pl.col("name").str.to_lowercase().str.extract(r"(\.[^.]+)$").alias("suffix"),
        pl.col("name").str.replace(r"\.[^.]+$", "").alias("item_id"),
    )
    rank = pl.col("suffix").replace_strict(list(SUFFIXES), range(len(SUFFIXES)), default=None)
    files = files.with_columns(rank.alias("rank"))
    other = files.filter(pl.col("rank").is_null())
    _count(counts, f"files in {folder.name} that are no {', '.join(SUFFIXES)}: left aside", other["name"])
    usable = files.filter(pl.col("rank").is_not_null()).sort("item_id", "rank", "name")
    first = usable.unique("item_id", keep="first", maintain_order=True)
    repeated = usable.filter(~pl.col("item_id").is_first_distinct())
    _count(counts, "second pictures of an item: left aside", repeated["name"])
    base = str(folder.absolute())
    paths = first.select("item_id", pl.concat_str(pl.lit(base + os.sep), "name").alias("image"))
    if add_items:
        known = items.join(paths.drop("image"), on="item_id", how="full", coalesce=True, maintain_order="left_right")
        items = known.select(list(ITEM_SCHEMA))
    unused = first.filter(~pl.col("item_id").is_in(items["item_id"].implode()))
    _count(counts, "pictures whose name is the id of no item: left aside", unused["name"])
    items = items.drop("image").join(paths, on="item_id", how="left", maintain_order="left")
    _count(counts, "items without a picture", items.filter(pl.col("image").is_null())["item_id"])
    return items.select(list(ITEM_SCHEMA))


def resolve(items: pl.DataFrame, folder: Path, counts: list[Count]) -> pl.DataFrame:
    """Turn the image column's file names into paths in ``folder``; URLs stay, what cannot be used becomes null."""
    base = os.path.abspath(folder)
    images: list[str | None] = []
    bad: dict[str, list[str]] = {}
    for name in items["image"]:
        path, fault = _locate(name, base)
        images.append(path)
        if fault:
            bad.setdefault(fault, []).append(str(name))
    for fault, names in sorted(bad.items()):
        _count(counts, f"image cells set to none: {fault}", pl.Series(names))
    items = items.with_columns(pl.Series("image", images, dtype=pl.String))
    _count(counts, "items without a picture", items.filter(pl.col("image").is_null())["item_id"])
    return items.select(list(ITEM_SCHEMA))


def relocated(items: pl.DataFrame, before: Path, now: Path) -> pl.DataFrame:
    """Return the item table with pictures below folder ``before`` looked for in the same places below ``now``."""
    if before == now:
        return items
    old, start = str(before) + os.sep, len(str(before))
    moved = [str(now) + path[start:] if path and path.startswith(old) else path for path in items["image"]]
    return items.with_columns(pl.Series("image", moved, dtype=pl.String))


def _locate(name: str | None, base: str) -> tuple[str | None, str | None]:
    """Return the path or URL of one image cell, and the fault where there is none."""
    name = (name or "").strip()
    if not name or name.lower().startswith(("http://", "https://")):
        return name or None, None
    if "\0" in name:
        return None, "not a file name"
    path = os.path.normpath(os.path.join(base, name))
    if not path.startswith(base + os.sep):
        return None, "outside the image folder"
    if not path.lower().endswith(SUFFIXES):
        return None, f"not a {', '.join(SUFFIXES)}"
    if not os.path.isfile(path):
        return None, "no such file"
    return path, None


def _count(counts: list[Count], what: str, names: pl.Series) -> None:
    if len(names):
        counts.append(Count(what, len(names), f"first: {names[0]!r}"))
