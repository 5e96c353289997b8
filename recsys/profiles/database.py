"""The tables that profiles are kept in."""

from __future__ import annotations

from recsys.core.sqlite import Format

MIGRATIONS = (
    """
    CREATE TABLE versions (
        user_id TEXT NOT NULL, version INTEGER NOT NULL, parent INTEGER NOT NULL,
        made TEXT NOT NULL, edit TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (user_id, version)
    );
    CREATE TABLE heads (user_id TEXT PRIMARY KEY, version INTEGER NOT NULL);
    """,
)
FORMAT = Format("profiles", 0x72707266, MIGRATIONS)  # "rprf"
