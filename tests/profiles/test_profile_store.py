"""The store: what is acknowledged is kept, whoever dies; a stale edit is refused; what is erased is gone."""

from __future__ import annotations

import multiprocessing
import signal
import sqlite3
from pathlib import Path

import pytest
from profiles.made import a_profile, profile

from recsys.core.errors import ArtifactError
from recsys.profiles.database import MIGRATIONS
from recsys.profiles.store import SQLiteProfileStore

from contracts.profile_store_contract import ProfileStoreContract, child
from waiting import LONG

DIES_INSIDE = """
import os, signal, sys
from pathlib import Path
from recsys.profiles import store as module
from profiles.made import a_profile
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
module._move_head = die
module.SQLiteProfileStore(Path(sys.argv[1])).put(a_profile(), made_from=int(sys.argv[2]), edit="never acknowledged")
"""


@pytest.fixture
def store(tmp_path: Path) -> SQLiteProfileStore:
    return SQLiteProfileStore(tmp_path / "deep" / "profiles.sqlite")


class TestSQLiteProfileStore(ProfileStoreContract):
    kills = 6

    @pytest.fixture
    def store(self, tmp_path: Path) -> SQLiteProfileStore:
        return SQLiteProfileStore(tmp_path / "deep" / "profiles.sqlite")

    def maker(self, store: SQLiteProfileStore) -> str:
        return f"SQLiteProfileStore(Path({str(store.path)!r}))"

    def check_place(self, store: SQLiteProfileStore) -> None:
        with sqlite3.connect(store.path) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        file.close()

    def read_disk(self, store: SQLiteProfileStore) -> bytes:
        return b"".join(path.read_bytes() for path in store.path.parent.iterdir())


def test_nothing_is_made_by_looking(store: SQLiteProfileStore) -> None:
    assert store.get("u1") is None
    assert store.history("u1") == []
    assert store.export("u1") == {"user_id": "u1", "versions": []}
    assert store.erase("u1") == 0
    assert not store.path.parent.exists()


def test_erasing_says_when_a_reader_keeps_old_copies(store: SQLiteProfileStore) -> None:
    store.put(a_profile())
    quick = SQLiteProfileStore(store.path, patience=0.1)
    with store.database.reading() as file:
        file.execute("SELECT * FROM versions").fetchall()
        with pytest.raises(ArtifactError, match=r"traces|locked"):
            quick.erase("u1")
    assert quick.erase("u1") == 0  # it was removed; this time its traces are, too
    assert b"About genre" not in store.path.read_bytes()


def test_processes_that_make_the_file_at_the_same_time_do_not_trip_over_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for round in range(5):
        path, barrier, told = tmp_path / f"{round}.sqlite", context.Barrier(5), context.SimpleQueue()

        def first(user: str, path: Path = path, barrier=barrier, told=told) -> None:
            barrier.wait()
            try:
                told.put(SQLiteProfileStore(path).put(a_profile(user)))
            except ArtifactError as error:
                told.put(str(error))

        children = [context.Process(target=first, args=(f"u{number}",)) for number in range(5)]
        for one in children:
            one.start()
        for one in children:
            one.join()
        assert [told.get() for _ in children] == [1] * 5


def test_a_process_killed_between_two_writes_leaves_nothing_of_them(store: SQLiteProfileStore) -> None:
    store.put(a_profile(), edit="built")
    for _ in range(3):
        one = child(DIES_INSIDE, store.path, 1)
        assert one.wait(timeout=LONG) == -signal.SIGKILL, one.stderr.read()
        assert [version.edit for version in store.history("u1")] == ["built"]
        assert store.get("u1").profile == a_profile()
    assert store.put(profile(), made_from=1) == 2


def test_acknowledged_means_on_the_disk(store: SQLiteProfileStore) -> None:
    with store.database.opened() as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert file.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE notes (text)")
    file.close()
    before = path.read_bytes()
    with pytest.raises(ArtifactError, match="another program's database"):
        SQLiteProfileStore(path).put(a_profile())
    assert path.read_bytes() == before
    path.write_bytes(b"not a database at all, but some text that is long enough" * 40)
    with pytest.raises(ArtifactError, match=r"not a database.*backup"):
        SQLiteProfileStore(path).get("u1")


def test_a_newer_file_and_a_newer_document_are_refused(store: SQLiteProfileStore) -> None:
    store.put(a_profile())
    with sqlite3.connect(store.path) as file:
        file.execute("""UPDATE versions SET document = replace(document, '"version":1,', '"version":2,')""")
    file.close()
    with pytest.raises(ArtifactError, match="schema 2"):
        store.get("u1")
    with sqlite3.connect(store.path) as file:
        file.execute("UPDATE versions SET document = '{}'")
    file.close()
    with pytest.raises(ArtifactError, match="does not read as a profile"):
        store.get("u1")
    with sqlite3.connect(store.path) as file:
        file.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    file.close()
    with pytest.raises(ArtifactError, match="newer recsys"):
        store.get("u1")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="Check its permissions"):
        SQLiteProfileStore(tmp_path / "file" / "profiles.sqlite").put(a_profile())


def test_a_writer_that_holds_on_is_reported_not_waited_for_forever(store: SQLiteProfileStore) -> None:
    store.put(a_profile())
    with store.database.writing(), pytest.raises(ArtifactError, match="locked"):
        SQLiteProfileStore(store.path, patience=0.1).put(profile(), made_from=1)
