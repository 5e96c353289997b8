"""Requests that arrive together are answered together: one pass of the ranker, off the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from recsys.core.errors import RecsysError

Asked, Answer = TypeVar("Asked"), TypeVar("Answer")


class OverloadedError(RecsysError):
    """More is asked for than can be answered in time; ``retry_after`` seconds from now it may be otherwise."""

    def __init__(self, thing: str, cause: str, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(thing, cause, f"Try again in {retry_after} s.")


class Batcher(Generic[Asked, Answer]):
    """Collects what arrives while a batch is being answered, and answers it as the next; nobody waits for company.

    Args:
        answer: a batch to as many answers; called in one thread.
        largest: batch at most.
        waiting: requests at most that wait; more are refused at once.
        patience: seconds after which a request that still waits is given up.
    """

    def __init__(
        self, answer: Callable[[Sequence[Asked]], Sequence[Answer]], *, largest: int = 64, waiting: int = 512,
        patience: float = 5.0,
    ) -> None:  # fmt: skip
        self.answer, self.largest, self.waiting, self.patience = answer, largest, waiting, patience
        self._queue: deque[tuple[Asked, asyncio.Future]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ranker")
        self._working = False

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    async def ask(self, asked: Asked) -> Answer:
        """Return the answer.

        Raises:
            OverloadedError: too many wait, or it took too long.
        """
        if len(self._queue) >= self.waiting:
            raise OverloadedError("recommendations", f"{len(self._queue)} requests wait already")
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._queue.append((asked, future))
        if not self._working:
            self._working = True
            self._begin(loop)
        late = loop.call_later(self.patience, self._give_up, future)
        try:
            return await future
        finally:
            late.cancel()

    def close(self) -> None:
        """Let the batch that is being answered end, and refuse the rest."""
        while self._queue:
            self._refuse(self._queue.popleft()[1], "the server is stopping")
        self._thread.shutdown(wait=True)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = []
        while self._queue and len(batch) < self.largest:
            entry = self._queue.popleft()
            if not entry[1].done():  # given up, or its client is gone
                batch.append(entry)
        if not batch:
            self._working = False
            return
        work = loop.run_in_executor(self._thread, self.answer, [asked for asked, _ in batch])
        work.add_done_callback(lambda done: self._end(loop, [future for _, future in batch], done))

    def _end(self, loop: asyncio.AbstractEventLoop, futures: Sequence[asyncio.Future], done: asyncio.Future) -> None:
        self._begin(loop)  # the thread works on while answers are sent
        error = done.exception()
        for place, future in enumerate(futures):
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result()[place])

    def _give_up(self, future: asyncio.Future) -> None:
        self._refuse(future, f"no answer within {self.patience:g} s")

    def _refuse(self, future: asyncio.Future, cause: str) -> None:
        if not future.done():
            future.set_exception(OverloadedError("recommendations", cause))
