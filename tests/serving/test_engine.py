"""Lists for many at once: equal to one by one, new items where their likes are, reasons that can be checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures
from recsys.rankers.ease import EASE
from recsys.rankers.lightgcn import LightGCN
from recsys.serving.engine import Engine
from recsys.serving.fresh import FreshItem, FreshItems, Neighbourhood
from recsys.serving.person import Person, Steering
from recsys.serving.recommender import Recommender
from recsys.serving.wishes import Wish

from worlds import block_features, blocks

QUIET = Run(log=lambda message: None)
N_BLOCKS = 4


@pytest.fixture(scope="module")
def world():
    return blocks(N_BLOCKS)


@pytest.fixture(scope="module")
def features(world) -> ItemFeatures:
    return block_features(world, N_BLOCKS)


def engine_of(world, ranker, features) -> Engine:
    ranker.fit(world.train, ItemFeatures(), run=QUIET)
    return Engine("it", "key", Recommender(world.dataset, ranker, world.train), features.unit("text"))


@pytest.fixture(scope="module")
def ease(world, features) -> Engine:
    return engine_of(world, EASE(EASE.Settings(regularisation=20.0)), features)


def person(world, user: int) -> Person:
    history = world.train.histories[user]
    return Person(history, np.unique(history), row=user)


def nothing(world) -> FreshItems:
    return FreshItems(world.train.n_items)


def test_a_batch_is_what_each_gets_alone_and_what_the_recommender_says(ease: Engine, world) -> None:
    wishes = [Wish(person(world, user), k=3 + user % 3) for user in range(9)]
    together = ease.answer(wishes, nothing(world))
    for user, (wish, lines) in enumerate(zip(wishes, together, strict=True)):
        assert ease.answer([wish], nothing(world)) == [lines]
        told = ease.recommender.recommend(f"u{user}", k=wish.k)
        assert [(one.item_id, one.score, one.reasons) for one in lines] == [
            (one.item_id, one.score, one.reasons) for one in told
        ]


def test_a_new_item_comes_to_those_who_like_its_like_and_to_nobody_else(ease: Engine, world, features) -> None:
    places = Neighbourhood(features)
    vectors = {"text": features["text"][[9, 13, 17]].mean(axis=0)}  # block 1
    fresh = FreshItems(world.train.n_items, [places.place("new", "New", ["genre:x"], vectors)])
    assert (fresh.items[0].neighbours[:5] % N_BLOCKS == 1).all()
    ranks = []
    for user in range(N_BLOCKS):
        lines = ease.answer([Wish(person(world, user), k=10)], fresh)[0]
        ranks.append([one.item_id for one in lines].index("new") if "new" in [one.item_id for one in lines] else 99)
    assert ranks[1] < 5
    assert min(ranks[0], ranks[2], ranks[3]) > ranks[1]
    line = next(one for one in ease.answer([Wish(person(world, 1), k=10)], fresh)[0] if one.item_id == "new")
    assert line.fresh
    assert line.reasons[0].text.startswith("new; reads or looks like Title")


def test_an_item_of_which_nothing_is_known_comes_last_and_one_that_went_never(ease: Engine, world) -> None:
    n = world.train.n_items
    fresh = FreshItems(n, [FreshItem("blank", "Blank"), FreshItem("gone", "Gone")])
    fresh = fresh.updated([FreshItem("blank", "Blank"), FreshItem("later", "Later")])
    assert fresh.place == {"blank": n, "later": n + 2}
    ids = [one.item_id for one in ease.answer([Wish(person(world, 0), k=n + 3)], fresh)[0]]
    assert set(ids[-2:]) == {"blank", "later"}
    assert "gone" not in ids


def test_what_is_disliked_takes_its_like_down(ease: Engine, world) -> None:
    before = Person(np.array([0, 1]), np.array([0, 1]))
    after = replace(before, history=np.array([0]), disliked=np.array([1]), changed=True)
    first, second = ease.scores([before, after], nothing(world))
    block_1 = np.arange(5, world.train.n_items, N_BLOCKS)
    assert second[block_1].mean() < 0 < first[block_1].mean()


def test_edits_of_the_profile_move_and_forbid(ease: Engine, world) -> None:
    ids = lambda one: [line.item_id for line in ease.answer([Wish(one, k=48)], nothing(world))[0]]  # noqa: E731
    one, moved = person(world, 1), np.zeros(world.train.n_items, np.float32)
    moved[2] = 9.0
    forbidden = int(ids(one)[0][1:])
    assert ids(replace(one, steering=Steering(moved)))[:2] == ["i2", f"i{forbidden}"]
    never = ids(replace(one, steering=Steering(moved, np.array([forbidden]))))
    assert never[0] == "i2"
    assert f"i{forbidden}" not in never
    assert len(never) == len(ids(one)) - 1


def test_a_trained_user_who_says_more_is_folded_in(world, features) -> None:
    engine = engine_of(world, LightGCN(LightGCN.Settings(embedding_dim=16, epochs=30, batch_size=64)), features)
    one = person(world, 1)
    now = replace(one, history=np.arange(0, 24, N_BLOCKS), changed=True)  # somebody else's block
    ids = [int(line.item_id[1:]) for line in engine.answer([Wish(now, k=5)], nothing(world))[0]]
    assert np.mean([item % N_BLOCKS == 0 for item in ids]) >= 0.6


def test_diversity_spreads_a_list_and_none_leaves_it(ease: Engine, world) -> None:
    both = Person(np.array([0, 1, 4, 5]), np.array([0, 1, 4, 5]))
    plain, spread = (
        ease.answer([Wish(both, k=8, diversity=value)], nothing(world))[0] for value in (0.0, 0.9)
    )  # fmt: skip
    blocks_of = lambda lines: len({int(one.item_id[1:]) % N_BLOCKS for one in lines})  # noqa: E731
    assert blocks_of(spread) >= blocks_of(plain)
    rows = ease.vectors[[int(one.item_id[1:]) for one in spread]]
    others = ease.vectors[[int(one.item_id[1:]) for one in plain]]
    mean = lambda x: float((x @ x.T)[~np.eye(len(x), dtype=bool)].mean())  # noqa: E731
    assert mean(rows) < mean(others)


def test_why_of_an_item_beyond_a_diverse_list_still_says_what_speaks_for_it(ease: Engine, world) -> None:
    one, wish = person(world, 1), Wish(person(world, 1), k=3, diversity=0.5)
    shown = [int(line.item_id[1:]) for line in ease.answer([wish], nothing(world))[0]]
    other = next(item for item in range(world.train.n_items) if item not in {*shown, *one.seen})
    why = ease.why(wish, other, nothing(world))
    assert why.place is None
    assert why.reasons
    assert ease.why(wish, shown[2], nothing(world)).place == 3


def test_similar_items_are_as_many_as_asked_for_and_never_the_item_itself(ease: Engine, world) -> None:
    for k in (1, 5, world.train.n_items + 9):
        found = [item for item, _ in ease.similar(3, k, nothing(world))]
        assert len(found) == min(k, world.train.n_items - 1)
        assert 3 not in found


def test_items_similar_to_a_new_one_are_those_of_its_like(ease: Engine, world) -> None:
    n = world.train.n_items
    fresh = FreshItems(n, [FreshItem("a", "A", (), np.array([9]), np.ones(1, np.float32))])
    new, like = ease.similar(n, 5, fresh), ease.similar(9, 6, fresh)
    assert n not in [item for item, _ in new]
    assert {item for item, _ in new} - {9} <= {item for item, _ in like}
    assert all(item % N_BLOCKS == 9 % N_BLOCKS for item, _ in new[:3])


def test_only_trained_users_who_said_nothing_since_go_by_their_own_row(world, features) -> None:
    ranker = EASE(EASE.Settings(regularisation=20.0))
    ranker.fit(world.train, ItemFeatures(), run=QUIET)
    trained = np.arange(world.train.n_users) != 2
    engine = Engine("it", "key", Recommender(world.dataset, ranker, world.train, trained=trained))
    people = [
        person(world, 1),
        person(world, 2),
        replace(person(world, 3), changed=True),
        replace(person(world, 4), row=-1),
    ]
    query = engine.query(people)
    assert query.user_idx.tolist() == [1, -1, -1, -1]
    assert [row.tolist() for row in query.histories] == [one.history.tolist() for one in people]


def test_what_is_disliked_and_seen_may_be_new_items(ease: Engine, world) -> None:
    n = world.train.n_items
    fresh = FreshItems(n, [FreshItem("a", "A", (), np.array([1]), np.ones(1, np.float32)), FreshItem("b", "B")])
    one = replace(person(world, 1), seen=np.append(person(world, 1).seen, n))
    ids = [line.item_id for line in ease.answer([Wish(one, k=n + 2)], fresh)[0]]
    assert "a" not in ids
    assert "b" in ids


def test_the_next_is_unlike_all_that_was_chosen_not_only_the_last(ease: Engine, world) -> None:
    directions = {0: [1, 0, 0], 1: [0, 1, 0], 2: [1, 0, 0], 3: [0, 1, 0], 4: [0, 0, 1]}
    vectors = np.zeros((world.train.n_items, 3), np.float32)
    vectors[list(directions)] = list(directions.values())
    engine = Engine("it", "key", ease.recommender, vectors)
    order = engine.spread(np.arange(5), Wish(person(world, 1), k=5, diversity=0.7))
    assert order.tolist() == [0, 1, 4, 2, 3], "item 2 is unlike the last, item 1, and the same as item 0"


def test_only_what_is_allowed_is_shown(ease: Engine, world) -> None:
    allowed = np.zeros(world.train.n_items, dtype=bool)
    allowed[[2, 3, 40]] = True
    ids = {line.item_id for line in ease.answer([Wish(person(world, 1), k=20, allowed=allowed)], nothing(world))[0]}
    assert ids == {"i2", "i3", "i40"} - {f"i{item}" for item in world.train.histories[1]}


def test_similar_to_any_item_are_all_others_also_where_scores_are_equal(ease: Engine, world) -> None:
    others = world.train.n_items - 1
    for item in range(world.train.n_items):
        assert len(ease.similar(item, others, nothing(world))) == others


def test_similar_to_a_new_item_is_what_its_likes_are_similar_to(ease: Engine, world) -> None:
    n, likes = world.train.n_items, np.array([9, 13])
    near = FreshItem("near", "Near", (), likes, np.array([0.5, 0.5], np.float32))
    fresh = FreshItems(n, [near, replace(near, item_id="gone", gone=True), replace(near, item_id="twin")])
    found = dict(ease.similar(n, n + 9, fresh))
    assert set(found) == {*range(n), n + 2}, "neither itself nor what is gone"
    scores = ease.ranker.weights[likes].sum(axis=0)
    assert found[n + 2] == pytest.approx(scores[likes].mean(), rel=1e-4)
    assert found[1] == pytest.approx(scores[1], rel=1e-4)
