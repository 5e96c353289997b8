"""Who somebody is to a ranker right now: what was known before, what was said since, what the profile wants."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from recsys.core.erased import id_hash
from recsys.core.errors import RecsysError
from recsys.core.values import Dataset, Interactions
from recsys.serving.fresh import FreshItems
from recsys.serving.person import NOTHING, Person, Steering
from recsys.serving.state.store import Event, StateStore

LIKED, DISLIKED = 4.0, 2.0  # ratings from here on up, and down
KEPT = 100_000  # people at most
ERASED = "erased"  # settings of the state: a name of this and a hash for each; older states have all in one value


class UnknownUserError(RecsysError):
    """Nobody of that id."""


class UnknownItemError(RecsysError):
    """No item of that id."""


class Steers(Protocol):
    """Knows edited profiles."""

    def steering(self, user_id: str, hidden: Sequence[str] = ()) -> Steering | None:
        """Return what a user's edits do; ``None``: there are none.

        Args:
            user_id: whose.
            hidden: ids of items that are taken as if the user had just hidden them.
        """
        ...


def verdicts(events: Iterable[Event]) -> dict[str, str]:
    """Return what was last said of each item: like, dislike or seen, in order of the last word; clicks say nothing."""
    said: dict[str, str] = {}
    for one in events:
        if one.kind == "click":
            continue
        word = {"like": "like", "dislike": "dislike", "hide": "seen"}.get(one.kind)
        if word is None:
            word = "like" if one.value >= LIKED else "dislike" if one.value <= DISLIKED else "seen"
        said.pop(one.item_id, None)
        said[one.item_id] = word
    return said


class People:
    """Looks people up; who was looked up is kept until something changes.

    Args:
        dataset: users and items of the trained rankers.
        known: what each user is known to have taken.
        state: what was said since.
        steers: edited profiles, where there are any.
        shared: other servers write the state, too. Each look at a user then asks it, by the user's index, so that what
            was said to any server counts in the next list of every other; nothing is kept from one look to the next.

    Attributes:
        on_unknown: called where a user said something of an item that is unknown here; it may have come to another
            server just now.
    """

    def __init__(
        self, dataset: Dataset, known: Interactions, state: StateStore, steers: Steers | None = None,
        *, shared: bool = False,
    ) -> None:  # fmt: skip
        self.dataset, self.known, self.state, self.steers, self.shared = dataset, known, state, steers, shared
        self.fresh = FreshItems(len(dataset.items))
        self.on_unknown: Callable[[], None] = lambda: None
        self.erased: frozenset[int] = frozenset()
        self._erased_hashes: set[str] = set()
        self.read_erased()
        self._kept: dict[str, Person] = {}
        self._keeping = threading.Lock()
        self._all_changes = 0
        self._changes: Counter[str] = Counter()  # of users: what was read before a change is not kept after it

    def of(self, user_id: str) -> Person:
        """Return a user.

        Raises:
            UnknownUserError: neither in the data nor created since.
        """
        found = self._kept.get(user_id)
        if found is None:
            before = self._all_changes, self._changes[user_id]
            found = self._read(user_id)
            with self._keeping:
                if not self.shared and before == (self._all_changes, self._changes[user_id]):
                    if len(self._kept) >= KEPT:
                        self._kept.clear()
                    self._kept[user_id] = found
        return found

    def kept(self, user_id: str) -> Person | None:
        """Return a user who was looked up before and did nothing since, without reading anything."""
        return self._kept.get(user_id)

    def forget(self, user_id: str | None = None) -> None:
        """Look a user up anew next time, or everybody."""
        with self._keeping:  # or a change could fall between the comparison in ``of`` and what it keeps
            if user_id is None:
                self._all_changes += 1
                self._kept.clear()
            else:
                self._changes[user_id] += 1
                self._kept.pop(user_id, None)

    def leave_out(self, user_id: str, row: int) -> None:
        """Take a user of the data for nobody from now on, also after a restart; only a hash of the id is kept."""
        self.state.remember(_erased_name(user_id), "")  # one each: two servers that erase at once lose none
        self.erased |= {row}
        self.forget(user_id)

    def read_erased(self) -> None:
        """Take up who was erased, here or by another server."""
        names = self.state.recalled(ERASED)
        told = {*names.pop(ERASED, "").split(), *(name.removeprefix(f"{ERASED} ") for name in names)}
        new, self._erased_hashes = told - self._erased_hashes, told
        if new:
            ids = enumerate(self.dataset.users.ids)
            self.erased |= frozenset(row for row, user_id in ids if id_hash(user_id) in new)

    def row(self, user_id: str) -> int:
        """Return the number of a user of the data; -1: none, or erased as far as is known here."""
        row = int(self.dataset.users.index([user_id])[0])
        return -1 if row in self.erased else row

    def exists(self, user_id: str) -> bool:
        """Return whether there is such a user."""
        return self.row(user_id) >= 0 or self.state.has_user(user_id)

    def session(self, liked: Sequence[str]) -> Person:
        """Return somebody who likes these items, oldest first, and of whom nothing else is known.

        Raises:
            UnknownItemError: an item that there is not.
        """
        rows = [self.item(item_id) for item_id in liked]
        history, sources = self._trained(rows)
        return Person(history, np.unique(np.array(rows, dtype=np.int64)), sources=sources)

    def hiding(self, user_id: str, item_id: str) -> Person:
        """Return a user as if they had just hidden an item: the history lacks it, and it is still not shown.

        Raises:
            UnknownUserError: neither in the data nor created since.
        """
        return self._read(user_id, (item_id,))

    def item(self, item_id: str) -> int:
        """Return the number of an item, trained or new.

        Raises:
            UnknownItemError: there is none.
        """
        number = self.fresh.place.get(item_id)
        if number is None:
            number = int(self.dataset.items.index([item_id])[0])
        if number < 0:
            raise UnknownItemError(f"item {item_id[:80]!r}", "there is none of that id", "Search for it by its title.")
        return number

    def history(self, user_id: str) -> tuple[list[str], list[str], list[str]]:
        """Return ids of the items that somebody took or liked, oldest first; disliked; and seen besides."""
        row, said = self.row(user_id), verdicts(self.state.events(user_id))
        before = [self.dataset.items[item] for item in self.known.histories[row]] if row >= 0 else []
        taken = [item for item in before if item not in said]
        words = {word: [item for item, one in said.items() if one == word] for word in ("like", "dislike", "seen")}
        return [*taken, *words["like"]], words["dislike"], words["seen"]

    def known_as(self, user_id: str, item_id: str) -> str:
        """Return how a user knows an item, as in "the item ...": by the last word of the user, else by the data."""
        spoken = [one for one in self.state.events(user_id) if one.item_id == item_id and one.kind != "click"]
        if not spoken:
            return "was taken by the user"
        if spoken[-1].kind == "hide":
            return "was hidden by the user"
        word = verdicts(spoken)[item_id]
        return "was rated by the user" if word == "seen" else f"is {word}d by the user"

    def _row_now(self, user_id: str) -> int:
        row = self.row(user_id)
        if self.shared and row >= 0 and self.state.recall(_erased_name(user_id)) is not None:
            self.erased |= {row}  # by another server
            return -1
        return row

    def _read(self, user_id: str, hidden: Sequence[str] = ()) -> Person:
        row = self._row_now(user_id)
        events = self.state.events(user_id)
        if row < 0 and not events and not self.state.has_user(user_id):
            raise UnknownUserError(
                f"user {user_id[:80]!r}", "there is nobody of that id", "Create the user first, or give a history."
            )
        words = verdicts([*events, *(Event(user_id, item, "hide") for item in hidden)])
        if self.shared and any(self.number(item) is None for item in words):
            self.on_unknown()
        said = {number: word for item, word in words.items() if (number := self.number(item)) is not None}
        known = self.known.histories[row] if row >= 0 else NOTHING
        before = known[~np.isin(known, list(said))]
        by = {word: [item for item, one in said.items() if one == word] for word in ("like", "dislike")}
        liked, sources = self._trained(by["like"])
        stands_in = any(item >= self.fresh.n_items for item in by["like"])
        against = [item for item in by["dislike"] if item < self.fresh.n_items]
        seen = np.unique(np.concatenate([before, np.array(list(said), dtype=np.int64)]))
        changed = bool(by["like"] or by["dislike"]) or len(before) < len(known)
        steering = self.steers.steering(user_id, hidden) if self.steers else None
        return Person(
            np.concatenate([before, liked]), seen, np.array(against, dtype=np.int64), row, changed, steering,
            np.concatenate([before, sources]) if stands_in else None,
        )  # fmt: skip

    def number(self, item_id: str) -> int | None:
        """Return an item's number; none where there is no such item, or no longer."""
        number = self.fresh.place.get(item_id)
        if number is None:
            number = int(self.dataset.items.index([item_id])[0])
        return number if number >= 0 else None

    def _trained(self, items: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return trained items, a new item as its nearest trained ones, and which of ``items`` each stands for."""
        parts = [np.array([one]) if one < self.fresh.n_items else self.fresh.stand_ins(one) for one in items]
        sources = np.repeat(np.array(items, dtype=np.int64), [len(part) for part in parts])
        return np.concatenate([NOTHING, *parts]).astype(np.int64), sources


def _erased_name(user_id: str) -> str:
    """Return the setting that says that a user was erased; only a hash of the id is kept."""
    return f"{ERASED} {id_hash(user_id)}"
