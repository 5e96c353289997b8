"""The state in one SQLite file: for a service on one machine, with any number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recsys.core.sqlite import Format, SQLiteDatabase
from recsys.serving.state.sql import SQLStateStore

MIGRATIONS = (
    """
    CREATE TABLE users (user_id TEXT PRIMARY KEY, added INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE events (
        number INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL, item_id TEXT NOT NULL, kind TEXT NOT NULL,
        rating REAL, model TEXT NOT NULL, client_key TEXT, made INTEGER NOT NULL,
        taken_back INTEGER NOT NULL DEFAULT 0, UNIQUE (user_id, client_key)
    );
    CREATE INDEX counted ON events (model, kind) WHERE taken_back = 0;
    CREATE TABLE items (
        number INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT NOT NULL UNIQUE, title TEXT NOT NULL,
        body TEXT NOT NULL, attributes TEXT NOT NULL, picture BLOB, vectors BLOB NOT NULL
    );
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE totals (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    """,
)
FORMAT = Format("state", 0x72737374, MIGRATIONS)  # "rsst"


class SQLiteStateStore(SQLStateStore):
    """The state in one file, made by the first use: writers wait for each other, readers for nobody.

    Args:
        path: of the file.
        patience: seconds to wait for another writer.
    """

    def __init__(self, path: str | Path, *, patience: float = 5.0) -> None:
        self.path = Path(path)
        super().__init__(SQLiteDatabase(self.path, FORMAT, patience))

    def _insert(self, statement: str, row: tuple[Any, ...]) -> int | None:
        with self.database.writing() as file:
            done = file.execute(statement, row)
            return done.lastrowid if done.rowcount else None

    def _settled(self, table: str, number: int) -> int:
        return 2**63 - 1  # one writer at a time: what it commits has the highest numbers
