"""What was acknowledged is kept, and counts in the very next list."""

from __future__ import annotations

import http.client
import random
import shutil
import sqlite3
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from server import Client, Server

KINDS = ("like", "dislike", "hide", "click")
WRITERS = 4


class Writer(threading.Thread):
    """Says things, one after the other, until there is no answer; ``unsure`` is what it was saying then."""

    def __init__(self, port: int, number: int, generation: int) -> None:
        super().__init__()
        self.client, self.number, self.generation = Client(port, number), number, generation
        self.acknowledged: list[tuple[str, str, str, int]] = []
        self.unsure: dict[str, Any] | None = None
        self.odd: list[tuple[int, Any]] = []

    def run(self) -> None:
        chance = random.Random(1000 * self.generation + self.number)
        for count in range(100_000):
            user = str(1 + (self.number + chance.randrange(4)) % WRITERS)  # users that several writers share
            body = {"user_id": user, "item_id": str(chance.randrange(1, 1600)), "kind": chance.choice(KINDS),
                    "key": f"{self.generation}-{self.number}-{count}"}  # fmt: skip
            try:
                status, kept, _ = self.client.ask("POST", "/v1/feedback", body)
            except (OSError, http.client.HTTPException):
                self.unsure = body
                return
            if status == 201:
                self.acknowledged.append((user, body["item_id"], body["kind"], kept["number"]))
            elif status in (429, 503):
                time.sleep(0.05)
            else:
                self.odd.append((status, kept))


def kill(times: int = 20) -> dict[str, Any]:
    """kill -9 at random moments while clients write: what was acknowledged is there after each restart."""
    folder, chance = Path(tempfile.mkdtemp(prefix="kill-")), random.Random(7)
    said: list[tuple[str, str, str, int]] = []
    unsure: list[dict[str, Any]] = []
    rounds, odd = [], 0
    server = Server(folder / "state.sqlite")
    server.wait_ready()
    for generation in range(times):
        writers = [Writer(server.port, number, generation) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        while not any(writer.acknowledged for writer in writers) and any(writer.is_alive() for writer in writers):
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 3.0))
        server.kill()
        for writer in writers:
            writer.join()
            said += writer.acknowledged
            unsure += [writer.unsure] if writer.unsure else []
            odd += len(writer.odd)
        sound = _integrity(folder / "state.sqlite")
        server = Server(folder / "state.sqlite")
        seconds = server.wait_ready()
        lost = _missing(server.port, said)
        rounds.append({"acknowledged": len(said), "lost": lost, "integrity": sound, "restart_seconds": round(seconds)})
        print(rounds[-1], flush=True)
    twice = _said_twice(server.port, unsure)
    server.stop()
    shutil.rmtree(folder)
    return {
        "kills": times, "acknowledged": len(said), "lost": sum(one["lost"] for one in rounds),
        "integrity_ok": sum(one["integrity"] == "ok" for one in rounds), "unanswered": len(unsure),
        "unanswered_said_again_and_kept_twice": twice, "other_answers": odd, "rounds": rounds,
        "ok": not any(one["lost"] or one["integrity"] != "ok" for one in rounds) and not twice and not odd,
    }  # fmt: skip


def _integrity(path: Path) -> str:
    """Return what SQLite says of a copy made at the moment of death, its log included."""
    with tempfile.TemporaryDirectory() as folder:
        for file in path.parent.glob(path.name + "*"):
            shutil.copy(file, folder)
        with sqlite3.connect(Path(folder) / path.name) as copy:
            return copy.execute("PRAGMA integrity_check").fetchone()[0]


def _events(port: int) -> dict[int, tuple[str, str, str]]:
    client, there = Client(port), {}
    for user in range(1, WRITERS + 1):
        for one in client.patient("GET", "/v1/export", user_id=str(user))[1]["events"]:
            there[one["number"]] = (one["user_id"], one["item_id"], one["kind"])
    return there


def _missing(port: int, said: list[tuple[str, str, str, int]]) -> int:
    there = _events(port)
    return sum(there.get(number) != (user, item, kind) for user, item, kind, number in said)


def _said_twice(port: int, unsure: list[dict[str, Any]]) -> int:
    """Say again what had no answer, with the same key: kept once, whether it had been kept or not."""
    client = Client(port)
    for body in unsure:
        for _ in range(2):
            assert client.patient("POST", "/v1/feedback", body)[0] == 201
    keys = [one["key"] for user in range(1, WRITERS + 1)
            for one in client.patient("GET", "/v1/export", user_id=str(user))[1]["events"]]  # fmt: skip
    return sum(keys.count(body["key"]) != 1 for body in unsure)


# -- read your writes ----------------------------------------------------------------------------------------


class Said:
    """What has been acknowledged of one user, by all clients that speak for the user."""

    def __init__(self, client: Client, user: str) -> None:
        self.user = user
        status, told = client.patient("GET", "/v1/export", user_id=user)
        assert status == 200, told
        self.gone = set(told["taken"])
        self.lock = threading.Lock()

    def snapshot(self) -> set[str]:
        with self.lock:
            return set(self.gone)

    def add(self, item: str) -> None:
        with self.lock:
            self.gone.add(item)


def _pairs(port: int, number: int, said: Said, kinds: tuple[str, ...], pairs: int) -> dict[str, int]:
    """Say something of an item of the list, ask for the list: neither that item nor any other known one is in it."""
    client, chance, found = Client(port, number), random.Random(number), {"pairs": 0, "stale": 0, "seen": 0}
    for count in range(pairs):
        item = chance.choice(client.items(said.user))
        kind = kinds[count % len(kinds)]
        status, told = client.patient("POST", "/v1/feedback", {"user_id": said.user, "item_id": item, "kind": kind})
        assert status == 201, told
        said.add(item)
        known = said.snapshot()
        after = set(client.items(said.user, k=50))
        found["pairs"] += 1
        found["stale"] += item in after
        found["seen"] += bool(after & known - {item})
    return found


def _back(port: int, number: int, user: str, pairs: int) -> dict[str, int]:
    """Hide an item and it is gone; take that back and the very list of before is there."""
    client, chance = Client(port, number), random.Random(number)
    found = {"pairs": 0, "still_there": 0, "not_back": 0}
    before = client.items(user, k=50)
    for _ in range(pairs):
        item = chance.choice(before[:20])
        _, kept = client.patient("POST", "/v1/feedback", {"user_id": user, "item_id": item, "kind": "hide"})
        found["still_there"] += item in client.items(user, k=50)
        status, told = client.patient("DELETE", "/v1/feedback", user_id=user, number=kept["number"])
        assert status == 200, told
        found["not_back"] += client.items(user, k=50) != before
        found["pairs"] += 1
    return found


def read_your_writes(pairs: int = 1000, clients: int = 8) -> dict[str, Any]:
    """Feedback and then a list, from several clients, two of them for each user."""
    each = pairs // clients
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "state.sqlite") as server:
        results: dict[str, Any] = {}
        with ThreadPoolExecutor(clients) as pool:
            for place, kinds in enumerate([("like",), ("dislike",), ("hide",), ("like", "dislike", "hide")]):
                users = [Said(Client(server.port), str(100 + 10 * place + one)) for one in range(clients // 2)]
                jobs = [pool.submit(_pairs, server.port, one, users[one // 2], kinds, each) for one in range(clients)]
                results["+".join(kinds)] = _sum([job.result() for job in jobs])
                print(kinds, results["+".join(kinds)], flush=True)
            jobs = [pool.submit(_back, server.port, one, str(200 + one), each) for one in range(clients)]
            results["hide and take back"] = _sum([job.result() for job in jobs])
    faults = sum(count for one in results.values() for name, count in one.items() if name != "pairs")
    return {"clients": clients, **results, "faults": faults, "ok": faults == 0}


def _sum(parts: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(part[name] for part in parts) for name in parts[0]}
