"""Users of a service: who is meant, what they say, what is known of them, and their leaving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio.to_thread

from recsys.serving.arrivals import Arrivals
from recsys.serving.catalogue import refuse_float
from recsys.serving.people import People
from recsys.serving.person import Person
from recsys.serving.state.store import Event, StateStore


class Accounts:
    """The users of a service.

    Args:
        people: looks them up.
        state: where is kept what they say.
        items: what they say it of.

    Attributes:
        on_erase: called with the id of a user of the data who leaves.
        elsewhere: called with the id of a user who leaves; erases the user from other state of the data set, and
            returns how many events there were.
    """

    def __init__(self, people: People, state: StateStore, items: Arrivals) -> None:
        self.people, self.state, self.items = people, state, items
        self.on_erase: Callable[[str], None] = lambda user_id: None
        self.elsewhere: Callable[[str], int] = lambda user_id: 0

    async def person(self, user_id: str | None, history: Sequence[str] = ()) -> Person:
        """Return who is meant.

        Raises:
            UnknownUserError, UnknownItemError: there is none of that id.
        """
        if user_id is None:
            return self.people.session(history)
        found = self.people.kept(user_id)
        return found if found is not None else await anyio.to_thread.run_sync(self.people.of, user_id)

    async def record(self, event: Event) -> Event:
        """Keep what somebody said; it counts in the very next list, also of those who ask while it is written.

        Raises:
            UnknownUserError, UnknownItemError: there is none of that id.
            StateBusyError, StateConflictError: see ``StateStore.record``.
        """
        await self.items.meet(event.item_id)
        await self.person(event.user_id)
        self.people.item(event.item_id)
        try:
            return await anyio.to_thread.run_sync(self.state.record, event)
        finally:
            self.people.forget(event.user_id)

    async def take_back(self, user_id: str, number: int) -> bool:
        """Undo one event; return whether there was one.

        Raises:
            UnknownUserError: there is nobody of that id.
        """
        await self.person(user_id)
        try:
            return await anyio.to_thread.run_sync(self.state.take_back, user_id, number)
        finally:
            self.people.forget(user_id)

    async def add_user(self, user_id: str) -> bool:
        """Make somebody known; return ``False`` where that was so already.

        Raises:
            DataError: an id written as a float where ids are whole numbers.
        """
        refuse_float("user", user_id, self.people.dataset.users)
        try:
            return await anyio.to_thread.run_sync(self.state.add_user, user_id)
        finally:
            self.people.forget(user_id)

    def users(self, prefix: str, limit: int) -> list[str]:
        """Return ids of users that begin so: those created here first."""
        found = self.state.known_users(prefix, limit)
        if self.people.shared:
            self.people.read_erased()
        ids = self.people.dataset.users.ids
        there = ids.filter(ids.str.starts_with(prefix)).head(limit + len(self.people.erased)).to_list()
        return [*found, *(one for one in there if self.people.row(one) >= 0)][:limit]

    def told(self, user_id: str, limit: int) -> dict[str, Any]:
        """Return what is known of a user, the newest first."""
        taken, disliked, _ = self.people.history(user_id)
        events = self.state.events(user_id)[::-1][:limit]
        return {
            "user_id": user_id, "n_taken": len(taken), "taken": self._cards(taken[::-1][:limit]),
            "disliked": self._cards(disliked[::-1][:limit]), "events": events,
        }  # fmt: skip

    def _cards(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        numbers = (self.people.number(one) for one in ids)
        return [self.items.card(one) for one in numbers if one is not None]

    def export(self, user_id: str) -> dict[str, Any]:
        """Return all that is kept of a user."""
        taken, *_ = self.people.history(user_id)
        return {**self.state.export(user_id), "taken": taken}

    def erase(self, user_id: str) -> int:
        """Remove a user; one of the data is nobody from now on, and the next training leaves the user out."""
        row = self.people.row(user_id)
        if row >= 0:
            self.people.leave_out(user_id, row)
            self.on_erase(user_id)
        removed = self.state.erase(user_id) + self.elsewhere(user_id)
        self.people.forget(user_id)
        return removed
