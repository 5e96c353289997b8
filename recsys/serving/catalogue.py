"""Items as people name them: by id or title, and by what they are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from recsys.core.blanks import trimmed_id
from recsys.core.errors import DataError, did_you_mean
from recsys.core.values import Dataset, Interactions, Vocabulary
from recsys.data.ids import POINT, WHOLE
from recsys.items.attributes import attribute_key, attributes_by_name

YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
CONDITION = re.compile(r"^(?P<not>!)?(?P<kind>[^:<>=!]+?)\s*(?P<op>>=|<=|>|<|:|=)\s*(?P<value>.+)$")
COMPARISONS = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}

Names = str | int | Iterable[str | int]  # one name, or several; a number stands for the id that reads the same


def is_one(names: Any) -> bool:
    """Return whether this is one name and not several: a string is never taken as its characters."""
    return isinstance(names, str | bytes) or not isinstance(names, Iterable)


def as_list(names: Any) -> list[Any]:
    """Return one name as a list of one, and several as a list."""
    return [names] if is_one(names) else list(names)


def id_of(name: str | int, known: Vocabulary) -> str:
    """Return the id that a name means: as it is written where that is known, else as ids of tables are read.

    Args:
        name: an id; a number, 1.0 as well as 1, stands for the id that reads the same.
        known: the ids there are.
    """
    text = str(name)
    if text in known:
        return text
    whole = isinstance(name, float | np.floating) and name.is_integer()
    return str(int(name)) if whole else trimmed_id(text)


def refuse_float(kind: str, new: str, known: Vocabulary) -> None:
    """Refuse a new id such as 7.0 where all ids are whole numbers: in tables that would be 7.

    Args:
        kind: ``"user"`` or ``"item"``.
        new: the id.
        known: the ids that there are.

    Raises:
        DataError: it is one.
    """
    if (whole := re.match(POINT, new)) and len(known) and known.ids.str.contains(WHOLE).all():
        cause = f"ids of {kind}s are whole numbers here, and this is one written as a float"
        raise DataError(f"{kind} {new[:80]!r}", cause, f"Write {whole[1][:80]}.")


class Catalogue:
    """Look-ups over a data set's items.

    Args:
        dataset: whose item table is searched.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @cached_property
    def _by_title(self) -> dict[str, int]:
        """Whole titles go before titles without their year, and the first item of a title before the others."""
        whole: dict[str, int] = {}
        short: dict[str, int] = {}
        for idx, title in enumerate(self.dataset.item_table["title"]):
            if title:
                whole.setdefault(_plain(title), idx)
                short.setdefault(_plain(YEAR.sub("", title)), idx)
        return short | whole

    def find(self, names: Names) -> np.ndarray:
        """Return the row number of each id or title (the year may be left out), int64.

        Ids win: a name that is the id of one item and the title of another means the first.

        Raises:
            DataError: an item that is neither, with the nearest titles.
        """
        ids = self.dataset.items
        return np.array([self._find(id_of(name, ids)) for name in as_list(names)], dtype=np.int64)

    def history(self, user_id: str | None, liked: Names, train: Interactions) -> np.ndarray:
        """Return a user's items in ``train``, oldest first; without a user, what somebody new likes.

        Raises:
            DataError: no such user or item.
        """
        if user_id is None:
            return self.find(liked)
        (user,) = self.dataset.users.index([id_of(user_id, self.dataset.users)])
        if user < 0:
            remedy = "Check the id, or name what somebody new likes."
            raise DataError(f"user {user_id!r}", "not in the data set", remedy)
        return train.histories[int(user)]

    def _find(self, name: str) -> int:
        if name in self.dataset.items:
            return int(self.dataset.items.index([name])[0])
        if (idx := self._by_title.get(_plain(name))) is not None:
            return idx
        close = difflib.get_close_matches(_plain(name), self._by_title, n=3, cutoff=0.5)
        names = self.dataset.titles([self._by_title[text] for text in close])
        remedy = "Nearest: " + "; ".join(dict.fromkeys(names)) if names else "Give an item id or a title."
        raise DataError(f"item {name!r}", "no item has that id or title", remedy)

    def allowed(self, conditions: str | Iterable[str]) -> np.ndarray:
        """Return which items meet all conditions, bool ``[n_items]``.

        ``genre:Comedy`` asks for an attribute (several of one kind: any of them), ``!genre:Horror``
        forbids one, ``year>=1990`` and ``year<=1999`` compare numbers. ``!`` allows exactly what the
        condition does not: an item without a year fails ``year>=1990`` and passes ``!year>=1990``.

        Raises:
            DataError: a condition of another form, or an attribute or a number that no item has.
        """
        allowed = np.ones(len(self.dataset.items), dtype=bool)
        wanted: dict[str, np.ndarray] = {}
        for text in map(str, as_list(conditions)):
            found = CONDITION.match(text)
            if not found:
                raise DataError(
                    f"filter {text!r}", "not understood", "Such as genre:Comedy, !genre:Horror or year>=1990."
                )
            kind = found["kind"].strip().lower()
            compares = found["op"] in COMPARISONS
            meets = (
                self._compare(text, kind, found["op"], found["value"])
                if compares
                else self._having(text, kind, found["value"])
            )
            if compares or found["not"]:
                allowed &= ~meets if found["not"] else meets
            else:
                wanted[kind] = wanted.get(kind, False) | meets
        for mask in wanted.values():
            allowed &= mask
        return allowed

    @cached_property
    def facets(self) -> dict[str, dict[str, int]]:
        """Return by kind of attribute its values, each with how many items have it, the most frequent first."""
        counts = self.dataset.item_table["attributes"].explode().drop_nulls().value_counts(sort=True)
        found: dict[str, dict[str, int]] = {}
        for name, count in counts.iter_rows():
            kind, colon, value = name.partition(":")
            if colon:
                found.setdefault(kind, {})[value] = count
        return found

    @cached_property
    def _attributes(self) -> dict[str, np.ndarray]:
        return {key: one.items for key, one in attributes_by_name(self.dataset.item_table).items()}

    def _having(self, text: str, kind: str, value: str) -> np.ndarray:
        key = attribute_key(f"{kind}:{value}")
        if key not in self._attributes:
            known = [name for name in self._attributes if name.startswith(f"{kind}:")] or list(self._attributes)
            raise DataError(
                f"filter {text!r}",
                "no item has that attribute",
                did_you_mean(key, known[:40]) if known else "Its items have no attributes.",
            )
        mask = np.zeros(len(self.dataset.items), dtype=bool)
        mask[self._attributes[key]] = True
        return mask

    def _compare(self, text: str, kind: str, operator: str, value: str) -> np.ndarray:
        try:
            bound = float(value)
        except ValueError:
            raise DataError(f"filter {text!r}", f"{value!r} is not a number", "Such as year>=1990.") from None
        if kind not in self._numbers:
            remedy = did_you_mean(kind, self._numbers) if self._numbers else "Items have nothing that can be compared."
            raise DataError(f"filter {text!r}", f"no item has a number as its {kind}", remedy)
        numbers = self._numbers[kind]
        return COMPARISONS[operator](numbers, bound)

    @cached_property
    def _numbers(self) -> dict[str, np.ndarray]:
        """Kind of attribute to each item's number, float64 ``[n_items]``, NaN where it has none."""
        numbers: dict[str, np.ndarray] = {}
        for name, idx in self._attributes.items():
            kind, _, value = name.partition(":")
            try:
                number = float(value)
            except ValueError:
                continue
            numbers.setdefault(kind, np.full(len(self.dataset.items), np.nan))[idx] = number
        return numbers


def _plain(title: str) -> str:
    return " ".join(title.lower().split())
