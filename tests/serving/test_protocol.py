"""What one connection, and all of them, may take from the server; who was let in is answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading

import pytest
import uvicorn

from recsys.serving.http.protocol import LARGEST_HEAD, BoundedHttp, PoliteServer

from waiting import LONG, wait_until


class TestConnections:
    @pytest.fixture
    def server(self):
        """A server around an application that says ok, in this process."""

        async def app(scope, receive, send) -> None:
            words, read, more = b"ok", 0, True
            while more and scope["path"] == "/size":
                message = await receive()
                read, more = read + len(message["body"]), message["more_body"]
                words = b"read %d" % read
            head = [(b"content-length", b"%d" % len(words))]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": words})

        config = uvicorn.Config(app, port=0, log_level="error", http=BoundedHttp, ws="none", lifespan="off")
        server = PoliteServer(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        wait_until(lambda: server.started)
        yield server
        server.should_exit = True
        thread.join()

    @pytest.fixture
    def port(self, server) -> int:
        return server.servers[0].sockets[0].getsockname()[1]

    def say(self, port: int, *parts: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=LONG) as there:
            for part in parts:
                there.sendall(part)
            found = b""
            with contextlib.suppress(ConnectionResetError):
                while b"ok" not in found and (more := there.recv(65536)):
                    found += more
        return found

    @pytest.mark.parametrize("head", [b"GET /" + b"x" * 70_000, b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"x" * 70_000])
    def test_a_head_without_end_is_refused(self, port, head) -> None:
        assert LARGEST_HEAD < 70_000
        answer = self.say(port, head)
        assert answer.startswith(b"HTTP/1.1 400")
        assert "too large" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["cause"]
        assert self.say(port, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").endswith(b"ok")

    def test_a_large_body_is_not_a_head(self, port) -> None:
        body = b"x" * 200_000
        start = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n"
        assert self.say(port, start, body[:100_000], body[100_000:]).endswith(b"ok")
        assert self.say(port, start + body).endswith(b"ok")

    def test_requests_with_bodies_follow_each_other_on_one_connection(self, port) -> None:
        """Each body is over where it is said to be, and the next head is a head again."""
        ask = b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
        with socket.create_connection(("127.0.0.1", port), timeout=LONG) as there:
            for _ in range(3):
                there.sendall(ask)
                found = b""
                while not found.endswith(b"read 3"):
                    found += there.recv(65536)
            there.sendall(b"GET / HTTP/1.1\r\na: " + b"x" * 70_000)
            assert b"The head of the request is too large." in there.recv(65536)

    def test_who_says_nothing_is_sent_away(self, port, monkeypatch) -> None:
        monkeypatch.setattr("recsys.serving.http.protocol.HEAD_SECONDS", 0.2)
        assert self.say(port, b"GET / HT").startswith(b"HTTP/1.1 400")

    def test_who_was_let_in_is_answered_though_the_server_stops(self, server, port, monkeypatch) -> None:
        monkeypatch.setattr("recsys.serving.http.protocol.LINGER", LONG)
        with socket.create_connection(("127.0.0.1", port), timeout=LONG) as there:
            wait_until(lambda: server.server_state.connections)
            (connection,) = server.server_state.connections
            server.should_exit = True
            wait_until(lambda: connection._leaving)
            there.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            found = b""
            while more := there.recv(1000):
                found += more
        assert found.endswith(b"ok")
        assert b"connection: close" in found

    def test_who_waits_at_the_door_is_let_in(self, server, port) -> None:
        held, free = threading.Event(), threading.Event()

        async def busy() -> None:
            held.set()
            free.wait(LONG)  # meanwhile the system accepts, and the server does not
            await server.shutdown()  # in the same step of the loop: it has not looked at its doors since

        asyncio.run_coroutine_threadsafe(busy(), server.servers[0].get_loop())
        assert held.wait(LONG)
        with socket.create_connection(("127.0.0.1", port), timeout=LONG) as there:
            there.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            free.set()
            found = b""
            while more := there.recv(1000):
                found += more
        assert found.endswith(b"ok")

    def test_too_many_connections_are_told_to_come_back(self, port, monkeypatch) -> None:
        monkeypatch.setattr("recsys.serving.http.protocol.CONNECTIONS", 1)
        with socket.create_connection(("127.0.0.1", port)) as first:
            first.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            found = b""
            while not found.endswith(b"ok"):  # and then it stays open
                found += first.recv(1000)
            answer = self.say(port, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in answer
        assert b"connection: close" in answer
