"""What an edit does to a list, and the verb ``profile`` from a history to a kept, edited profile."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from profiles.made import profile, statement

from recsys.changing import Lists
from recsys.profiles.concepts import Concept, Concepts
from recsys.profiles.edits import Edit, apply
from recsys.profiles.matching import Matcher
from recsys.rankers.store import make_ranker
from recsys.serving.recommender import Recommender

from worlds import blocks


@pytest.fixture(scope="module")
def lists() -> Lists:
    """User u0 takes items of block 0; genre G0 is block 0, G1 block 1, and so on."""
    from recsys.core.runtime import Run
    from recsys.core.values import ItemFeatures

    world = blocks(n_blocks=4, items_each=30)
    ranker = make_ranker({"name": "ease", "regularisation": 10.0})
    ranker.fit(world.train, ItemFeatures(), valid=None, run=Run(log=lambda message: None))
    model = Recommender(world.dataset, ranker, world.train)
    n_items = world.train.n_items
    columns = np.eye(4, dtype=np.float32)[np.arange(n_items) % 4]  # [n_items, 4]
    found = tuple(Concept(f"genre:G{number}", f"G{number} items", "behaviour") for number in range(4))
    matcher = Matcher(Concepts(found, sp.csc_array(columns)), world.dataset.item_table)
    return Lists(model, "ease", matcher, user_id="u0")


BUILT = profile(statement("genre:G0", 0.5), user_id="u0")


def genres(lists: Lists, now: list) -> list[int]:
    return [int(index) % 4 for index in lists.model.dataset.items.index([one.item_id for one in now])]


def test_without_edits_the_list_is_the_recommender_s(lists: Lists) -> None:
    plain = lists.model.recommend("u0", k=6, reasons=False)
    assert lists.of(BUILT, BUILT, 6) == plain
    changed = lists.change(BUILT, BUILT, BUILT, 6)
    assert (changed.came, changed.went) == (0, ())
    assert changed.to_text() == "The top 6 of ease stay as they are."


def test_what_came_went_and_moved(lists: Lists) -> None:
    after = apply(BUILT, Edit.parse("add G2 items"), lists.matcher.concepts)
    old, new = lists.of(BUILT, BUILT, 8), lists.of(after, BUILT, 8)
    changed = lists.change(BUILT, after, BUILT, 8)
    assert [line.item_id for line in changed.now] == [one.item_id for one in new]
    assert genres(lists, new).count(2) > genres(lists, old).count(2)
    before = {one.item_id: place for place, one in enumerate(old, 1)}
    assert [(line.place, line.was) for line in changed.now] == [
        (place, before.get(one.item_id)) for place, one in enumerate(new, 1)
    ]
    assert {line.item_id for line in changed.went} == set(before) - {one.item_id for one in new}
    assert changed.came == len(changed.went) > 0
    for line, one in zip(changed.now, genres(lists, new), strict=True):
        assert line.because == (("genre:G2 +0.8",) if one == 2 else ())  # 0.5 * log(1 + 4)
    text = changed.to_text()
    assert f"{changed.came} came, {changed.came} went" in text
    assert "genre:G2 +0.8" in text


def test_what_is_forbidden_is_never_in_the_list(lists: Lists) -> None:
    after = apply(BUILT, Edit.parse("forbid genre:G0"), lists.matcher.concepts)
    changed = lists.change(BUILT, after, BUILT, 5)
    assert 0 not in genres(lists, changed.now)
    assert all(line.because == ("genre:G0 forbidden",) for line in changed.went)
    for genre in (1, 2):
        after = apply(after, Edit.parse(f"forbid genre:G{genre}"), lists.matcher.concepts)
    everything = lists.of(after, BUILT, 10_000)
    assert set(genres(lists, everything)) == {3}
    after = apply(after, Edit.parse("forbid genre:G3"), lists.matcher.concepts)
    assert lists.of(after, BUILT, 10) == []


def test_somebody_new_is_steered_too(lists: Lists) -> None:
    new = Lists(lists.model, "ease", lists.matcher, history=("Title 0", "Title 4"))
    built = profile(statement("genre:G0", 0.5), user_id=None)
    after = apply(built, Edit.parse("forbid genre:G0"), lists.matcher.concepts)
    assert genres(new, new.of(built, built, 5)) == [0] * 5
    assert 0 not in genres(new, new.of(after, built, 5))
