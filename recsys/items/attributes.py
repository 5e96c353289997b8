"""Attributes of items (genres, brands, years) as a matrix of 0 and 1."""

from __future__ import annotations

from collections import Counter

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
