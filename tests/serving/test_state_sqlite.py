"""The state in a file: kept through sudden ends, full disks and odd files, and shared by processes."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from recsys.core.errors import ArtifactError, ConfigError
from recsys.serving.state import make_state
from recsys.serving.state.sqlite import SQLiteStateStore
from recsys.serving.state.store import Event, StateBusyError

from contracts.state_contract import StateContract, in_fork, item


@pytest.fixture
def store(tmp_path: Path) -> SQLiteStateStore:
    return SQLiteStateStore(tmp_path / "deep" / "state.sqlite")


def is_sound(path: Path) -> bool:
    file = sqlite3.connect(path)
    found = file.execute("PRAGMA integrity_check").fetchone()
    file.close()
    return found == ("ok",)


class TestSQLiteState(StateContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SQLiteStateStore:
        return SQLiteStateStore(tmp_path / "deep" / "state.sqlite")

    def address(self, store: SQLiteStateStore) -> str:
        return str(store.path)

    def check_place(self, store: SQLiteStateStore) -> None:
        assert is_sound(store.path)

    def read_disk(self, store: SQLiteStateStore) -> bytes:
        return b"".join(path.read_bytes() for path in store.path.parent.iterdir())


def test_acknowledged_means_on_the_disk(store: SQLiteStateStore) -> None:
    with store.database.opened() as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert file.execute("PRAGMA synchronous").fetchone() == (2,)


def test_writers_wait_a_while_and_then_say_so(store: SQLiteStateStore) -> None:
    store.record(Event("u1", "i1", "like"))
    quick = SQLiteStateStore(store.path, patience=0.2)
    for holder in (store, quick):  # another process's hold, as it were, and another thread's
        began = time.monotonic()
        with holder.database.writing(), pytest.raises(StateBusyError, match="locked"):
            quick.record(Event("u1", "i2", "like"))
        assert time.monotonic() - began > 0.15
    assert len(quick.events("u1")) == 1
    with store.database.writing():
        assert len(quick.events("u1")) == 1  # readers wait for nobody
    assert quick.record(Event("u1", "i2", "like")).number == 2


def test_erasing_says_when_a_reader_keeps_old_copies(store: SQLiteStateStore) -> None:
    store.record(Event("person-0815", "i1", "like"))
    quick = SQLiteStateStore(store.path, patience=0.1)
    with store.database.reading() as file:
        file.execute("SELECT * FROM events").fetchall()
        with pytest.raises(ArtifactError, match="traces are left"):
            quick.erase("person-0815")
    assert quick.erase("person-0815") == 0
    assert not any(b"person-0815" in path.read_bytes() for path in store.path.parent.iterdir())


def test_a_full_disk_loses_nothing_that_was_there(store: SQLiteStateStore) -> None:
    kept = store.record(Event("u1", "i1", "like"))

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        for number in range(1_000):
            store.add_item(item(f"n{number}", picture=b"x" * 50_000))

    told = in_fork(fill)
    assert told.startswith("ArtifactError: state ")
    assert "space left" in told
    assert is_sound(store.path)
    assert store.events("u1") == [kept]
    assert [one.item_id for one in store.items()] == [f"n{number}" for number in range(len(store.items()))]
    assert store.record(Event("u1", "i2", "like")).number == 2


def test_a_read_only_disk_is_named_and_loses_nothing(store: SQLiteStateStore) -> None:
    kept = store.record(Event("u1", "i1", "like"))
    store.close()

    def write() -> None:
        os.chdir(store.path.parent)
        os.chmod(".", 0o555)
        os.chmod("state.sqlite", 0o444)
        if os.geteuid() == 0:  # who may write anywhere
            os.setuid(65534)
        SQLiteStateStore("state.sqlite").record(Event("u1", "i2", "like"))

    told = in_fork(write)
    assert told.startswith("ArtifactError: state state.sqlite: ")
    assert "permissions" in told
    os.chmod(store.path.parent, 0o755)
    os.chmod(store.path, 0o644)
    assert store.events("u1") == [kept]


def test_a_fork_goes_on_with_connections_of_its_own(store: SQLiteStateStore) -> None:
    store.record(Event("u1", "i1", "like"))
    assert in_fork(lambda: [store.record(Event("u1", f"i{n}", "like")).number for n in range(3)]) == "[2, 3, 4]"
    with store.database._gate():  # a thread of the parent that writes while it forks
        assert in_fork(lambda: store.record(Event("u1", "i9", "like")).number) == "5"
    assert [event.number for event in store.events("u1")] == [1, 2, 3, 4, 5]
    assert is_sound(store.path)


def test_a_backup_put_in_its_place_is_what_counts(store: SQLiteStateStore, tmp_path: Path) -> None:
    store.record(Event("u1", "i1", "like"))
    store.close()
    shutil.copy(store.path, tmp_path / "backup")
    store.record(Event("u1", "i2", "like"))
    for left in store.path.parent.glob("state.sqlite-*"):
        left.unlink()
    shutil.copy(tmp_path / "backup", tmp_path / "copy")
    (tmp_path / "copy").replace(store.path)
    assert [event.item_id for event in store.events("u1")] == ["i1"]
    store.record(Event("u1", "i3", "like"))
    assert [event.item_id for event in SQLiteStateStore(store.path).events("u1")] == ["i1", "i3"]


def test_damaged_vectors_are_named(store: SQLiteStateStore) -> None:
    store.add_item(item())
    with store.database.writing() as file:
        file.execute("UPDATE items SET vectors = ?", (b"cPickle",))
    with pytest.raises(ArtifactError, match=r"vectors of item 'n1' do not read.*Remove the item"):
        store.items()
    assert store.remove_item("n1")


def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE notes (text)")
    file.close()
    before = path.read_bytes()
    for call in (lambda state: state.check(), lambda state: state.events("u1")):
        with pytest.raises(ArtifactError, match="another program's database"):
            call(SQLiteStateStore(path))
    assert path.read_bytes() == before


def test_addresses(tmp_path: Path) -> None:
    for address in (tmp_path / "a.sqlite", str(tmp_path / "a.sqlite"), f"sqlite:///{tmp_path}/a.sqlite"):
        made = make_state(address)
        assert isinstance(made, SQLiteStateStore)
        assert made.path == tmp_path / "a.sqlite"
    assert make_state("sqlite:///deep/a.sqlite").path == Path("deep/a.sqlite")
    for address in ("mysql://me:secret@host/name", "mysql:///secret", "sqlite://a.sqlite", "sqlite:///", "", " "):
        with pytest.raises(ConfigError, match="no place where state can be kept") as caught:
            make_state(address)
        assert "secret" not in str(caught.value)
        assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []  # nothing is made by naming it
