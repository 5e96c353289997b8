"""Requests that arrive together are answered together: one pass of the ranker, off the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from recsys.core.errors import RecsysError

STOPPING = "the server is stopping"
Asked, Answer = TypeVar("Asked"), TypeVar("Answer")


class OverloadedError(RecsysError):
    """More is asked for than can be answered in time; ``retry_after`` seconds from now it may be otherwise."""

    def __init__(self, thing: str, cause: str, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(thing, cause, f"Try again in {retry_after} s.")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Asked]):
    """A request, and who is told; ``taken``: its batch is being answered."""

    asked: Asked
    future: asyncio.Future
    taken: bool = False

    def give_up(self, cause: str) -> None:
        if not self.taken:
            _refuse(self.future, cause)


class Batcher(Generic[Asked, Answer]):
    """Collects what arrives while a batch is being answered, and answers it as the next; nobody waits for company.

    Its one thread takes the next batch itself: it has not to wait for an event loop that is busy with other requests.

    Args:
        answer: a batch to as many answers; called in one thread.
        largest: batch at most.
        waiting: requests at most that wait; more are refused at once.
        patience: seconds after which a request that still waits is given up. One whose batch is being answered is not:
            where all wait nearly that long, what was worked out would be thrown away, and so the queue would stay long.
    """

    def __init__(
        self, answer: Callable[[Sequence[Asked]], Sequence[Answer]], *, largest: int = 64, waiting: int = 512,
        patience: float = 5.0,
    ) -> None:  # fmt: skip
        self.answer, self.largest, self.waiting, self.patience = answer, largest, waiting, patience
        self._queue: SimpleQueue[_Waiting[Asked] | None] = SimpleQueue()  # none: the end
        self._thread = threading.Thread(target=self._work, name="ranker", daemon=True)
        self._closed = False

    def __len__(self) -> int:
        """How many requests wait."""
        return self._queue.qsize()

    async def ask(self, asked: Asked) -> Answer:
        """Return the answer.

        Raises:
            OverloadedError: too many wait, it took too long, or the server is stopping.
        """
        if self._closed:
            raise OverloadedError("recommendations", STOPPING)
        if len(self) >= self.waiting:
            raise OverloadedError("recommendations", f"{len(self)} requests wait already")
        if not self._thread.ident:
            self._thread.start()
        loop = asyncio.get_running_loop()
        entry = _Waiting(asked, loop.create_future())
        self._queue.put(entry)
        late = loop.call_later(self.patience, entry.give_up, f"no answer within {self.patience:g} s")
        try:
            return await entry.future
        finally:
            late.cancel()

    def close(self) -> None:
        """Let the batch that is being answered end, and refuse the rest."""
        self._closed = True
        for entry in self._taken(self._queue.qsize()):
            _refuse(entry.future, STOPPING)
        self._queue.put(None)
        if self._thread.ident:
            self._thread.join()

    def _work(self) -> None:
        while self._answered(self._queue.get()):  # keeps nothing of a batch while it waits for the next
            pass

    def _answered(self, first: _Waiting[Asked] | None) -> bool:
        """Answer a batch; return whether there is to be another."""
        if first is None:
            return False
        batch = [one for one in (first, *self._taken(self.largest - 1)) if not one.future.done()]
        if batch:  # else all were given up, or their clients are gone
            for one in batch:
                one.taken = True
            try:
                answers = self.answer([one.asked for one in batch])
                _send([(one.future, answer) for one, answer in zip(batch, answers, strict=True)], None)
            except Exception as error:  # whatever it is, those who asked are told, and the next are answered
                _send([(one.future, None) for one in batch], error)
        return True

    def _taken(self, most: int) -> list[_Waiting[Asked]]:
        """Return what waits, ``most`` at most, without waiting for more."""
        found = []
        with suppress(Empty):
            while len(found) < most:
                entry = self._queue.get_nowait()
                if entry is None:
                    self._queue.put(None)
                    break
                found.append(entry)
        return found


def _send(told: Sequence[tuple[asyncio.Future, object]], error: Exception | None) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future, object]]] = {}
    for one in told:
        by_loop.setdefault(one[0].get_loop(), []).append(one)
    for loop, mine in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed: nobody is there to be told
            loop.call_soon_threadsafe(_tell, mine, error)


def _tell(told: Sequence[tuple[asyncio.Future, object]], error: Exception | None) -> None:
    for future, answer in told:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer)


def _refuse(future: asyncio.Future, cause: str) -> None:
    if not future.done():
        future.set_exception(OverloadedError("recommendations", cause))
