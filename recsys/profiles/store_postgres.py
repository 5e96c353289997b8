"""Profiles with versions in PostgreSQL, for services on several machines."""

from __future__ import annotations

from recsys.core.postgres import PostgresDatabase, Tables
from recsys.profiles.store import SQLProfileStore

MIGRATIONS = (
    """
    CREATE TABLE versions (
        user_id TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, parent BIGINT NOT NULL,
        made TEXT NOT NULL, edit TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (user_id, version)
    );
    CREATE TABLE heads (user_id TEXT COLLATE "C" PRIMARY KEY, version BIGINT NOT NULL);

    -- the server's statistics quote values, which would outlive an erasure
    ALTER TABLE versions ALTER user_id SET STATISTICS 0, ALTER edit SET STATISTICS 0,
        ALTER document SET STATISTICS 0, ALTER made SET STATISTICS 0;
    ALTER TABLE heads ALTER user_id SET STATISTICS 0;
    """,
)
TABLES = Tables("profiles", ("versions", "heads"), MIGRATIONS)


class PostgresProfileStore(SQLProfileStore):
    """The store in a PostgreSQL database, in the schema ``recsys_profiles``.

    Args:
        url: ``postgresql://user@host/name``.
        patience: seconds to wait for a connection, another writer or an answer.

    Raises:
        ConfigError: psycopg is not installed, or the address is none.
    """

    def __init__(self, url: str, *, patience: float = 30.0) -> None:
        super().__init__(PostgresDatabase(url, TABLES, patience))
