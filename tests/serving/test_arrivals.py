"""Items that come after training: kept, told from those of the data, and looked for where another server has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import World

from recsys.core.errors import DataError, EncoderError
from recsys.serving.arrivals import Arrivals
from recsys.serving.catalogue import Catalogue
from recsys.serving.fresh import Neighbourhood
from recsys.serving.people import People
from recsys.serving.state import make_state
from recsys.serving.state.store import NewItem, StateStore


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateStore]:
    made = make_state(tmp_path / "state.sqlite")
    yield made
    made.close()


def server(
    world: World, state: StateStore, *, shared: bool = False, places: bool = True, reads: bool = True
) -> Arrivals:
    data = world.split.dataset
    near = Neighbourhood(world.features) if places else None
    people = People(data, world.split.train, state, shared=shared)
    return Arrivals(people, state, Catalogue(data), near, world.vectors if reads else None)


def item(name: str, text: str = "like 9") -> NewItem:
    return NewItem(name, name.title(), text, ("mood:dark",), None, {})


@pytest.mark.parametrize(("places", "reads"), [(False, True), (True, False), (False, False)])
def test_what_cannot_be_read_is_not_kept(world: World, state: StateStore, places: bool, reads: bool) -> None:
    here = server(world, state, places=places, reads=reads)
    with pytest.raises(EncoderError, match="no item encoders"):
        here.add(item("a"))
    assert state.items(0) == []


def test_an_id_stands_for_one_item_until_it_is_free_again(world: World, state: StateStore) -> None:
    here, n = server(world, state), len(world.split.dataset.items)
    placed = here.add(item("a"))
    assert (placed.item_id, placed.title, placed.attributes, placed.neighbours[0]) == ("a", "A", ("mood:dark",), 9)
    for name in ("a", "i3"):
        with pytest.raises(DataError, match="there is one of that id"):
            here.add(item(name))
    here.add(item("b"))
    assert (here.remove("a"), here.remove("a"), here.remove("i3")) == (True, False, False)
    assert here.people.fresh.place == {"b": n + 1}
    assert here.people.fresh.closed.tolist() == [n]
    here.add(item("a", "like 5"))
    assert here.people.fresh.place == {"a": n, "b": n + 1}
    assert here.people.fresh.items[0].neighbours[0] == 5
    assert here.offered.fresh is here.people.fresh


def test_a_card_says_whether_an_item_is_new(world: World, state: StateStore) -> None:
    here, n = server(world, state), len(world.split.dataset.items)
    here.add(item("a"))
    data = world.split.dataset
    first, last = here.card(0), here.card(n - 1)
    assert (first["item_id"], first["title"], first["fresh"]) == ("i0", data.all_titles[0], False)
    assert last == {"item_id": f"i{n - 1}", "title": data.all_titles[n - 1],
                    "attributes": list(data.all_attributes[n - 1]), "fresh": False}  # fmt: skip
    assert here.item("a") == here.card(n) == {"item_id": "a", "title": "A", "attributes": ["mood:dark"], "fresh": True}


def test_what_another_server_added_is_met_when_it_is_named_and_only_then_read(
    world: World, state: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, alone, there = server(world, state, shared=True), server(world, state), server(world, state, places=False)
    there.state.add_item(NewItem("a", "A", "", (), None, world.vectors(item("a"))))
    reads, read = [], here.read
    monkeypatch.setattr(here, "read", lambda: (reads.append(1), read()))
    asyncio.run(here.meet("i3"))
    assert (reads, here.people.number("a")) == ([], None)
    asyncio.run(here.meet("i3", "a"))
    assert len(reads) == 1
    assert here.people.number("a") is not None
    assert here.people.fresh.items[0].neighbours[0] == 9
    asyncio.run(here.meet("nowhere"))
    here.follow()
    assert len(reads) == 1, "nothing is new"
    there.state.remove_item("a")
    here.follow()
    assert len(reads) == 2
    assert here.people.number("a") is None
    asyncio.run(alone.meet("a"))
    assert alone.people.fresh.place == {}, "of a state of its own all is known"


def test_without_encoders_new_items_are_listed_but_placed_nowhere(world: World, state: StateStore) -> None:
    server(world, state).add(item("a"))
    blind = server(world, state, places=False, reads=False)
    assert blind.item("a")["title"] == "A"
    assert len(blind.people.fresh.items[0].neighbours) == 0


def test_who_likes_what_was_unknown_is_looked_up_anew(world: World, state: StateStore) -> None:
    here = server(world, state)
    before = here.people.of("u0")
    here.add(item("a"))
    assert here.people.kept("u0") is None
    assert here.people.of("u0").history.tolist() == before.history.tolist()
