"""The state of a service: one interface and its values, for one machine or many."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from recsys.core.errors import BusyError, DataError, RecsysError

Kind = Literal["like", "dislike", "click", "hide", "rating"]
KINDS: tuple[str, ...] = get_args(Kind)
LONGEST = 256  # characters of an id, a name or a key
LATEST = 10_000_000_000  # a time beyond that is in milliseconds

StateBusyError = BusyError  # the profile store raises it, too: one answer (503, try again) fits both


class StateConflictError(RecsysError):
    """Something else is kept under the same key or id; what is kept stays as it is."""


@dataclass(frozen=True)
class Event:
    """Something a user did with an item.

    Attributes:
        user_id: who.
        item_id: with what.
        kind: what was done.
        value: the rating; ``None`` for all other kinds.
        model: name of the model variant that served the list; ``""``: unknown.
        key: chosen by the client, so that what it sends twice is stored once; ``None``: each sending counts.
        number: given by the store, over all users, growing and never given twice; 0: not stored yet.
        time: seconds since 1970, UTC; 0: the store sets it to now.
    """

    user_id: str
    item_id: str
    kind: Kind
    value: float | None = None
    model: str = ""
    key: str | None = None
    number: int = 0
    time: int = 0


@dataclass(frozen=True, eq=False)
class NewItem:
    """An item that came after the data set was made.

    Attributes:
        item_id: unique among the items of the store.
        title: may be empty.
        text: may be empty.
        attributes: such as ``"genre:Comedy"``.
        picture: the bytes of a PNG or JPEG as received, or ``None``.
        vectors: name of an encoder to its vector of the item, float32 ``[dim]``.
        number: given by the store, over all items, growing and never given twice; 0: not stored yet.
    """

    item_id: str
    title: str
    text: str
    attributes: tuple[str, ...]
    picture: bytes | None
    vectors: Mapping[str, np.ndarray]
    number: int = 0


class StateStore(Protocol):
    """Keeps the state; threads and processes may share one place, and each forked process may go on with its copy.

    Whatever writes is on the disk before it returns. Besides what is named below, every method raises
    ``StateBusyError`` where others hold the place for longer than the store's patience or a server cannot be reached,
    ``ArtifactError`` where the place cannot be used (full, read-only, damaged, another program's), and ``DataError``
    for an id, name or text that cannot be kept: empty ids, more than 256 characters, NUL, half a surrogate pair.
    """

    def add_user(self, user_id: str) -> bool:
        """Make somebody known whom the data set does not have; return ``False`` where that was so already."""
        ...

    def known_users(self, prefix: str = "", limit: int = 50) -> list[str]:
        """Return the first of the users who were added and whose id starts so, by code points."""
        ...

    def has_user(self, user_id: str) -> bool:
        """Return whether the user was added (an event alone does not do that)."""
        ...

    def record(self, event: Event) -> Event:
        """Keep an event, and return it with its number and time.

        The same user and key again: the event that is kept is returned, with its own time and model variant, even
        where it has been taken back since: what is sent twice neither counts twice nor comes back.

        Raises:
            StateConflictError: the key was used for another item, kind or value.
        """
        ...

    def take_back(self, user_id: str, number: int) -> bool:
        """Undo one event of a user: it no longer counts; return ``False`` where there is none to undo."""
        ...

    def events(self, user_id: str) -> list[Event]:
        """Return what counts of a user, in the order of numbers."""
        ...

    def since(self, number: int, limit: int = 10_000) -> list[Event]:
        """Return all that counts after a number, in the order of numbers: for replicas and for the next training.

        No event ever appears below one that this method returned: who goes on from the last number misses none.
        What is taken back later shows in ``removals`` only.
        """
        ...

    def removals(self) -> int:
        """Return a number that grows whenever an event or an item goes: what was read before is to be read afresh."""
        ...

    def add_item(self, item: NewItem) -> NewItem:
        """Keep an item, and return it with its number; the same again: the one that is kept, with its vectors.

        Raises:
            StateConflictError: the id has another title, text, picture or other attributes.
        """
        ...

    def items(self, since: int = 0) -> list[NewItem]:
        """Return the items after a number, in the order of numbers; as with events, none appears below one seen."""
        ...

    def item(self, item_id: str) -> NewItem | None:
        """Return an item that was added, or ``None``."""
        ...

    def remove_item(self, item_id: str) -> bool:
        """Remove an item that was added; return ``False`` where there is none.

        What was said of it no longer counts, as if it were taken back: whatever gets its id later is another item.
        """
        ...

    def remember(self, name: str, value: str) -> None:
        """Keep a setting, such as the current model, in place of the one of that name."""
        ...

    def recall(self, name: str) -> str | None:
        """Return a setting, or ``None``."""
        ...

    def recalled(self, prefix: str) -> dict[str, str]:
        """Return the settings whose names begin so."""
        ...

    def counts(self) -> dict[str, dict[str, int]]:
        """Return model variant → kind → number of events that count: they fall where events are undone or erased."""
        ...

    def erase(self, user_id: str) -> int:
        """Remove a user with all events, so that nothing can be read from the place any more; return how many.

        Raises:
            ArtifactError: others were reading throughout, so that traces may be left: erase again.
        """
        ...

    def export(self, user_id: str) -> dict[str, Any]:
        """Return all that is kept of a user as plain values, what was taken back included."""
        ...

    def check(self) -> None:
        """Return where the store can be read and written; raise otherwise."""
        ...

    def close(self) -> None:
        """Let go of all connections; a later call opens new ones."""
        ...


def checked_id(kind: str, text: str) -> str:
    """Return an id, a name or a key that every store can keep.

    Args:
        kind: the word used in the message.
        text: what is checked.

    Raises:
        DataError: it is empty, too long, or no text that can be kept.
    """
    if not 0 < len(text) <= LONGEST:
        cause = f"has {len(text):,} characters" if text else "is empty"
        raise DataError(f"{kind} {text[:20]!r}", cause, f"Use 1 to {LONGEST} characters.")
    return checked_text(kind, text)


def checked_text(kind: str, text: str) -> str:
    """Return a text that every store can keep.

    Raises:
        DataError: it has a NUL or half a surrogate pair.
    """
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        cause = "has a NUL character" if "\0" in text else "has half a surrogate pair"
        raise DataError(f"{kind} {text[:20]!r}", cause, "Remove that character.")
    return text


def check_event(event: Event) -> None:
    """Return where an event can be kept.

    Raises:
        DataError: an unknown kind, a value that does not fit it, a time out of range, or an odd id.
    """
    checked_id("user", event.user_id)
    checked_id("item", event.item_id)
    checked_id("model", event.model or "unknown")
    checked_id("key", "none" if event.key is None else event.key)
    thing = f"event of user {event.user_id!r}"
    if event.kind not in KINDS:
        raise DataError(thing, f"kind {event.kind!r} is not known", f"Known: {', '.join(KINDS)}.")
    if (event.kind == "rating") != (event.value is not None) or not math.isfinite(event.value or 0.0):
        cause = f"value {event.value!r} does not fit kind {event.kind!r}"
        raise DataError(thing, cause, "Give a rating a finite number, and other kinds none.")
    if not 0 <= event.time < LATEST:
        raise DataError(thing, f"time {event.time} is no time in seconds", "Give seconds since 1970, UTC.")


def check_item(item: NewItem) -> None:
    """Return where an item can be kept.

    Raises:
        DataError: an odd id or text, or a vector that is not one row of finite numbers.
    """
    checked_id("item", item.item_id)
    for text in (item.title, item.text, *item.attributes):
        checked_text(f"text of item {item.item_id!r}:", text)
    for name, vector in item.vectors.items():
        checked_id("encoder", name)
        if not _is_row(vector):
            cause = f"the vector of {name!r} is not one row of finite numbers"
            raise DataError(f"item {item.item_id!r}", cause, "Leave out encoders that had nothing to encode.")


def _is_row(vector: np.ndarray) -> bool:
    """Return whether a vector is one row of numbers that are finite as float32."""
    found = np.asarray(vector)
    if found.ndim != 1 or found.dtype.kind not in "fiu":
        return False
    with np.errstate(over="ignore"):
        return bool(np.isfinite(found.astype(np.float32)).all())
