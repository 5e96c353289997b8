"""Statements as a ranker: what it ranks by, and that a fusion takes it for what it is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from profiles.tastes import QUIET

from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures, Query
from recsys.evaluation.evaluator import evaluate, make_validator
from recsys.evaluation.task import EvaluationSettings
from recsys.rankers.store import load_ranker, make_ranker
from recsys.runconfig import read_config
from recsys.workflow import Workflow

from worlds import blocks

MEASURE = EvaluationSettings(ks=(2,), metric="ndcg@2", resamples=100)
CONFIG = {"name": "profile", "sources": ["attributes"], "contrast": {"least": 2}}


@pytest.fixture(scope="module")
def world():
    return blocks()


def table(world, genres: np.ndarray) -> pl.DataFrame:
    told = pl.Series("attributes", [[f"genre:G{genre}"] for genre in genres], dtype=pl.List(pl.String))
    return world.dataset.item_table.with_columns(told)


def fitted(world, genres: np.ndarray, config=CONFIG):
    ranker = make_ranker(config)
    ranker.fit(world.train, ItemFeatures(), valid=None, run=replace(QUIET, items=table(world, genres)))
    return ranker


def recall(ranker, world) -> float:
    return evaluate(ranker, world, MEASURE, run=QUIET).summary["recall@2"]


def test_attributes_that_tell_the_taste_rank_and_shuffled_ones_do_not(world) -> None:
    genres = np.arange(world.train.n_items) % 4  # the block
    assert recall(fitted(world, genres), world) > 0.95
    assert recall(fitted(world, np.random.default_rng(0).permutation(genres)), world) < 0.3


def test_a_like_adds_its_weight_and_no_taste_leaves_popularity(world) -> None:
    ranker = fitted(world, np.arange(world.train.n_items) % 4)
    prior = np.log(world.train.item_counts + 0.5).astype(np.float32)
    known, nobody = ranker.score(Query.of_histories([[0, 4, 8, 12], []], world.train.n_items))
    np.testing.assert_array_equal(nobody, prior)
    added = known - prior
    inside = np.arange(world.train.n_items) % 4 == 0
    assert np.ptp(added[inside]) < 1e-5
    assert (added[inside] > 0.1).all()
    np.testing.assert_allclose(added[~inside], 0, atol=1e-6)
    off = fitted(world, np.arange(world.train.n_items) % 4, {**CONFIG, "dial": 0.0})
    np.testing.assert_array_equal(off.score(Query.of_histories([[0, 4, 8, 12]], world.train.n_items))[0], prior)


def test_a_fusion_weighs_it_by_what_it_is_worth(world) -> None:
    weights = []
    for genres in (np.arange(world.train.n_items) % 4, np.random.default_rng(0).permutation(world.train.n_items) % 4):
        members = [{"name": "item_knn"}, CONFIG]
        fusion = make_ranker({"name": "fusion", "members": members, "objective": "softmax"})
        run = Run(log=lambda line: None, items=table(world, genres))
        fusion.fit(world.train, ItemFeatures(), valid=make_validator(world, MEASURE), run=run)
        weights.append(dict(fusion.told_weights())["profile"])
    assert weights[0] > weights[1] + 0.2


def test_a_workflow_hands_it_the_item_table(tmp_path) -> None:
    overrides = (f"run.artifacts='{tmp_path}'", "items.text=none", "ranker.name=profile")
    workflow = Workflow(read_config(None, overrides), log=lambda line: None)
    made = workflow.train()
    keys = workflow.loaded_split.dataset.item_table["attributes"].explode().unique()
    found = {one.key for one in load_ranker(made.path).concepts.all}
    assert "genre:Drama" in found
    assert "genre:Drama" in set(keys)
    popularity = workflow.train({"name": "popularity"})
    best = [one.manifest["results"]["best"]["ndcg@20"] for one in (made, popularity)]
    assert best[0] > best[1]
