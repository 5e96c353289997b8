"""Item tables and ready-made vectors, shared by the file formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from recsys.core.errors import DataError, did_you_mean
from recsys.core.values import Count, RawFeatures
from recsys.data.reading.files import need, pick
from recsys.data.reading.tables import header_of, scan_table
from recsys.data.sources._columns import items

_MODALITIES = {
    "text": ("text", "textual", "t"),
    "image": ("image", "visual", "v"),
    "audio": ("audio", "acoustic", "a"),
}
_KEYS = ("itemID", "item_id", "item", "id")
_TITLES = ("title", "name")
_TEXTS = ("text", "description", "overview")
_IMAGES = ("image", "imUrl", "image_url")


def joined_text(*parts: pl.Expr) -> pl.Expr:
    """Sentences in one text, those that are null or blank left out; null where nothing is left."""
    clean = [part.str.replace_all(r"\s+", " ").str.strip_chars() for part in parts]
    text = pl.concat_str(
        [pl.when(part.str.len_bytes() > 0).then(part) for part in clean], separator=" ", ignore_nulls=True
    )
    return pl.when(text.str.len_bytes() > 0).then(text)


def sentence(part: pl.Expr) -> pl.Expr:
    """End with a full stop where there is no ``.``, ``!`` or ``?``."""
    text = part.str.strip_chars()
    return pl.when(text.str.contains(r"[.!?…]$")).then(text).otherwise(text + ".")


def flags(columns: Sequence[str], prefix: str) -> pl.Expr:
    """Names of the 0/1 text columns that are 1, as ``prefix:name``; a list."""
    named = [pl.when(pl.col(name) == "1").then(pl.lit(f"{prefix}:{name}")) for name in columns]
    return pl.concat_list(named).list.drop_nulls()


def read_items(
    path: Path,
    *,
    key: str | None = None,
    offset: int = 0,
    title: str | None = None,
    texts: Sequence[str] = (),
    genres: Sequence[str] = (),
    counts: list[Count] | None = None,
) -> pl.LazyFrame:
    """Read an item table in CSV whose key is the item's row number, or any id.

    Args:
        key: column of the id; by default the first of itemID, item_id, item, id.
        offset: subtracted from whole-number keys (1 where the table counts from 1).
        title: column of the title; by default title or name, if there is one.
        texts: columns joined into the text after the title; by default text, description or overview.
        genres: 0/1 columns that become attributes ``genre:<column>``.

    Raises:
        DataError: no such column, a key that is no whole number (with an offset), or a key twice.
    """
    header = header_of(path)
    key = key or _known(header, _KEYS)
    if key is None:
        raise DataError(f"file {path}", "has no item column", f"Set item_column. {did_you_mean('item', header)}")
    title, image = title or _known(header, _TITLES), _known(header, _IMAGES)
    texts = list(texts) or [name for name in _TEXTS if name in header]
    asin = [name for name in ("asin",) if name in header and name != key]
    loose = [name for name in dict.fromkeys([title, image, *texts, *genres, *asin]) if name and name != key]
    for name in loose:
        if name not in header:
            raise DataError(f"file {path}", f"has no column {name!r}", did_you_mean(name, header))
    types = {key: pl.Int64 if offset else pl.String, **dict.fromkeys(loose, pl.String)}
    table = scan_table(path, types, optional=loose, counts=counts)
    item_id = (pl.col(key) - offset).cast(pl.String) if offset else pl.col(key)
    _unique(table.select(item_id.alias("item_id")), path)
    marks = [pl.concat_list((pl.lit("asin:") + pl.col(name)).cast(pl.String)).list.drop_nulls() for name in asin]
    marks += [flags(genres, "genre")] if genres else []
    return items(
        table.select(
            item_id=item_id,
            title=pl.col(title) if title else pl.lit(None, dtype=pl.String),
            text=joined_text(*([sentence(pl.col(title))] if title else []), *map(pl.col, texts))
            if title or texts
            else pl.lit(None, dtype=pl.String),
            attributes=pl.concat_list(marks) if marks else pl.lit(None),
            image=pl.col(image) if image else pl.lit(None, dtype=pl.String),
        )
    )


def _known(header: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in header), None)


def _unique(ids: pl.LazyFrame, path: Path) -> None:
    double = ids.filter(pl.col("item_id").is_duplicated()).head(1).collect()
    if len(double):
        raise DataError(f"file {path}", f"item {double.item()!r} is there twice", "Keep one row an item.")


def find_features(raw: Path, n_items: int) -> dict[str, RawFeatures]:
    """Find ``<modality>_feat.npy`` files; row ``r`` belongs to item ``str(r)``.

    Args:
        n_items: one more than the largest item number of the interactions.

    Raises:
        DataError: a file that is no two-dimensional float array, or has fewer rows than there are items.
    """
    found = {}
    for modality, names in _MODALITIES.items():
        path = pick(raw, *(f"{name}_feat.npy" for name in names))
        if path is None:
            continue
        array = load_array(path)
        if array.ndim != 2 or array.dtype.kind != "f":
            kind = f"is {array.dtype} {list(array.shape)}"
            raise DataError(f"file {path}", kind, "It must be floats [n_items, dim].")
        if len(array) < n_items:
            cause = f"has {len(array)} rows for {n_items} items"
            raise DataError(f"file {path}", cause, "Give the features of the same data set: row r is item r.")
        found[modality] = RawFeatures(path, [str(row) for row in range(len(array))])
    return found


def load_array(path: Path) -> np.ndarray:
    """Map an ``.npy`` file into memory; nothing is unpickled.

    Raises:
        DataError: no such file, damaged, or an array of Python objects.
    """
    try:
        with need(path).open("rb") as file:
            head = file.read(1)
        if head == b"\x80":  # the first byte of pickle protocol 2 and later
            cause = "is a pickle, which may run code and is never read"
            raise DataError(f"file {path}", cause, "Where you trust it, load it and write the array with numpy.save.")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        cause = f"is no plain array: {str(error).splitlines()[0]}" if str(error) else "is no plain array"
        raise DataError(f"file {path}", cause, "Save it with numpy.save(path, array, allow_pickle=False).") from None


def last_number(frame: pl.LazyFrame, path: Path) -> int:
    """Return the largest ``item_id``, read as a row number.

    Raises:
        DataError: an id that is no row number.
    """
    number = pl.col("item_id").str.strip_chars().str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)
    wrong = number.is_null() | (number < 0)
    found = frame.select(number.max().alias("last"), pl.col("item_id").filter(wrong).first().alias("bad"))
    row: Mapping[str, object] = found.collect(engine="streaming").row(0, named=True)
    if row["bad"] is not None:
        cause = f"item {row['bad']!r} is no row number"
        raise DataError(f"file {path}", cause, "Items must be 0, 1, 2 … where *_feat.npy files are given.")
    return int(row["last"])  # type: ignore[call-overload]
