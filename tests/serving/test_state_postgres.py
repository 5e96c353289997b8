"""The state in a PostgreSQL server: numbers in the order of commits, and a server that stops and comes back."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from recsys.core.errors import ArtifactError, ConfigError
from recsys.serving.state import make_state
from recsys.serving.state.postgres import PostgresStateStore
from recsys.serving.state.sql import ADD_EVENT
from recsys.serving.state.store import Event, StateBusyError

from contracts.state_contract import StateContract, in_fork, in_threads, item

if TYPE_CHECKING:
    from serving.postgres_server import PostgresServer

pytest_plugins = ["serving.postgres_server"]


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStateStore]:
    made = PostgresStateStore(postgres_url)
    yield made
    made.close()


class TestPostgresState(StateContract):
    @pytest.fixture
    def store(self, postgres_url: str, postgres_server: PostgresServer) -> Iterator[PostgresStateStore]:
        self.server, self.url = postgres_server, postgres_url
        made = PostgresStateStore(postgres_url)
        yield made
        made.close()

    def address(self, store: PostgresStateStore) -> str:
        return self.url

    def check_place(self, store: PostgresStateStore) -> None:
        self.server.check(self.url.rpartition("/")[2])

    def read_disk(self, store: PostgresStateStore) -> bytes:
        return self.server.read_disk()


def test_a_low_number_that_is_committed_late_is_waited_for(store: PostgresStateStore, postgres_url: str) -> None:
    slow, quick = PostgresStateStore(postgres_url, patience=60), PostgresStateStore(postgres_url, patience=1.0)
    store.check()
    found: list[list[Event]] = []
    with slow.database.writing() as session:
        row = ("u1", "i1", "like", None, "", None, 1)
        low = session.execute(f"{ADD_EVENT} RETURNING number", row).fetchone()[0]
        high = store.record(Event("u2", "i2", "like")).number
        assert low < high
        with pytest.raises(StateBusyError, match="timeout"):
            quick.since(0)  # it must not return the high one alone
        reader = threading.Thread(target=lambda: found.append(store.since(0)))
        reader.start()
        time.sleep(0.1)
        assert not found
        assert [event.number for event in store.since(high)] == []  # nothing new: nobody waits
        assert [event.number for event in store.events("u2")] == [high]  # nor for one user's
    reader.join()
    assert [event.number for event in found[0]] == [low, high]


def test_a_reader_that_follows_many_threads_misses_nothing(store: PostgresStateStore) -> None:
    store.check()
    seen: list[Event] = []
    done = threading.Event()

    def follow() -> None:
        while not done.is_set() or store.since(seen[-1].number, 1):
            seen.extend(store.since(seen[-1].number if seen else 0, 11))

    reader = threading.Thread(target=follow)
    reader.start()
    in_threads(8, lambda n: [store.record(Event(f"u{n}", f"i{k}", "click")) for k in range(40)])
    done.set()
    reader.join()
    assert len(seen) == 320
    assert seen == store.since(0)


def test_items_follow_the_order_of_commits_too(store: PostgresStateStore) -> None:
    seen: list[int] = []
    done = threading.Event()

    def follow() -> None:
        while not done.is_set() or store.items(seen[-1]):
            seen.extend(one.number for one in store.items(seen[-1] if seen else 0))

    reader = threading.Thread(target=follow)
    reader.start()
    in_threads(4, lambda n: [store.add_item(item(f"n{n}-{k}")) for k in range(10)])
    done.set()
    reader.join()
    assert len(seen) == 40
    assert seen == [one.number for one in store.items()]


def test_erasing_says_when_a_reader_keeps_old_copies(store: PostgresStateStore, postgres_url: str) -> None:
    store.record(Event("person-0815", "i1", "like"))
    quick = PostgresStateStore(postgres_url, patience=1.0)
    with store.database.reading() as session:
        session.execute("SELECT 1").fetchall()  # its snapshot still sees the row
        with pytest.raises(ArtifactError, match="traces are left"):
            quick.erase("person-0815")
    assert store.erase("person-0815") == 0
    quick.close()


def test_statistics_quote_nobody(store: PostgresStateStore, postgres_server: PostgresServer, postgres_url: str) -> None:
    database = postgres_url.rpartition("/")[2]
    for _ in range(50):
        store.record(Event("person-0815", "i1", "like"))
    postgres_server.execute("ANALYZE", database)
    assert b"person-0815" in postgres_server.read_disk()
    store.erase("person-0815")
    assert b"person-0815" not in postgres_server.read_disk()


def test_a_server_that_dies_loses_nothing_and_is_found_again(
    store: PostgresStateStore, postgres_server: PostgresServer
) -> None:
    kept = in_threads(4, lambda n: store.record(Event(f"u{n}", "i1", "like")))
    postgres_server.control("-m", "immediate", "stop")  # no goodbyes: it recovers from its log
    with pytest.raises(StateBusyError, match="see whether the server runs"):
        store.record(Event("u1", "i2", "like"))
    with pytest.raises(StateBusyError):
        store.check()
    postgres_server.start()
    store.check()
    assert store.since(0) == sorted(kept, key=lambda event: event.number)
    store.record(Event("u1", "i2", "like"))
    postgres_server.control("-m", "immediate", "restart")
    assert len(store.events("u1")) == 2  # the connections that were open are replaced unasked


def test_a_fork_goes_on_with_connections_of_its_own(store: PostgresStateStore) -> None:
    def connection() -> int:
        with store.database.reading() as session:
            return session.execute("SELECT pg_backend_pid()").fetchone()[0]

    mine = connection()
    assert in_fork(connection) != str(mine)
    assert connection() == mine
    assert in_fork(lambda: store.record(Event("u1", "i1", "like")).item_id) == "i1"
    assert [event.item_id for event in store.events("u1")] == ["i1"]


def test_a_database_that_may_only_be_read_says_so(store: PostgresStateStore, postgres_server: PostgresServer) -> None:
    store.record(Event("u1", "i1", "like"))
    url, database = postgres_server.url(), store.database._options["dbname"]
    for statement in (
        "CREATE ROLE guest LOGIN", "GRANT USAGE ON SCHEMA recsys_state TO guest",
        "GRANT SELECT ON ALL TABLES IN SCHEMA recsys_state TO guest",
    ):  # fmt: skip
        postgres_server.execute(statement, database)
    guest = PostgresStateStore(url.replace("recsys@", "guest@").replace("/postgres", f"/{database}"))
    assert len(guest.events("u1")) == 1
    with pytest.raises(ArtifactError, match="permission denied"):
        guest.record(Event("u1", "i2", "like"))
    assert len(guest.events("u1")) == 1
    guest.close()


def test_without_psycopg_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"needs the package 'psycopg'.*pip install 'recsys\[postgres\]'"):
        make_state("postgresql://host/name")
