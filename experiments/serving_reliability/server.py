"""A real `recsys serve` child process on the packaged ml-100k, and a client that says what became of a request."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

PATIENCE = 600.0  # seconds a start may take: the machine is shared
KEYS = tuple(f"a-key-for-the-measurement-{number:02d}" for number in range(32))  # each has a rate of its own
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
HOME = Path(tempfile.gettempdir()) / "recsys-serving-reliability"


def trained(name: str) -> Path:
    """Return the artifact of a ranker on ml-100k, trained once and reused."""
    found = sorted((HOME / "artifacts" / "ranker").glob(f"{name}-*/manifest.json"))
    if not found:
        command = [sys.executable, "-m", "recsys", "train", "-q", "--artifacts", str(HOME / "artifacts")]
        subprocess.run([*command, "--set", f"ranker.name={name}"], check=True, env={**os.environ, **QUIET})
        found = sorted((HOME / "artifacts" / "ranker").glob(f"{name}-*/manifest.json"))
    return found[-1].parent


class Server:
    """One child process.

    Args:
        state: file that feedback is kept in.
        full: with profiles; else lists alone, which start sooner.
    """

    def __init__(self, state: Path, *, full: bool = False) -> None:
        self.state, self.log = state, state.with_suffix(".log")
        self.port = _free_port()
        options = ["--no-visuals"] if full else ["--no-profiles", "--no-visuals"]
        command = [sys.executable, "-m", "recsys", "serve", str(trained("ease")), "--artifacts",
                   str(HOME / "artifacts"), "--state", str(state), "--port", str(self.port), *options]  # fmt: skip
        self.started = time.monotonic()
        with self.log.open("ab") as log:
            environment = {**os.environ, **QUIET, "RECSYS_KEYS": ",".join(KEYS)}
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # as a service has
            )

    def wait_ready(self) -> float:
        """Return the seconds from start to ready."""
        while time.monotonic() - self.started < PATIENCE:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
            try:
                if Client(self.port).get("/health/ready")[0] == 200:
                    return time.monotonic() - self.started
            except OSError:
                pass
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"not ready within {PATIENCE:g} s")

    def memory(self, field: str = "VmRSS") -> float:
        """Return MiB that the process has, or at most had (``VmHWM``)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    def children(self) -> list[int]:
        """Return processes that the server has started."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """Ask it to end; return the seconds that it took."""
        asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - asked

    def __enter__(self) -> Server:
        try:
            self.ready_after = self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            self.stop()


class Client:
    """One connection, kept open; one key.

    Args:
        port: of the server.
        number: of the key.
    """

    def __init__(self, port: int, number: int = 0, timeout: float = 120.0) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.used = 0.0
        self.headers = {"x-api-key": KEYS[number % len(KEYS)]}

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any, Any]:
        """Return status, the body (JSON where it is), and headers.

        Raises:
            OSError, HTTPException: there was no answer.
        """
        path = f"{path}?{urlencode(query, doseq=True)}" if query else path
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**self.headers, "content-type": "application/json"} if content is not None else self.headers
        try:
            self.connection.request(method, path, content, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise
        kind = answer.headers.get("content-type", "")
        return answer.status, json.loads(text) if kind.startswith("application/json") else text, answer.headers

    def get(self, path: str, **query: Any) -> tuple[int, Any, Any]:
        return self.ask("GET", path, **query)

    def patient(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        """Ask again where the server says that it is too much just now."""
        for _ in range(200):
            if time.monotonic() - self.used > 3:  # the server closes what is idle
                self.connection.close()
            status, found, headers = self.ask(method, path, body, **query)
            self.used = time.monotonic()
            if status not in (429, 503):
                return status, found
            time.sleep(float(headers["retry-after"]))
        raise RuntimeError(f"{method} {path}: told 200 times to wait")

    def items(self, user: str, k: int = 20, **more: Any) -> list[str]:
        """Return the ids of a user's list."""
        status, found = self.patient("GET", "/v1/recommendations", user_id=user, k=k, reasons=False, **more)
        if status != 200:
            raise RuntimeError(f"a list for {user!r}: {status} {found}")
        return [one["item_id"] for one in found["items"]]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
