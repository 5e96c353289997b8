"""Finding the picture of each item: by an image column, or by files named after the item's id.

Pictures are not opened here; what is no picture shows, and is counted, when they are encoded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recsys.core.values import Count
from recsys.data.reading.cells import listed

# Where one item has several files, the earlier suffix wins.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
OTHER_FORMATS = (".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jfif", ".jpe", ".jp2", ".svg", ".ico")
URLS = ("http://", "https://")
REMEDIES = {  # of cells that cannot be used
    "outside the image folder": "name files in it",
    "no such file": "names are relative to the image folder",
}


PICTURE_SCHEMA = {"item_id": pl.String, "name": pl.String, "image": pl.String}  # id by name, shown name, path


def find_pictures(folder: Path, counts: list[Count]) -> pl.DataFrame:
    """Return the pictures in a folder and the folders in it, named ``<item id>.<suffix>``.

    Args:
        folder: of pictures; hidden files and folders are not looked at.
        counts: receives what was left aside.

    Returns:
        columns of ``PICTURE_SCHEMA``; of several of an id the first is meant (by folder, suffix).
    """
    found, unread, other, unreadable = [], [], [], []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(place, folder)
        for name in names:
            stem, suffix = os.path.splitext(name)
            shown = os.path.normpath(os.path.join(inside, name))
            if name.startswith(".") or not os.path.isfile(os.path.join(place, name)):
                continue
            if not _is_utf8(shown):
                unreadable.append(ascii(shown))
            elif suffix.lower() in SUFFIXES:
                found.append((stem, inside, SUFFIXES.index(suffix.lower()), shown))
            else:
                (unread if suffix.lower() in OTHER_FORMATS else other).append(shown)
    aside = f"files in {folder.name} that are no {', '.join(SUFFIXES)}: left aside"
    count_names(
        counts, f"pictures in {folder.name} of other formats: left aside", sorted(unread), "save as JPEG or PNG"
    )
    count_names(counts, aside, sorted(other))
    count_names(
        counts, f"files in {folder.name} whose names are not UTF-8: left aside", sorted(unreadable), "rename them"
    )
    base = str(folder.absolute()) + os.sep
    rows = [(stem, shown, base + shown) for stem, _, _, shown in sorted(found)]
    return pl.DataFrame(rows, schema=PICTURE_SCHEMA, orient="row")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def resolve(
    items: pl.DataFrame, folder: Path, raw: Path, column: str, delimiter: str, counts: list[Count]
) -> pl.DataFrame:
    """Turn the image column's file names into paths in ``folder``; URLs stay, what cannot be used becomes null.

    Args:
        items: columns of ``ITEM_SCHEMA``.
        folder: of pictures; names are relative to it, or to ``raw`` where they so lead into it.
        raw: the raw folder.
        column: shown in counts.
        delimiter: between the names in a cell, besides a line, ``|``, ``;`` and ``,``; a list in brackets will do.
        counts: receives what cannot be used, and how many cells name several pictures, of which the first usable one
            is taken.
    """
    places = os.path.abspath(folder), os.path.abspath(raw)
    images: list[str | None] = []
    bad: dict[str, list[str]] = {}
    several = []
    for cell in items["image"]:
        names = _names(cell, delimiter, places)
        tried = [_locate(name, *places) for name in names]
        path, fault = next((one for one in tried if one[0]), tried[0])
        images.append(path)
        if len(names) > 1:
            several.append(cell)
        if fault:
            bad.setdefault(fault, []).append(cell)
    for fault, cells in sorted(bad.items()):
        remedy = REMEDIES.get(fault, "save as JPEG or PNG" if fault.startswith("not a .") else "")
        count_names(counts, f"cells of {column!r} set to none: {fault}", cells, remedy)
    count_names(counts, f"cells of {column!r} that name several pictures: the first usable one taken", several)
    return items.with_columns(pl.Series("image", images, dtype=pl.String))


def _names(cell: str | None, delimiter: str, places: tuple[str, str]) -> list[str]:
    """Return the names in a cell; what is a file or an address as it stands is one name."""
    cell = (cell or "").strip()
    if cell.startswith("[") and (names := listed(cell)) is not None:
        return [str(name) for name in names if name] or [""]
    if cell.lower().startswith(URLS):
        return re.split(rf"(?:[\s|;,]|{re.escape(delimiter)})+(?=https?://)", cell, flags=re.IGNORECASE)
    if _locate(cell, *places)[0]:
        return [cell]
    return [name for name in map(str.strip, re.split(rf"[\n|;,]|{re.escape(delimiter)}", cell)) if name] or [cell]


def relocated(items: pl.DataFrame, before: Path, now: Path) -> pl.DataFrame:
    """Return the item table with pictures below folder ``before`` looked for in the same places below ``now``."""
    if before == now:
        return items
    old, start = str(before) + os.sep, len(str(before))
    moved = [str(now) + path[start:] if path and path.startswith(old) else path for path in items["image"]]
    return items.with_columns(pl.Series("image", moved, dtype=pl.String))


def _locate(name: str, base: str, raw: str) -> tuple[str | None, str | None]:
    """Return the path or URL of a name, and the fault where there is none."""
    if not name or name.lower().startswith(URLS):
        return name or None, None
    if "\0" in name:
        return None, "not a file name"
    paths = [os.path.normpath(os.path.join(place, name)) for place in (base, raw)]
    inside = [path for path in paths if path.startswith(base + os.sep)]
    if not inside:
        return None, "outside the image folder"
    if not name.lower().endswith(SUFFIXES):
        return None, f"not a {', '.join(SUFFIXES)}"
    path = next((path for path in inside if os.path.isfile(path)), None)
    return path, None if path else "no such file"


def count_names(counts: list[Count], what: str, names: Sequence[str] | pl.Series, remedy: str = "") -> None:
    """Report some names, if there are any, by how many they are and the first, and what could be done."""
    if len(names):
        counts.append(Count(what, len(names), f"first: {names[0]!r:.80}" + (f"; {remedy}" if remedy else "")))
