"""The state in PostgreSQL: for a service on several machines."""

from __future__ import annotations

from typing import Any

from recsys.core.postgres import PostgresDatabase, Tables
from recsys.serving.state.sql import SQLStateStore

NUMBERING = 0x72737374  # the advisory lock: writers share it, who asks which numbers are settled has it alone
MIGRATIONS = (
    f"""
    CREATE FUNCTION next_number(numbers regclass) RETURNS BIGINT LANGUAGE sql AS $$
        SELECT pg_advisory_xact_lock_shared({NUMBERING}); SELECT nextval(numbers)
    $$;
    CREATE SEQUENCE event_numbers;
    CREATE SEQUENCE item_numbers;
    CREATE TABLE users (user_id TEXT COLLATE "C" PRIMARY KEY, added BIGINT NOT NULL);
    CREATE TABLE events (
        number BIGINT PRIMARY KEY DEFAULT next_number('event_numbers'),
        user_id TEXT COLLATE "C" NOT NULL, item_id TEXT COLLATE "C" NOT NULL, kind TEXT NOT NULL,
        rating DOUBLE PRECISION, model TEXT COLLATE "C" NOT NULL, client_key TEXT COLLATE "C", made BIGINT NOT NULL,
        taken_back SMALLINT NOT NULL DEFAULT 0, UNIQUE (user_id, client_key)
    );
    CREATE INDEX counted ON events (model, kind) WHERE taken_back = 0;
    CREATE TABLE items (
        number BIGINT PRIMARY KEY DEFAULT next_number('item_numbers'), item_id TEXT COLLATE "C" NOT NULL UNIQUE,
        title TEXT NOT NULL, body TEXT NOT NULL, attributes TEXT NOT NULL, picture BYTEA, vectors BYTEA NOT NULL
    );
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE totals (name TEXT PRIMARY KEY, number BIGINT NOT NULL);
    -- the server's statistics quote values, which would outlive an erasure
    ALTER TABLE users ALTER user_id SET STATISTICS 0;
    ALTER TABLE events ALTER user_id SET STATISTICS 0, ALTER client_key SET STATISTICS 0;
    """,
)
TABLES = Tables("state", ("users", "events"), MIGRATIONS)


class PostgresStateStore(SQLStateStore):
    """The state in a PostgreSQL database, in the schema ``recsys_state``.

    Args:
        url: ``postgresql://user@host/name``.
        patience: seconds to wait for a connection, another writer or an answer.

    Raises:
        ConfigError: psycopg is not installed, or the address is none.
    """

    def __init__(self, url: str, *, patience: float = 5.0) -> None:
        super().__init__(PostgresDatabase(url, TABLES, patience))

    def _insert(self, statement: str, row: tuple[Any, ...]) -> int | None:
        found = self.database.ask(f"{statement} RETURNING number", row)
        return found[0][0] if found else None

    def _settled(self, table: str, number: int) -> int:
        """Wait until those who have drawn a number have committed, for a lower one may commit after a higher one.

        Whoever draws a number after that draws a higher one. Where nothing is new, nobody waits.
        """
        query = f"SELECT max(number) FROM {table} WHERE number > ?"
        if self.database.ask(query, (number,))[0][0] is None:
            return number
        with self.database.writing() as session:  # each statement sees what was committed before it
            session.execute("SELECT pg_advisory_xact_lock(?)", (NUMBERING,))
            return session.execute(query, (number,)).fetchone()[0] or number
