"""How bytes become requests: uvicorn's own way, with bounds on what one connection, and all of them, may take."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD = 64 << 10  # bytes of a request before its body
HEAD_SECONDS = 20.0  # until a request that was begun, or a new connection, has said all of its head
LINGER = 1.0  # seconds that a stopping server listens to a connection that has not said anything yet
CONNECTIONS = 2000  # at once; more are told to come back
CROWDED = b'{"error":{"thing":"server","cause":"has too many connections","remedy":"Try again in 1 s."}}'


class BoundedHttp(HttpToolsProtocol):
    """Refuses heads that do not end, connections that say nothing, and more connections than can be served.

    The parser keeps whatever it is sent until the head ends, and waits for that end for ever.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._served, self._head, self._in_head, self._leaving = self.app, 0, True, False
        self._late = self.loop.call_later(HEAD_SECONDS, self._refuse, "Too slow.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > LARGEST_HEAD:
            self._refuse("The head of the request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._late.cancel()
        self._late = self.loop.call_later(HEAD_SECONDS, self._refuse, "Too slow.")

    def on_headers_complete(self) -> None:
        self._late.cancel()
        self._head, self._in_head = 0, False
        self.app = _crowded if len(self.connections) > CONNECTIONS else self._served
        super().on_headers_complete()
        if self._leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True

    def shutdown(self) -> None:
        """Close the connection after the answer; who was let in and has not asked yet still may."""
        if self.cycle is not None:
            super().shutdown()
            return
        self._leaving = True
        self._late.cancel()
        self._late = self.loop.call_later(LINGER, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """Say it as every other refusal is said."""
        error = {"thing": "request", "cause": msg, "remedy": "Ask /docs for what is expected."}
        body = json.dumps({"error": error}).encode()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _refuse(self, words: str) -> None:
        self._late.cancel()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response(words)
        else:  # an earlier request is being answered: words in between would not be understood
            self.transport.close()


class PoliteServer(uvicorn.Server):
    """Lets those in who wait at its doors when it closes them.

    The system accepts connections before the server does. With some of them still in its queue, a door that is closed
    slams in their faces, though their requests may be on the way.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop, doors = asyncio.get_running_loop(), []
        for server in self.servers:
            for door in server.sockets:
                with suppress(OSError):  # the same door, which stays open when the server closes its own
                    doors.append(socket.socket(fileno=os.dup(door.fileno())))
            server.close()
        for visitor in [one for door in doors for one in _waiting(door)]:
            with suppress(OSError):
                await loop.connect_accepted_socket(self._protocol, visitor)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )  # fmt: skip


def _waiting(door: socket.socket) -> list[socket.socket]:
    """Return who waits at a door, and close it at once."""
    found: list[socket.socket] = []
    with door, suppress(OSError):  # nobody is left
        door.setblocking(False)
        while len(found) < CONNECTIONS:
            found.append(door.accept()[0])
    for visitor in found:
        visitor.setblocking(False)
    return found


async def _crowded(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(CROWDED)).encode()),
               (b"retry-after", b"1"), (b"connection", b"close")]  # fmt: skip
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": CROWDED})
