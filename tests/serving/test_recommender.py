"""Lists for known users, batches and newcomers: nothing seen, nothing banned, reasons that add up."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures
from recsys.rankers.ease import EASE
from recsys.rankers.lightgcn import LightGCN
from recsys.serving.recommender import Recommender

from worlds import blocks

QUIET = Run(log=lambda message: None)


@pytest.fixture(scope="module")
def world():
    return blocks()


@pytest.fixture(scope="module")
def ease(world) -> Recommender:
    ranker = EASE(EASE.Settings(regularisation=20.0))
    ranker.fit(world.train, ItemFeatures(), run=QUIET)
    return Recommender(world.dataset, ranker, world.train)


def test_a_known_user_gets_unseen_items_of_the_block(ease: Recommender, world) -> None:
    items = ease.recommend("u1", k=5)
    taken = {f"i{idx}" for idx in world.train.histories[1]}
    assert len(items) == 5
    assert not taken & {item.item_id for item in items}
    assert [item.score for item in items] == sorted((item.score for item in items), reverse=True)
    assert all(int(item.item_id[1:]) % 4 == 1 for item in items[:2])


def test_a_batch_equals_one_by_one(ease: Recommender) -> None:
    batch = ease.recommend(["u3", "u1"], k=4)
    assert batch[1] == ease.recommend("u1", k=4)
    assert batch[0] == ease.recommend("u3", k=4)


def test_a_newcomer_by_titles_ids_and_titles_without_year(ease: Recommender) -> None:
    by_title = ease.recommend(history=["Title 1 (1991)", "title 5"], k=3)
    by_id = ease.recommend(history=["i1", "i5"], k=3)
    assert by_title == by_id
    assert all(int(item.item_id[1:]) % 4 == 1 for item in by_id)
    assert ease.recommend(history=[["i1", "i5"], ["i2"]], k=3)[0] == by_id


def test_shares_of_a_linear_score_add_up_to_the_score(ease: Recommender, world) -> None:
    from recsys.core.values import Query

    query = Query.of_users(world.train, np.array([7]))
    parts = ease.ranker.contributions(query, 3)
    np.testing.assert_allclose(parts.sum(), ease.ranker.score(query)[0, 3], rtol=1e-5)
    first = ease.recommend("u7", k=1)[0]
    assert first.reasons[0].share >= first.reasons[1].share
    assert first.reasons[0].text.startswith("because of Title")


def test_filters_and_exclusions_hold(ease: Recommender) -> None:
    items = ease.recommend("u1", k=50, filter=["genre:G2", "year>=1995", "!year:1998"], exclude=["i22"])
    assert items
    for item in items:
        year = int(item.title[-5:-1])
        assert "genre:G2" in item.attributes
        assert year >= 1995
        assert year != 1998
        assert item.item_id != "i22"
    either = ease.recommend("u1", k=50, filter=["genre:G2", "genre:G3"])
    assert {attribute for item in either for attribute in item.attributes if attribute.startswith("genre")} == {
        "genre:G2",
        "genre:G3",
    }


def test_fewer_items_than_asked_for(ease: Recommender) -> None:
    assert len(ease.recommend("u0", k=1000)) == 48 - 10


def test_nothing_known_gives_the_popular(ease: Recommender, world) -> None:
    items = ease.recommend(history=[], k=3)
    counts = world.train.item_counts
    assert counts[int(items[0].item_id[1:])] == counts.max()
    assert "users took it" in items[0].reasons[0].text


def test_reasons_of_an_embedding_ranker_are_near_items(world) -> None:
    ranker = LightGCN(LightGCN.Settings(epochs=20, learning_rate=0.05, batch_size=32, embedding_dim=16))
    ranker.fit(world.train, ItemFeatures(), run=QUIET)
    first = Recommender(world.dataset, ranker, world.train).recommend("u1", k=1)[0]
    assert first.reasons[0].text.startswith("close to Title")
    assert int(first.reasons[0].item_id[1:]) % 4 == 1
    assert first.reasons[0].share is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"user": "nobody"}, "--liked"),
        ({"user": ["u1", "nobody"]}, "'nobody'"),
        ({"history": ["Titel 1"]}, "Nearest: Title 1"),
        ({"user": "u1", "filter": ["genre:G9"]}, "Did you mean 'genre:g"),
        ({"user": "u1", "filter": ["comedy"]}, "not understood"),
        ({"user": "u1", "filter": ["year>=soon"]}, "not a number"),
        ({"user": "u1", "exclude": ["zzz"]}, "no item has that id or title"),
        ({"user": "u1", "k": 0}, "at least one"),
        ({}, "one of the two"),
        ({"user": "u1", "history": ["i1"]}, "one of the two"),
    ],
)
def test_bad_requests_say_what_to_do(ease: Recommender, arguments, said: str) -> None:
    with pytest.raises(DataError) as caught:
        ease.recommend(**arguments)
    assert said in str(caught.value)
