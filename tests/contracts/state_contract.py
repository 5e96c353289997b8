"""What every state store promises. Inherit it, and give the fixture ``store`` and the methods below it."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import threading
import time
from dataclasses import replace
from subprocess import Popen

import numpy as np
import pytest

from recsys.core.errors import DataError
from recsys.serving.state.store import Event, NewItem, StateConflictError, StateStore

from contracts.profile_store_contract import child

ODD = [
    "half\tway",
    "../../etc/passwd",
    "'; DROP TABLE events; --",
    "%s ? :a $1",
    "a\u202eb",
    "é",
    "e\u0301",
    " ",
    "😀" * 256,
    "\x01\n",
]
BAD = ["", "a" * 257, "nul\0", "half \ud800"]
WRITER = """
import sys
from recsys.serving.state import make_state
from recsys.serving.state.store import Event
store = make_state(sys.argv[1])
name, number, most = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
while number < most:
    stored = store.record(Event(name, f"i{number}", "like", key=f"k{number}"))
    print(stored.number, number, flush=True)
    number += 1
"""


def item(item_id: str = "n1", **changes) -> NewItem:
    vectors = {"text/mini": np.arange(4, dtype=np.float32), "../image": np.ones(3, dtype=np.float32)}
    made = NewItem(item_id, "A title", "A text\nof two lines", ("genre:Comedy", "year:1999"), b"\x89PNG\0\xff", vectors)
    return replace(made, **changes)


def in_threads(n: int, work) -> list:
    """Run ``work(0)`` to ``work(n - 1)`` at the same time; return what they return."""
    found: list = [None] * n

    def run(number: int) -> None:
        found[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def in_fork(work) -> str:
    """Run ``work`` in a copy of this process; return what it returns, or the name of what it raises and the message."""

    def run() -> None:
        try:
            told.put(str(work()))
        except Exception as error:
            told.put(f"{type(error).__name__}: {error}")

    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    copy = context.Process(target=run)
    copy.start()
    found = told.get()
    copy.join()
    return found


class StateContract:
    """One suite for all state stores."""

    @pytest.fixture
    def store(self) -> StateStore:
        """An empty store."""
        raise NotImplementedError

    def address(self, store: StateStore) -> str:
        """Return what ``make_state`` opens the same store by."""
        raise NotImplementedError

    def check_place(self, store: StateStore) -> None:
        """Fail where what lies on the disk is damaged."""
        raise NotImplementedError

    def read_disk(self, store: StateStore) -> bytes:
        """Return all that can be read where the store keeps its rows."""
        raise NotImplementedError

    def writer(self, store: StateStore, user_id: str, first: int, most: int) -> Popen:
        return child(WRITER, self.address(store), user_id, first, most)

    # -- users -----------------------------------------------------------------------------------------------

    def test_users_are_added_once_and_listed_by_prefix(self, store: StateStore) -> None:
        assert [store.add_user(name) for name in ("b", "anna", "Änne", "ann", "anna", "an%", "😀")] == [True] * 4 + [
            False, True, True,
        ]  # fmt: skip
        assert store.known_users() == ["an%", "ann", "anna", "b", "Änne", "😀"]
        assert store.known_users("ann") == ["ann", "anna"]
        assert store.known_users("an%") == ["an%"]
        assert store.known_users("", 2) == ["an%", "ann"]
        assert store.known_users("zz") == store.known_users("a", 0) == store.known_users("a", -1) == []
        assert store.has_user("anna")
        assert not store.has_user("nobody")

    # -- events ----------------------------------------------------------------------------------------------

    def test_events_come_back_as_they_were(self, store: StateStore) -> None:
        sent = [
            Event("u1", "i1", "like", model="ease", time=1_700_000_000),
            Event("u2", "i1", "rating", 3.5, "mmssl", "key", time=5),
            Event("u1", "i2", "dislike", time=4),
            Event("u1", "i2", "click", time=3),
            Event("u1", "i3", "hide", time=2),
        ]
        kept = [store.record(event) for event in sent]
        assert [replace(event, number=0) for event in kept] == sent
        assert [event.number for event in kept] == sorted({event.number for event in kept})
        assert kept[0].number > 0
        assert store.events("u1") == [kept[0], *kept[2:]]
        assert store.since(0) == kept
        assert store.since(0, 2) == kept[:2]
        assert store.since(kept[2].number) == kept[3:]
        assert store.since(kept[-1].number) == store.since(10**30) == store.since(0, 0) == []
        assert store.events("nobody") == []
        before = time.time()
        assert before - 1 <= store.record(Event("u3", "i1", "like")).time <= time.time() + 1
        assert not store.has_user("u1")  # an event makes nobody known

    def test_what_is_sent_twice_is_stored_once(self, store: StateStore) -> None:
        first = store.record(Event("u1", "i1", "rating", 4, "a", "key", time=7))
        assert store.record(Event("u1", "i1", "rating", 4.0, "b", "key", time=9)) == first
        for other in (
            Event("u1", "i2", "rating", 4, key="key"),
            Event("u1", "i1", "rating", 5, key="key"),
            Event("u1", "i1", "like", key="key"),
        ):
            with pytest.raises(StateConflictError, match="new key"):
                store.record(other)
        assert store.events("u1") == [first]
        assert store.record(Event("u2", "i2", "like", key="key")).number > first.number  # a key is its user's
        assert [store.record(Event("u3", "i1", "click")).number for _ in range(2)] == [
            event.number for event in store.events("u3")
        ]

    def test_what_is_taken_back_does_not_count_and_does_not_come_back(self, store: StateStore) -> None:
        first, second = (store.record(Event("u1", f"i{n}", "like", model="a", key=f"k{n}")) for n in range(2))
        before = store.removals()
        assert not store.take_back("u2", first.number)
        assert not store.take_back("u1", second.number + 1)
        assert not store.take_back("u1", 10**30)
        assert store.removals() == before
        assert store.take_back("u1", first.number)
        assert not store.take_back("u1", first.number)
        assert store.removals() > before
        assert store.record(Event("u1", "i0", "like", key="k0")).number == first.number
        assert store.events("u1") == store.since(0) == [second]
        assert store.counts() == {"a": {"like": 1}}
        assert [one["taken_back"] for one in store.export("u1")["events"]] == [True, False]

    def test_counts_are_by_model_and_kind_and_fall_with_an_erasure(self, store: StateStore) -> None:
        for user, kind, model in [("u1", "like", "a"), ("u1", "click", "a"), ("u2", "click", "a"), ("u2", "click", "")]:
            store.record(Event(user, "i1", kind, model=model))
        assert store.counts() == {"": {"click": 1}, "a": {"click": 2, "like": 1}}
        store.erase("u1")
        assert store.counts() == {"": {"click": 1}, "a": {"click": 1}}

    # -- items and settings ----------------------------------------------------------------------------------

    def test_items_come_back_as_they_were(self, store: StateStore) -> None:
        kept = store.add_item(item())
        plain = store.add_item(NewItem("n2", "", "", (), None, {}))
        assert [one.item_id for one in store.items()] == ["n1", "n2"]
        for found in (kept, store.items()[0]):
            assert (found.title, found.text, found.attributes) == (item().title, item().text, item().attributes)
            assert found.picture == item().picture
            assert set(found.vectors) == set(item().vectors)
            for name, vector in item().vectors.items():
                assert found.vectors[name].dtype == np.float32
                np.testing.assert_array_equal(found.vectors[name], vector)
        assert (plain.picture, dict(plain.vectors), plain.attributes) == (None, {}, ())
        assert [one.number for one in store.items(kept.number)] == [plain.number]
        assert store.items(10**30) == []

    def test_an_item_is_added_once_and_its_number_is_not_given_again(self, store: StateStore) -> None:
        first = store.add_item(item())
        assert store.add_item(item(vectors={})).number == first.number
        with pytest.raises(StateConflictError, match="other content"):
            store.add_item(item(title="Another"))
        before = store.removals()
        assert store.item("n1").item_id == "n1"
        assert store.remove_item("n1")
        assert store.item("n1") is None
        assert not store.remove_item("n1")
        assert store.removals() > before
        assert store.items() == []
        assert store.add_item(item(title="Another")).number > first.number

    def test_what_was_said_of_a_removed_item_does_not_count_for_another_of_its_id(self, store: StateStore) -> None:
        store.add_item(item())
        store.record(Event("u1", "n1", "like"))
        store.record(Event("u1", "i2", "like"))
        assert store.remove_item("n1")
        store.add_item(item(title="Another"))
        assert [event.item_id for event in store.events("u1")] == ["i2"]
        assert [event.item_id for event in store.since(0)] == ["i2"]
        kept = store.export("u1")["events"]
        assert [(event["item_id"], event["taken_back"]) for event in kept] == [("n1", True), ("i2", False)]
        again = store.record(Event("u1", "n1", "dislike"))
        assert [event.number for event in store.events("u1")][-1] == again.number
        assert store.erase("u1") == 3

    def test_vectors_that_cannot_be_used_are_refused(self, store: StateStore) -> None:
        for vector in (np.ones((2, 2)), np.array([1.0, np.nan]), np.array([1e300]), np.array(["1"])):
            with pytest.raises(DataError, match="one row of finite numbers"):
                store.add_item(item(vectors={"mini": vector}))
        assert store.items() == []

    def test_settings_are_replaced(self, store: StateStore) -> None:
        assert store.recall("model") is None
        for value in ("a", "", "b\n" * 10_000):
            store.remember("model", value)
            assert store.recall("model") == value

    # -- erase and export ------------------------------------------------------------------------------------

    def test_what_is_erased_is_nowhere_on_the_disk(self, store: StateStore) -> None:
        user, words = "person-0815", [b"person-0815", b"item-4711", b"key-1147"]
        store.add_user(user)
        store.record(Event("keep", "i1", "like"))
        last = 0
        for number in range(300):
            last = store.record(Event(user, f"item-4711-{number}", "like", key=f"key-1147-{number}")).number
        store.take_back(user, last)
        assert all(word in self.read_disk(store) for word in words)
        before = store.removals()
        assert store.erase(user) == 300
        assert not any(word in self.read_disk(store) for word in words)
        assert store.removals() > before
        assert not store.has_user(user)
        assert store.events(user) == []
        assert len(store.events("keep")) == 1
        assert store.erase(user) == 0
        assert store.record(Event("keep", "i2", "like")).number > last  # a number is never given again

    def test_all_of_a_user_is_exported_as_plain_values(self, store: StateStore) -> None:
        store.add_user("u1")
        kept = store.record(Event("u1", "i1", "rating", 2.5, "a", "k", time=8))
        found = json.loads(json.dumps(store.export("u1")))
        assert found["events"] == [
            {"user_id": "u1", "item_id": "i1", "kind": "rating", "value": 2.5, "model": "a", "key": "k",
             "number": kept.number, "time": 8, "taken_back": False}
        ]  # fmt: skip
        assert found["added"] > 1_700_000_000
        assert store.export("nobody") == {"user_id": "nobody", "added": None, "events": []}

    # -- names -----------------------------------------------------------------------------------------------

    def test_any_text_is_an_id(self, store: StateStore) -> None:
        for odd in ODD:
            assert store.add_user(odd)
            assert store.has_user(odd)
            kept = store.record(Event(odd, odd, "like", model=odd, key=odd))
            assert store.events(odd) == [kept]
            store.add_item(item(odd, title=odd, vectors={odd: np.ones(2)}))
            store.remember(odd, odd)
            assert store.recall(odd) == odd
        assert sorted(store.known_users()) == store.known_users() == sorted(ODD)
        assert [one.item_id for one in store.items()] == ODD

    @pytest.mark.parametrize("bad", BAD, ids=["empty", "long", "nul", "surrogate"])
    def test_what_is_no_id_is_refused_and_nothing_is_kept(self, store: StateStore, bad: str) -> None:
        for call in (
            lambda: store.add_user(bad), lambda: store.has_user(bad), lambda: store.events(bad),
            lambda: store.take_back(bad, 1), lambda: store.erase(bad), lambda: store.export(bad),
            lambda: store.record(Event(bad, "i", "like")), lambda: store.record(Event("u", bad, "like")),
            lambda: store.record(Event("u", "i", "like", key=bad)),
            lambda: store.record(Event("u", "i", "like", model=bad or "\0")),
            lambda: store.add_item(item(bad)), lambda: store.add_item(item(vectors={bad: np.ones(2)})),
            lambda: store.add_item(item(text=bad[-1:] if "a" not in bad and bad else "\0")),
            lambda: store.remove_item(bad), lambda: store.remember(bad, ""), lambda: store.recall(bad),
        ):  # fmt: skip
            with pytest.raises(DataError) as caught:
                call()
            assert len(str(caught.value)) < 300
        assert store.since(0) == store.items() == store.known_users() == []

    @pytest.mark.parametrize(
        "bad",
        [
            Event("u", "i", "love"),  # type: ignore[arg-type]
            Event("u", "i", "rating"),
            Event("u", "i", "like", 1.0),
            Event("u", "i", "rating", float("nan")),
            Event("u", "i", "like", time=1_700_000_000_000),
            Event("u", "i", "like", time=-1),
        ],
        ids=lambda event: f"{event.kind} {event.value} {event.time}",
    )
    def test_events_that_mean_nothing_are_refused(self, store: StateStore, bad: Event) -> None:
        with pytest.raises(DataError):
            store.record(bad)
        assert store.since(0) == []

    # -- many at once, and sudden ends -----------------------------------------------------------------------

    def test_threads_that_send_the_same_store_it_once(self, store: StateStore) -> None:
        found = in_threads(8, lambda n: [store.record(Event("u1", f"i{k}", "like", key=f"k{k}")) for k in range(5)])
        assert all(one == found[0] for one in found)
        assert store.events("u1") == found[0]
        assert sum(in_threads(8, lambda n: store.add_user("u1"))) == 1

    def test_what_was_written_is_read_by_whoever_asks_next(self, store: StateStore) -> None:
        def work(number: int) -> None:
            for _ in range(20):
                kept = store.record(Event(f"u{number}", "i", "click"))
                assert store.events(f"u{number}")[-1] == kept
                mine.append(kept)

        mine: list[Event] = []
        in_threads(4, work)
        assert len(mine) == 80
        assert store.since(0) == sorted(mine, key=lambda event: event.number)

    def test_a_reader_that_follows_misses_nothing_of_several_processes(self, store: StateStore) -> None:
        store.check()
        children = [self.writer(store, f"u{number}", 0, 60) for number in range(3)]
        seen: list[Event] = []
        while any(one.poll() is None for one in children) or store.since(seen[-1].number if seen else 0, 1):
            seen += store.since(seen[-1].number if seen else 0, 7)
        for one in children:
            assert one.returncode == 0, one.stderr.read()
        assert len(seen) == 180
        assert seen == store.since(0)
        for number in range(3):
            assert [event.item_id for event in seen if event.user_id == f"u{number}"] == [f"i{n}" for n in range(60)]

    def test_what_was_acknowledged_outlives_kill_9(self, store: StateStore) -> None:
        self.kill(store, 2)

    @pytest.mark.slow
    def test_what_was_acknowledged_outlives_twenty_kills(self, store: StateStore) -> None:
        self.kill(store, 20)

    def kill(self, store: StateStore, times: int) -> None:
        rng, following = random.Random(0), 0
        for _ in range(times):
            one = self.writer(store, "u1", following, 10**9)
            told = [one.stdout.readline()]  # it writes
            time.sleep(rng.uniform(0.0, 0.1))
            one.send_signal(signal.SIGKILL)
            told += one.stdout.read().splitlines(keepends=True)
            one.wait()
            acknowledged = [tuple(map(int, line.split())) for line in told if line.endswith("\n")]
            assert acknowledged, one.stderr.read()
            kept = {event.number: event.item_id for event in store.events("u1")}
            assert all(kept.get(number) == f"i{n}" for number, n in acknowledged)
            assert list(kept.values()) == [f"i{n}" for n in range(len(kept))]
            assert len(kept) <= acknowledged[-1][1] + 2  # one may be kept and not yet told
            following = len(kept)
            self.check_place(store)

    def test_it_can_be_checked_closed_and_used_again(self, store: StateStore) -> None:
        store.check()
        store.record(Event("u1", "i1", "like"))
        store.close()
        assert len(store.events("u1")) == 1
        store.check()
        store.close()
