"""Items as people name them: by id or title, and by what they are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from recsys.core.errors import DataError, did_you_mean
from recsys.core.values import Dataset

YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
CONDITION = re.compile(r"^(?P<not>!)?(?P<kind>[^:<>=!]+?)\s*(?P<op>>=|<=|:|=)\s*(?P<value>.+)$")


class Catalogue:
    """Look-ups over a data set's items.

    Args:
        dataset: whose item table is searched.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @cached_property
    def _by_title(self) -> dict[str, int]:
        titles: dict[str, int] = {}
        for idx, title in enumerate(self.dataset.item_table["title"]):
            if title:
                titles.setdefault(_plain(title), idx)
                titles.setdefault(_plain(YEAR.sub("", title)), idx)
        return titles

    def find(self, names: Iterable[str]) -> np.ndarray:
        """Return the row number of each id or title (the year may be left out), int64.

        Raises:
            DataError: an item that is neither, with the nearest titles.
        """
        return np.array([self._find(str(name)) for name in names], dtype=np.int64)

    def _find(self, name: str) -> int:
        if name in self.dataset.items:
            return int(self.dataset.items.index([name])[0])
        if (idx := self._by_title.get(_plain(name))) is not None:
            return idx
        close = difflib.get_close_matches(_plain(name), self._by_title, n=3, cutoff=0.5)
        names = self.dataset.titles([self._by_title[text] for text in close])
        remedy = "Nearest: " + "; ".join(dict.fromkeys(names)) if names else "Give an item id or a title."
        raise DataError(f"item {name!r}", "no item has that id or title", remedy)

    def allowed(self, conditions: Iterable[str]) -> np.ndarray:
        """Return which items meet all conditions, bool ``[n_items]``.

        ``genre:Comedy`` asks for an attribute (several of one kind: any of them), ``!genre:Horror``
        forbids one, ``year>=1990`` and ``year<=1999`` compare numbers.

        Raises:
            DataError: a condition of another form, or an attribute that no item has.
        """
        allowed = np.ones(len(self.dataset.items), dtype=bool)
        wanted: dict[str, np.ndarray] = {}
        for text in conditions:
            found = CONDITION.match(text)
            if not found:
                raise DataError(
                    f"filter {text!r}", "not understood", "Such as genre:Comedy, !genre:Horror or year>=1990."
                )
            kind = found["kind"].strip().lower()
            if found["op"] in (">=", "<="):
                allowed &= self._compare(text, kind, found["op"], found["value"])
            elif found["not"]:
                allowed &= ~self._having(text, kind, found["value"])
            else:
                wanted[kind] = wanted.get(kind, False) | self._having(text, kind, found["value"])
        for mask in wanted.values():
            allowed &= mask
        return allowed

    @cached_property
    def _attributes(self) -> dict[str, np.ndarray]:
        rows = self.dataset.item_table.select("attributes").with_row_index("idx").explode("attributes").drop_nulls()
        groups = rows.with_columns(rows["attributes"].str.to_lowercase()).group_by("attributes").agg("idx")
        return {name: np.asarray(idx) for name, idx in groups.iter_rows()}

    def _having(self, text: str, kind: str, value: str) -> np.ndarray:
        key = f"{kind}:{value.strip().lower()}"
        if key not in self._attributes:
            known = [name for name in self._attributes if name.startswith(f"{kind}:")] or list(self._attributes)
            raise DataError(f"filter {text!r}", "no item has that attribute", did_you_mean(key, known[:40]))
        mask = np.zeros(len(self.dataset.items), dtype=bool)
        mask[self._attributes[key]] = True
        return mask

    def _compare(self, text: str, kind: str, operator: str, value: str) -> np.ndarray:
        try:
            bound = float(value)
        except ValueError:
            raise DataError(f"filter {text!r}", f"{value!r} is not a number", "Such as year>=1990.") from None
        numbers = np.full(len(self.dataset.items), np.nan)
        for name, idx in self._attributes.items():
            if name.startswith(f"{kind}:"):
                try:
                    numbers[idx] = float(name.partition(":")[2])
                except ValueError:
                    continue
        return numbers >= bound if operator == ">=" else numbers <= bound


def _plain(title: str) -> str:
    return " ".join(title.lower().split())
