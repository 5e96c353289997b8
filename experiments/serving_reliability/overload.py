"""Five times as much as can be answered: some are told to come back, memory stays bounded, and then all is well."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from server import Client, Server

SECONDS = 30.0
TIMES = 5
MOST_OPEN = 1500  # connections of the generator
CLOSED = 16  # clients that wait for their answers
COSTLY = {
    "k": 500,
    "diversity": 0.7,
}  # of lists: so few are answered a second that the generator can ask for five times that


def _request(port: int, number: int) -> bytes:
    """Most ask for lists, some look things up off the event loop: both ways can be crowded."""
    path = f"/v1/recommendations?{urlencode(COSTLY)}&user_id=" if number % 4 else "/v1/similar?item_id="
    return f"GET {path}{1 + number * 7 % 900} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode()


def _capacity(port: int, seconds: float) -> float:
    """Return answers a second to clients that wait for them."""
    end = time.monotonic() + seconds

    def ask(number: int) -> int:
        client, count = Client(port, number), 0
        while time.monotonic() < end:
            turn = number + (CLOSED + 1) * count  # each client asks for both, in the shares of the flood
            path, query, more = (
                ("recommendations", "user_id", COSTLY) if turn % 4 else ("similar", "item_id", {"k": 50})
            )
            assert client.get(f"/v1/{path}", **more, **{query: 1 + turn * 7 % 900})[0] == 200
            count += 1
        return count

    with ThreadPoolExecutor(CLOSED) as pool:
        return sum(pool.map(ask, range(CLOSED))) / seconds


class Flood:
    """An open loop: requests go out at their times, whether earlier ones were answered or not.

    Args:
        port: of the server.
        rate: requests a second.
    """

    def __init__(self, port: int, rate: float) -> None:
        self.port, self.rate = port, rate
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.found: Counter[str] = Counter()
        self.open = 0

    async def run(self) -> None:
        started, tasks = time.monotonic(), set()
        for number in range(int(self.rate * SECONDS)):
            await asyncio.sleep(max(0.0, started + number / self.rate - time.monotonic()))
            if time.monotonic() - started > SECONDS:
                self.found["not sent: the generator was late"] = int(self.rate * SECONDS) - number
                break
            if not self.idle and self.open >= MOST_OPEN:
                self.found["not sent: all connections wait"] += 1
                continue
            task = asyncio.create_task(self._one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        self.seconds = time.monotonic() - started
        await asyncio.wait(list(tasks) or [asyncio.create_task(asyncio.sleep(0))], timeout=60)
        await asyncio.sleep(0.1)  # those that are done take themselves out
        self.found["unanswered after a minute"] = len(tasks)
        for task in list(tasks):
            task.cancel()
        for _, writer in self.idle:
            writer.close()

    async def _one(self, number: int) -> None:
        self.found["sent"] += 1
        try:
            reader, writer, head = await self._asked(number)
            length = int(head.partition("content-length:")[2].split("\r\n")[0])
            await reader.readexactly(length)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            self.open -= 1
            self.found[f"cut off: {type(error).__name__}"] += 1
            return
        status = head.split()[1]
        self.found[status if status == "200" or "retry-after:" in head else f"{status} without retry-after"] += 1
        if "connection: close" in head:
            writer.close()
            self.open -= 1
        else:
            self.idle.append((reader, writer))

    async def _asked(self, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """Return a connection and the head of its answer; one that the server closed while it was idle is left."""
        while self.idle:
            reader, writer = self.idle.pop()
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                return reader, writer, await self._head(reader, writer, number)
            writer.close()
            self.open -= 1
            self.found["closed while idle"] += 1
        self.open += 1
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return reader, writer, await self._head(reader, writer, number)

    async def _head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> str:
        writer.write(_request(self.port, number))
        return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()


def overload() -> dict[str, Any]:
    """Measure what can be answered, ask for five times that, and look at memory throughout."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "state.sqlite") as server:
        capacity = _capacity(server.port, 10)
        before, memory, done = server.memory(), [], threading.Event()

        def watch() -> None:
            while not done.wait(0.25):
                memory.append(server.memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        flood = Flood(server.port, TIMES * capacity)
        asyncio.run(flood.run())
        done.set()
        watcher.join()
        after, well = server.memory(), Client(server.port).get("/v1/recommendations", user_id="1")[0]
    allowed = {"200", "429", "503"}
    answers = {name: count for name, count in flood.found.items() if name[0].isdigit()}
    bad = set(answers) - allowed or [name for name in flood.found if name.startswith("cut off")]
    return {
        "capacity_a_second": round(capacity), "asked_a_second": round(TIMES * capacity),
        "sent_a_second": round(flood.found["sent"] / flood.seconds), "seconds": round(flood.seconds, 1),
        "found": dict(flood.found), "mib_before": round(before), "mib_peak": round(max(memory)),
        "mib_after": round(after), "answers_after": well,
        "ok": not bad and well == 200 and max(memory) - before < 200 and not flood.found["unanswered after a minute"],
    }  # fmt: skip
