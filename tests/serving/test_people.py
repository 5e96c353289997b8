"""Who somebody is right now: the last word counts, and where it was said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from served import World

from recsys.serving.accounts import Accounts
from recsys.serving.fresh import FreshItems, Neighbourhood
from recsys.serving.people import People, UnknownItemError, UnknownUserError, verdicts
from recsys.serving.person import Steering
from recsys.serving.state import make_state
from recsys.serving.state.store import Event

from worlds import blocks


def said(*events: tuple[str, str, float | None]) -> list[Event]:
    return [Event("new", item, kind, value) for item, kind, value in events]


LIKES = ("i8", "like", None), ("i4", "like", None), ("i12", "rating", 5.0)


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (LIKES, {"i8": "like", "i4": "like", "i12": "like"}),
        ((*LIKES, ("i8", "rating", 4.0)), {"i4": "like", "i12": "like", "i8": "like"}),
        ((*LIKES, ("i8", "dislike", None)), {"i4": "like", "i12": "like", "i8": "dislike"}),
        ((*LIKES, ("i4", "hide", None), ("i4", "like", None)), {"i8": "like", "i12": "like", "i4": "like"}),
        ((*LIKES, ("i8", "click", None)), {"i8": "like", "i4": "like", "i12": "like"}),
        ((*LIKES, ("i8", "rating", 3.0)), {"i4": "like", "i12": "like", "i8": "seen"}),
    ],
)
def test_verdicts_stand_in_the_order_of_the_last_word(events: tuple, wanted: dict[str, str], tmp_path: Path) -> None:
    found = verdicts(said(*events))
    assert list(found.items()) == list(wanted.items())
    world, state = blocks(), make_state(tmp_path / "state.sqlite")
    state.add_user("new")
    for event in said(*events):
        state.record(event)
    person = People(world.dataset, world.train, state).of("new")
    liked = [int(item[1:]) for item, word in wanted.items() if word == "like"]
    assert person.history.tolist() == liked, "the newest last, for rankers that read the order"
    state.close()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def people(world: World, tmp_path: Path) -> Iterator[People]:
    state = make_state(tmp_path / "state.sqlite")
    yield People(world.split.dataset, world.split.train, state)
    state.close()


def say(people: People, user: str, item: str, kind: str) -> None:
    people.state.record(Event(user, item, kind, None))
    people.forget(user)


def test_who_was_looked_up_is_kept_until_something_changes(people: People) -> None:
    assert people.kept("u1") is None
    found = people.of("u1")
    assert people.kept("u1") is found
    people.forget("u2")
    assert people.of("u1") is found
    people.forget("u1")
    assert people.kept("u1") is None
    people.of("u1")
    people.forget()
    assert people.kept("u1") is None


@pytest.mark.parametrize("whom", ["u1", None])
def test_what_was_read_before_a_change_is_not_kept_after_it(people: People, monkeypatch, whom: str | None) -> None:
    read = people.state.events

    def events(user_id: str) -> list[Event]:
        found = read(user_id)
        people.forget(whom)  # somebody else's request, between the reading and the keeping
        return found

    monkeypatch.setattr(people.state, "events", events)
    people.of("u1")
    assert people.kept("u1") is None


@pytest.mark.parametrize("user", ["u0", "u5"])
def test_a_user_of_the_data_has_the_history_of_the_data_the_first_too(world: World, people: People, user: str) -> None:
    row = int(user[1:])
    taken = [f"i{item}" for item in world.split.train.histories[row]]
    person = people.of(user)
    assert (person.row, person.changed, person.sources) == (row, False, None)
    assert person.history.tolist() == [int(item[1:]) for item in taken]
    assert person.seen.tolist() == sorted(person.history.tolist())
    assert people.history(user) == (taken, [], [])
    say(people, user, taken[0], "dislike")
    assert people.history(user) == (taken[1:], [taken[0]], [])


def test_of_somebody_new_nothing_is_known(people: People) -> None:
    people.state.add_user("new")
    person = people.of("new")
    assert (person.row, person.history.tolist(), person.seen.tolist(), person.changed) == (-1, [], [], False)


@pytest.mark.parametrize(("kind", "changed"), [("like", True), ("dislike", True), ("hide", False), ("click", False)])
def test_only_what_a_taste_says_changes_a_user(world: World, people: People, kind: str, changed: bool) -> None:
    item = world.unseen(0)[0]
    say(people, "u0", item, kind)
    person = people.of("u0")
    assert person.changed == changed
    assert (int(item[1:]) in person.seen) == (kind != "click")
    assert person.disliked.tolist() == ([int(item[1:])] if kind == "dislike" else [])


def test_to_hide_what_the_data_has_changes_a_user(world: World, people: People) -> None:
    taken = world.split.train.histories[0].tolist()
    say(people, "u0", f"i{taken[0]}", "hide")
    person = people.of("u0")
    assert person.changed
    assert person.history.tolist() == taken[1:]
    assert person.seen.tolist() == sorted(taken)


def test_a_liked_new_item_counts_as_what_it_is_most_like_and_is_named_as_itself(world: World, people: People) -> None:
    n = len(world.split.dataset.items)
    near = Neighbourhood(world.features).place("fresh", "Fresh", (), {"text": world.features["text"][9]})
    people.fresh = FreshItems(n, [near])
    say(people, "u0", world.unseen(0)[0], "like")
    assert people.of("u0").sources is None  # it is trained
    say(people, "u0", "fresh", "like")
    person = people.of("u0")
    stand_ins = people.fresh.stand_ins(n).tolist()
    assert person.history[-len(stand_ins) :].tolist() == stand_ins
    assert person.sources[-len(stand_ins) :].tolist() == [n] * len(stand_ins)
    assert len(person.sources) == len(person.history)
    say(people, "u0", "fresh", "dislike")
    assert people.of("u0").disliked.tolist() == []  # nothing that the ranker knows


def test_what_is_known_of_a_user_is_listed_the_newest_first(world: World, people: People) -> None:
    taken = [f"i{item}" for item in world.split.train.histories[1]]
    new = world.unseen(1)[:2]
    accounts = Accounts(people, people.state, SimpleNamespace(card=lambda number: {"item_id": f"i{number}"}))
    for item in new:
        say(people, "u1", item, "like")
    for item in taken[:2]:
        say(people, "u1", item, "dislike")
    told = accounts.told("u1", 3)
    ids = {name: [one["item_id"] for one in told[name]] for name in ("taken", "disliked")}
    assert ids == {"taken": [*reversed(new), taken[-1]], "disliked": [taken[1], taken[0]]}
    assert told["n_taken"] == len(taken)  # two less, two more
    assert [event.item_id for event in told["events"]] == [taken[1], taken[0], new[1]]
    assert [one["item_id"] for one in accounts.told("u1", 500)["taken"]] == [*reversed(new), *reversed(taken[2:])]


def test_users_are_found_by_their_beginning_though_some_were_erased(world: World, people: People) -> None:
    accounts = Accounts(people, people.state, None)
    first = world.split.dataset.users.ids.filter(world.split.dataset.users.ids.str.starts_with("u1")).to_list()
    assert accounts.users("u1", 3) == first[:3]
    for user in first[:2]:
        people.of(user)
        people.leave_out(user, people.row(user))
        with pytest.raises(UnknownUserError):
            people.of(user)
    assert accounts.users("u1", 3) == first[2:5]
    people.state.add_user("u1new")
    assert accounts.users("u1", 3) == ["u1new", *first[2:4]]
    assert accounts.users("u1", 1) == ["u1new"]


def accounts_of(people: People) -> Accounts:
    card = lambda number: people.dataset.items[number]  # noqa: E731
    return Accounts(people, people.state, SimpleNamespace(card=card))


def test_what_is_known_is_told_the_newest_first_and_no_more_than_asked_for(world: World, people: People) -> None:
    taken = [f"i{item}" for item in world.split.train.histories[0]]
    disliked = world.unseen(1)[:2]
    for item, kind in (
        (taken[0], "like"),
        (disliked[0], "dislike"),
        ("no longer there", "like"),
        (disliked[1], "dislike"),
    ):
        say(people, "u0", item, kind)
    said = [event.item_id for event in people.state.events("u0")]
    told = accounts_of(people).told("u0", 3)
    assert told["user_id"] == "u0"
    assert [event.item_id for event in told["events"]] == said[:0:-1]
    assert told["n_taken"] == len(taken) + 1
    assert told["taken"] == [taken[0], taken[-1]], "of three, one is no longer there"
    assert told["disliked"] == disliked[::-1]
    assert accounts_of(people).export("u0")["taken"] == [*taken[1:], taken[0], "no longer there"]


def test_who_leaves_is_gone_everywhere_and_counted(world: World, people: People) -> None:
    accounts, gone = accounts_of(people), []
    accounts.on_erase, accounts.elsewhere = gone.append, lambda user_id: 4
    say(people, "u0", "i1", "like")
    say(people, "u0", "i2", "like")
    people.state.add_user("new")
    people.of("new"), people.of("u0")
    assert (accounts.erase("u0"), accounts.erase("new")) == (6, 4)
    assert gone == ["u0"], "the data never had the other"
    for user in ("u0", "new"):
        assert not people.exists(user)
        with pytest.raises(UnknownUserError):
            people.of(user)
    assert people.exists("u1")
    assert People(people.dataset, people.known, people.state).row("u0") == -1, "also after a restart"


class Wanting:
    def steering(self, user_id: str, hidden: Sequence[str] = ()) -> Steering:
        return Steering(np.full(3, len(hidden), np.float32), labels=(user_id, *hidden))


def test_edits_are_asked_for_with_what_is_taken_as_hidden(world: World, people: People) -> None:
    people.steers = Wanting()
    taken = f"i{world.split.train.histories[0][0]}"
    assert people.of("u0").steering.labels == ("u0",)
    would = people.hiding("u0", taken)
    assert would.steering.labels == ("u0", taken)
    assert would.changed
    assert int(taken[1:]) in would.seen
    assert not people.of("u0").changed, "it only would be"


def test_servers_of_one_state_keep_nobody_and_look_for_unknown_items(world: World, people: People) -> None:
    other, met = People(people.dataset, people.known, people.state, shared=True), []
    other.on_unknown = lambda: met.append(1)
    other.of("u0")
    assert other.kept("u0") is None
    assert not met
    say(people, "u0", world.unseen(0)[0], "like")
    assert other.of("u0").changed
    assert not met
    say(people, "u0", "another server has it", "like")
    other.of("u0")
    people.of("u0")
    assert met == [1]
    people.leave_out("u0", 0)
    people.state.erase("u0")
    assert other.row("u0") == 0, "as far as is known there"
    with pytest.raises(UnknownUserError):
        other.of("u0")
    assert other.row("u0") == -1


def test_a_session_knows_only_what_it_says(people: People) -> None:
    person = people.session(["i8", "i4", "i8"])
    assert (person.history.tolist(), person.seen.tolist(), person.row) == ([8, 4, 8], [4, 8], -1)
    assert person.sources.tolist() == [8, 4, 8]
    with pytest.raises(UnknownItemError, match="'i48'"):
        people.session(["i8", "i48"])
    assert (people.item("i0"), people.number("i0"), people.number("i48")) == (0, 0, None)
