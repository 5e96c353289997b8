"""Two services on one PostgreSQL, nothing run in between: what is said to one counts in the other's very next list."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from served import World

from recsys.serving.fresh import Neighbourhood
from recsys.serving.models import Models
from recsys.serving.people import ERASED, People, UnknownItemError, UnknownUserError
from recsys.serving.service import Service, Wanted
from recsys.serving.state import make_state
from recsys.serving.state.store import Event, NewItem

pytest_plugins = ["serving.postgres_server"]
USER = "u1"


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def replica(world: World, url: str) -> Service:
    """A service as each replica makes its own; nobody calls ``follow`` on it."""
    state = make_state(url)
    models = Models(world.engine, state)
    models.start("ease", "ease")
    people = People(world.split.dataset, world.split.train, state, shared=True)
    return Service(models, people, state, neighbourhood=Neighbourhood(world.features), vectors=world.vectors)


@pytest.fixture
def two(world: World, postgres_url: str) -> Iterator[tuple[Service, Service]]:
    made = replica(world, postgres_url), replica(world, postgres_url)
    yield made
    for one in made:
        one.close()


def listed(service: Service, user_id: str = USER, k: int = 500) -> list[str]:
    return [one.item_id for one in asyncio.run(service.recommend(Wanted(user_id, k=k))).lines]


def say(service: Service, user_id: str, item_id: str, kind: str) -> Event:
    return asyncio.run(service.accounts.record(Event(user_id, item_id, kind)))


def test_what_is_said_to_one_counts_in_the_next_list_of_the_other(two) -> None:
    here, there = two
    before = listed(there)
    assert listed(here) == before
    said = say(here, USER, before[0], "hide")
    assert before[0] not in listed(there)
    assert asyncio.run(there.accounts.take_back(USER, said.number))
    assert listed(here) == before
    for turn in range(10):  # one writes, the other is asked at once, in turns
        writer, reader = two[turn % 2], two[1 - turn % 2]
        first = listed(reader)[0]
        say(writer, USER, first, "like")
        assert first not in listed(reader)
    assert listed(here) == listed(there)


def test_somebody_new_is_known_to_the_other_and_a_like_steers_there(two, world) -> None:
    here, there = two
    asyncio.run(here.accounts.add_user("newcomer"))
    say(here, "newcomer", "i2", "like")
    assert set(listed(there, "newcomer", k=3)) <= world.block(2)


def test_a_new_item_can_be_spoken_of_to_the_other_at_once(two, world) -> None:
    here, there = two
    here.items.add(NewItem("new", "New", "like 9", (), None, {}))
    say(there, USER, "new", "like")
    here.items.add(NewItem("newer", "Newer", "like 10", (), None, {}))
    asyncio.run(here.accounts.add_user("newcomer"))
    say(here, "newcomer", "newer", "like")
    assert set(listed(there, "newcomer", k=3)) <= world.block(2)  # 10 is of block 2: the like of an unknown item counts
    here.items.remove("new")
    assert listed(there)
    with pytest.raises(UnknownItemError):
        say(there, USER, "never there", "like")


def test_who_is_erased_by_one_is_nobody_to_the_other_at_once(two) -> None:
    here, there = two
    assert USER in there.accounts.users("u", 500)
    listed(there)
    here.accounts.erase(USER)
    with pytest.raises(UnknownUserError):
        listed(there)
    assert USER not in there.accounts.users("u", 500)


def test_erasures_at_once_are_all_kept_also_beside_those_of_older_states(two, world, postgres_url) -> None:
    from recsys.core.erased import id_hash

    here, there = two
    here.state.remember(ERASED, f"{id_hash('u5')}\n{id_hash('u6')}")  # as it was kept before
    threads = [threading.Thread(target=one.accounts.erase, args=(user,)) for one, user in ((here, "u1"), (there, "u2"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = replica(world, postgres_url)
    gone = {world.split.dataset.users[row] for row in again.people.erased}
    again.close()
    assert gone == {"u1", "u2", "u5", "u6"}
