"""What language models answered, by content: the same question to the same model is asked once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recsys.core.errors import ArtifactError
from recsys.profiles.llm.protocol import Prompt

TABLES = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owners (owner TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (owner, key)) WITHOUT ROWID;
"""
PATIENCE = 30.0  # seconds to wait for another writer


def question_key(identity: str, prompt: Prompt, parameters: Mapping[str, Any]) -> str:
    """Return a hash of all that an answer depends on."""
    told = prompt if isinstance(prompt, str) else [asdict(one) for one in prompt]
    content = json.dumps([identity, told, dict(parameters)], sort_keys=True)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


class AnswerCache:
    """A SQLite file; each answer is on disk once ``put`` returns, so whoever is killed goes on from there.

    Questions are kept as hashes only. Of users there are hashes, too, so that one can be forgotten.

    Args:
        path: of the file; made when first written to. ``None`` keeps answers in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path, self._memory = path, {}

    def get(self, key: str, owner: str | None = None) -> Any:
        """Return the value of a key, ``None`` where there is none or it is damaged.

        Args:
            key: of the question.
            owner: the user who asks: forgetting any of those who asked forgets the answer.
        """
        if self.path is None:
            return self._memory.get(key)
        if not self.path.is_file():
            return None
        with self._opened() as file:
            row = file.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            if owner is not None:
                file.execute("INSERT OR IGNORE INTO owners VALUES (?, ?)", (_owner(owner), key))
        try:
            return json.loads(row[0])
        except ValueError:
            return None

    def put(self, key: str, value: Any, owner: str | None = None) -> None:
        """Keep plain values."""
        if self.path is None:
            self._memory[key] = value
            return
        with self._opened() as file:
            file.execute("BEGIN IMMEDIATE")
            file.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(value)))
            if owner is not None:
                file.execute("INSERT OR IGNORE INTO owners VALUES (?, ?)", (_owner(owner), key))
            file.execute("COMMIT")

    def forget(self, owner: str) -> int:
        """Remove every answer that a user's profile brought about; return how many."""
        if self.path is None or not self.path.is_file():
            return 0
        with self._opened() as file:
            file.execute("BEGIN IMMEDIATE")
            mine = "SELECT key FROM owners WHERE owner = ?"
            gone = file.execute(f"DELETE FROM answers WHERE key IN ({mine})", (_owner(owner),)).rowcount
            file.execute(f"DELETE FROM owners WHERE key IN ({mine})", (_owner(owner),))
            file.execute("COMMIT")
            file.execute("VACUUM")  # what page moves left behind
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def __len__(self) -> int:
        if self.path is None:
            return len(self._memory)
        if not self.path.is_file():
            return 0
        with self._opened() as file:
            return file.execute("SELECT count(*) FROM answers").fetchone()[0]

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as file:
                file.execute("PRAGMA journal_mode = WAL")
                file.execute("PRAGMA secure_delete = ON")
                file.executescript(TABLES)
                yield file
        except sqlite3.Error as error:
            remedy = "It is only a cache: delete the file, or name another one."
            raise ArtifactError(f"answers {self.path}", str(error), remedy) from None
        except OSError as error:
            raise ArtifactError(
                f"answers {self.path}", error.strerror or str(error), "Check its permissions, or name another file."
            ) from None


def _owner(user_id: str) -> str:
    return hashlib.sha256(b"user\x00" + user_id.encode("utf-8", "surrogatepass")).hexdigest()
