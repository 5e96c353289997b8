"""The SQLite file that profiles are kept in: opened safely, brought up to date, and scrubbed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from recsys.core.errors import ArtifactError

APPLICATION = 0x72707266  # "rprf": the file says whose it is
MIGRATIONS = (  # number n brings a file of version n to n + 1; a released one is never changed, only followed
    """
    CREATE TABLE versions (
        user_id TEXT NOT NULL, version INTEGER NOT NULL, parent INTEGER NOT NULL,
        made TEXT NOT NULL, edit TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (user_id, version)
    );
    CREATE TABLE heads (user_id TEXT PRIMARY KEY, version INTEGER NOT NULL);
    """,
)


@dataclass(frozen=True)
class Database:
    """One file; each use opens it anew, so that it may be shared by threads and forked processes.

    Attributes:
        path: of the file.
        patience: seconds to wait for another writer.
    """

    path: Path
    patience: float

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """One snapshot of the file; ``None`` where there is none yet."""
        if not self.path.is_file():
            yield None
            return
        with self.opened() as file:
            file.execute("BEGIN")
            yield file
            file.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the only writer: all of it is kept, or nothing."""
        with self.opened() as file:
            file.execute("BEGIN IMMEDIATE")
            try:
                yield file
            except BaseException:
                _roll_back(file)
                raise
            file.execute("COMMIT")

    def scrub(self) -> bool:
        """Leave nothing readable of what was deleted; return whether that was possible while others read."""
        with self.opened() as file:
            file.execute("VACUUM")  # what page moves left behind
            busy, *_ = file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # the log has copies of its own
        return not busy

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection outside of any transaction.

        Raises:
            ArtifactError: the file is not ours, newer, damaged, out of reach, or held by another writer.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=self.patience, isolation_level=None)) as file:
                if not self._is_fresh(file):
                    self._migrate(file)
                file.execute("PRAGMA synchronous = FULL")
                file.execute("PRAGMA secure_delete = ON")
                yield file
        except sqlite3.OperationalError as error:
            remedy = "Check its permissions and the space left; if another process holds it, try again."
            raise ArtifactError(f"profiles {self.path}", str(error), remedy) from None
        except sqlite3.DatabaseError as error:
            remedy = "Put a backup in its place, or name another file."
            raise ArtifactError(f"profiles {self.path}", str(error), remedy) from None
        except OSError as error:
            remedy = "Check its permissions, or name another file."
            raise ArtifactError(f"profiles {self.path}", error.strerror or str(error), remedy) from None

    def _is_fresh(self, file: sqlite3.Connection) -> bool:
        """Return whether the file has this version's tables; another program's is refused before it is touched."""
        file.execute("BEGIN")  # one look: somebody else may be making the tables
        owner, found = _number(file, "application_id"), _number(file, "user_version")
        (tables,) = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        file.execute("COMMIT")
        if owner != APPLICATION and tables:
            raise ArtifactError(f"profiles {self.path}", "is another program's database", "Name another file.")
        if found > len(MIGRATIONS):
            cause = f"was written by a newer recsys (file version {found}, known: {len(MIGRATIONS)})"
            raise ArtifactError(f"profiles {self.path}", cause, "Update recsys, or name another file.")
        return owner == APPLICATION and found == len(MIGRATIONS)

    def _migrate(self, file: sqlite3.Connection) -> None:
        """Bring an empty file, or an older one, to this version; of two processes that try the second does nothing."""
        with FileLock(f"{self.path}.lock"):  # SQLite itself does not wait where the kind of log is changed
            if self._is_fresh(file):
                return
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("BEGIN IMMEDIATE")
            try:
                for script in MIGRATIONS[_number(file, "user_version") :]:
                    for statement in filter(str.strip, script.split(";")):
                        file.execute(statement)
                file.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
                file.execute(f"PRAGMA application_id = {APPLICATION}")
            except BaseException:
                _roll_back(file)
                raise
            file.execute("COMMIT")


def _roll_back(file: sqlite3.Connection) -> None:
    if file.in_transaction:  # SQLite itself ends one where the disk is full
        file.execute("ROLLBACK")


def _number(file: sqlite3.Connection, pragma: str) -> int:
    return file.execute(f"PRAGMA {pragma}").fetchone()[0]
