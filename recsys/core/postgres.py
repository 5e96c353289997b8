"""Tables in a PostgreSQL database that many machines share: made, brought up to date, and scrubbed."""

from __future__ import annotations

import re
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsys.core.errors import ArtifactError, BusyError, ConfigError, DataError, RecsysError
from recsys.core.pool import Pool

if TYPE_CHECKING:
    from psycopg import Connection, Cursor
    from psycopg.errors import Diagnostic

TRY_AGAIN = re.compile("08|40|57|53300|55P03")  # SQLSTATE: lost, deadlock, shut down or cancelled, too many, locked
MIGRATING = 0x72656373  # "recs": the advisory lock of whoever makes tables
WRITE, READ = "BEGIN READ WRITE", "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


@dataclass(frozen=True)
class Tables:
    """What a database holds for one store.

    Attributes:
        thing: the word for it in messages; its tables are in the schema ``recsys_<thing>``, apart from others.
        private: the tables with what people can be erased from.
        migrations: number n brings tables of version n to n + 1; a released one is never changed, only followed.
    """

    thing: str
    private: tuple[str, ...]
    migrations: tuple[str, ...]


class Session:
    """A transaction; statements mark their values by ``?``, as in SQLite."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, row: tuple[Any, ...] = ()) -> Cursor:
        return self._connection.execute(statement.replace("?", "%s"), row)


class PostgresDatabase:
    """One database, in which the tables are made by the first use; connections are kept open between uses.

    A pooler between here and the server must pool sessions, not transactions: settings are made for a session.

    Args:
        url: ``postgresql://user@host/name``, with any of libpq's parameters.
        tables: what is kept there.
        patience: seconds to wait for a connection, a lock or an answer.

    Raises:
        ConfigError: psycopg is not installed, or the address is none.
    """

    def __init__(self, url: str, tables: Tables, patience: float) -> None:
        self.psycopg = load_psycopg(tables.thing)
        try:
            given = self.psycopg.conninfo.conninfo_to_dict(url)
        except self.psycopg.ProgrammingError as error:
            remedy = "Write postgresql://user@host/name."
            raise ConfigError(tables.thing, f"its address is none ({_first_line(error)})", remedy) from None
        self.tables, self.patience = tables, patience
        self.name = f"{tables.thing} in PostgreSQL at {given.get('host', 'localhost')}/{given.get('dbname', '')}"
        waits = {"connect_timeout": max(2, round(patience)), "tcp_user_timeout": round(patience * 1000)}
        alive = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}  # a machine that vanished
        self._options = {"application_name": "recsys", **waits, **alive, **given, "client_encoding": "UTF8"}
        self._pool: Pool[Connection] = Pool()

    def exists(self) -> bool:
        """Return whether looking makes nothing: tables are made at once."""
        return True

    def ask(self, statement: str, row: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, which is a transaction of its own, and return its rows: one way to the server and back."""
        with self._used() as connection:
            return Session(connection).execute(statement, row).fetchall()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One snapshot of all tables."""
        with self._transaction(READ) as session:
            yield session

    @contextmanager
    def writing(self, of: str = "") -> Iterator[Session]:
        """A transaction: all of it is kept, or nothing.

        Args:
            of: whose rows are written: writers of the same wait for each other.
        """
        with self._transaction(WRITE) as session:
            if of:
                session.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (f"{self.tables.thing} {of}",))
            yield session

    def scrub(self) -> bool:
        """Leave nothing of what was deleted in the tables' files; return whether that was possible while others read.

        The tables are written anew, and their users wait. The server's log of writes and its backups keep what they
        have until the server drops them: that is set there.
        """
        end = time.monotonic() + self.patience
        with self._explained(), self._connect() as connection:
            connection.execute("SET statement_timeout = 0")
            kept: list[int] = []
            connection.add_notice_handler(lambda told: kept.append(_kept_for_others(told)))
            while True:
                kept.clear()
                try:
                    connection.execute(f"VACUUM (FULL, VERBOSE) {', '.join(self.tables.private)}")
                except self.psycopg.errors.LockNotAvailable:
                    return False
                if not any(kept) or time.monotonic() > end:
                    return not any(kept)
                time.sleep(0.05)

    def close(self) -> None:
        """Close the connections that are idle; a later use opens new ones."""
        self._pool.clear()

    # -- how -------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Session]:
        with self._used() as connection:
            connection.execute(begin)
            yield Session(connection)
            connection.execute("COMMIT")

    @contextmanager
    def _used(self) -> Iterator[Connection]:
        """A connection outside of any transaction; whatever fails in the block ends it, or rolls back."""
        with self._explained():
            connection = self._idle() or self._connect()
            try:
                yield connection
            except RecsysError:  # ours: the connection is as good as before
                connection.rollback()
                self._pool.give(connection)
                raise
            except BaseException:
                connection.close()
                raise
            self._pool.give(connection)

    def _idle(self) -> Connection | None:
        """Return a connection that has heard nothing while it was idle: a server that stops says so."""
        while (connection := self._pool.take()) is not None:
            with selectors.DefaultSelector() as heard:
                heard.register(connection.fileno(), selectors.EVENT_READ)
                if not heard.select(timeout=0):
                    return connection
            connection.close()
        return None

    def _connect(self) -> Connection:
        connection = self.psycopg.connect(**self._options, autocommit=True)
        try:
            wait = f"{max(1, round(self.patience * 1000))}ms"
            for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
                connection.execute("SELECT set_config(%s, %s, false)", (name, wait))
            durable = "SELECT set_config('synchronous_commit', 'on', false)"  # what is acknowledged is on the disk
            connection.execute(f"{durable} WHERE current_setting('synchronous_commit') = 'off'")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: Connection) -> None:
        """Make the tables, or bring older ones to this version; of two that try the second does nothing."""
        known, schema = len(self.tables.migrations), f"recsys_{self.tables.thing}"
        connection.execute("SELECT set_config('search_path', %s, false)", (schema,))
        found = self._version(connection)
        if found > known:
            cause = f"was written by a newer recsys (version {found}, known: {known})"
            raise ArtifactError(self.name, cause, "Update recsys, or name another database.")
        if found == known:
            return
        connection.execute("BEGIN READ WRITE")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATING,))
        if not connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", (schema,)).fetchone()[0]:
            connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute("CREATE TABLE IF NOT EXISTS migrated (version INTEGER NOT NULL)")
        for script in self.tables.migrations[self._version(connection) :]:
            connection.execute(script)
        connection.execute("DELETE FROM migrated")
        connection.execute("INSERT INTO migrated VALUES (%s)", (known,))
        connection.execute("COMMIT")

    def _version(self, connection: Connection) -> int:
        query = "SELECT current_setting('server_encoding'), to_regclass('migrated') IS NOT NULL"
        encoding, there = connection.execute(query).fetchone()
        if encoding != "UTF8":
            raise ArtifactError(self.name, f"keeps text as {encoding}", "Make a database with ENCODING 'UTF8'.")
        row = connection.execute("SELECT version FROM migrated").fetchone() if there else None
        return row[0] if row else 0

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (UnicodeEncodeError, self.psycopg.DataError) as error:
            raise DataError(self.tables.thing, _first_line(error), "Remove that character.") from None
        except self.psycopg.Error as error:
            state = error.sqlstate
            if isinstance(error, self.psycopg.OperationalError) and (not state or TRY_AGAIN.match(state)):
                remedy = "Try again; if it goes on, see whether the server runs and lets you in."
                raise BusyError(self.name, _first_line(error), remedy) from None
            remedy = "See to the server's permissions and space: what was there before is kept."
            raise ArtifactError(self.name, _first_line(error), remedy) from None


def load_psycopg(thing: str) -> Any:
    """Return the module.

    Raises:
        ConfigError: it is not installed, or lacks the server's library.
    """
    try:
        import psycopg
    except ImportError as error:
        cause = f"PostgreSQL needs the package 'psycopg' ({_first_line(error)})"
        raise ConfigError(thing, cause, "Install it: pip install 'recsys[postgres]'") from None
    return psycopg


def _kept_for_others(told: Diagnostic) -> int:
    """Return how many deleted rows a VACUUM says it had to keep for transactions that began before."""
    found = re.search(r"\d+", told.message_detail or "")
    return int(found[0]) if found else 0


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
