"""Reasons are true: what is promised is what the next list gives, and what is no part of a score has no share."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from serving.served import World

from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures, Query, Split
from recsys.evaluation.evaluator import EvaluationSettings, make_validator
from recsys.evaluation.topk import places, top_k
from recsys.rankers.store import make_ranker
from recsys.serving.engine import Engine
from recsys.serving.fresh import FreshItem, FreshItems, Neighbourhood
from recsys.serving.list_reasons import edit_shares, new_reason
from recsys.serving.person import Person, Steering
from recsys.serving.recommender import Recommender
from recsys.serving.service import Wanted
from recsys.serving.state.store import Event, NewItem
from recsys.serving.wishes import Wish

from worlds import block_features, blocks

QUIET = Run(seed=3, log=lambda message: None)
N_BLOCKS, CASES = 4, 36
SHORT = {"epochs": 3, "batch_size": 32, "embedding_dim": 8}
EASE, KNN = {"name": "ease", "regularisation": 20.0}, {"name": "item_knn", "k": 10}
SUMS = [EASE, KNN, {"name": "ials", "embedding_dim": 8}, {"name": "rp3beta", "k": 10}, {"name": "content_knn", "k": 10},
        {"name": "content_ease", "regularisation": 20.0}]  # fmt: skip
OTHERS = [
    {"name": "lightgcn", **SHORT}, {"name": "vbpr", **SHORT}, {"name": "sasrec", **SHORT}, {"name": "popularity"},
    {"name": "fusion", "members": [EASE, KNN], "objective": "equal"},
]  # fmt: skip


@pytest.fixture(scope="module")
def world() -> Split:
    return blocks(N_BLOCKS)


@pytest.fixture(scope="module")
def features(world: Split) -> ItemFeatures:
    return block_features(world, N_BLOCKS)


def engine_of(config: dict, world: Split, features: ItemFeatures) -> Engine:
    ranker = make_ranker(config)
    measure = EvaluationSettings(ks=(2,), metric="ndcg@2", resamples=200)
    ranker.fit(world.train, features, valid=make_validator(world, measure), run=QUIET)
    return Engine("it", "key", Recommender(world.dataset, ranker, world.train), features.unit("text"))


def edits(rng: np.random.Generator, n: int) -> Steering:
    """What one to three edits do, one of them a free phrase that some items match a little."""
    count = int(rng.integers(1, 4))
    parts = (rng.random((count, n)) < 0.2) * rng.choice([-1.5, 0.7, 2.5], (count, 1)) * rng.uniform(0.3, 1, (count, n))
    names = tuple(f"more of genre:G{one}" for one in range(count))
    never = np.flatnonzero(rng.random(n) < 0.05)
    moved = parts.sum(axis=0).astype(np.float32)
    return Steering(moved, never, names, sp.csr_array(parts.astype(np.float32)), {"genre:X": never})


def case(rng: np.random.Generator, world: Split, fresh: FreshItems) -> Wish:
    """Somebody known, changed, new, with dislikes, with edits, who asks with and without filters."""
    n, user = world.train.n_items, int(rng.integers(world.train.n_users))
    history = world.train.histories[user]
    one = Person(history, np.unique(history), row=user)
    kind = rng.integers(4)
    if kind == 1:  # says more
        liked = rng.choice(n, 2, replace=False)
        one = replace(one, history=np.concatenate([history, liked]), seen=np.union1d(history, liked), changed=True)
    elif kind == 2:  # takes back, and dislikes
        disliked = rng.choice(n, 2, replace=False)
        kept = history[~np.isin(history, disliked)]
        one = replace(one, history=kept, seen=np.union1d(history, disliked), disliked=disliked, changed=True)
    elif kind == 3:  # is new, and likes a new item besides
        liked = rng.choice(n, 3, replace=False)
        near = fresh.stand_ins(n)
        sources = np.concatenate([liked, np.full(len(near), n)])
        one = Person(np.concatenate([liked, near]), np.append(liked, n), sources=sources)
    if rng.random() < 0.4:
        one = replace(one, steering=edits(rng, n))
    allowed = rng.random(n + len(fresh)) < 0.7 if rng.random() < 0.3 else None
    return Wish(one, 6, allowed, diversity=0.5 if rng.random() < 0.15 else 0.0)


def listed(engine: Engine, wish: Wish, fresh: FreshItems) -> list[str]:
    """The whole list as it is given: of diversity, which chooses from a pool, only what was wished for."""
    whole = wish if wish.diversity else replace(wish, k=engine.recommender.dataset.interactions.n_items + len(fresh))
    return [line.item_id for line in engine.answer([replace(whole, reasons=False)], fresh)[0]]


def place_in(ids: list[str], item_id: str) -> int | None:
    return ids.index(item_id) + 1 if item_id in ids else None


@pytest.mark.parametrize("config", [*SUMS, *OTHERS], ids=lambda config: config["name"])
def test_what_is_promised_is_what_the_list_without_it_gives(config: dict, world: Split, features: ItemFeatures) -> None:
    engine, rng = engine_of(config, world, features), np.random.default_rng(7)
    engine.stretch = 1.4
    near = Neighbourhood(features)
    vectors = [{"text": features["text"][item]} for item in (9, 14)]
    items = [near.place(f"new{place}", "New", (), one) for place, one in enumerate(vectors)]
    fresh, data = FreshItems(world.train.n_items, [*items, near.place("blank", "Blank", (), {})]), world.dataset
    promises = exact = 0
    for _ in range(CASES):
        wish = case(rng, world, fresh)
        unseen = np.setdiff1d(np.arange(world.train.n_items + len(fresh)), wish.person.seen)
        ids = [*data.items.texts, *(one.item_id for one in fresh.items)]
        first = [ids.index(one) for one in listed(engine, wish, fresh)[:6]]
        item = int(rng.choice(first if first and rng.random() < 0.7 else unseen))
        item_id = ids[item]
        why = engine.why(wish, item, fresh)
        assert why.place == place_in(listed(engine, wish, fresh), item_id)
        for one in why.without:
            left = np.flatnonzero(wish.person.taken != ids.index(one.item_id))
            shorter = replace(
                wish.person, history=wish.person.history[left], changed=True,
                sources=None if wish.person.sources is None else wish.person.sources[left],
            )  # fmt: skip
            assert one.place == place_in(listed(engine, replace(wish, person=shorter), fresh), item_id)
            promises += 1
        if wish.person.steering is not None:
            unedited = replace(wish, person=replace(wish.person, steering=None))
            assert why.without_edits == place_in(listed(engine, unedited, fresh), item_id)
        plain = wish.person.steering is None and not wish.diversity and item < world.train.n_items
        able = config in SUMS or (config["name"] == "lightgcn" and (wish.person.changed or wish.person.row < 0))
        assert why.exact == bool(plain and able and len(wish.person.history) and why.place is not None)
        exact += why.exact
    assert promises > CASES
    assert exact >= CASES // 4 or config not in SUMS


def test_places_are_those_of_the_list_also_among_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.integers(0, 4, 30).astype(np.float32)  # many ties
        closed = rng.choice(30, 5, replace=False)
        banned = np.isin(np.arange(30), closed)
        order = top_k(scores[None], 30, banned=banned)[0][0]
        order = order[order >= 0]
        found = places(scores, np.arange(30), closed)
        assert found[order].tolist() == list(range(1, 26))
        assert not found[closed].any()


# -- what is said --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ease(world: Split, features: ItemFeatures) -> Engine:
    return engine_of(EASE, world, features)


def person(world: Split, user: int) -> Person:
    history = world.train.histories[user]
    return Person(history, np.unique(history), row=user)


def asking(n: int, **wanted: dict[int, float]) -> Steering:
    """Edits, each a label and what it adds to which items."""
    labels = tuple(label.replace("_", " ") for label in wanted)
    parts = np.zeros((len(labels), n), np.float32)
    for row, amounts in enumerate(wanted.values()):
        parts[row, list(amounts)] = list(amounts.values())
    return Steering(parts.sum(axis=0), labels=labels, parts=sp.csr_array(parts))


def test_shares_of_votes_and_edits_by_hand() -> None:
    """Of scores 4, 2, 1, .25 and 0 the edits gave 1, 3, -1, 0 and 0; what they take away is of the votes before."""
    steering = Steering(np.array([1, 3, -1, 0, 0], np.float32))
    values = np.array([4, 2, 1, 0.25, 0], np.float32)
    votes, edits = edit_shares(steering, np.arange(5), values, FreshItems(5), 1.0)
    np.testing.assert_allclose(votes, [3 / 4, 0, 1, 1, 0])  # less than nothing is nothing
    np.testing.assert_allclose(edits, [1 / 4, 1, -1 / 2, 0, 0])


def test_how_a_new_item_is_placed_is_said(ease: Engine, world) -> None:
    title = lambda item: f"T{item}"  # noqa: E731
    near = FreshItem("a", "A", (), np.array([3, 1, 2]), np.ones(3, np.float32))
    assert new_reason(near, 1.0, title).text == "new; reads or looks like T3 and T1, and is scored as its like"
    far = new_reason(near, 1.25, title).text
    assert far.endswith("is scored as its like, 1.25 times as far from the mean")
    blank = new_reason(FreshItem("b", "B"), 1.25, title)
    assert (blank.text, blank.kind) == ("new; nothing is known of it, so it comes last", "new")


def test_an_edit_that_puts_an_item_first_is_its_reason_and_the_history_no_longer_the_whole(ease: Engine, world) -> None:
    n, one = world.train.n_items, Person(np.array([1, 5, 9, 2]), np.array([1, 2, 5, 9]))
    fresh, item = FreshItems(n), 6  # of the block of item 2
    was = ease.why(Wish(one), item, fresh)
    assert was.exact
    assert was.place > 5
    edited = replace(one, steering=asking(n, more_of_space={item: 9.0, 3: 1.0}, less_of_genre_Drama={7: -1.0}))
    line = ease.answer([Wish(edited, k=5)], fresh)[0][0]
    why = ease.why(Wish(edited), item, fresh)
    assert (line.item_id, why.place, why.without_edits, why.exact) == ("i6", 1, was.place, False)
    assert line.reasons == why.reasons
    reason = line.reasons[0]
    votes = line.score - 9.0  # what the ranker's order gives it
    assert reason.kind == "edit"
    assert reason.text.startswith(f"your edit “more of space” moves it from {was.place} to 1 (")
    assert reason.share == pytest.approx(9.0 / (9.0 + votes))
    assert sum(one.share or 0 for one in line.reasons[1:]) <= 1 - reason.share + 1e-6
    before, after = ([one.share for one in found.reasons if one.kind == "history"] for found in (was, why))
    np.testing.assert_allclose(after, np.array(before) * (1 - reason.share), rtol=1e-5)


def test_an_edit_takes_down_and_says_so(ease: Engine, world) -> None:
    n, one = world.train.n_items, person(world, 1)
    first = int(ease.answer([Wish(one, k=1)], FreshItems(n))[0][0].item_id[1:])
    edited = replace(one, steering=asking(n, less_of_genre_Drama={first: -2.0}, less_of_space={first: -0.5}))
    why = ease.why(Wish(edited), first, FreshItems(n))
    assert why.without_edits == 1
    start = f"your edits “less of genre Drama” and “less of space” move it from 1 to {why.place} (-"
    assert why.reasons[0].text.startswith(start)
    assert why.reasons[0].share < 0


def test_what_an_edit_forbids_stands_nowhere_and_says_by_what(ease: Engine, world) -> None:
    n, one = world.train.n_items, person(world, 1)
    never = np.array([2, 6])
    edited = replace(one, steering=Steering(np.zeros(n, np.float32), never, bans={"genre:Horror": never}))
    why = ease.why(Wish(edited), 2, FreshItems(n))
    was = ease.why(Wish(one), 2, FreshItems(n)).place
    assert (why.place, why.exact, why.without, why.without_edits) == (None, False, (), was)
    assert [(one.text, one.kind) for one in why.reasons] == [("not shown: you forbid genre:Horror", "closed")]
    filtered = ease.why(Wish(one, allowed=np.arange(n) != 2), 2, FreshItems(n))
    assert (filtered.place, [one.text for one in filtered.reasons]) == (None, ["left out by what was asked for"])
    both = ease.why(Wish(edited, allowed=np.arange(n) != 2), 2, FreshItems(n), asked=["for genre:G1", "not to show it"])
    left_out = "left out: you asked for genre:G1 and not to show it"
    assert [one.text for one in both.reasons] == ["not shown: you forbid genre:Horror", left_out]


def test_an_item_that_was_taken_out_says_so(ease: Engine, world) -> None:
    n = world.train.n_items
    gone = FreshItems(n).updated([FreshItem("new", "New")]).updated([])
    (reason,) = ease.why(Wish(person(world, 1)), n, gone).reasons
    assert (reason.text, reason.kind) == ("not shown: it was taken out of the catalogue", "closed")


def test_a_dislike_is_a_reason_with_what_it_takes_away(ease: Engine, world) -> None:
    n = world.train.n_items
    one = Person(np.array([1, 5]), np.array([1, 5, 9]), np.array([9]), changed=True)
    why = ease.why(Wish(one), 13, FreshItems(n))
    weights = ease.ranker.weights
    total = weights[1, 13] + weights[5, 13]
    (told,) = [reason for reason in why.reasons if reason.kind == "dislike"]
    assert told.share == pytest.approx(-0.5 * weights[9, 13] / total, rel=1e-4)
    assert told.text.startswith("less because you dislike Title 9")
    assert why.exact
    score = ease.scores([one], FreshItems(n))[0, 13]
    shares = sum(reason.share for reason in why.reasons)
    assert shares * total == pytest.approx(score, rel=1e-4), "of two items and a dislike, all that there is"


def test_a_new_item_says_by_what_it_is_placed_and_how_far(ease: Engine, world, features: ItemFeatures) -> None:
    fresh = FreshItems(
        world.train.n_items, [Neighbourhood(features).place("new", "New", (), {"text": features["text"][9]})]
    )
    n, stretched = world.train.n_items, Engine("it", "key", ease.recommender, ease.vectors)
    stretched.stretch = 1.5
    (reason,) = stretched.why(Wish(person(world, 1)), n, fresh).reasons
    assert reason.kind == "new"
    assert reason.text.startswith("new; reads or looks like Title 9")
    assert reason.text.endswith("1.5 times as far from the mean")
    assert "times" not in ease.why(Wish(person(world, 1)), n, fresh).reasons[0].text
    edited = replace(person(world, 2), steering=asking(n, more_of_it=dict.fromkeys(range(1, n, N_BLOCKS), 5.0)))
    why = ease.why(Wish(edited), n, fresh)
    assert [one.kind for one in why.reasons] == ["edit", "new"]
    assert why.place < why.without_edits


def test_a_liked_new_item_is_the_reason_not_the_items_it_counts_as(ease: Engine, world, features: ItemFeatures) -> None:
    n, near = world.train.n_items, Neighbourhood(features)
    fresh = FreshItems(n, [near.place("new", "The new one", (), {"text": features["text"][9]})])
    stands = fresh.stand_ins(n)
    one = Person(stands, np.array([n]), sources=np.full(len(stands), n))
    item = int(np.setdiff1d(np.arange(1, n, N_BLOCKS), stands)[0])
    why = ease.why(Wish(one), item, fresh)
    assert [(each.item_id, each.title) for each in why.without] == [("new", "The new one")]
    assert why.without[0].share == pytest.approx(1)
    assert why.reasons[0].text == "because of The new one (100%)"


def test_diversity_says_what_it_chose_over_what(ease: Engine, world) -> None:
    both = Person(np.array([0, 1, 4, 5]), np.array([0, 1, 4, 5]))
    plain = [one.item_id for one in ease.answer([Wish(both, k=40)], FreshItems(world.train.n_items))[0]]
    spread = ease.answer([Wish(both, k=8, diversity=0.9)], FreshItems(world.train.n_items))[0]
    above: list[str] = []
    moved = 0
    for place, line in enumerate(spread, 1):
        was = plain.index(line.item_id) + 1
        told = [reason.text for reason in line.reasons if reason.kind == "diversity"]
        left = next(one for one in plain if one not in above)
        if was == place and left == line.item_id:
            assert not told
        elif left != line.item_id:
            title = world.dataset.item_table["title"][int(left[1:])]
            assert told == [f"diversity chose it over {title}, which is more like those above ({was} to {place})"]
            moved += 1
        else:
            assert told == [f"diversity moves it from {was} to {place}"]
        above.append(line.item_id)
    assert moved > 2


def test_where_an_index_answers_nothing_is_exact(ease: Engine, world) -> None:
    class Index:
        def takes(self, person: Person, filtered: bool) -> bool:
            return not filtered

    one, fresh = person(world, 1), FreshItems(world.train.n_items)
    engine = Engine("it", "key", ease.recommender, ease.vectors, Index())
    assert not engine.why(Wish(one), 2, fresh).exact
    assert engine.why(Wish(one, allowed=np.ones(world.train.n_items, dtype=bool)), 2, fresh).exact
    assert ease.why(Wish(one), 2, fresh).exact


def test_whoever_a_ranker_does_not_know_is_told_that_the_list_is_popular(ease: Engine, world) -> None:
    class KnownOnly:
        """Has vectors, and scores users of train alone."""

        def score(self, query):
            return ease.ranker.score(query)

        def can_score(self, query):
            return query.user_idx >= 0

        def embeddings(self):
            return {"item": np.eye(world.train.n_items, dtype=np.float32)}

    engine = Engine("it", "key", Recommender(world.dataset, KnownOnly(), world.train))
    one = Person(np.array([1, 5]), np.array([1, 5]))
    line = engine.answer([Wish(one, k=1)], FreshItems(world.train.n_items))[0][0]
    assert [reason.kind for reason in line.reasons] == ["popularity"]
    counts = np.where(np.isin(np.arange(world.train.n_items), one.seen), -1, world.train.item_counts)
    assert (line.score, world.train.item_counts[int(line.item_id[1:])]) == (counts.max(), counts.max())


# -- through the service: what is promised is what hiding gives ----------------------------------------------


@pytest.fixture(scope="module")
def served() -> World:
    return World()


@pytest.mark.parametrize("with_new", [False, True])
def test_hiding_what_was_taken_gives_the_promised_place(served: World, tmp_path, with_new: bool) -> None:
    service = served.service(tmp_path / "state.sqlite")
    wanted = Wanted("u1", k=60, filters=["!genre:G2"])

    async def promised() -> None:
        await service.accounts.record(Event("u1", "i2", "like"))
        await service.accounts.record(Event("u1", "i3", "dislike"))
        if with_new:
            service.items.add(NewItem("new", "New", "like 6", (), None, {}))
            await service.accounts.record(Event("u1", "new", "like"))
        why = await service.why(wanted, "i10" if with_new else served.unseen(1)[0])
        item = "i10" if with_new else served.unseen(1)[0]
        if with_new:
            assert why.place is None  # of G2, which the list leaves out
            why = await service.why(replace(wanted, filters=()), item)
            assert "new" in {one.item_id for one in why.without}
        ask = replace(wanted, filters=()) if with_new else wanted
        assert why.exact
        for one in why.without:
            event = await service.accounts.record(Event("u1", one.item_id, "hide"))
            ids = [line.item_id for line in (await service.recommend(ask)).lines]
            assert one.place == place_in(ids, item)
            assert await service.accounts.take_back("u1", event.number)

    asyncio.run(promised())
    service.close()


def test_hiding_what_the_history_holds_changes_it(served: World, tmp_path) -> None:
    service = served.service(tmp_path / "state.sqlite")
    taken = served.split.dataset.items[int(served.split.train.histories[1][0])]

    async def hidden() -> tuple[Person, Person, Person]:
        before = await service.accounts.person("u1")
        would = service.people.hiding("u1", taken)
        await service.accounts.record(Event("u1", taken, "hide"))
        return before, would, await service.accounts.person("u1")

    before, would, after = asyncio.run(hidden())
    service.close()
    assert not before.changed
    for one in (would, after):
        assert one.changed, "a trained vector no longer says what is known"
        assert one.history.tolist() == before.history[1:].tolist()
        assert one.seen.tolist() == before.seen.tolist()


@pytest.mark.parametrize(("whole", "said"), [
    (True, ["because of Title 4 (1994) (75%)", "because of Title 3 (1993) (25%)"]),
    (False, ["goes with Title 4 (1994)", "goes with Title 3 (1993)"]),
])  # fmt: skip
def test_only_what_speaks_for_an_item_is_named(world: Split, whole: bool, said: list[str]) -> None:
    class Explaining:
        """Of a history of four, the first says nothing and the second speaks against."""

        def score(self, query):
            return np.ones((len(query), world.train.n_items), np.float32)

        def contributions(self, query, item_idx):
            return np.array([0, -2, 1, 3], np.float32)

        def adds_up(self, query):
            return whole

    model = Recommender(world.dataset, Explaining(), world.train)
    found = model.reasons(Query.of_histories([[1, 2, 3, 4]], world.train.n_items), 9)
    assert [one.text for one in found] == said
    assert [one.item_id for one in found] == ["i4", "i3"]
