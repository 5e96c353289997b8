"""The service without its HTTP: people, models, feedback, new items. One object answers for a whole process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import anyio
import anyio.to_thread
import numpy as np

from recsys.core.errors import DataError, EncoderError
from recsys.serving.batching import Batcher
from recsys.serving.engine import Engine, Line, Why, Wish
from recsys.serving.fresh import FreshItem, FreshItems, Neighbourhood
from recsys.serving.models import Models
from recsys.serving.offered import Offered
from recsys.serving.people import People, Person
from recsys.serving.state.store import Event, NewItem, StateStore

Vectors = Callable[[NewItem], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Wanted:
    """A list that is asked for, in outside terms.

    Attributes:
        user_id: for whom; none: for somebody who likes ``history``.
        history: ids of items, oldest first.
        k: length.
        filters, only, never: which items may be shown (``Offered.mask``); ids.
        diversity, reasons: see ``Wish``.
        model: variant; empty: the one that answers this user.
    """

    user_id: str | None = None
    history: Sequence[str] = ()
    k: int = 20
    filters: Sequence[str] = ()
    only: Sequence[str] = ()
    never: Sequence[str] = ()
    diversity: float = 0.0
    reasons: bool = True
    model: str = ""


@dataclass(frozen=True)
class Listed:
    """A list, and who made it: all of it by one variant.

    Attributes:
        lines: best first.
        model, key: name of the variant, and of the artifact it stands for.
        shadowed: share of the list that the shadow variant lists, too; none: there is no shadow.
    """

    lines: list[Line]
    model: str
    key: str
    shadowed: float | None = None


@dataclass(frozen=True)
class _Task:
    engine: Engine
    wish: Wish
    fresh: FreshItems
    shadow: Engine | None = None


class Service:
    """Everything that routes call.

    Args:
        models: who answers.
        people: for whom.
        state: what is kept.
        neighbourhood: where new items are placed; none: they cannot be read here.
        vectors: reads a new item: vectors by modality.
        batcher: settings of ``Batcher``.
    """

    def __init__(
        self, models: Models, people: People, state: StateStore, *, neighbourhood: Neighbourhood | None = None,
        vectors: Vectors | None = None, batcher: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.models, self.people, self.state = models, people, state
        self.neighbourhood, self.vectors = neighbourhood, vectors
        self.batcher: Batcher[_Task, Listed] = Batcher(self._answer, **(batcher or {}))
        self.catalogue = models.of(None).recommender.catalogue
        self.stopping, self._reading = False, threading.Lock()
        self._placed: dict[str, FreshItem] = {}
        self._newest = self._removals = 0
        self.on_erase: Callable[[str], None] = lambda user_id: None
        self.read_items()
        people.on_unknown = self.follow_items

    # -- lists -----------------------------------------------------------------------------------------------

    async def recommend(self, wanted: Wanted) -> Listed:
        """Return a list.

        Raises:
            UnknownUserError, UnknownItemError: see there.
            DataError: a filter that is not understood.
            OverloadedError: more is asked for than can be answered.
        """
        await self._meet(*wanted.history, *wanted.only, *wanted.never)
        person = await self.person(wanted.user_id, wanted.history)
        engine = self._engine(wanted)
        now, offered = self.models.now, self.offered
        allowed = None
        if wanted.filters or wanted.only or wanted.never:
            only, never = ([self.people.item(one) for one in ids] for ids in (wanted.only, wanted.never))
            allowed = offered.mask(wanted.filters, only, never)
        wish = Wish(person, wanted.k, allowed, wanted.diversity, wanted.reasons)
        shadow = now.engines.get(now.shadow) if now.shadow != engine.name else None
        return await self.batcher.ask(_Task(engine, wish, offered.fresh, shadow))

    async def person(self, user_id: str | None, history: Sequence[str] = ()) -> Person:
        """Return who is meant.

        Raises:
            UnknownUserError, UnknownItemError: there is none of that id.
        """
        if user_id is None:
            return self.people.session(history)
        found = self.people.kept(user_id)
        return found if found is not None else await anyio.to_thread.run_sync(self.people.of, user_id)

    async def why(self, user_id: str, item_id: str) -> Why:
        """Return why an item stands where it stands.

        Raises:
            UnknownUserError, UnknownItemError: see there.
            DataError: the user has it already.
        """
        await self._meet(item_id)
        person, item = await self.person(user_id), self.people.item(item_id)
        if item in person.seen:
            raise DataError(f"item {item_id!r}", "is known to the user, and so in no list", "Ask for another item.")
        engine = self.models.of(user_id)
        return await anyio.to_thread.run_sync(engine.why, person, item, self.people.fresh, limiter=self._computing)

    async def similar(self, item_id: str, k: int) -> list[dict[str, Any]]:
        """Return what is taken by those who take an item.

        Raises:
            UnknownItemError: there is none.
        """
        await self._meet(item_id)
        item, fresh, engine = self.people.item(item_id), self.people.fresh, self.models.of(None)
        found = await anyio.to_thread.run_sync(engine.similar, item, k, fresh, limiter=self._computing)
        return [{**self.card(number), "score": value} for number, value in found]

    @cached_property
    def _computing(self) -> anyio.CapacityLimiter:
        """A few threads for what computes: dozens would take the interpreter from the one that lets requests in."""
        return anyio.CapacityLimiter(2)

    def _engine(self, wanted: Wanted) -> Engine:
        if not wanted.model:
            return self.models.of(wanted.user_id)
        if wanted.model not in self.models.now.engines:
            known = "One of: " + ", ".join(self.models.now.engines)
            raise DataError(f"model {wanted.model[:80]!r}", "there is none of that name", known)
        return self.models.now.engines[wanted.model]

    def _answer(self, tasks: Sequence[_Task]) -> list[Listed]:
        """Answer a batch: those of one variant and one state of the catalogue together."""
        answers: dict[int, Listed] = {}
        groups: dict[tuple[int, int], list[int]] = {}
        for place, task in enumerate(tasks):
            groups.setdefault((id(task.engine), id(task.fresh)), []).append(place)
        for places in groups.values():
            engine, fresh = tasks[places[0]].engine, tasks[places[0]].fresh
            lists = engine.answer([tasks[place].wish for place in places], fresh)
            for place, lines in zip(places, lists, strict=True):
                shared = self._shadowed(tasks[place], lines)
                answers[place] = Listed(lines, engine.name, engine.key, shared)
        return [answers[place] for place in range(len(tasks))]

    def _shadowed(self, task: _Task, lines: Sequence[Line]) -> float | None:
        if task.shadow is None:
            return None
        (other,) = task.shadow.answer([task.wish], task.fresh)
        ids = {one.item_id for one in other}
        return sum(one.item_id in ids for one in lines) / max(len(lines), 1)

    # -- what people say -------------------------------------------------------------------------------------

    async def record(self, event: Event) -> Event:
        """Keep what somebody said; it counts in the very next list, also of those who ask while it is written.

        Raises:
            UnknownUserError, UnknownItemError: there is none of that id.
            StateBusyError, StateConflictError: see ``StateStore.record``.
        """
        await self._meet(event.item_id)
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
        """Make somebody known; return ``False`` where that was so already."""
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
        return [self.card(one) for one in numbers if one is not None]

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
        removed = self.state.erase(user_id)
        self.people.forget(user_id)
        return removed

    # -- new items -------------------------------------------------------------------------------------------

    def add_item(self, item: NewItem) -> FreshItem:
        """Read and keep a new item; lists made from now on may hold it.

        Raises:
            DataError: there is one of that id.
            EncoderError: nothing here can read items.
        """
        if self.neighbourhood is None or self.vectors is None:
            raise EncoderError("new items", "this service has no item encoders", "Serve a run with items.text set.")
        if item.item_id in self.people.fresh.place or item.item_id in self.people.dataset.items:
            raise DataError(f"item {item.item_id[:80]!r}", "there is one of that id", "Give another id.")
        vectors = self.vectors(item)
        placed = self._place(item, vectors)
        self.state.add_item(NewItem(item.item_id, item.title, item.text, item.attributes, item.picture, vectors))
        self.read_items()
        return placed

    def remove_item(self, item_id: str) -> bool:
        """Take a new item out; return whether there was one."""
        found = self.state.remove_item(item_id)
        self.read_items()
        return found

    def read_items(self) -> None:
        """Take in what new items the state holds; those that were read before are not read again."""
        with self._reading:
            removals = self.state.removals()
            if removals != self._removals:
                self._placed, self._newest, self._removals = {}, 0, removals
            for one in self.state.items(self._newest):
                self._placed[one.item_id] = self._place(one, one.vectors)
                self._newest = one.number
            self.people.fresh = self.people.fresh.updated(list(self._placed.values()))
            self.offered = Offered(self.catalogue, self.people.fresh)
        self.people.forget()  # somebody may like what was unknown

    def follow(self) -> None:
        """Take up what other servers that share the state changed: models and new items.

        Raises:
            RecsysError: the state cannot be reached, or a model cannot be opened here.
        """
        self.models.follow()
        self.follow_items()

    def follow_items(self) -> None:
        """Take up the new items of other servers that share the state; where there are none, nothing is read."""
        here = (self.state.removals(), len(self.state.items(self._newest)))
        if here != (self._removals, 0):
            self.read_items()

    async def _meet(self, *item_ids: str) -> None:
        """Look for items that are unknown here in a shared state: another server may have been given them just now."""
        if self.people.shared and any(self.people.number(one) is None for one in item_ids):
            await anyio.to_thread.run_sync(self.follow_items)

    def _place(self, item: NewItem, vectors: Mapping[str, np.ndarray]) -> FreshItem:
        if self.neighbourhood is None:
            return FreshItem(item.item_id, item.title, tuple(item.attributes))
        return self.neighbourhood.place(item.item_id, item.title, item.attributes, vectors)

    # -- look-ups --------------------------------------------------------------------------------------------

    def card(self, number: int) -> dict[str, Any]:
        """Return what an item is, by its number."""
        data, n = self.people.dataset, len(self.people.dataset.items)
        if number < n:
            return {
                "item_id": data.items[number], "title": data.all_titles[number],
                "attributes": list(data.all_attributes[number]), "fresh": False,
            }  # fmt: skip
        new = self.people.fresh.items[number - n]
        return {"item_id": new.item_id, "title": new.title, "attributes": list(new.attributes), "fresh": True}

    def item(self, item_id: str) -> dict[str, Any]:
        """Return what an item is.

        Raises:
            UnknownItemError: there is none.
        """
        return self.card(self.people.item(item_id))

    def close(self) -> None:
        """End what is being answered, and close the state."""
        self.stopping = True
        self.batcher.close()
        self.state.close()
