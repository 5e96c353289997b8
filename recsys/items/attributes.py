"""Attributes of items (genres, brands, years): as a matrix of 0 and 1, and by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl

LEAST = 0.01  # share of the items that must have an attribute: rarer ones say little of anybody's taste


def attribute_matrix(items: pl.DataFrame) -> np.ndarray:
    """Return which item has which attribute, float32 ``[n_items, n_attributes]``; NaN rows where it has none.

    Args:
        items: the item table (``attributes``: lists such as ``["genre:Drama", "year:1995"]``).
    """
    rows = [attributes or () for attributes in items["attributes"].to_list()]
    counts = Counter(attribute for row in rows for attribute in set(row))
    kept = sorted(name for name, n in counts.items() if n >= max(2, LEAST * len(rows)))
    place = {name: column for column, name in enumerate(kept)}
    matrix = np.zeros((len(rows), len(kept)), dtype=np.float32)
    for item, row in enumerate(rows):
        matrix[item, [place[name] for name in row if name in place]] = 1.0
    matrix[~matrix.any(axis=1)] = np.nan
    return matrix


@dataclass(frozen=True)
class Attribute:
    """An attribute that items have.

    Attributes:
        name: as the table spells it first, such as ``genre:Film: Noir``.
        items: row numbers of the items that have it.
    """

    name: str
    items: np.ndarray


def attributes_by_name(items: pl.DataFrame) -> dict[str, Attribute]:
    """Return all attributes by ``attribute_key``, in the order of the table: what filters and edits can name."""
    if "attributes" not in items.columns:
        return {}
    rows = items.select("attributes").with_row_index("idx").explode("attributes").drop_nulls()
    groups = rows.group_by("attributes", maintain_order=True).agg(pl.col("idx").unique(maintain_order=True))
    found: dict[str, Attribute] = {}
    for name, idx in groups.iter_rows():
        key, own = attribute_key(name), np.asarray(idx, dtype=np.int64)
        there = found.get(key)
        found[key] = Attribute(name, own) if there is None else Attribute(there.name, np.union1d(there.items, own))
    return found


def attribute_key(name: str) -> str:
    """Return what names of one attribute have in common: upper or lower case and blanks do not matter."""
    kind, colon, value = name.partition(":")
    return " ".join(kind.split()).lower() + colon + " ".join(value.split()).lower()
