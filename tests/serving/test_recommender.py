"""Lists for known users, batches and newcomers: nothing seen, nothing banned, reasons that add up."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import TEST, TRAIN, ItemFeatures, Query, Split, Vocabulary
from recsys.rankers.ease import EASE
from recsys.rankers.lightgcn import LightGCN
from recsys.rankers.sasrec import SASRec
from recsys.serving import recommender
from recsys.serving.catalogue import Catalogue
from recsys.serving.recommender import Recommender

from worlds import blocks, split_of

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


def test_lists_of_many_users_are_those_of_each(ease: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    users = np.array([3, 0, 7, 1, 2])
    alone = [ease.recommend(f"u{user}", k=4, reasons=False) for user in users]
    monkeypatch.setattr(Recommender, "_step", 2)  # more steps than one
    items, values = ease.best(users, 4)
    assert [[f"i{item}" for item in row] for row in items] == [[one.item_id for one in row] for row in alone]
    assert values.tolist() == [[one.score for one in row] for row in alone]
    assert ease.recommend([f"u{user}" for user in users], k=4, reasons=False) == alone


def test_of_a_list_that_runs_out_the_rest_is_empty(ease: Recommender, world) -> None:
    left = world.train.n_items - len(np.unique(world.train.histories[0]))
    items, values = ease.best(np.array([0]), world.train.n_items + 3)
    assert (items[0, :left] >= 0).all()
    assert (items[0, left:] == -1).all()
    assert np.isneginf(values[0, left:]).all()


def test_the_first_user_is_a_user(ease: Recommender) -> None:
    assert ease.recommend("u0", k=2)
    with pytest.raises(DataError, match="user 'u999'"):
        ease.recommend(["u0", "u999"])


def test_the_three_nearest_titles_are_named(world) -> None:
    table = world.dataset.item_table.with_columns(
        title=pl.Series([f"The Long Film {letter}" for letter in "ABCDE"] + ["x"] * (world.train.n_items - 5))
    )
    catalogue = Catalogue(replace(world.dataset, item_table=table))
    with pytest.raises(DataError, match="no item has that id or title") as caught:
        catalogue.find("the long film")
    assert caught.value.remedy.count("The Long Film") == 3
    with pytest.raises(DataError) as caught:
        catalogue.find("qqqqqqqqqqqq")
    assert caught.value.remedy == "Give an item id or a title."


def test_a_newcomer_by_titles_ids_and_titles_without_year(ease: Recommender) -> None:
    by_title = ease.recommend(history=["Title 1 (1991)", "title 5"], k=3)
    by_id = ease.recommend(history=["i1", "i5"], k=3)
    assert by_title == by_id
    assert all(int(item.item_id[1:]) % 4 == 1 for item in by_id)
    assert ease.recommend(history=[["i1", "i5"], ["i2"]], k=3)[0] == by_id


def test_shares_of_a_linear_score_add_up_to_the_score(ease: Recommender, world) -> None:
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


def test_comparisons_are_what_they_say(ease: Recommender) -> None:
    years = {
        sign: {int(item.title[-5:-1]) for item in ease.recommend("u1", k=99, filter=f"year{sign}2000")}
        for sign in ("<", "<=", ">", ">=")
    }
    assert years["<="] - years["<"] == years[">="] - years[">"] == {2000}
    assert max(years["<"]) < 2000 < min(years[">"])


def test_fewer_items_than_asked_for(ease: Recommender) -> None:
    assert len(ease.recommend("u0", k=1000)) == 48 - 10


def test_nothing_known_gives_the_popular(ease: Recommender, world) -> None:
    items = ease.recommend(history=[], k=3)
    counts = world.train.item_counts
    assert counts[int(items[0].item_id[1:])] == counts.max()
    assert "users took it" in items[0].reasons[0].text


def without_train(world: Split, *users: int) -> Split:
    """The same world, but all that these users took is held out."""
    part = np.where(np.isin(world.dataset.interactions.user_idx, users), TEST, world.part).astype(np.uint8)
    return Split(world.dataset, part, "given")


def test_users_the_ranker_was_not_trained_on_go_by_their_history(world) -> None:
    split = without_train(world, 1, 6)
    ranker = LightGCN(LightGCN.Settings(epochs=20, learning_rate=0.05, batch_size=32, embedding_dim=16))
    ranker.fit(split.train, ItemFeatures(), run=QUIET)
    known = world.train  # more than the ranker was trained on
    model = Recommender(world.dataset, ranker, known, trained=split.train.user_counts > 0)
    for user in (1, 6):
        history = [f"i{item}" for item in known.histories[user]]
        mine = model.recommend(f"u{user}", k=2)
        assert mine == model.recommend(history=history, k=2)
        assert all(int(item.item_id[1:]) % 4 == user % 4 for item in mine)
    trained = model.ranker.score(Query.of_users(known, np.array([2])))[0]
    first = model.recommend("u2", k=1)[0]
    assert first.score == pytest.approx(trained[int(first.item_id[1:])]), "the others keep their own vector"


def test_a_user_of_whom_nothing_is_known_gets_the_popular() -> None:
    """By ties alone, EASE's zeros would put another item first."""
    taken = [(user, item, TRAIN, 0) for user in range(1, 9) for item in range(8) if item in (2, user % 8, 5)]
    split = split_of([*taken, (0, 1, TEST, 1)], 9, 8, "global_time")
    ranker = EASE(EASE.Settings(regularisation=1.0))
    ranker.fit(split.train, ItemFeatures(), run=QUIET)
    items = Recommender(split.dataset, ranker, split.train).recommend("u0", k=2)
    assert {item.item_id for item in items} == {"i2", "i5"}
    assert "users took it" in items[0].reasons[0].text
    assert items == Recommender(split.dataset, ranker, split.train).recommend(history=[], k=2)


@pytest.mark.parametrize("known", ["all", "train+valid", "train"])
def test_load_knows_who_was_trained(world, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known: str) -> None:
    split = without_train(world, 1, 6)
    first = np.flatnonzero(world.dataset.interactions.user_idx == 3)
    split.part[first] = TEST
    split.part[first[0]] = TRAIN  # one interaction is enough
    artifact = SimpleNamespace(kind="ranker", path=tmp_path)
    monkeypatch.setattr(recommender.ArtifactStore, "open", lambda store, reference: artifact)
    monkeypatch.setattr(recommender, "load_parents", lambda store, trained: split)
    monkeypatch.setattr(recommender, "load_ranker", lambda path: EASE(EASE.Settings()))
    model = Recommender.load("ease", artifacts=tmp_path, known=known)
    np.testing.assert_array_equal(np.flatnonzero(~model.trained), [1, 6])


def test_trained_is_one_value_a_user(world) -> None:
    with pytest.raises(DataError, match="trained: shape"):
        Recommender(world.dataset, EASE(EASE.Settings()), world.train, trained=np.ones(3, dtype=bool))


class Fixed:
    """Scores that nobody may write to."""

    def score(self, query: Query) -> np.ndarray:
        row = np.linspace(1, 0, query.histories.n_items, dtype=np.float32)
        return np.broadcast_to(row, (len(query), len(row)))


def test_scores_may_be_read_only(world) -> None:
    model = Recommender(world.dataset, Fixed(), world.train)
    assert [len(items) for items in model.recommend(history=[["i3"], []], k=4)] == [4, 4]
    assert model.recommend(history=["i0"], k=1)[0].item_id == "i1"


def test_a_filter_costs_no_memory_for_each_user() -> None:
    n_users, n_items = 400, 5000
    split = split_of([(user, user, TRAIN, 0) for user in range(n_users)], n_users, n_items, "random")
    model = Recommender(split.dataset, Fixed(), split.train)
    users, options = [f"u{user}" for user in range(n_users)], {"k": 1, "filter": "genre:G1", "reasons": False}
    model.recommend(users[:1], **options)  # what is made once
    tracemalloc.start()
    lists = model.recommend(users, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * n_users * n_items  # less than a float32 for each pair
    assert all(items[0].attributes[0] == "genre:G1" for items in lists)


def test_reasons_of_a_ranker_that_explains_one_item_at_a_time(ease: Recommender, world) -> None:
    class OneByOne:
        def score(self, query: Query) -> np.ndarray:
            return ease.ranker.score(query)

        def contributions(self, query: Query, item_idx: int) -> np.ndarray:
            return ease.ranker.contributions(query, item_idx)

        def adds_up(self, query: Query) -> bool:
            return True

    assert Recommender(world.dataset, OneByOne(), world.train).recommend("u7", k=3) == ease.recommend("u7", k=3)
    query = Query.of_users(world.train, np.array([7]))
    assert ease.reasons(query, 3) == Recommender(world.dataset, OneByOne(), world.train).reasons(query, 3)


@pytest.fixture(scope="module")
def numbered(world, ease: Recommender) -> Recommender:
    """The same world with plain numbers as ids."""
    items = world.dataset.item_table.with_columns(item_id=world.dataset.item_table["item_id"].str.slice(1))
    users = Vocabulary(str(idx) for idx in range(len(world.dataset.users)))
    dataset = replace(world.dataset, users=users, items=Vocabulary(items["item_id"]), item_table=items)
    return Recommender(dataset, ease.ranker, world.train)


def test_one_name_is_never_taken_as_its_characters(numbered: Recommender) -> None:
    plain = numbered.recommend("1", k=48, exclude=["42", "41"], filter=["genre:G1"])
    assert numbered.recommend("1", k=48, exclude=[42, np.int64(41)], filter="genre:G1") == plain
    best = numbered.recommend("1", k=1)[0].item_id
    other = {item.item_id for item in numbered.recommend("1", k=48)} - {best}
    for name in (best, int(best)):
        assert {item.item_id for item in numbered.recommend("1", k=48, exclude=name)} == other
    assert numbered.recommend(history="Title 12", k=5) == numbered.recommend(history=["12"], k=5)


def test_users_and_likes_may_be_numbers_and_any_sequence(numbered: Recommender) -> None:
    one, two = numbered.recommend(["1", "12"], k=4)
    for user in (1, np.int64(1), np.str_("1")):
        assert numbered.recommend(user, k=4) == one
    for batch in ([1, 12], ("1", "12"), np.array([1, 12]), (user for user in (1, 12))):
        assert numbered.recommend(batch, k=4) == [one, two]
    assert numbered.recommend([1], k=4) == [one]
    assert numbered.recommend([], k=4) == []
    liked = numbered.recommend(history=["5", "9"], k=4)
    for history in ([5, 9], np.array([5, 9]), (5, "9")):
        assert numbered.recommend(history=history, k=4) == liked
    assert numbered.recommend(history=[[5, 9], 7], k=4) == [liked, numbered.recommend(history=7, k=4)]


def test_names_are_read_as_the_ids_of_tables_are(numbered: Recommender) -> None:
    one, liked = numbered.recommend("1", k=4), numbered.recommend(history="5", k=4)
    for user in (" 1", "1\u200b", "\ufeff1\n", 1.0, np.float32(1)):
        assert numbered.recommend(user, k=4) == one
    for item in ("5 ", "\u20605", 5.0, [np.float64(5)]):
        assert numbered.recommend(history=item, k=4) == liked
        assert "5" not in {line.item_id for line in numbered.recommend("1", k=48, exclude=item)}
    spaced = replace(numbered.dataset, users=Vocabulary([" 1", *numbered.dataset.users.texts[1:]]))
    there = Recommender(spaced, numbered.ranker, numbered.known)
    assert there.recommend(" 1", k=4) == numbered.recommend("0", k=4), "as it is written goes first"
    assert there.recommend("1", k=4) == one


def test_a_negated_condition_allows_exactly_the_rest(world) -> None:
    table = world.dataset.item_table
    undated = table.with_columns(attributes=table["attributes"].list.head(1)).head(5)  # genre alone
    catalogue = Catalogue(replace(world.dataset, item_table=undated.vstack(table.slice(5))))
    years = np.array([np.nan] * 5 + [1990 + idx % 20 for idx in range(5, 48)])
    for operator, meets in ((">=", years >= 2000), ("<=", years <= 2000)):
        np.testing.assert_array_equal(catalogue.allowed([f"year{operator}2000"]), meets)
        np.testing.assert_array_equal(catalogue.allowed([f"!year{operator}2000"]), ~meets)
        assert catalogue.allowed([f"!year{operator}2000"])[:5].all(), "nothing is known of their year"
    both = catalogue.allowed(["!year>=2000", "!year<=1994", "genre:G1"])
    np.testing.assert_array_equal(both, ~(years >= 2000) & ~(years <= 1994) & (np.arange(48) % 4 == 1))


def test_an_id_wins_over_the_title_of_another_item(world) -> None:
    titles = ["i7", "I8 (1999)", *world.dataset.item_table["title"][2:]]
    dataset = replace(world.dataset, item_table=world.dataset.item_table.with_columns(title=np.array(titles)))
    assert Catalogue(dataset).find(["i7", "I8", "i8"]).tolist() == [7, 1, 8]


@pytest.mark.parametrize(("similarity", "temperature"), [("dot", 1.0), ("cosine", 0.2)])
def test_parts_of_a_newcomers_graph_score_add_up_to_it(world, similarity: str, temperature: float) -> None:
    settings = LightGCN.Settings(
        epochs=20, learning_rate=0.05, batch_size=32, embedding_dim=16, similarity=similarity, temperature=temperature
    )
    ranker = LightGCN(settings)
    ranker.fit(world.train, ItemFeatures(), run=QUIET)
    query = Query.of_histories([[1, 5, 1, 9]], world.train.n_items)
    parts = ranker.contributions_to(query, np.arange(world.train.n_items))
    np.testing.assert_allclose(parts.sum(axis=1), ranker.score(query)[0], rtol=1e-4, atol=1e-5)
    assert not parts[:, 2].any(), "an item counts once"
    model = Recommender(world.dataset, ranker, world.train)
    newcomer = model.recommend(history=["i1", "i5", "i9"], k=1)[0].reasons
    assert newcomer[0].text.startswith("because of Title")
    assert sum(one.share for one in newcomer) == pytest.approx(1, abs=1e-5)
    trained = model.recommend("u1", k=1)[0].reasons[0]  # has a vector, which is no sum over the history
    assert (trained.text.split(" Title")[0], trained.share, trained.kind) == ("goes with", None, "near")
    assert int(trained.item_id[1:]) % 4 == 1


def test_reasons_of_an_embedding_ranker_are_near_items(world) -> None:
    settings = SASRec.Settings(epochs=10, learning_rate=0.01, batch_size=32, embedding_dim=16, max_length=8)
    ranker = SASRec(settings)
    ranker.fit(world.train, ItemFeatures(), run=QUIET)
    first = Recommender(world.dataset, ranker, world.train).recommend("u1", k=1)[0]
    assert first.reasons[0].text.startswith("close to Title")
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
        ({"user": "u1", "filter": "!yaer>=2000"}, "Did you mean 'year'?"),
        ({"user": "u1", "filter": "genre>=2"}, "no item has a number as its genre"),
        ({"user": 1}, "user '1'"),
        ({"user": 1.5}, "user '1.5'"),
        ({"history": [1]}, "item '1'"),
        ({"history": "Titel 1"}, "Nearest: Title 1"),
        ({"user": "u1", "exclude": "zzz"}, "item 'zzz'"),
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


def test_a_misspelt_title_is_answered_with_the_three_nearest(ease: Recommender) -> None:
    with pytest.raises(DataError) as caught:
        ease.recommend(history=["Titel 1"])
    assert caught.value.remedy.count("; ") == 2


def test_best_is_what_recommend_lists_for_each(ease: Recommender, world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommender, "SCORES", 1)  # sixteen people at a time
    users = np.arange(world.train.n_users)[::-1]
    items, values = ease.best(users, 45, "!genre:G2")
    for user, row, scores in zip(users, items, values, strict=True):
        lines = ease.recommend(f"u{user}", k=45, filter="!genre:G2", reasons=False)
        assert [f"i{item}" for item in row if item >= 0] == [one.item_id for one in lines]
        assert scores[: len(lines)].tolist() == [one.score for one in lines]
        assert (row[len(lines) :] == -1).all()
        assert (scores[len(lines) :] == -np.inf).all()
    assert ease.recommend([f"u{user}" for user in users], k=3) == [ease.recommend(f"u{user}", k=3) for user in users]


def test_more_is_asked_for_than_there_are_items(ease: Recommender, world) -> None:
    items, values = ease.best(np.array([0]), 60)
    left = 48 - len(world.train.histories[0])
    assert items.shape == values.shape == (1, 60)
    assert (items[0] >= 0).tolist() == (values[0] > -np.inf).tolist() == [True] * left + [False] * (60 - left)


def test_who_has_taken_one_thing_was_trained(world) -> None:
    split = split_of([(0, 1, TRAIN, 0), (1, 2, TRAIN, 0), (1, 3, TRAIN, 0), (2, 1, TEST, 0)], 3, 4, "given")
    assert Recommender(split.dataset, Fixed(), split.train).trained.tolist() == [True, True, False]


def test_a_history_is_a_users_own_or_what_somebody_new_likes(world) -> None:
    catalogue = Catalogue(world.dataset)
    assert catalogue.history("u3", (), world.train).tolist() == world.train.histories[3].tolist()
    assert catalogue.history("u0", (), world.train).tolist() == world.train.histories[0].tolist()
    assert catalogue.history(None, ["i7", "Title 2"], world.train).tolist() == [7, 2]
    with pytest.raises(DataError, match="user 'nobody': not in the data set"):
        catalogue.history("nobody", (), world.train)
