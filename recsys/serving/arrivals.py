"""Items by what they are, and those that come after training: read, kept, placed, and taken out again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import anyio.to_thread
import numpy as np

from recsys.core.errors import DataError, EncoderError
from recsys.serving.catalogue import Catalogue, refuse_float
from recsys.serving.fresh import FreshItem, Neighbourhood
from recsys.serving.offered import Offered
from recsys.serving.people import People
from recsys.serving.state.store import NewItem, StateStore

Vectors = Callable[[NewItem], Mapping[str, np.ndarray]]


class Arrivals:
    """The items of a service: those of the data, and those that came since.

    Args:
        people: for whom they are; their new items are set here.
        state: where new items are kept.
        catalogue: of the items of the data.
        neighbourhood: where new items are placed; none: they cannot be read here.
        vectors: reads a new item: vectors by modality.

    Attributes:
        offered: what may be shown now.
    """

    def __init__(
        self, people: People, state: StateStore, catalogue: Catalogue, neighbourhood: Neighbourhood | None = None,
        vectors: Vectors | None = None,
    ) -> None:  # fmt: skip
        self.people, self.state, self.catalogue = people, state, catalogue
        self.neighbourhood, self.vectors, self._reading = neighbourhood, vectors, threading.Lock()
        self._placed: dict[str, FreshItem] = {}
        self._newest = self._removals = 0
        self.read()
        people.on_unknown = self.follow

    def add(self, item: NewItem) -> FreshItem:
        """Read and keep a new item; lists made from now on may hold it.

        Raises:
            DataError: there is one of that id, or it is written as a float where ids are whole numbers.
            EncoderError: nothing here can read items.
        """
        if self.neighbourhood is None or self.vectors is None:
            raise EncoderError("new items", "this service has no item encoders", "Serve a run with items.text set.")
        if item.item_id in self.people.fresh.place or item.item_id in self.people.dataset.items:
            raise DataError(f"item {item.item_id[:80]!r}", "there is one of that id", "Give another id.")
        refuse_float("item", item.item_id, self.people.dataset.items)
        vectors = self.vectors(item)
        placed = self._place(item, vectors)
        self.state.add_item(NewItem(item.item_id, item.title, item.text, item.attributes, item.picture, vectors))
        self.read()
        return placed

    def remove(self, item_id: str) -> bool:
        """Take a new item out; return whether there was one."""
        found = self.state.remove_item(item_id)
        self.read()
        return found

    def read(self) -> None:
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
        """Take up the new items of other servers that share the state; where there are none, nothing is read."""
        here = (self.state.removals(), len(self.state.items(self._newest)))
        if here != (self._removals, 0):
            self.read()

    async def meet(self, *item_ids: str) -> None:
        """Look for items that are unknown here in a shared state: another server may have been given them just now."""
        if self.people.shared and any(self.people.number(one) is None for one in item_ids):
            await anyio.to_thread.run_sync(self.follow)

    def _place(self, item: NewItem, vectors: Mapping[str, np.ndarray]) -> FreshItem:
        if self.neighbourhood is None:
            return FreshItem(item.item_id, item.title, tuple(item.attributes))
        return self.neighbourhood.place(item.item_id, item.title, item.attributes, vectors)

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
