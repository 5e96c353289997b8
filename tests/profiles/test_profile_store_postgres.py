"""The profile store in PostgreSQL keeps what the one in a file keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from profiles.made import a_profile

from recsys.core.errors import ArtifactError, BusyError, ConfigError, DataError
from recsys.profiles.store_postgres import PostgresProfileStore

from contracts.profile_store_contract import ProfileStoreContract

if TYPE_CHECKING:
    from serving.postgres_server import PostgresServer

pytest_plugins = ["serving.postgres_server"]


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresProfileStore]:
    made = PostgresProfileStore(postgres_url)
    yield made
    made.database.close()


class TestPostgresProfileStore(ProfileStoreContract):
    @pytest.fixture
    def store(self, postgres_url: str, postgres_server: PostgresServer) -> Iterator[PostgresProfileStore]:
        self.server, self.url = postgres_server, postgres_url
        made = PostgresProfileStore(postgres_url)
        yield made
        made.database.close()

    def maker(self, store: PostgresProfileStore) -> str:
        return f"PostgresProfileStore({self.url!r})"

    def check_place(self, store: PostgresProfileStore) -> None:
        self.server.check(self.url.rpartition("/")[2])

    def read_disk(self, store: PostgresProfileStore) -> bytes:
        return self.server.read_disk()


def test_erasing_says_when_a_reader_keeps_old_copies(store: PostgresProfileStore, postgres_url: str) -> None:
    store.put(a_profile())
    quick = PostgresProfileStore(postgres_url, patience=1.0)
    with store.database.reading() as session:
        session.execute("SELECT 1").fetchall()  # its snapshot still sees the rows, though it holds no lock on them
        with pytest.raises(ArtifactError, match="traces"):
            quick.erase("u1")
    with store.database.reading() as session:
        session.execute("SELECT * FROM versions").fetchall()
        with pytest.raises(ArtifactError, match="traces"):
            quick.erase("u1")
    assert store.erase("u1") == 0  # it was removed; this time its traces are, too


def test_writers_of_one_user_wait_but_not_forever(store: PostgresProfileStore, postgres_url: str) -> None:
    quick = PostgresProfileStore(postgres_url, patience=1.0)
    assert store.put(a_profile("u2")) == 1
    with store.database.writing("u1"):
        with pytest.raises(BusyError, match="timeout"):
            quick.put(a_profile("u1"))
        assert store.put(a_profile("u3")) == 1  # others need not wait
    assert store.put(a_profile("u1")) == 1


def test_a_newer_schema_is_refused(store: PostgresProfileStore, postgres_url: str) -> None:
    store.put(a_profile())
    with store.database.writing() as session:
        session.execute("UPDATE migrated SET version = 99")
    with pytest.raises(ArtifactError, match="newer recsys"):
        PostgresProfileStore(postgres_url).get("u1")


def test_a_nul_never_reaches_the_server(store: PostgresProfileStore) -> None:
    with pytest.raises(DataError, match="NUL"):
        store.get("u\0")


def test_an_address_that_is_none_is_refused_and_a_password_is_not_told() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigError, match="its address is none"):
        PostgresProfileStore("postgresql://host/name?no_such_option=1")
    with pytest.raises(BusyError) as caught:
        PostgresProfileStore("postgresql://me:secret@127.0.0.1:1/name").get("u1")
    assert "127.0.0.1/name" in str(caught.value)
    assert "secret" not in str(caught.value)
