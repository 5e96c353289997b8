"""An SQLite file that several threads and processes share: opened safely, brought up to date, and scrubbed."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from recsys.core.errors import ArtifactError, BusyError, DataError
from recsys.core.pool import Pool

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@dataclass(frozen=True)
class Format:
    """What a file holds.

    Attributes:
        thing: the word for it in messages.
        application: a number that the file says whose it is by.
        migrations: number n brings a file of version n to n + 1; a released one is never changed, only followed.
    """

    thing: str
    application: int
    migrations: tuple[str, ...]


class SQLiteDatabase:
    """One file with a write-ahead log and ``synchronous=FULL``: what was committed is on the disk.

    It is made by its first use. Connections are kept open between uses, none is used by two threads at once, and
    those of a parent process or of a file that has been replaced are not used any more.

    Args:
        path: of the file.
        format: what it holds.
        patience: seconds to wait for another writer.
    """

    def __init__(self, path: Path, format: Format, patience: float) -> None:
        self.path, self.format, self.patience = Path(path), format, patience
        self.name = f"{format.thing} {self.path}"
        self._pool: Pool[sqlite3.Connection] = Pool()
        self._gates: dict[int, threading.Lock] = {}  # process → its own: a fork may have copied a held one

    def exists(self) -> bool:
        """Return whether there is a file: looking would make one."""
        return self.path.is_file()

    def ask(self, statement: str, row: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement that reads, and return its rows."""
        with self.opened() as file:
            return file.execute(statement, row).fetchall()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot of the file."""
        with self.opened() as file:
            file.execute("BEGIN")
            yield file
            file.execute("COMMIT")

    @contextmanager
    def writing(self, of: str = "") -> Iterator[sqlite3.Connection]:
        """A transaction of the only writer: all of it is kept, or nothing.

        Args:
            of: whose rows are written; no matter here, where all writers wait for each other.
        """
        with self._gate(), self.opened() as file:
            file.execute("BEGIN IMMEDIATE")
            yield file
            file.execute("COMMIT")

    def scrub(self) -> bool:
        """Leave nothing readable of what was deleted; return whether that was possible while others read."""
        with self._gate(), self.opened() as file:
            file.execute("VACUUM")  # what page moves left behind
            busy, *_ = file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # the log has copies of its own
        return not busy

    def close(self) -> None:
        """Close the connections that are idle; a later use opens new ones."""
        self._pool.clear()

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection outside of any transaction; whatever fails in the block closes it, which rolls back.

        Raises:
            BusyError: another writer holds the file.
            ArtifactError: the file is not ours, newer, damaged or out of reach, or the disk is full.
        """
        with self._explained():
            file = self._pool.take(self._stamp()) or self._connect()
            try:
                if not self._is_fresh(file):
                    self._migrate(file)
                stamp = self._stamp()
                yield file
            except BaseException:
                with suppress(sqlite3.Error):
                    file.close()
                raise
            self._pool.give(file, stamp)

    # -- how -------------------------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if (getattr(error, "sqlite_errorcode", 0) & 0xFF) in BUSY:
                raise BusyError(self.name, str(error), "Another process holds it: try again.") from None
            remedy = "Check its permissions and the space left: what was there before is kept."
            raise ArtifactError(self.name, str(error), remedy) from None
        except sqlite3.DatabaseError as error:
            remedy = "Put a backup in its place, or name another file."
            raise ArtifactError(self.name, str(error), remedy) from None
        except OSError as error:
            remedy = "Check its permissions, or name another file."
            raise ArtifactError(self.name, error.strerror or str(error), remedy) from None
        except UnicodeEncodeError as error:
            raise DataError(self.format.thing, str(error), "Remove that character.") from None

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Let the threads of a process write in turn: SQLite's own waiting is by sleeping, and unfair."""
        gate = self._gates.setdefault(os.getpid(), threading.Lock())
        if not gate.acquire(timeout=self.patience):
            raise BusyError(self.name, "is locked by other writers of this process", "Try again.")
        try:
            yield
        finally:
            gate.release()

    def _stamp(self) -> tuple[int, int] | None:
        """Return which file lies at the path: a backup put in its place is another one."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(
            self.path.absolute(), timeout=self.patience, isolation_level=None, check_same_thread=False
        )
        try:
            file.execute("PRAGMA synchronous = FULL")
            file.execute("PRAGMA secure_delete = ON")
        except BaseException:
            file.close()
            raise
        return file

    def _is_fresh(self, file: sqlite3.Connection) -> bool:
        """Return whether the file has this version's tables; another program's is refused before it is touched."""
        file.execute("BEGIN")  # one look: somebody else may be making the tables
        owner, found = _number(file, "application_id"), _number(file, "user_version")
        ours = owner == self.format.application
        tables = 0 if ours else file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        file.execute("COMMIT")
        if tables:
            raise ArtifactError(self.name, "is another program's database", "Name another file.")
        if found > len(self.format.migrations):
            cause = f"was written by a newer recsys (file version {found}, known: {len(self.format.migrations)})"
            raise ArtifactError(self.name, cause, "Update recsys, or name another file.")
        return ours and found == len(self.format.migrations)

    def _migrate(self, file: sqlite3.Connection) -> None:
        """Bring an empty file, or an older one, to this version; of two processes that try the second does nothing."""
        with FileLock(f"{self.path}.lock"):  # SQLite itself does not wait where the kind of log is changed
            if self._is_fresh(file):
                return
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("BEGIN IMMEDIATE")
            for script in self.format.migrations[_number(file, "user_version") :]:
                for statement in filter(str.strip, script.split(";")):
                    file.execute(statement)
            file.execute(f"PRAGMA user_version = {len(self.format.migrations)}")
            file.execute(f"PRAGMA application_id = {self.format.application}")
            file.execute("COMMIT")


def _number(file: sqlite3.Connection, pragma: str) -> int:
    return file.execute(f"PRAGMA {pragma}").fetchone()[0]
