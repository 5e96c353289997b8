"""Profiles with versions, kept where several processes may read and edit them: one interface, on databases."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from recsys.core.errors import ArtifactError, DataError, RecsysError
from recsys.core.postgres import PostgresDatabase, Session
from recsys.core.sqlite import SQLiteDatabase
from recsys.profiles.database import FORMAT
from recsys.profiles.schema import VERSION, UserProfile

MOVE = "INSERT INTO heads VALUES (?, ?) ON CONFLICT (user_id) DO UPDATE SET version = excluded.version"


class StaleProfileError(RecsysError):
    """An edit was made from a version that is no longer the current one."""


@dataclass(frozen=True)
class Version:
    """One entry of a profile's history.

    Attributes:
        version: counts from 1 for each user.
        parent: the version it was made from; 0: none.
        made: when, UTC, ISO 8601.
        edit: what was done, in the words of whoever did it.
        current: whether it is the one that counts.
    """

    version: int
    parent: int
    made: str
    edit: str
    current: bool


@dataclass(frozen=True)
class StoredProfile:
    """A profile and the version it is: an edit names it."""

    profile: UserProfile
    version: int


class ProfileStore(Protocol):
    """Keeps profiles, with all their versions."""

    def put(self, profile: UserProfile, *, made_from: int = 0, edit: str = "") -> int:
        """Keep a profile as the new current version, on the disk before it returns; return the version's number.

        Args:
            profile: of a user with an id.
            made_from: the version that it was made from; 0: the user has none yet.
            edit: what was done.

        Raises:
            StaleProfileError: ``made_from`` is not the current version; nothing is kept.
            DataError: the profile belongs to no user.
        """
        ...

    def get(self, user_id: str, version: int | None = None) -> StoredProfile | None:
        """Return a version, by default the current one; ``None`` where nothing is kept of the user.

        Raises:
            DataError: there is no such version.
        """
        ...

    def history(self, user_id: str) -> list[Version]:
        """Return all versions, oldest first; none where nothing is kept of the user."""
        ...

    def undo(self, user_id: str) -> StoredProfile:
        """Make the version that the current one was made from current again.

        Raises:
            DataError: there is none.
        """
        ...

    def redo(self, user_id: str) -> StoredProfile:
        """Take back the last undo.

        Raises:
            DataError: there is none, or the profile was edited since.
        """
        ...

    def erase(self, user_id: str) -> int:
        """Remove all that is kept of a user, so that it can no longer be read from the disk; return how many versions.

        Raises:
            ArtifactError: others were reading throughout, so that traces may be left: erase again.
        """
        ...

    def export(self, user_id: str) -> dict[str, Any]:
        """Return all that is kept of a user, as plain values."""
        ...


class SQLProfileStore:
    """What all stores in databases share; one that looks makes nothing.

    Args:
        database: with the tables of ``recsys.profiles.database``.
    """

    def __init__(self, database: SQLiteDatabase | PostgresDatabase) -> None:
        self.database = database

    def put(self, profile: UserProfile, *, made_from: int = 0, edit: str = "") -> int:
        user_id = profile.user_id
        if user_id is None:
            raise DataError("profile", "belongs to no user, so it cannot be found again", "Keep it as a JSON file.")
        document, made = profile.model_dump_json(), datetime.now(UTC).isoformat(timespec="milliseconds")
        with self.database.writing(user_id) as file:
            current = _head(file, user_id)
            if current != made_from:
                raise StaleProfileError(
                    f"profile of user {user_id!r}",
                    f"the edit was made from version {made_from}, and version {current} is current"
                    if current
                    else f"the edit was made from version {made_from}, and nothing is kept of the user",
                    "Read the profile again, and repeat the edit on it.",
                )
            (last,) = file.execute("SELECT max(version) FROM versions WHERE user_id = ?", (user_id,)).fetchone()
            row = (user_id, (last or 0) + 1, made_from, made, edit, document)
            file.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)", row)
            _move_head(file, user_id, row[1])
        return row[1]

    def get(self, user_id: str, version: int | None = None) -> StoredProfile | None:
        if not self.database.exists():
            return None
        with self.database.reading() as file:
            return self._read(file, user_id, version)

    def history(self, user_id: str) -> list[Version]:
        if not self.database.exists():
            return []
        with self.database.reading() as file:
            return _history(file, user_id)

    def undo(self, user_id: str) -> StoredProfile:
        query = "SELECT parent FROM versions WHERE user_id = ? AND version = ?"
        return self._step(user_id, query, "nothing to undo: it is the first version", "See what there is: --history")

    def redo(self, user_id: str) -> StoredProfile:
        query = "SELECT max(version) FROM versions WHERE user_id = ? AND parent = ?"
        return self._step(
            user_id, query, "nothing to redo: no version was made from it", "See what there is: --history"
        )

    def erase(self, user_id: str) -> int:
        if not self.database.exists():
            return 0
        with self.database.writing(user_id) as file:
            removed = file.execute("DELETE FROM versions WHERE user_id = ?", (user_id,)).rowcount
            file.execute("DELETE FROM heads WHERE user_id = ?", (user_id,))
        if not self.database.scrub():
            raise ArtifactError(
                self.database.name, f"user {user_id!r} is removed, but others read old copies throughout",
                "Erase again when they are done: until then traces are left in the file's log.",
            )  # fmt: skip
        return removed

    def export(self, user_id: str) -> dict[str, Any]:
        versions: list[dict[str, Any]] = []
        if not self.database.exists():
            return {"user_id": user_id, "versions": versions}
        with self.database.reading() as file:
            for one in _history(file, user_id):
                found = self._read(file, user_id, one.version)
                versions.append({**vars(one), "profile": found.profile.model_dump(mode="json")})
        return {"user_id": user_id, "versions": versions}

    # -- how -------------------------------------------------------------------------------------------------

    def _step(self, user_id: str, query: str, cause: str, remedy: str) -> StoredProfile:
        with self.database.writing(user_id) as file:
            current = _head(file, user_id)
            (target,) = file.execute(query, (user_id, current)).fetchone() or (None,) if current else (None,)
            if not target:
                nothing = "nothing is kept of the user" if not current else cause
                raise DataError(f"profile of user {user_id!r}", nothing, remedy)
            _move_head(file, user_id, target)
            found = self._read(file, user_id, target)
        assert found is not None  # the transaction saw it
        return found

    def _read(self, file: sqlite3.Connection | Session, user_id: str, version: int | None) -> StoredProfile | None:
        wanted = _head(file, user_id) if version is None else version
        query = "SELECT document FROM versions WHERE user_id = ? AND version = ?"
        row = file.execute(query, (user_id, wanted)).fetchone()
        if row is None and version is None:
            return None
        if row is None:
            raise DataError(
                f"profile of user {user_id!r}", f"has no version {version}", "See which there are: --history"
            )
        return StoredProfile(self._parsed(row[0], user_id, wanted), wanted)

    def _parsed(self, document: str, user_id: str, version: int) -> UserProfile:
        thing = f"profile of user {user_id!r}, version {version}, in {self.database.name}"
        try:
            profile = UserProfile.model_validate_json(document)
        except ValidationError as error:
            cause = f"does not read as a profile ({error.errors()[0]['msg']})"
            raise ArtifactError(thing, cause, "Undo it, or erase the profile.") from None
        if profile.version != VERSION:
            cause = f"is a document of schema {profile.version}, and this program reads {VERSION}"
            raise ArtifactError(thing, cause, "Use the version of recsys that wrote it, or erase the profile.")
        return profile


class SQLiteProfileStore(SQLProfileStore):
    """The store in one SQLite file, made by the first ``put``: writers wait for each other, readers for nobody.

    Args:
        path: of the file.
        patience: seconds to wait for another writer.
    """

    def __init__(self, path: Path, *, patience: float = 30.0) -> None:
        self.path = Path(path)
        super().__init__(SQLiteDatabase(self.path, FORMAT, patience))


def _head(file: sqlite3.Connection | Session, user_id: str) -> int:
    """Return the current version; 0: none."""
    row = file.execute("SELECT version FROM heads WHERE user_id = ?", (user_id,)).fetchone()
    return row[0] if row else 0


def _history(file: sqlite3.Connection | Session, user_id: str) -> list[Version]:
    query = """
        SELECT v.version, v.parent, v.made, v.edit, v.version = h.version
        FROM versions v JOIN heads h USING (user_id) WHERE user_id = ? ORDER BY v.version
    """
    return [Version(*row[:4], current=bool(row[4])) for row in file.execute(query, (user_id,))]


def _move_head(file: sqlite3.Connection | Session, user_id: str, version: int) -> None:
    file.execute(MOVE, (user_id, version))
