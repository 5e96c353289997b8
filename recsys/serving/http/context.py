"""What routes work with: the service, and what a server offers besides lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import anyio
import anyio.to_thread
from fastapi import Request
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from recsys.serving.batching import OverloadedError
from recsys.serving.http.metrics import Metrics
from recsys.serving.service import Service

WAITING = 16  # requests that wait for what computes for seconds
COMPUTES = {("drawer", "draw"), ("finder", "words"), ("finder", "picture")}


class Profiles(Protocol):
    """Profiles of users, to read and edit; plain values."""

    def read(self, user_id: str) -> dict[str, Any]: ...
    def edit(self, user_id: str, edits: list[str], made_from: int | None) -> dict[str, Any]: ...
    def undo(self, user_id: str, again: bool) -> dict[str, Any]: ...
    def erase(self, user_id: str) -> int: ...
    def export(self, user_id: str) -> dict[str, Any]: ...


class Finder(Protocol):
    """Search by words and by pictures."""

    def words(self, text: str, by: str | None, k: int) -> list[dict[str, Any]]: ...
    def picture(self, content: bytes, k: int) -> list[dict[str, Any]]: ...
    def like(self, item_id: str, by: str, k: int) -> list[dict[str, Any]]: ...


class Drawer(Protocol):
    """Pictures of items for users."""

    def draw(self, user_id: str, item_id: str, dial: float, n: int) -> dict[str, Any]: ...
    def file(self, album: str, name: str) -> bytes | None: ...


class Pictures(Protocol):
    """Pictures of items as files: content and media type; a drawn title card where an item has none."""

    def of(self, item_id: str, width: int) -> tuple[bytes, str]: ...


@dataclass(frozen=True)
class Offers:
    """What a server offers besides lists; none: its routes answer 501."""

    profiles: Profiles | None = None
    finder: Finder | None = None
    drawer: Drawer | None = None
    pictures: Pictures | None = None


@dataclass
class Context:
    """What routes work with, as ``request.app.state.recsys``.

    Attributes:
        service: who answers.
        offers: what else there is.
        metrics: counts and times.
        name: of the data.
        keyed: changes need a key.
    """

    service: Service
    offers: Offers
    metrics: Metrics
    name: str = ""
    keyed: bool = False

    async def call(self, part: str, method: str, *arguments: Any) -> Any:
        """Return what an offer answers, off the event loop; those that compute take turns.

        Raises:
            HTTPException: 501, it is not offered.
            OverloadedError: too many wait for their turn.
        """
        offer = getattr(self.offers, part)
        if offer is None:
            raise HTTPException(501, f"this server offers no {part}")
        work = lambda: getattr(offer, method)(*arguments)  # noqa: E731
        if (part, method) not in COMPUTES:
            return await anyio.to_thread.run_sync(work)
        if self._turns.statistics().tasks_waiting >= WAITING:
            raise OverloadedError(part, f"{WAITING} requests wait already", retry_after=5)
        return await anyio.to_thread.run_sync(work, limiter=self._turns)

    async def offered(self, part: str, method: str, *arguments: Any) -> Response:
        """Return what an offer answers as JSON."""
        return json_response(await self.call(part, method, *arguments))

    @cached_property
    def _turns(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(1)

    def erase(self, user_id: str) -> dict[str, int]:
        """Remove all that is kept of a user; return what was removed."""
        profiles = self.offers.profiles.erase(user_id) if self.offers.profiles else 0
        return {"profile_versions": profiles, "events": self.service.accounts.erase(user_id)}

    def export(self, user_id: str) -> dict[str, Any]:
        """Return all that is kept of a user."""
        found = self.service.accounts.export(user_id)
        if self.offers.profiles:
            found["profile"] = self.offers.profiles.export(user_id)
        return found


def json_response(content: Any, status: int = 200, write: Callable[[Any], bytes] = to_json) -> Response:
    """Return plain values and dataclasses as JSON; ``write`` may know more of what it is given."""
    return Response(write(content), status, media_type="application/json")


async def context(request: Request) -> Context:
    """Return what the routes of a request work with; not async, it would wait for a thread of the pool each time."""
    return request.app.state.recsys
