"""SIGTERM under load: nobody new is let in, everybody who was is answered, nothing is left running."""

from __future__ import annotations

import http.client
import random
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from server import Client, Server

CLIENTS = 16


class Visitor(threading.Thread):
    """Asks again and again, half of them by a new connection each time, until no connection is accepted.

    A connection that the server answers with ``connection: close`` is not used again, as any client does it. A request
    has begun when all of it was handed over on a connection that the server had accepted or still kept open.
    """

    def __init__(self, port: int, number: int) -> None:
        super().__init__()
        self.port, self.number, self.keep = port, number, number % 2 == 0
        self.found: Counter[str] = Counter()

    def run(self) -> None:
        chance, client = random.Random(self.number), None
        for _ in range(100_000):
            reused = client is not None
            client = client or Client(self.port, self.number)
            try:
                client.connection.connect() if not reused else None
            except OSError:
                self.found["not let in"] += 1
                return
            try:
                status, _, headers = client.get("/v1/recommendations", user_id=str(chance.randrange(1, 900)), k=50)
                self.found[str(status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.found[f"cut off ({'kept' if reused else 'new'} connection): {type(error).__name__}"] += 1
                client = None
                continue
            if not self.keep or headers.get("connection") == "close":
                client.connection.close()
                client = None


class Prober(threading.Thread):
    """Asks ``/health/ready`` by new connections; tells when it last was ready, and what came after."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port, self.last_ready, self.after = port, 0.0, Counter()

    def run(self) -> None:
        for _ in range(100_000):
            asked = time.monotonic()
            try:
                status = Client(self.port, timeout=30).get("/health/ready")[0]
            except ConnectionRefusedError:
                self.after["refused"] += 1
                return
            except (OSError, http.client.HTTPException):
                self.after["cut off"] += 1
                continue
            if status == 200:
                self.last_ready = asked
            else:
                self.after[str(status)] += 1
            time.sleep(0.02)


def stop(rounds: int = 3) -> dict[str, Any]:
    """Stop servers that are busy."""
    found = [_round() for _ in range(rounds)]
    total: Counter[str] = sum((Counter(one["requests"]) for one in found), Counter())
    cut = sum(count for name, count in total.items() if name.startswith("cut off"))
    return {
        "rounds_of": rounds, "clients": CLIENTS, "requests": dict(total), "cut_off": cut,
        "slowest_not_ready_seconds": max(one["not_ready_seconds"] for one in found),
        "slowest_exit_seconds": max(one["exit_seconds"] for one in found),
        "orphans": sum(one["orphans"] for one in found), "rounds": found,
        "ok": not cut and all(
            one["not_ready_seconds"] <= 1 and one["exit_seconds"] <= 15 and not one["orphans"]
            and one["ended_by"] in (0, -signal.SIGTERM) and not one["listens"] for one in found
        ),
    }  # fmt: skip


def _round() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "state.sqlite") as server:
        visitors = [Visitor(server.port, number) for number in range(CLIENTS)]
        prober = Prober(server.port)
        for one in (*visitors, prober):
            one.start()
        time.sleep(3)
        children = server.children()
        asked = time.monotonic()
        exit_seconds = server.stop()
        for one in (*visitors, prober):
            one.join(60)
        orphans = sum(Path(f"/proc/{pid}").exists() for pid in children)
        done = {
            "requests": dict(sum((one.found for one in visitors), Counter())), "readiness_after": dict(prober.after),
            "not_ready_seconds": round(max(0.0, prober.last_ready - asked), 3), "exit_seconds": round(exit_seconds, 2),
            "children": len(children), "orphans": orphans, "ended_by": server.process.returncode,
            "listens": _listens(server.port),
        }  # fmt: skip
    print(done, flush=True)
    return done


def _listens(port: int) -> bool:
    with socket.socket() as there:
        return there.connect_ex(("127.0.0.1", port)) == 0
