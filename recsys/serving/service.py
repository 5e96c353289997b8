"""The service without its HTTP: one object answers for a whole process; lists here, users and items beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import anyio
import anyio.to_thread

from recsys.core.errors import DataError
from recsys.serving.accounts import Accounts
from recsys.serving.arrivals import Arrivals, Vectors
from recsys.serving.batching import Batcher
from recsys.serving.engine import Engine
from recsys.serving.fresh import FreshItems, Neighbourhood
from recsys.serving.models import Models
from recsys.serving.offered import Offered
from recsys.serving.people import People
from recsys.serving.person import Person
from recsys.serving.state.store import StateStore
from recsys.serving.wishes import Line, Why, Wish


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

    Attributes:
        accounts: users, and what they say.
        items: what there is to list.
        stopping: no more is to be asked of it.
    """

    def __init__(
        self, models: Models, people: People, state: StateStore, *, neighbourhood: Neighbourhood | None = None,
        vectors: Vectors | None = None, batcher: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.models, self.people, self.state = models, people, state
        self.items = Arrivals(people, state, models.of(None).recommender.catalogue, neighbourhood, vectors)
        self.accounts = Accounts(people, state, self.items)
        self.batcher: Batcher[_Task, Listed] = Batcher(self._answer, **(batcher or {}))
        self.stopping = False

    async def recommend(self, wanted: Wanted) -> Listed:
        """Return a list.

        Raises:
            UnknownUserError, UnknownItemError: see there.
            DataError: a filter that is not understood.
            OverloadedError: more is asked for than can be answered.
        """
        await self.items.meet(*wanted.history, *wanted.only, *wanted.never)
        now, engine = self.models.now, self._engine(wanted)
        person = await self.accounts.person(wanted.user_id, wanted.history)
        offered = self.items.offered  # after the person, who may have made new items of other servers known
        wish = self._wish(wanted, person, offered)
        shadow = now.engines.get(now.shadow) if now.shadow != engine.name else None
        return await self.batcher.ask(_Task(engine, wish, offered.fresh, shadow))

    async def why(self, wanted: Wanted, item_id: str) -> Why:
        """Return why an item stands where it stands in a user's list.

        "Without X" is what the user would be given had X just been hidden: its place in that very list.

        Args:
            wanted: the list.
            item_id: of the item.

        Raises:
            UnknownUserError, UnknownItemError: see there.
            DataError: the user has it already; a filter that is not understood.
        """
        await self.items.meet(item_id, *wanted.only, *wanted.never)
        person = await self.accounts.person(wanted.user_id, wanted.history)
        item, offered = self.people.item(item_id), self.items.offered
        if item in person.seen:
            known = "is in the history"
            if (user := wanted.user_id) is not None:
                known = await anyio.to_thread.run_sync(self.people.known_as, user, item_id)
            raise DataError(f"item {item_id!r}", f"{known}, and so in no list", "Ask for another item.")
        wish, why = self._wish(wanted, person, offered), self._engine(wanted).why
        asked = offered.excluding(item, wanted.filters, *self._numbers(wanted))
        hide = partial(self._hiding, wanted.user_id) if wanted.user_id is not None else None
        return await anyio.to_thread.run_sync(why, wish, item, offered.fresh, hide, asked, limiter=self._computing)

    def _hiding(self, user_id: str, item: int) -> Person:
        return self.people.hiding(user_id, self.items.card(item)["item_id"])

    async def similar(self, item_id: str, k: int) -> list[dict[str, Any]]:
        """Return what is taken by those who take an item.

        Raises:
            UnknownItemError: there is none.
        """
        await self.items.meet(item_id)
        item, fresh, engine = self.people.item(item_id), self.people.fresh, self.models.of(None)
        found = await anyio.to_thread.run_sync(engine.similar, item, k, fresh, limiter=self._computing)
        return [{**self.items.card(number), "score": value} for number, value in found]

    @cached_property
    def _computing(self) -> anyio.CapacityLimiter:
        """A few threads for what computes: dozens would take the interpreter from the one that lets requests in."""
        return anyio.CapacityLimiter(2)

    def _wish(self, wanted: Wanted, person: Person, offered: Offered) -> Wish:
        allowed = None
        if wanted.filters or wanted.only or wanted.never:
            allowed = offered.mask(wanted.filters, *self._numbers(wanted))
        return Wish(person, wanted.k, allowed, wanted.diversity, wanted.reasons)

    def _numbers(self, wanted: Wanted) -> tuple[list[int], list[int]]:
        """Return the items among which to choose, and those not to show."""
        return [self.people.item(one) for one in wanted.only], [self.people.item(one) for one in wanted.never]

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

    def follow(self) -> None:
        """Take up what other servers that share the state changed: models and new items.

        Raises:
            RecsysError: the state cannot be reached, or a model cannot be opened here.
        """
        self.models.follow()
        self.items.follow()

    def close(self) -> None:
        """End what is being answered, and close the state."""
        self.stopping = True
        self.batcher.close()
        self.state.close()
