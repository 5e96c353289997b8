"""Files that hold what was said of a data set: feedback and new items, edited profiles, answers of language models.

They belong to the data set, wherever its raw files lie and from where a run is started (``recsys.data.identity``).
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from copy import deepcopy
from pathlib import Path

from filelock import FileLock, Timeout

from recsys.core.amounts import amount
from recsys.core.errors import ConfigError
from recsys.data.identity import (
    Known,
    facts_of,
    grown_from,
    locked,
    name_of,
    plain_name,
    read_known,
    recognised,
    write_known,
)
from recsys.profiles.llm.cache import AnswerCache
from recsys.profiles.store import SQLiteProfileStore
from recsys.serving.state.sqlite import SQLiteStateStore
from recsys.workflow import Workflow

SERVED, PROFILES = "served", "profiles"
FILES = ((SERVED, ".sqlite"), (PROFILES, ".sqlite"), (PROFILES, ".answers.sqlite"))
UNTOLD = "ml-100k"  # the source that earlier versions took where a run did not say
NOT_SAID = ("settings", "totals", "heads")  # tables that hold nothing that anybody said


class StateFiles:
    """The files of a run's data set.

    Args:
        workflow: the run.

    Attributes:
        name: of the data set in the names of files.
        notes: a line on each thing worth knowing: files that were renamed, or that are like these and not opened.

    Raises:
        ArtifactError: the registry is damaged.
        ConfigError: files that would be renamed are in use.
    """

    def __init__(self, workflow: Workflow) -> None:
        self.root, self.notes = workflow.store.root, []
        with locked(self.root):
            known = read_known(self.root)
            before = deepcopy(known)
            self.name = self._resolve(workflow, known)
            if known != before:
                write_known(self.root, known)
        self.also = known[self.name].also
        self.notes += self._unopened(known)

    @property
    def served(self) -> Path:
        """Feedback and new items of a server."""
        return self._file(self.name, SERVED)

    @property
    def profiles(self) -> Path:
        """Edited profiles."""
        return self._file(self.name, PROFILES)

    @property
    def answers(self) -> Path:
        """What language models answered."""
        return self._file(self.name, PROFILES, ".answers.sqlite")

    def erase_elsewhere(self, user_id: str, opened: Iterable[Path]) -> int:
        """Erase a user from the files of feedback and profiles that are not opened; return how many events there were.

        Args:
            user_id: whose rows go.
            opened: files that whoever has them open erases the user from.
        """
        events, opened = 0, list(opened)
        for name in (self.name, *self.also):
            state, profiles = self._file(name, SERVED), self._file(name, PROFILES)
            if state.is_file() and not _among(state, opened):
                with closing(SQLiteStateStore(state)) as store:
                    events += store.erase(user_id)
            if not _among(profiles, opened):
                SQLiteProfileStore(profiles).erase(user_id)
        return events

    def forget_elsewhere(self, user_id: str) -> tuple[int, int]:
        """Remove versions of a user's profile, and answers about the user, from files that are not opened."""
        versions = sum(SQLiteProfileStore(self._file(name, PROFILES)).erase(user_id) for name in self.also)
        answers = (self._file(name, PROFILES, ".answers.sqlite") for name in self.also)
        return versions, sum(AnswerCache(path).forget(user_id) for path in answers if path.is_file())

    # -- how -------------------------------------------------------------------------------------------------

    def _file(self, name: str, room: str, end: str = ".sqlite") -> Path:
        return self.root / room / f"{name}{end}"

    def _resolve(self, workflow: Workflow, known: dict[str, Known]) -> str:
        """Return the name of the run's data set, and bring what is known of it up to date."""
        here, wanted = facts_of(workflow.data(), os.path.realpath(workflow.raw_folder)), workflow.config.data.name
        found = recognised(known, here, named=wanted is not None)
        if found is None and wanted not in known:
            found = self._of_earlier_versions(workflow, known, here)
        if found is None and wanted is None:
            self._refuse_lost(known, here)
        name = wanted or found or name_of(here.source, here.places[0])
        if found is not None and found != name:
            self._call(known, found, name)
        entry = known.setdefault(name, Known(here.source))
        moved = entry.gone() or here.places[0] in entry.places
        entry.add(here if moved or wanted else Known(here.source, [], here.contents))
        return name

    def _of_earlier_versions(self, workflow: Workflow, known: dict[str, Known], here: Known) -> str | None:
        """Take up files that earlier versions named by the raw folder; of several the fullest is opened."""
        here.add(grown_from(here, workflow.store.list("data")))
        names = dict.fromkeys(name_of(source, place) for place in here.places for source in (here.source, UNTOLD))
        there = [name for name in names if name not in known and self._rows(name)]
        if not there:
            return None
        name = max(there, key=self._rows)
        known[name] = Known(here.source, also=[other for other in there if other != name])
        return name

    def _refuse_lost(self, known: dict[str, Known], here: Known) -> None:
        """Refuse a new data set where it may be a known one that was moved and changed at once.

        Raises:
            ConfigError: there is state of a data set of the same source whose folder is gone.
        """
        for name, entry in known.items():
            if entry.source == here.source and entry.places and entry.gone() and (rows := self._rows(name)):
                where = f"state {name} in {self.root}"
                cause = (
                    f"belongs to a data set whose folder {entry.places[-1]} is gone ({amount(rows, 'row')}); "
                    f"{here.places[0]} may be that data set, moved and changed, or another one"
                )
                remedy = f"Set data.name={name} if it is the same, else data.name to a name of its own."
                raise ConfigError(where, cause, remedy)

    def _call(self, known: dict[str, Known], old: str, new: str) -> None:
        """Let a data set have another name; files of both names are not joined."""
        entry = known.pop(old)
        if new in known or self._rows(new):
            known.setdefault(new, Known(entry.source)).add(entry)
            known[new].also = [name for name in (*known[new].also, old) if name != new]
            return
        known[new] = entry
        for room, end in FILES:
            before, after = self._file(old, room, end), self._file(new, room, end)
            if before.is_file():
                _rename(before, after)
                self.notes.append(f"{before} is now {after}")

    def _rows(self, name: str) -> int:
        """Return how many rows the files of a name hold."""
        return sum(_rows(self._file(name, room)) for room in (SERVED, PROFILES))

    def _unopened(self, known: dict[str, Known]) -> Iterator[str]:
        """Yield a line where there are files of the same source which are not opened, though they hold something."""
        source = known[self.name].source
        ours = re.compile(re.escape(plain_name(source)) + "-[0-9a-f]{8}")
        of_source = {name for name, entry in known.items() if entry.source == source} | set(self.also)
        others = sorted(
            path for room in (SERVED, PROFILES) for path in (self.root / room).glob("*.sqlite")
            if path.stem != self.name and (path.stem in of_source or ours.fullmatch(path.stem)) and _rows(path)
        )  # fmt: skip
        if others:
            listed = ", ".join(f"{path.relative_to(self.root)} ({amount(_rows(path), 'row')})" for path in others)
            hint = f"data.name={others[0].stem} opens that"
            yield f"state of this data set is {self.name}; not opened, of the same source: {listed}; {hint}"


def _among(path: Path, others: Iterable[Path]) -> bool:
    return path.exists() and any(other.exists() and path.samefile(other) for other in others)


def _rows(path: Path) -> int:
    """Return how much was said in a file; one that cannot be read counts as something."""
    if not path.is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            names = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            said = [name for name in names if name not in NOT_SAID and not name.startswith("sqlite_")]
            return sum(file.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in said)
    except sqlite3.Error:
        return 1


def _rename(before: Path, after: Path) -> None:
    """Give a database another name, with what its log holds.

    Raises:
        ConfigError: a server uses it.
    """
    lock = FileLock(f"{before}.server")
    try:
        with lock.acquire(timeout=0):
            with closing(sqlite3.connect(before)) as file:
                file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            os.replace(before, after)
    except (Timeout, sqlite3.Error) as error:
        cause = "is in use by another server" if isinstance(error, Timeout) else str(error)
        raise ConfigError(f"state {before}", cause, f"Stop it: the file is to be called {after.name}.") from None
