"""What the state stores in databases share: the statements, which SQLite and PostgreSQL read alike."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import takewhile
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from recsys.core.errors import ArtifactError
from recsys.core.postgres import PostgresDatabase
from recsys.core.sqlite import SQLiteDatabase
from recsys.serving.state.store import (
    Event,
    NewItem,
    StateBusyError,
    StateConflictError,
    check_event,
    check_item,
    checked_id,
    checked_text,
)

EVENT = "number, user_id, item_id, kind, rating, model, client_key, made"
ITEM = "number, item_id, title, body, attributes, picture, vectors"
ADD_EVENT = """
    INSERT INTO events (user_id, item_id, kind, rating, model, client_key, made) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (user_id, client_key) DO NOTHING
"""
ADD_ITEM = """
    INSERT INTO items (item_id, title, body, attributes, picture, vectors) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (item_id) DO NOTHING
"""
OUTLIVED = "UPDATE events SET taken_back = 2 WHERE item_id = ? AND taken_back = 0"  # said of what is gone
REMEMBER = "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
REMOVED = """
    INSERT INTO totals VALUES ('removals', ?) ON CONFLICT (name) DO UPDATE SET number = totals.number + excluded.number
"""


class SQLStateStore:
    """All but how rows are numbered, and which numbers are settled.

    Args:
        database: with the tables.
    """

    def __init__(self, database: SQLiteDatabase | PostgresDatabase) -> None:
        self.database = database

    def _insert(self, statement: str, row: tuple[Any, ...]) -> int | None:
        """Add a row and return its number, above all that any reader has seen; ``None``: its key or id is taken."""
        raise NotImplementedError

    def _settled(self, table: str, number: int) -> int:
        """Return a number up to which all rows after ``number`` can be read, and below which none will appear."""
        raise NotImplementedError

    # -- users -----------------------------------------------------------------------------------------------

    def add_user(self, user_id: str) -> bool:
        row = (checked_id("user", user_id), int(time.time()))
        with self.database.writing() as file:
            return file.execute("INSERT INTO users VALUES (?, ?) ON CONFLICT (user_id) DO NOTHING", row).rowcount > 0

    def known_users(self, prefix: str = "", limit: int = 50) -> list[str]:
        query = "SELECT user_id FROM users WHERE user_id >= ? ORDER BY user_id LIMIT ?"
        found = [row[0] for row in self.database.ask(query, (checked_text("prefix", prefix), _whole(max(0, limit))))]
        return list(takewhile(lambda user_id: user_id.startswith(prefix), found))

    def has_user(self, user_id: str) -> bool:
        query, row = "SELECT 1 FROM users WHERE user_id = ?", (checked_id("user", user_id),)
        return bool(self.database.ask(query, row))

    # -- events ----------------------------------------------------------------------------------------------

    def record(self, event: Event) -> Event:
        check_event(event)
        event = replace(event, time=event.time or int(time.time()))
        value = None if event.value is None else float(event.value)
        row = (event.user_id, event.item_id, event.kind, value, event.model, event.key, event.time)
        query = f"SELECT {EVENT} FROM events WHERE user_id = ? AND client_key = ?"
        number = self._insert(ADD_EVENT, row)
        if number is not None:
            return replace(event, value=value, number=number)
        kept = _event(self._kept(query, (event.user_id, event.key)))
        if (kept.item_id, kept.kind, kept.value) != (event.item_id, event.kind, value):
            cause = f"came before with kind {kept.kind!r} of item {kept.item_id!r}"
            raise StateConflictError(f"key {event.key!r}", cause, "Use a new key for each event.")
        return kept

    def take_back(self, user_id: str, number: int) -> bool:
        row = (checked_id("user", user_id), _whole(number))
        with self.database.writing() as file:
            undo = "UPDATE events SET taken_back = 1 WHERE user_id = ? AND number = ? AND taken_back = 0"
            removed = file.execute(undo, row).rowcount
            if removed:
                file.execute(REMOVED, (removed,))
        return removed > 0

    def events(self, user_id: str) -> list[Event]:
        query = f"SELECT {EVENT} FROM events WHERE user_id = ? AND taken_back = 0 ORDER BY number"
        return [_event(row) for row in self.database.ask(query, (checked_id("user", user_id),))]

    def since(self, number: int, limit: int = 10_000) -> list[Event]:
        query = f"""
            SELECT {EVENT} FROM events WHERE number > ? AND number <= ? AND taken_back = 0 ORDER BY number LIMIT ?
        """
        last = self._settled("events", _whole(number))
        return [_event(row) for row in self.database.ask(query, (_whole(number), last, _whole(max(0, limit))))]

    def removals(self) -> int:
        found = self.database.ask("SELECT number FROM totals WHERE name = 'removals'")
        return found[0][0] if found else 0

    def counts(self) -> dict[str, dict[str, int]]:
        query = (
            "SELECT model, kind, count(*) FROM events WHERE taken_back = 0 GROUP BY model, kind ORDER BY model, kind"
        )
        found: dict[str, dict[str, int]] = {}
        for model, kind, number in self.database.ask(query):
            found.setdefault(model, {})[kind] = number
        return found

    # -- items and settings ----------------------------------------------------------------------------------

    def add_item(self, item: NewItem) -> NewItem:
        check_item(item)
        query = f"SELECT {ITEM} FROM items WHERE item_id = ?"
        attributes = json.dumps(item.attributes, ensure_ascii=False)
        row = (item.item_id, item.title, item.text, attributes, item.picture, _packed(item.vectors))
        number = self._insert(ADD_ITEM, row)
        kept = self._item(self._kept(query, (item.item_id,)))
        if number is None and _content(kept) != _content(item):
            remedy = "Remove it first, or use another id."
            raise StateConflictError(f"item {item.item_id!r}", "is kept with other content", remedy)
        return kept

    def items(self, since: int = 0) -> list[NewItem]:
        query = f"SELECT {ITEM} FROM items WHERE number > ? AND number <= ? ORDER BY number"
        last = self._settled("items", _whole(since))
        return [self._item(row) for row in self.database.ask(query, (_whole(since), last))]

    def item(self, item_id: str) -> NewItem | None:
        found = self.database.ask(f"SELECT {ITEM} FROM items WHERE item_id = ?", (checked_id("item", item_id),))
        return self._item(found[0]) if found else None

    def remove_item(self, item_id: str) -> bool:
        row = (checked_id("item", item_id),)
        with self.database.writing() as file:
            removed = file.execute("DELETE FROM items WHERE item_id = ?", row).rowcount
            if removed:
                file.execute(OUTLIVED, row)
                file.execute(REMOVED, (removed,))
        return removed > 0

    def remember(self, name: str, value: str) -> None:
        row = (checked_id("setting", name), checked_text("setting", value))
        with self.database.writing() as file:
            file.execute(REMEMBER, row)

    def recall(self, name: str) -> str | None:
        query, row = "SELECT value FROM settings WHERE name = ?", (checked_id("setting", name),)
        found = self.database.ask(query, row)
        return found[0][0] if found else None

    def recalled(self, prefix: str) -> dict[str, str]:
        row = (len(prefix), checked_text("prefix", prefix))
        return dict(self.database.ask("SELECT name, value FROM settings WHERE substr(name, 1, ?) = ?", row))

    # -- all of a user, and the place ------------------------------------------------------------------------

    def erase(self, user_id: str) -> int:
        row = (checked_id("user", user_id),)
        with self.database.writing() as file:
            removed = file.execute("DELETE FROM events WHERE user_id = ?", row).rowcount
            file.execute("DELETE FROM users WHERE user_id = ?", row)
            if removed:
                file.execute(REMOVED, (removed,))
        if not self.database.scrub():
            raise ArtifactError(
                self.database.name, "the user is removed, but others read old copies throughout",
                "Erase again when they are done: until then traces are left.",
            )  # fmt: skip
        return removed

    def export(self, user_id: str) -> dict[str, Any]:
        row = (checked_id("user", user_id),)
        query = f"SELECT {EVENT}, taken_back FROM events WHERE user_id = ? ORDER BY number"
        with self.database.reading() as file:
            added = file.execute("SELECT added FROM users WHERE user_id = ?", row).fetchone()
            found = file.execute(query, row).fetchall()
        events = [{**asdict(_event(one[:-1])), "taken_back": bool(one[-1])} for one in found]
        return {"user_id": user_id, "added": added[0] if added else None, "events": events}

    def check(self) -> None:
        with self.database.writing() as file:
            file.execute("SELECT count(*) FROM totals").fetchone()

    def close(self) -> None:
        self.database.close()

    def _kept(self, query: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
        found = self.database.ask(query, row)
        if not found:
            raise StateBusyError(self.database.name, "what was there a moment ago has just been removed", "Try again.")
        return found[0]

    def _item(self, row: tuple[Any, ...]) -> NewItem:
        number, item_id, title, text, attributes, picture, vectors = row
        try:
            arrays = load(vectors)
        except SafetensorError as error:
            cause = f"the vectors of item {item_id!r} do not read ({error})"
            raise ArtifactError(self.database.name, cause, "Remove the item, and add it again.") from None
        return NewItem(item_id, title, text, tuple(json.loads(attributes)), picture, arrays, number)


def _whole(number: int) -> int:
    """Return the nearest number that a database has."""
    return min(max(number, -(2**63)), 2**63 - 1)


def _event(row: tuple[Any, ...]) -> Event:
    number, user_id, item_id, kind, value, model, key, made = row
    return Event(user_id, item_id, kind, value, model, key, number, made)


def _packed(vectors: Mapping[str, np.ndarray]) -> bytes:
    return save({name: np.ascontiguousarray(vector, dtype=np.float32) for name, vector in vectors.items()})


def _content(item: NewItem) -> tuple[Any, ...]:
    return item.title, item.text, tuple(item.attributes), item.picture
