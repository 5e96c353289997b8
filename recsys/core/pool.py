"""Open connections that wait for their next use: never shared by two uses, two processes or two states of a file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

MOST = 64  # more than a server of one process has threads


class Closes(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closes)


class Pool(Generic[C]):
    """The idle connections to one place."""

    def __init__(self) -> None:
        self._idle: deque[tuple[int, Hashable, C]] = deque()
        self._inherited: list[C] = []

    def take(self, stamp: Hashable = None) -> C | None:
        """Return an idle connection that this process opened under the same stamp; the others are let go.

        Args:
            stamp: what the connection must have been given back with, such as which file it is to.
        """
        while self._idle:
            try:
                owner, found, connection = self._idle.pop()
            except IndexError:  # another thread took the last one
                return None
            if owner == os.getpid() and found == stamp:
                return connection
            self._let_go(owner, connection)
        return None

    def give(self, connection: C, stamp: Hashable = None) -> None:
        """Keep a connection for the next use, which it must be ready for."""
        self._idle.append((os.getpid(), stamp, connection))
        if len(self._idle) > MOST:
            self.clear()

    def clear(self) -> None:
        """Close all idle connections."""
        while self._idle:
            try:
                owner, _, connection = self._idle.popleft()
            except IndexError:
                return
            self._let_go(owner, connection)

    def _let_go(self, owner: int, connection: C) -> None:
        if owner == os.getpid():
            connection.close()
        else:  # the parent of this fork uses it: to close it here would end it, or its locks, there
            self._inherited.append(connection)
