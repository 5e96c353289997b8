"""Where the trials of a search are kept: a journal file, or a database by URL; both take a kill at any moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from filelock import FileLock
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from recsys.core.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

RECORD = b'{"op_code":'  # how Optuna begins every line


def open_storage(place: str | Path) -> BaseStorage:
    """Open (or begin) a storage.

    Args:
        place: a file, or a URL of a database that SQLAlchemy knows, such as ``sqlite:///trials.db``.

    Raises:
        ConfigError: a URL that cannot be used.
        ArtifactError: a file that cannot be read or written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if "://" in str(place):
        return _database(str(place))
    path = Path(place)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            _check_end(path)
            found = optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=_Lock(path)))
            _mend(path)
        return found
    except OSError as error:
        raise ArtifactError(f"trials {path}", error.strerror or str(error), "Choose another --storage.") from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise ArtifactError(
            f"trials {path}", f"not a journal of Optuna ({error})", "Choose another --storage."
        ) from error


def _database(url: str) -> BaseStorage:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.storages.RDBStorage(url)
    except (SQLAlchemyError, ImportError, OSError) as error:
        cause = str(error).splitlines()[0]
        raise ConfigError(f"storage {url!r}", cause, "Such as sqlite:///trials.db, or a file.") from error


class _Lock(JournalFileOpenLock):
    """A lock that the system takes back from a killed process; Optuna's own would be waited for."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._lock = FileLock(f"{path}.lock")

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _check_end(path: Path) -> None:
    """Refuse a file that does not end as a journal does; Optuna finds that out only once it has added to it.

    Raises:
        ValueError: its last line is no record, or if it was not written to its end, not the beginning of one.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    for line in lines[-2:]:
        if not line.startswith(RECORD[: len(line)]):
            raise ValueError("its last line is none of its records")
        if line.endswith(b"\n"):
            json.loads(line)


def _mend(path: Path) -> None:
    """Cut off a last line that was not written to its end; Optuna would add to it and never read the file again."""
    if not path.is_file():
        return
    with open(path, "rb+") as file:
        text = file.read()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            file.truncate(whole)
            file.flush()
            os.fsync(file.fileno())
