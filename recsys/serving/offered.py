"""What may be shown: filters, allow and deny lists over trained and new items."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from recsys.core.errors import DataError
from recsys.core.values import ITEM_SCHEMA, Dataset, Interactions, Vocabulary
from recsys.serving.catalogue import COMPARISONS, CONDITION, Catalogue
from recsys.serving.fresh import FreshItem, FreshItems


class Offered:
    """Masks of items, kept for conditions that come again.

    Args:
        catalogue: of the trained items.
        fresh: the new ones.
    """

    def __init__(self, catalogue: Catalogue, fresh: FreshItems) -> None:
        self.catalogue, self.fresh = catalogue, fresh
        self._new = Catalogue(_dataset(fresh.items)) if len(fresh) else None
        self._meeting = lru_cache(maxsize=256)(self._meet)

    def mask(self, conditions: Sequence[str], only: Sequence[int], never: Sequence[int]) -> np.ndarray | None:
        """Return which items may be shown, bool ``[n_items + n_fresh]``; ``None``: all.

        Args:
            conditions: such as ``genre:Comedy``, ``!genre:Horror``, ``year>=1990`` (see ``Catalogue.allowed``).
            only: numbers of the items among which to choose; empty: all.
            never: numbers of items not to show.

        Raises:
            DataError: a condition that is not understood, or that no item could meet.
        """
        if not (conditions or only or never):
            return None
        mask = self._meeting(tuple(conditions)).copy() if conditions else np.ones(self.n, dtype=bool)
        if len(only):
            listed = np.zeros(self.n, dtype=bool)
            listed[list(only)] = True
            mask &= listed
        mask[list(never)] = False
        return mask

    def excluding(self, item: int, conditions: Sequence[str], only: Sequence[int], never: Sequence[int]) -> list[str]:
        """Return what of all that is asked for leaves an item out, in words after "you asked".

        Args:
            item: its number.
            conditions, only, never: as of ``mask``.

        Raises:
            DataError: as ``mask``.
        """
        groups: dict[str, list[str]] = {}  # several of one kind: any of them
        for text in conditions:
            found = CONDITION.match(text)
            alone = found is None or found["not"] or found["op"] in COMPARISONS
            groups.setdefault(text if alone else found["kind"].strip().lower(), []).append(text)
        words = [f"for {' or '.join(group)}" for group in groups.values() if not self.mask(group, (), ())[item]]
        words += ["for other items alone"] * (len(only) > 0 and item not in only)
        return words + ["not to show it"] * (item in never)

    def facets(self, k: int) -> list[dict[str, Any]]:
        """Return what there is to filter by: each kind of attribute, those with the fewest values first.

        Args:
            k: values of a kind at most, those that most items have; a kind whose values are numbers has none, but
                ``least`` and ``most``.
        """
        told = []
        for kind, values in self._counts().items():
            numbers = [_number(one) for one in values]
            if all(one is not None for one in numbers):
                told.append({"kind": kind, "values": [], "least": min(numbers), "most": max(numbers)})
            else:
                most = sorted(values.items(), key=lambda one: -one[1])[:k]
                shown = [{"value": value, "items": count} for value, count in most]
                told.append({"kind": kind, "values": shown, "least": None, "most": None})
        return sorted(told, key=lambda one: len(one["values"]))

    def _counts(self) -> dict[str, Counter[str]]:
        """Return by kind how many items have which value, new ones included."""
        found: dict[str, Counter[str]] = {}
        for catalogue in (self.catalogue, *([self._new] if self._new else [])):
            for kind, values in catalogue.facets.items():
                found.setdefault(kind, Counter()).update(values)
        return found

    @property
    def n(self) -> int:
        """Items, new ones included."""
        return self.fresh.n_items + len(self.fresh)

    def _meet(self, conditions: tuple[str, ...]) -> np.ndarray:
        sides = [self.catalogue, *([self._new] if self._new else [])]
        return np.concatenate([self._meet_of(side, conditions, sides) for side in sides])

    @staticmethod
    def _meet_of(side: Catalogue, conditions: tuple[str, ...], sides: Sequence[Catalogue]) -> np.ndarray:
        """Return which items of one catalogue meet conditions of which it may not know all.

        A condition that no item of it could meet is met by none; where it is forbidden, by all.

        Raises:
            DataError: a condition that none of ``sides`` knows.
        """
        known, met, missing = [], set(), set()
        for text in conditions:
            found = CONDITION.match(text)
            kind = found["kind"].strip().lower() if found else ""
            one_of = bool(found) and not found["not"] and found["op"] not in COMPARISONS  # any of several will do
            if _knows(side, text):
                known.append(text)
                met |= {kind} if one_of else set()
            elif not any(_knows(other, text) for other in sides):
                side.allowed([text])  # raises
            elif not found["not"]:
                missing.add(kind if one_of else text)
        return side.allowed(known) if not missing - met else np.zeros(len(side.dataset.items), dtype=bool)


def _knows(side: Catalogue, text: str) -> bool:
    try:
        side.allowed([text])
    except DataError:
        return False
    return True


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _dataset(items: Sequence[FreshItem]) -> Dataset:
    table = pl.DataFrame(
        {
            "item_id": [one.item_id for one in items], "title": [one.title for one in items],
            "text": [None] * len(items), "attributes": [list(one.attributes) for one in items],
            "image": [None] * len(items),
        },
        schema=ITEM_SCHEMA,
    )  # fmt: skip
    nothing = np.zeros(0, dtype=np.int32)
    ids = Vocabulary(table["item_id"])
    return Dataset("new items", Vocabulary([]), ids, Interactions(nothing, nothing, 0, len(ids)), table)
