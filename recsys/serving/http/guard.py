"""What every request passes: size, host, origin, key and rate; then headers, metrics and one line of log."""

from __future__ import annotations

import hmac
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import to_json
from starlette.exceptions import HTTPException

from recsys.serving.http.metrics import Metrics

Scope = MutableMapping[str, Any]
LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
READS = {"/v1/recommendations", "/v1/search/picture"}  # asked by POST, and change nothing
HEALTH = {"/health/live", "/health/ready", "/metrics"}  # answered however much there is to do
PICTURES = {"/v1/items", "/v1/search/picture"}  # whose bodies may hold one
EXPORTS = {"/v1/export", "/v1/user", "/v1/users", "/v1/profile"}  # read, and tell what is known of a person
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
     b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a server allows.

    Attributes:
        keys: that open mutating and exporting routes; none: anybody on this machine may.
        hosts: names that the server is asked by; empty: any.
        body: bytes of the body of a request that may hold a picture.
        plain: bytes of any other body; what is read from JSON takes many times its length.
        held: bytes of all bodies together that are being read or worked on.
        at_once: requests that are being answered; more are told to come back, rather than to wait for ever.
        rate: mutating and exporting requests a second and key, after a burst of twice as many.
    """

    keys: Sequence[str] = ()
    hosts: Sequence[str] = LOOPBACK
    body: int = 12 << 20
    plain: int = 1 << 20
    held: int = 256 << 20
    at_once: int = 256
    rate: float = 50.0


@dataclass
class Bucket:
    """A rate: ``take`` says whether one more is allowed, and if not, for how many seconds."""

    rate: float
    size: float
    left: float = field(init=False)
    then: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.left = self.size

    def take(self) -> float:
        now = time.monotonic()
        self.left = min(self.size, self.left + (now - self.then) * self.rate)
        self.then = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / self.rate


class Guard:
    """The outermost layer, plain ASGI.

    Args:
        app: what it guards.
        limits: see there.
        metrics: counts and times.
        log: receives one line of JSON a request; no ids of people are in it.
        stopping: says whether connections are to be closed after their answer.
    """

    def __init__(
        self, app: Callable[..., Awaitable[None]], limits: Limits, metrics: Metrics,
        log: Callable[[str], None] | None = None, stopping: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self.stopping, self.held, self.open = stopping, 0, 0
        self.app, self.limits, self.metrics = app, limits, metrics
        self.log = log if log is not None else (lambda line: print(line, file=sys.stderr))
        self._buckets: dict[str, Bucket] = {}

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, self.open = time.perf_counter(), 500, self.open + 1
        request = os.urandom(8).hex()
        body = _Counted(self, receive, self._largest(scope))

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *HEADERS, (b"x-request-id", request.encode())]
                if self.stopping():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await _refuse(sending, *refusal)
            else:
                await self.app(scope, body, sending)
        finally:
            self.held -= body.read
            self.open -= 1
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - started
            self.metrics.request(scope["method"], route, status, seconds)
            told = {"time": round(time.time(), 3), "request": request, "method": scope["method"], "route": route,
                    "status": status, "ms": round(1000 * seconds, 2)}  # fmt: skip
            self.log(to_json(told).decode())

    def _refusal(self, scope: Scope) -> tuple[Any, ...] | None:
        """Return status, thing, cause and remedy (and seconds to wait) of a request that goes no further."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if self.limits.hosts and _name(host) not in self.limits.hosts:
            return 421, "host", "this server is not asked by that name", "Use the address that it printed."
        if self.open > self.limits.at_once and scope["path"] not in HEALTH:
            return 503, "server", f"{self.limits.at_once} requests wait already", "Try again.", 1.0
        told, most = headers.get(b"content-length", "0"), self._largest(scope)
        if told.isdecimal() and int(told) > most:
            return 413, *_too_large(most)
        changing = scope["method"] not in ("GET", "HEAD", "OPTIONS") and scope["path"] not in READS
        if not changing and scope["path"] not in EXPORTS:
            return None
        origin = headers.get(b"origin")
        if origin and _site(origin) != host:
            return 403, "origin", "another site's page may not change anything here", "Use this server's own page."
        return self._without_key(headers, scope)

    def _largest(self, scope: Scope) -> int:
        return self.limits.body if scope["path"] in PICTURES else min(self.limits.plain, self.limits.body)

    def _without_key(self, headers: dict[bytes, str], scope: Scope) -> tuple[Any, ...] | None:
        given = headers.get(b"x-api-key") or headers.get(b"authorization", "").removeprefix("Bearer ")
        whose = next((key for key in self.limits.keys if hmac.compare_digest(key.encode(), given.encode())), None)
        if self.limits.keys and whose is None:
            return 401, "key", "missing or unknown", "Send it as X-API-Key, or as Authorization: Bearer …"
        whose = whose or (scope.get("client") or ("", 0))[0]
        if whose not in self._buckets:
            if len(self._buckets) > 10_000:
                self._buckets.clear()
            self._buckets[whose] = Bucket(self.limits.rate, 2 * self.limits.rate)
        wait = self._buckets[whose].take()
        return (429, "rate", f"more than {self.limits.rate:g} changes a second", "Slow down.", wait) if wait else None


class _Counted:
    """Receives a body whose length may be untold, and stops where it, or all there are together, are too large."""

    def __init__(self, guard: Guard, receive: Any, most: int) -> None:
        self.guard, self.receive, self.most, self.read = guard, receive, most, 0

    async def __call__(self) -> Any:
        message = await self.receive()
        came = len(message.get("body", b""))
        self.read += came
        self.guard.held += came
        if self.read > self.most:
            raise HTTPException(413, _too_large(self.most)[1])
        if self.guard.held > self.guard.limits.held:
            raise HTTPException(503, "holds too many large bodies just now", {"retry-after": "1"})
        return message


def _site(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as http://[
        return None


def _name(host: str) -> str:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name.lower()


def _too_large(most: int) -> tuple[str, str, str]:
    return "body", f"larger than {most:,} bytes", "Send less."


async def _refuse(send: Any, status: int, thing: str, cause: str, remedy: str, wait: float = 0.0) -> None:
    body = to_json({"error": {"thing": thing, "cause": cause, "remedy": remedy}})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if wait:
        headers.append((b"retry-after", str(math.ceil(wait)).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
