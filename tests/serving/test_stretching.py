"""New items get their share of lists, whatever the ranker's scores look like, and not more."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.core.runtime import Run
from recsys.core.values import TEST, TRAIN, ItemFeatures, Split
from recsys.evaluation.topk import top_k
from recsys.rankers.item_knn import ItemKNN
from recsys.rankers.popularity import Popularity
from recsys.serving.engine import Engine
from recsys.serving.fresh import FreshItem, FreshItems, Neighbourhood
from recsys.serving.person import Person
from recsys.serving.recommender import Recommender
from recsys.serving.stretching import MOST, fair_stretch

from worlds import split_of

QUIET = Run(log=lambda message: None)
N_USERS, N_ITEMS = 120, 240


@pytest.fixture(scope="module")
def tastes() -> tuple[Split, ItemFeatures]:
    """Users take what is near to their taste, each to an extent of their own; texts say where an item lies."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(N_USERS, 6)), rng.normal(size=(N_ITEMS, 6))
    near = users @ items.T + rng.normal(size=(N_USERS, N_ITEMS))
    taken = [(user, item) for user in range(N_USERS) for item in np.argsort(-near[user])[: rng.integers(15, 60)]]
    rows = [(user, int(item), TEST if place % 9 == 0 else TRAIN, 0) for place, (user, item) in enumerate(taken)]
    text = items + 1.5 * rng.normal(size=items.shape)
    return split_of(rows, N_USERS, N_ITEMS, "random"), ItemFeatures({"text": text.astype(np.float32)})


@pytest.fixture(scope="module")
def world(tastes) -> Split:
    return tastes[0]


@pytest.fixture(scope="module")
def features(tastes) -> ItemFeatures:
    return tastes[1]


def test_without_users_nothing_is_stretched(features) -> None:
    nobody = split_of([(0, 0, TEST, 0)], 1, N_ITEMS, "given")  # of whom train knows anything
    engine = Engine("it", "key", Recommender(nobody.dataset, Popularity(Popularity.Settings()), nobody.train))
    assert fair_stretch(engine, Neighbourhood(features), features, QUIET) == 1.0


def engine_of(world, ranker) -> Engine:
    ranker.fit(world.train, ItemFeatures(), valid=None, run=QUIET)
    return Engine("it", "key", Recommender(world.dataset, ranker, world.train))


def shown(engine: Engine, world, features, stretch: float) -> float:
    """Return how often trained items that play new ones are shown, by what they are shown by their own scores."""
    rng = np.random.default_rng(5)
    players = rng.permutation(world.train.n_items)[:24]
    people = [Person(world.train.histories[user], world.train.histories[user], row=user) for user in range(N_USERS)]
    scores, seen = engine.scores(people, FreshItems(world.train.n_items)), world.train.histories.matrix()
    places = Neighbourhood(features)
    played = [places.place("", "", (), {"text": features["text"][one]}, apart=int(one)) for one in players]
    new = FreshItems(world.train.n_items, played).extended(scores, stretch)[:, world.train.n_items :]
    own = np.isin(top_k(scores, 20, seen=seen)[0], players).sum()
    other = np.array(scores)
    other[:, players] = new
    return float(np.isin(top_k(other, 20, seen=seen)[0], players).sum() / own)


def test_new_items_that_a_mean_would_hide_get_their_share(world, features) -> None:
    engine = engine_of(world, ItemKNN(ItemKNN.Settings()))
    factor = fair_stretch(engine, Neighbourhood(features), features, QUIET)
    assert 1 < factor < MOST
    before, after = (shown(engine, world, features, stretch) for stretch in (1.0, factor))
    assert before < 0.75
    assert 0.75 < after < 1.35
    assert factor == fair_stretch(engine, Neighbourhood(features), features, QUIET)


def test_nothing_is_stretched_where_nothing_can_be_told(world) -> None:
    engine = engine_of(world, Popularity(Popularity.Settings()))
    nothing = ItemFeatures({"text": np.full((world.train.n_items, 3), np.nan, np.float32)})
    assert fair_stretch(engine, Neighbourhood(nothing), nothing, QUIET) == 1.0


def test_a_stretched_score_lies_further_from_the_mean() -> None:
    scores = np.array([[0.0, 1.0, 2.0, 5.0]], np.float32)
    fresh = FreshItems(4, [FreshItem("new", "New", (), np.array([2, 3]), np.array([0.5, 0.5], np.float32))])
    assert fresh.extended(scores)[0, 4] == pytest.approx(3.5)
    assert fresh.extended(scores, 2.0)[0, 4] == pytest.approx(2.0 + 2 * 1.5)
