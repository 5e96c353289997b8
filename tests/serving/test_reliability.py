"""What a service promises when things go wrong: several at once, odd requests, a store out of reach, a stop.

The long versions, on a real server: experiments/serving_reliability.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck
from served import World

from recsys.core.errors import ArtifactError, ConfigError
from recsys.serving.http.app import create_app
from recsys.serving.http.guard import Limits
from recsys.serving.models import STEPS_BACK
from recsys.serving.state.store import Event

from waiting import LONG, wait_until

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def service(world, tmp_path):
    made = world.service(tmp_path / "state.sqlite")
    yield made
    made.close()


@pytest.fixture
def client(service):
    app = create_app(service, limits=Limits(rate=10_000), log=lambda line: None)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as made:
        yield made


class TestSeveralAtOnce:
    def test_a_change_between_the_comparison_and_what_is_kept_is_not_lost(self, service) -> None:
        people, user = service.people, "u1"

        class Watched(Counter):
            """Says something of the user at the worst moment: after the user was read, while that is compared."""

            looks, other = 0, None

            def __getitem__(self, key):
                self.looks += 1
                found = super().__getitem__(key)
                if self.looks == 2:
                    self.other = threading.Thread(target=people.forget, args=(user,))
                    self.other.start()
                    self.other.join(0.3)  # it waits for what is being compared, or is through
                return found

        people._changes = watched = Watched()
        people.of(user)
        watched.other.join()
        assert people.kept(user) is None

    def test_feedback_and_lists_of_one_user_from_several_threads(self, service, world) -> None:
        async def turn(item: str) -> bool:
            from recsys.serving.service import Wanted

            await service.accounts.record(Event("u1", item, "hide"))
            found = await service.recommend(Wanted("u1", k=48, reasons=False))
            return item in {one.item_id for one in found.lines}

        async def all_of_them() -> list[bool]:
            return await asyncio.gather(*[turn(f"i{item}") for item in range(48)])

        assert sum(asyncio.run(all_of_them())) == 0

    def test_models_changed_from_several_threads_lose_no_change(self, service) -> None:
        def add(number: int) -> None:
            service.models.add(f"m{number}", "popularity")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add, range(24)))
        assert set(service.models.now.engines) == {"ease", *(f"m{number}" for number in range(24))}

    def test_what_can_be_rolled_back_is_bounded(self, service) -> None:
        service.models.add("floor", "popularity")
        for _ in range(STEPS_BACK):
            service.models.activate("floor")
            service.models.activate("ease")
        assert len(service.models.now.before) == STEPS_BACK
        for _ in range(STEPS_BACK):
            service.models.roll_back()
        with pytest.raises(ConfigError, match="nothing to go back to"):
            service.models.roll_back()


class TestOddRequests:
    def test_an_origin_that_is_no_address(self, client) -> None:
        for origin in ("http://[", "null", "http://[::1", "\u00b2", "javascript:alert(1)"):
            answer = client.post("/v1/users", json={"user_id": "a"}, headers={"origin": origin.encode()})
            assert answer.status_code == 403, origin

    def test_bodies_without_a_picture_are_small(self, client) -> None:
        large = b'{"history":["' + b"x" * (2 << 20) + b'"]}'
        assert client.post("/v1/recommendations", content=large).status_code == 413
        assert client.post("/v1/items", content=large).status_code == 422  # it may hold a picture; this is none

    def test_so_many_at_once_and_no_more(self, world, tmp_path) -> None:
        service = world.service(tmp_path / "s.sqlite")
        app = create_app(service, limits=Limits(at_once=0), log=lambda line: None)
        with TestClient(app, base_url="http://localhost") as client:
            answer = client.get("/v1/recommendations", params={"user_id": "u1"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert int(answer.headers["content-length"]) == len(answer.content)
            assert client.get("/health/ready").status_code == 200
            assert app.open == 0

    def test_all_bodies_together_are_bounded(self, world, tmp_path) -> None:
        limits = Limits(held=1000)
        service = world.service(tmp_path / "s.sqlite")
        app = create_app(service, limits=limits, log=lambda line: None)
        with TestClient(app, base_url="http://localhost") as client:
            for _ in range(3):  # what was held is given back
                answer = client.post("/v1/recommendations", content=b"x" * 1001)
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) >= 1
                assert client.post("/v1/recommendations", json={"history": []}).status_code == 200
            assert app.held == 0


class TestStoreOutOfReach:
    def test_it_is_the_servers_fault_and_readiness_says_so(self, client, service, monkeypatch) -> None:
        def broken(*_: object) -> None:
            raise ArtifactError("state x", "database or disk is full", "Free some space.")

        monkeypatch.setattr(service.state, "check", broken)
        monkeypatch.setattr(service.state, "record", broken)
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["cause"]) == (503, "database or disk is full")
        said = client.post("/v1/feedback", json={"user_id": "u1", "item_id": "i2", "kind": "like"})
        assert said.status_code == 503
        assert int(said.headers["retry-after"]) >= 1
        assert client.post("/v1/models", json={"name": "a", "artifact": "nowhere"}).status_code == 422

    def test_a_stopping_server_sends_clients_away(self, client, service) -> None:
        assert "connection" not in client.get("/health/live").headers
        service.stopping = True
        answer = client.get("/health/ready")
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        assert client.get("/v1/recommendations", params={"user_id": "u1"}).status_code == 200


@pytest.mark.slow
def test_requests_made_from_the_schema(service) -> None:
    """No 5xx and no undeclared answer; the long version asks a server with profiles."""
    schemathesis, hypothesis = pytest.importorskip("schemathesis"), pytest.importorskip("hypothesis")
    names = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
    checks = [getattr(schemathesis.checks, name) for name in names]
    app = create_app(service, limits=Limits(rate=1e6, hosts=()), log=lambda line: None)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(max_examples=10, suppress_health_check=list(HealthCheck))
        @hypothesis.seed(7)
        @hypothesis.given(case=operation.as_strategy())
        def ask(case) -> None:
            answer = case.call()
            assert answer.status_code < 500 or answer.status_code == 501  # not offered here, and declared
            case.validate_response(answer, checks=checks)

        ask()


class Child:
    """`recsys serve` on a few interactions, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        raw = folder / "raw"
        if not raw.exists():
            raw.mkdir()
            rows = [f"u{user},i{item},5,{user * 40 + item}" for user in range(40) for item in range(40)
                    if (user + item) % 4 == 0]  # fmt: skip
            text = "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
            (raw / "interactions.csv").write_text(text, encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "recsys", "serve", "--artifacts", str(folder / "artifacts"), "--set",
                   "data.source=own", "--set", f"data.raw={raw}", "--set", "ranker.name=ease", "--no-profiles",
                   "--state", str(folder / "state.sqlite"), "--port", str(self.port)]  # fmt: skip
        self.log = folder / "server.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: self.status("GET", "/health/ready") == 200 or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        there = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        with contextlib.closing(there):
            there.request(method, path, None if body is None else json.dumps(body), JSON)
            answer = there.getresponse()
            return answer.status, answer.read()

    def status(self, *request: object) -> int | None:
        try:
            return self.ask(*request)[0]  # type: ignore[arg-type]
        except (OSError, http.client.HTTPException):
            return None


@pytest.mark.slow
class TestRealServer:
    def say(self, child: Child, said: list[str], name: str) -> None:
        """Hide one item after the other until there is no answer."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            for number in range(40):
                body = {"user_id": "u1", "item_id": f"i{number}", "kind": "hide", "key": f"{name}-{number}"}
                if child.ask("POST", "/v1/feedback", body)[0] == 201:
                    said.append(body["key"])

    def offer_damaged(self, child: Child, folder: Path) -> int:
        """Offer the ranker with one bit of its weights changed; return the answer's status."""
        (whole,) = (folder / "artifacts" / "ranker").glob("[!.]*")
        copy = shutil.copytree(whole, folder / "damaged")
        content = bytearray((copy / "state.safetensors").read_bytes())
        content[-100] ^= 1
        (copy / "state.safetensors").write_bytes(content)
        return child.ask("POST", "/v1/models", {"name": "damaged", "artifact": str(copy)})[0]

    def test_what_was_acknowledged_outlives_kill_9_and_a_stop_is_announced(self, tmp_path) -> None:
        child, said = Child(tmp_path), []
        writers = [threading.Thread(target=self.say, args=(child, said, f"w{one}")) for one in range(4)]
        for one in writers:
            one.start()
        wait_until(lambda: len(said) >= 20)
        child.process.kill()
        child.process.wait()
        for one in writers:
            one.join()
        child = Child(tmp_path)
        kept = [one["key"] for one in json.loads(child.ask("GET", "/v1/export?user_id=u1")[1])["events"]]
        assert set(said) <= set(kept)
        assert len(kept) == len(set(kept))
        assert self.offer_damaged(child, tmp_path) == 422
        assert child.status("POST", "/v1/models", {"name": "long", "artifact": "0" * 300}) == 422
        assert child.status("GET", "/v1/recommendations?user_id=u1") == 200
        child.process.terminate()
        answers = []
        while (found := child.status("GET", "/health/ready")) is not None:
            answers.append(found)
        assert 503 in answers  # it says so before its doors close
        assert child.process.wait(LONG) in (0, -signal.SIGTERM)
