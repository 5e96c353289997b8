"""What every profile store promises. Inherit it, and give the fixture ``store`` and the method ``maker``."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from profiles.made import a_profile, profile, statement

from recsys.core.errors import DataError
from recsys.profiles.store import ProfileStore, StaleProfileError

from waiting import LONG

TESTS = Path(__file__).resolve().parents[1]
MADE = """
import sys
from pathlib import Path
from recsys.profiles.store import SQLiteProfileStore, StaleProfileError
from recsys.profiles.store_postgres import PostgresProfileStore
from profiles.made import a_profile
store = {maker}
"""
WRITER = """
found = store.get("u1")
version = found.version if found else 0
while True:
    version = store.put(a_profile(), made_from=version, edit="x" * 20_000)
    print(version, flush=True)
"""
COUNTER = """
done = 0
while done < int(sys.argv[1]):
    found = store.get("u1")
    try:
        store.put(a_profile(), made_from=found.version if found else 0, edit=sys.argv[2])
        done += 1
    except StaleProfileError:
        pass
"""


def child(code: str, *arguments: object) -> subprocess.Popen:
    """Start a Python process that finds the tests' helpers."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


class ProfileStoreContract:
    """One suite for all profile stores."""

    kills = 3

    @pytest.fixture
    def store(self) -> ProfileStore:
        """An empty store."""
        raise NotImplementedError

    def maker(self, store: ProfileStore) -> str:
        """Return the expression by which another process opens the same store."""
        raise NotImplementedError

    def check_place(self, store: ProfileStore) -> None:
        """Fail where what lies on the disk is damaged."""
        raise NotImplementedError

    def read_disk(self, store: ProfileStore) -> bytes:
        """Return all that can be read where the store keeps its profiles."""
        raise NotImplementedError

    def start(self, store: ProfileStore, code: str, *arguments: object) -> subprocess.Popen:
        return child(MADE.format(maker=self.maker(store)) + code, *arguments)

    def test_nothing_is_kept_of_a_stranger(self, store: ProfileStore) -> None:
        assert store.get("u1") is None
        assert store.history("u1") == []
        assert store.export("u1") == {"user_id": "u1", "versions": []}
        assert store.erase("u1") == 0

    def test_a_profile_comes_back_as_it_was(self, store: ProfileStore) -> None:
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

    def test_undo_and_redo_walk_and_a_new_edit_ends_the_redo(self, store: ProfileStore) -> None:
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
    def test_an_edit_of_another_version_is_refused(self, store: ProfileStore, made_from: int) -> None:
        store.put(a_profile())
        store.put(a_profile(), made_from=1)
        with pytest.raises(StaleProfileError, match=f"made from version {made_from}, and version 2 is current"):
            store.put(profile(), made_from=made_from)
        assert len(store.history("u1")) == 2

    def test_an_erased_profile_is_not_brought_back_by_an_old_edit(self, store: ProfileStore) -> None:
        store.put(a_profile())
        assert store.erase("u1") == 1
        with pytest.raises(StaleProfileError, match="nothing is kept"):
            store.put(a_profile(), made_from=1)

    def test_what_is_erased_is_nowhere_on_the_disk(self, store: ProfileStore) -> None:
        secret = "unmistakable-4711"
        store.put(a_profile("keep"), edit="built")
        version = 0
        for round in range(30):  # grows over many pages, and shrinks
            told = statement("genre:Drama", text=f"{secret} " * (1 + 400 * (round % 3)), modality="user-stated")
            version = store.put(profile(told, user_id="person-0815"), made_from=version, edit=f"add {secret}")
        assert b"person-0815" in self.read_disk(store)
        assert store.erase("person-0815") == 30
        for word in (secret, "person-0815"):
            assert word.encode() not in self.read_disk(store)
        assert store.get("person-0815") is None
        assert store.get("keep").profile == a_profile("keep")

    def test_all_of_a_user_is_exported_as_plain_values(self, store: ProfileStore) -> None:
        store.put(a_profile())
        store.put(profile(), made_from=1, edit="remove all")
        found = json.loads(json.dumps(store.export("u1")))
        assert [one["version"] for one in found["versions"]] == [1, 2]
        assert found["versions"][0]["profile"]["statements"][0]["concept"] == "genre:Drama"
        assert found["versions"][1]["current"] is True

    def test_an_id_that_is_no_text_is_refused(self, store: ProfileStore) -> None:
        store.put(a_profile())
        with pytest.raises(DataError, match="Remove that character"):
            store.get("half a pair: \ud800")
        assert store.get("u1").version == 1

    def test_threads_do_not_lose_an_edit(self, store: ProfileStore) -> None:
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

    def test_processes_do_not_lose_an_edit(self, store: ProfileStore) -> None:
        children = [self.start(store, COUNTER, 12, f"process {number}") for number in range(3)]
        for one in children:
            _, error = one.communicate(timeout=LONG)
            assert one.returncode == 0, error
        history = store.history("u1")
        assert [(one.version, one.parent) for one in history] == [(n, n - 1) for n in range(1, 37)]
        assert {one.edit for one in history} == {"process 0", "process 1", "process 2"}

    def test_what_was_acknowledged_outlives_kill_9(self, store: ProfileStore) -> None:
        rng, acknowledged = random.Random(0), 0
        for _ in range(self.kills):
            one = self.start(store, WRITER)
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
            self.check_place(store)
