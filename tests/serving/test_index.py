"""An index answers as exact lists do, or not at all."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from recsys.core.errors import ConfigError
from recsys.core.protocols import ScoresByVectors
from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures, Query
from recsys.rankers.ease import EASE
from recsys.rankers.ials import IALS
from recsys.rankers.lightgcn import LightGCN
from recsys.serving.engine import Engine
from recsys.serving.fresh import FreshItem, FreshItems
from recsys.serving.index import ItemIndex, _share, gated
from recsys.serving.person import Person, Steering
from recsys.serving.recommender import Recommender
from recsys.serving.shortlist import Shortlist
from recsys.serving.wishes import Wish

from worlds import blocks

pytest.importorskip("usearch", reason='needs pip install "recsys[ann]"')
QUIET = Run(log=lambda message: None)


@pytest.fixture(scope="module")
def world():
    return blocks(4)


def trained(world, kind):
    ranker = kind(kind.Settings())
    ranker.fit(world.train, ItemFeatures(), valid=None, run=QUIET)
    return ranker


@pytest.fixture(scope="module", params=[LightGCN, IALS], ids=lambda kind: kind.__name__)
def ranker(request, world):
    return trained(world, request.param)


@pytest.fixture
def two(world, ranker) -> tuple[Engine, Engine]:
    model = Recommender(world.dataset, ranker, world.train)
    everybody = Query.of_users(world.train, np.arange(world.train.n_users))
    index, _ = gated(ranker, everybody, least=0.99)
    return Engine("exact", "key", model), Engine("near", "key", model, shortlist=Shortlist(ranker, index))


def person(world, user: int) -> Person:
    history = world.train.histories[user]
    return Person(history, np.unique(history), row=user)


def told(lists):
    """Those that say something: scores of almost 0 are equal but for their last bits."""
    return [[(one.item_id, round(one.score, 4), one.fresh) for one in lines if one.score > 0.001] for lines in lists]


def test_products_of_vectors_of_all_lengths_are_found() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(3000, 24)) * rng.lognormal(size=(3000, 1))).astype(np.float32)
    queries = rng.normal(size=(50, 24)).astype(np.float32)
    index = ItemIndex(vectors)
    index.width = 256
    assert index.width == 256
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :20]
    share = [np.isin(one, two).mean() for one, two in zip(exact, index.search(queries, 20), strict=True)]
    assert np.mean(share) > 0.97


def test_a_ranker_says_what_its_scores_are_products_of(world, ranker) -> None:
    assert isinstance(ranker, ScoresByVectors)
    query = Query.of_users(world.train, np.arange(9))
    product = ranker.query_vectors(query) @ ranker.item_vectors().T
    np.testing.assert_allclose(product, ranker.score(query), rtol=1e-4, atol=1e-5)


def test_lists_are_the_exact_ones_new_items_included(two, world) -> None:
    n = world.train.n_items
    new = [FreshItem("new", "New", (), np.array([1, 5]), np.array([0.5, 0.5], np.float32)), FreshItem("odd", "Odd")]
    fresh = FreshItems(n, [*new, FreshItem("gone", "Gone", (), np.array([1]), np.ones(1, np.float32), gone=True)])
    wishes = [Wish(person(world, user), k=3 + user, reasons=False) for user in range(8)]
    exact, near = (engine.answer(wishes, fresh) for engine in two)
    ids = {one.item_id for lines in near for one in lines}
    assert told(near) == told(exact)
    assert all(told(near))
    assert "new" in ids
    assert not ids & {"gone", "odd"}


def test_the_index_is_asked_for_those_whom_it_can_answer(two, world, monkeypatch: pytest.MonkeyPatch) -> None:
    near, asked = two[1], []
    search = near.shortlist.index.search
    monkeypatch.setattr(near.shortlist.index, "search", lambda rows, k: asked.append(len(rows)) or search(rows, k))
    allowed = np.ones(world.train.n_items, dtype=bool)
    wishes = [Wish(person(world, 1), 4), Wish(person(world, 2), 4, allowed), Wish(person(world, 3), 4)]
    near.answer(wishes, FreshItems(world.train.n_items))
    assert asked == [2]


def test_what_the_index_cannot_answer_is_answered_exactly(two, world) -> None:
    n = world.train.n_items
    allowed = np.zeros(n, dtype=bool)
    allowed[[2, 6, 10, 1]] = True
    nobody = Person(np.zeros(0, np.int64), np.zeros(0, np.int64))
    moved = np.zeros(n, np.float32)
    moved[7] = 99.0
    steered = Person(world.train.histories[0], world.train.histories[0], row=0, steering=Steering(moved))
    wishes = [Wish(person(world, 1), 4, allowed), Wish(nobody, 4), Wish(person(world, 2), 4), Wish(steered, 4)]
    exact, near = (engine.answer(wishes, FreshItems(n)) for engine in two)
    assert told(near) == told(exact)
    assert {one.item_id for one in near[0]} <= {world.dataset.items[one] for one in (2, 6, 10, 1)}
    assert near[3][0].item_id == world.dataset.items[7]


def test_a_graph_that_finds_too_little_is_refused(world, ranker, tmp_path) -> None:
    everybody = Query.of_users(world.train, np.arange(world.train.n_users))
    wrong = np.random.default_rng(1).normal(size=ranker.item_vectors().shape).astype(np.float32)
    many = np.vstack([wrong] * 40)  # a graph of other items in its place
    path = tmp_path / "other.usearch"
    ItemIndex(many, path)

    class Larger:
        def item_vectors(self):
            return np.vstack([ranker.item_vectors()] * 40)

        def query_vectors(self, query):
            return ranker.query_vectors(query)

        def score(self, query):
            return self.query_vectors(query) @ self.item_vectors().T

    with pytest.raises(ConfigError, match="recall@20 is 0"):
        gated(Larger(), everybody, least=0.9, path=path)


def test_a_ranker_without_vectors_is_refused(world) -> None:
    everybody = Query.of_users(world.train, np.arange(3))
    ease = EASE(EASE.Settings())
    ease.fit(world.train, ItemFeatures(), run=QUIET)
    with pytest.raises(ConfigError, match="EASE does not score by a product of vectors"):
        gated(ease, everybody, least=0.9)


def test_a_graph_is_made_once(world, ranker, tmp_path) -> None:
    path = tmp_path / "made" / "one.usearch"
    first = ItemIndex(ranker.item_vectors(), path)
    before = path.stat().st_mtime_ns
    again = ItemIndex(ranker.item_vectors(), path)
    assert path.stat().st_mtime_ns == before
    queries = ranker.item_vectors()[:5]
    path.write_bytes(path.read_bytes()[:100])
    mended = ItemIndex(ranker.item_vectors(), path)
    assert np.array_equal(np.sort(first.search(queries, 4)), np.sort(mended.search(queries, 4)))
    assert np.array_equal(np.sort(first.search(queries, 4)), np.sort(again.search(queries, 4)))


def test_what_is_as_good_as_the_last_of_the_exact_list_counts_as_found() -> None:
    index = SimpleNamespace(vectors=np.array([[1, 0], [1, 0], [0, 1], [0.5, 0]], np.float32))
    queries, exact = np.array([[1, 0], [0, 0]], np.float32), np.array([[1, 1], [0, 0]], np.float32)
    for found, share in (
        ([[0, 1], [0, 2]], 1.0), ([[0, 3], [3, 1]], 0.75), ([[2, 3], [0, 1]], 0.5), ([[1, -1], [-1, -1]], 0.25),
    ):  # fmt: skip
        index.search = lambda asked, k, found=found: np.array(found)
        assert _share(index, queries, exact) == share, "of scores of nothing but 0 all are as good"
