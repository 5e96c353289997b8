"""Profiles that also rest on what users said to a server, as its routes and its lists need them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from recsys.core.fingerprint import fingerprint
from recsys.profiles.history import History
from recsys.profiles.schema import UserProfile
from recsys.profiles.steering import Edited, Steered, named
from recsys.profiles.store import ProfileStore, StaleProfileError
from recsys.profiling import Current, Profiling
from recsys.serving.people import People, verdicts
from recsys.serving.person import Steering
from recsys.serving.state.store import Event
from recsys.workflow import Workflow

NEWCOMER = -1


class ServedProfiles(Profiling):
    """Profiles that also rest on what users said to the server.

    Args:
        workflow: the run.
        store: where edited profiles are kept.
    """

    def __init__(self, workflow: Workflow, store: ProfileStore | None = None) -> None:
        super().__init__(workflow, store)
        self.people: People | None = None  # set when there is one: each knows the other
        self._lock = threading.RLock()  # the builder keeps what it has worked out

    def history(self, user_id: str, hidden: Sequence[str] = ()) -> History:
        """Return what a user took in train, less what was said of it since, and what was liked since as the newest.

        Args:
            user_id: of the user.
            hidden: ids of items that are taken as if the user had just hidden them.
        """
        assert self.people is not None
        events = [*self.people.state.events(user_id), *(Event(user_id, item, "hide") for item in hidden)]
        row, said = self.people.row(user_id), verdicts(events)
        before = self.builder.history(row) if row >= 0 else History.of([], len(self.dataset.items))
        kept = ~np.isin(before.items, self.dataset.items.index(said))
        liked = self.dataset.items.index(item for item, word in said.items() if word == "like")
        return _joined(before, kept, liked[liked >= 0], len(self.dataset.items))

    def built_from(self, user_id: str, history: History) -> UserProfile:
        with self._lock:
            profile = self.builder.build(history, user_id=user_id)
            data = fingerprint([profile.origin.data, history.items.tolist()])[:16]  # built anew when more was said
            return profile.model_copy(update={"origin": profile.origin.model_copy(update={"data": data})})

    # -- for routes ------------------------------------------------------------------------------------------

    def read(self, user_id: str) -> dict[str, Any]:
        """Return a user's profile and its version."""
        with self._lock:
            return _told(self.current(user_id))

    def edit_as(self, user_id: str, edits: Sequence[str], made_from: int | None) -> dict[str, Any]:
        """Make edits.

        Raises:
            DataError: an edit cannot be made.
            StaleProfileError: the version is no longer the current one.
        """
        with self._lock:
            current = self.current(user_id)
            if made_from is not None and made_from != current.version:
                cause = f"is at version {current.version}, and the edit was made from {made_from}"
                raise StaleProfileError(f"profile of user {user_id[:80]!r}", cause, "Read it again.")
            done = self.edit(current, edits)
            return {**_told(done.after), "notes": list(done.notes)}

    def undo_as(self, user_id: str, again: bool) -> dict[str, Any]:
        """Take the last edit back, or the last undo.

        Raises:
            DataError: there is none.
        """
        with self._lock:
            return _told(self.undo(user_id, again=again).after)

    def erase(self, user_id: str) -> int:
        """Remove what is kept of a user."""
        return self.store.erase(user_id)

    def export(self, user_id: str) -> dict[str, Any]:
        """Return what is kept of a user."""
        return self.store.export(user_id)

    def steering(self, user_id: str, hidden: Sequence[str] = ()) -> Steering | None:
        """Return what a user's edits do to lists (``hidden``: see ``history``)."""
        if self.store.get(user_id) is None:
            return None
        with self._lock:
            current = self.current_from(user_id, self.history(user_id, hidden))
            edited = Edited(current.built, current.profile)
            steered = Steered(_Silent(), {NEWCOMER: edited}, self.matcher)
            moved, never = steered.moved(NEWCOMER), steered.banned(NEWCOMER)
            bans = {named(key): np.flatnonzero(self.matcher.meant([key])) for key in edited.forbidden}
        if not moved.any() and not len(never):
            return None
        return Steering(moved, never, *steered.apart(NEWCOMER), bans)


class _Silent:
    """Scores nothing: only what edits add is asked for."""

    def score(self, query: Any) -> np.ndarray:
        raise NotImplementedError


class ProfileRoutes:
    """Profiles as routes call them.

    Args:
        profiles: see there.
    """

    def __init__(self, profiles: ServedProfiles) -> None:
        self.profiles = profiles
        self.read, self.erase, self.export = profiles.read, profiles.erase, profiles.export
        self.edit, self.undo = profiles.edit_as, profiles.undo_as


def _joined(before: History, kept: np.ndarray, since: np.ndarray, n_items: int) -> History:
    """Return a history, less what is not kept, and what came since as the newest."""
    items = np.concatenate([before.items[kept], since])
    times = ratings = None
    if before.times is not None:
        last = int(before.times.max()) if len(before.times) else 0
        times = np.concatenate([before.times[kept], last + 1 + np.arange(len(since))])
    if before.ratings is not None:
        ratings = np.concatenate([before.ratings[kept], np.full(len(since), np.nan)])
    return History.of(items, n_items, times, ratings)


def _told(current: Current) -> dict[str, Any]:
    return {"profile": current.profile.model_dump(mode="json"), "version": current.version, "notes": []}
