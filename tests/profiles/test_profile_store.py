"""The store: what is acknowledged is kept, whoever dies; a stale edit is refused; what is erased is gone."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from profiles.made import a_profile, profile, statement

from recsys.core.errors import ArtifactError, DataError
from recsys.profiles.database import MIGRATIONS
from recsys.profiles.store import SQLiteProfileStore, StaleProfileError

TESTS = Path(__file__).resolve().parents[1]
WRITER = """
import sys
from pathlib import Path
from recsys.profiles import store as module
from profiles.made import a_profile
store = module.SQLiteProfileStore(Path(sys.argv[1]))
found = store.get("u1")
version = found.version if found else 0
while True:
    version = store.put(a_profile(), made_from=version, edit="x" * 20_000)
    print(version, flush=True)
"""
DIES_INSIDE = """
import os, signal, sys
from pathlib import Path
from recsys.profiles import store as module
from profiles.made import a_profile
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
module._move_head = die
module.SQLiteProfileStore(Path(sys.argv[1])).put(a_profile(), made_from=int(sys.argv[2]), edit="never acknowledged")
"""
COUNTER = """
import sys
from pathlib import Path
from recsys.profiles.store import SQLiteProfileStore, StaleProfileError
from profiles.made import a_profile
store, done, refused = SQLiteProfileStore(Path(sys.argv[1])), 0, 0
while done < int(sys.argv[2]):
    found = store.get("u1")
    try:
        store.put(a_profile(), made_from=found.version if found else 0, edit=sys.argv[3])
        done += 1
    except StaleProfileError:
        refused += 1
print(refused)
"""


@pytest.fixture
def store(tmp_path: Path) -> SQLiteProfileStore:
    return SQLiteProfileStore(tmp_path / "deep" / "profiles.sqlite")


def child(code: str, *arguments: object) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_nothing_is_made_by_looking(store: SQLiteProfileStore) -> None:
    assert store.get("u1") is None
    assert store.history("u1") == []
    assert store.export("u1") == {"user_id": "u1", "versions": []}
    assert store.erase("u1") == 0
    assert not store.path.parent.exists()


def test_a_profile_comes_back_as_it_was(store: SQLiteProfileStore) -> None:
    first, second = a_profile(), profile(statement("genre:Film-Noir"))
    assert store.put(first, edit="built") == 1
    assert store.put(second, made_from=1, edit="remove all") == 2
    assert store.put(a_profile("u2")) == 1
    found = store.get("u1")
    assert found is not None
    assert (found.profile, found.version) == (second, 2)
    assert store.get("u1", 1).profile == first
    assert [(one.version, one.parent, one.edit, one.current) for one in store.history("u1")] == [
        (1, 0, "built", False), (2, 1, "remove all", True),
    ]  # fmt: skip
    with pytest.raises(DataError, match="no version 7"):
        store.get("u1", 7)
    with pytest.raises(DataError, match="belongs to no user"):
        store.put(a_profile(None))


def test_undo_and_redo_walk_and_a_new_edit_ends_the_redo(store: SQLiteProfileStore) -> None:
    kinds = [profile(statement(f"genre:{name}")) for name in "ABCD"]
    for version, one in enumerate(kinds[:3]):
        store.put(one, made_from=version)
    assert store.undo("u1").version == 2
    assert store.undo("u1").profile == kinds[0]
    with pytest.raises(DataError, match="nothing to undo"):
        store.undo("u1")
    assert store.redo("u1").version == 2
    assert store.put(kinds[3], made_from=2) == 4
    with pytest.raises(DataError, match="nothing to redo"):
        store.redo("u1")
    assert store.undo("u1").version == 2
    assert store.redo("u1").profile == kinds[3]
    assert store.get("u1", 3).profile == kinds[2]  # still there to read
    with pytest.raises(DataError, match="nothing is kept"):
        store.undo("nobody")


@pytest.mark.parametrize("made_from", [0, 1, 3])
def test_an_edit_of_another_version_is_refused(store: SQLiteProfileStore, made_from: int) -> None:
    store.put(a_profile())
    store.put(a_profile(), made_from=1)
    with pytest.raises(StaleProfileError, match=f"made from version {made_from}, and version 2 is current"):
        store.put(profile(), made_from=made_from)
    assert len(store.history("u1")) == 2


def test_an_erased_profile_is_not_brought_back_by_an_old_edit(store: SQLiteProfileStore) -> None:
    store.put(a_profile())
    store.erase("u1")
    with pytest.raises(StaleProfileError, match="nothing is kept"):
        store.put(a_profile(), made_from=1)


def test_what_is_erased_is_in_no_file(store: SQLiteProfileStore) -> None:
    secret = "unmistakable-4711"
    version = store.put(a_profile("keep"), edit="built") and 0
    for round in range(30):  # grows over many pages, and shrinks
        told = statement("genre:Drama", text=f"{secret} " * (1 + 400 * (round % 3)), modality="user-stated")
        version = store.put(profile(told, user_id="person-0815"), made_from=version, edit=f"add {secret}")
    files = lambda: [path for path in store.path.parent.iterdir() if path.is_file()]  # noqa: E731
    assert any(secret.encode() in path.read_bytes() for path in files())
    assert store.erase("person-0815") == 30
    for word in (secret, "person-0815"):
        assert not any(word.encode() in path.read_bytes() for path in files())
    assert store.get("person-0815") is None
    assert store.get("keep").profile == a_profile("keep")


def test_erasing_says_when_a_reader_keeps_old_copies(store: SQLiteProfileStore) -> None:
    store.put(a_profile())
    quick = SQLiteProfileStore(store.path, patience=0.1)
    with store.database.reading() as file:
        file.execute("SELECT * FROM versions").fetchall()
        with pytest.raises(ArtifactError, match=r"traces|locked"):
            quick.erase("u1")
    assert quick.erase("u1") == 0  # it was removed; this time its traces are, too
    assert b"About genre" not in store.path.read_bytes()


def test_all_of_a_user_is_exported_as_plain_values(store: SQLiteProfileStore) -> None:
    store.put(a_profile())
    store.put(profile(), made_from=1, edit="remove all")
    found = json.loads(json.dumps(store.export("u1")))
    assert [one["version"] for one in found["versions"]] == [1, 2]
    assert found["versions"][0]["profile"]["statements"][0]["concept"] == "genre:Drama"
    assert found["versions"][1]["current"] is True


def test_threads_do_not_lose_an_edit(store: SQLiteProfileStore) -> None:
    def work() -> None:
        for _ in range(10):
            while True:
                found = store.get("u1")
                try:
                    store.put(a_profile(), made_from=found.version if found else 0)
                    break
                except StaleProfileError:
                    continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(one.version, one.parent) for one in store.history("u1")] == [(n, n - 1) for n in range(1, 41)]


def test_processes_do_not_lose_an_edit(store: SQLiteProfileStore) -> None:
    children = [child(COUNTER, store.path, 12, f"process {number}") for number in range(3)]
    for one in children:
        _, error = one.communicate(timeout=120)
        assert one.returncode == 0, error
    history = store.history("u1")
    assert [(one.version, one.parent) for one in history] == [(n, n - 1) for n in range(1, 37)]
    assert {one.edit for one in history} == {"process 0", "process 1", "process 2"}


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
        assert one.wait(timeout=60) == -signal.SIGKILL, one.stderr.read()
        assert [version.edit for version in store.history("u1")] == ["built"]
        assert store.get("u1").profile == a_profile()
    assert store.put(profile(), made_from=1) == 2


def test_what_was_acknowledged_outlives_kill_9(store: SQLiteProfileStore) -> None:
    rng, acknowledged = random.Random(0), 0
    for _ in range(6):
        one = child(WRITER, store.path)
        told = [int(one.stdout.readline())]  # it writes
        time.sleep(rng.uniform(0.0, 0.15))
        one.send_signal(signal.SIGKILL)
        told += [int(line) for line in one.stdout.read().splitlines() if line]
        one.wait()
        history = store.history("u1")
        assert told[0] > acknowledged
        acknowledged = told[-1]
        assert acknowledged <= history[-1].version <= acknowledged + 1  # one may be kept and not yet told
        assert [entry.version for entry in history] == list(range(1, history[-1].version + 1))
        assert history[-1].current
        assert all(store.get("u1", entry.version).profile == a_profile() for entry in history)
        with sqlite3.connect(store.path) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


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
