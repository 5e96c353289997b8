"""Who somebody is right now: the last word counts, and where it was said."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.serving.people import People, verdicts
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
