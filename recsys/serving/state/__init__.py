"""What a running service has learned since its model was trained: users, events, items and settings, kept for good."""

from __future__ import annotations

from pathlib import Path

from recsys.core.errors import ConfigError
from recsys.serving.state.store import StateStore


def make_state(url: str | Path) -> StateStore:
    """Return the store at an address; nothing is opened yet.

    Args:
        url: a path or ``sqlite:///path`` for SQLite, ``postgresql://user@host/name`` for PostgreSQL.

    Raises:
        ConfigError: another kind of address, or one that says no place.
    """
    scheme, there, rest = str(url).partition("://")
    if there and scheme in ("postgresql", "postgres"):
        from recsys.serving.state.postgres import PostgresStateStore

        return PostgresStateStore(str(url))
    path = rest.removeprefix("/") if there else str(url)
    if (there and (scheme != "sqlite" or not rest.startswith("/"))) or not path.strip():
        shown = f"{scheme}://…" if there else repr(str(url))  # what follows may be a password
        remedy = "Give a path, sqlite:///PATH or postgresql://USER@HOST/NAME."
        raise ConfigError(f"state {shown}", "is no place where state can be kept", remedy)
    from recsys.serving.state.sqlite import SQLiteStateStore

    return SQLiteStateStore(path)
