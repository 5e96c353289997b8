"""The same requests to one plain server and to replicas on Ray Serve: two, or more while there is more to do."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from processes import below, cpu_of, seconds_until_gone, title

USERS = [str(number) for number in range(1, 201)]  # of ml-100k
SAID = 50  # things said, each followed by a list at once
RANGE, CLIENTS, LONGEST = (
    "1:3",
    48,
    180,
)  # replicas; who asks at once, three times what one replica is meant to; seconds
REPLICA = "ServeReplica"  # in the title of a replica's process


class Server:
    """A ``recsys serve`` of the command line."""

    def __init__(self, root: Path, name: str, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.told, self.log = root / f"{name}.out", root / f"{name}.log"
        command = [sys.executable, "-m", "recsys", "serve", "-q", "--artifacts", str(root / "artifacts")]
        command += ["--set", "items.text=none", "--no-profiles", "--port", str(self.port), *options]
        self.started = time.monotonic()
        with self.told.open("w") as out, self.log.open("w") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)

    def wait(self) -> float:
        """Return the seconds until it answered."""
        while True:
            if self.process.poll() is not None:
                raise SystemExit(self.log.read_text())
            try:
                if self.ask("GET", "/health/ready")[0] == 200:
                    return time.monotonic() - self.started
            except OSError:
                time.sleep(0.1)

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        """Return status and answer, over a connection of its own; Ray's proxy answers in words while none is there."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"content-type": "application/json"}
            link.request(method, f"{path}?{urlencode(query)}", json.dumps(body) if body else None, headers)
            answer = link.getresponse()
            told, kind = answer.read().decode(), answer.getheader("content-type", "")
            return answer.status, json.loads(told) if "json" in kind else told
        finally:
            link.close()

    def stop(self) -> float:
        """Return the seconds from the signal to the end."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=120)
        return time.monotonic() - started


@contextmanager
def running(root: Path, name: str, told: dict[str, Any], *options: str) -> Iterator[Server]:
    server = Server(root, name, *options)
    try:
        told["ready_s"] = server.wait()
        yield server
        told["cpu_s"] = cpu_of(server.process.pid)
        told["stop_s"] = server.stop()
    finally:
        server.process.kill()


def lists(server: Server, told: dict[str, Any]) -> list[Any]:
    """Ask for everybody's list, one after the other."""
    before, started = cpu_of(server.process.pid), time.monotonic()
    found = [server.ask("GET", "/v1/recommendations", user_id=user, k=20) for user in USERS]
    told["lists_s"], told["lists_cpu_s"] = time.monotonic() - started, cpu_of(server.process.pid) - before
    return found


def said(server: Server) -> dict[str, int]:
    """Hide the first item of a list, and ask again at once: is it still there?"""
    found = Counter()
    for turn in range(SAID):
        user = USERS[turn % 5]
        first = server.ask("GET", "/v1/recommendations", user_id=user, k=1)[1]["items"][0]["item_id"]
        status, _ = server.ask("POST", "/v1/feedback", {"user_id": user, "item_id": first, "kind": "hide"})
        after = server.ask("GET", "/v1/recommendations", user_id=user, k=50)[1]["items"]
        found["refused"] += status != 201
        found["too late"] += first in {one["item_id"] for one in after}
    return {"said": SAID, **found}


def train(root: Path) -> None:
    command = [sys.executable, "-m", "recsys", "train", "-q", "--artifacts", str(root / "artifacts")]
    subprocess.run([*command, "--set", "items.text=none"], check=True, stdout=subprocess.DEVNULL)


def by_plain(root: Path, told: dict[str, Any]) -> list[Any]:
    """Return what the plain server answers to everybody."""
    os.environ.pop("RECSYS_KEYS", None)
    train(root)
    with running(root, "plain", told, "--state", str(root / "plain.sqlite")) as server:
        return lists(server, told)


def measure_serving(root: Path, state: str) -> dict[str, Any]:
    """Return what both answered, how often, and what it cost."""
    plain, ray = {}, {}
    expected = by_plain(root, plain)
    with running(root, "ray", ray, "--engine", "ray", "--replicas", "2", "--state", state) as server:
        found = lists(server, ray)
        time.sleep(2)  # until the log has arrived
        ray["answered_by"] = sorted(Counter(re.findall(r"pid=(\d+)\)\S* \{.*/v1/rec", server.log.read_text())).values())
        ray["read_your_writes"] = said(server)
    same = sum(one == other for one, other in zip(expected, found, strict=True))
    fine = all(status == 200 for status, _ in [*expected, *found])
    lost = ray["read_your_writes"]["too late"] + ray["read_your_writes"]["refused"]
    config = {"data": "ml-100k", "ranker": "ease", "k": 20, "replicas": 2}
    return {"plain": plain, "ray": ray, "requests": len(USERS), "same": same, "all_200": fine, "config": config,
            "equal": same == len(USERS) and fine and not lost and len(ray["answered_by"]) == 2}  # fmt: skip


# -- more replicas while there is more to do ---------------------------------------------------------------------


class Crowd:
    """Many who ask without a pause, and compare each answer with what is expected."""

    def __init__(self, server: Server, expected: list[Any]) -> None:
        self.server, self.expected, self.counts, self.over = server, expected, Counter(), threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]

    def _ask(self, number: int) -> None:
        while not self.over.is_set():
            number = (number + CLIENTS) % len(USERS)
            try:
                answer = self.server.ask("GET", "/v1/recommendations", user_id=USERS[number], k=20)
            except OSError:
                self.counts["not answered"] += 1
                continue
            self.counts["same" if answer == self.expected[number] else f"other, status {answer[0]}"] += 1

    def __enter__(self) -> Crowd:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def replicas_of(server: Server) -> int:
    return sum(REPLICA in title(one) for one in below(server.process.pid))


def measure_scaling(root: Path, state: str) -> dict[str, Any]:
    """Return how the number of replicas grew under load, and what was left of them when their server was killed."""
    plain, ray, steps = {}, {}, []
    expected, most = by_plain(root, plain), int(RANGE.partition(":")[2])
    server = Server(root, "ray", "--engine", "ray", "--replicas", RANGE, "--state", state)
    try:
        ray["ready_s"], started = server.wait(), time.monotonic()
        steps.append({"s": 0.0, "replicas": replicas_of(server), "answered": 0})
        with Crowd(server, expected) as crowd:
            while (steps[-1]["replicas"] < most or steps[-1]["s"] < 20) and steps[-1]["s"] < LONGEST:
                time.sleep(5)
                steps.append({"s": round(time.monotonic() - started, 1), "replicas": replicas_of(server),
                              "answered": crowd.counts.total()})  # fmt: skip
        processes = below(server.process.pid)
        working = {one for one in processes if REPLICA in title(one)}
    finally:
        server.process.kill()
        server.process.wait()
    ray["killed"] = {"processes": len(processes), "replicas_gone_s": seconds_until_gone(working),
                     "all_gone_s": seconds_until_gone(processes)}  # fmt: skip
    config = {"data": "ml-100k", "ranker": "ease", "replicas": RANGE, "clients": CLIENTS}
    return {"ray": ray, "steps": steps, "answers": dict(crowd.counts), "config": config,
            "equal": set(crowd.counts) == {"same"} and steps[-1]["replicas"] == most}  # fmt: skip
