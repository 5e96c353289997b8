"""What every ranker must do, whatever it is: inherited once for each name of the registry."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures, Query, Split
from recsys.evaluation.evaluator import EvaluationSettings, evaluate, make_validator
from recsys.rankers.store import load_ranker, make_ranker, resolved, save_ranker

from worlds import blocks

QUIET = Run(seed=3, log=lambda message: None)
MEASURE = EvaluationSettings(ks=(2,), metric="ndcg@2", resamples=200)


class RankerContract:
    """Subclasses name a configuration; ``knows_newcomers`` = scores users it was not trained on."""

    config: ClassVar[dict[str, Any]]
    knows_newcomers: ClassVar[bool] = True
    least_recall: ClassVar[float] = 0.9  # chance and popularity reach about 0.05 in this world

    @pytest.fixture(scope="class")
    def world(self) -> Split:
        return blocks()

    @pytest.fixture(scope="class")
    def fitted(self, world: Split) -> Any:
        return self.fit(world)

    def fit(self, world: Split, run: Run = QUIET) -> Any:
        ranker = make_ranker(self.config)
        ranker.fit(world.train, ItemFeatures(), valid=make_validator(world, MEASURE), run=run)
        return ranker

    def query(self, world: Split) -> Query:
        return Query.of_users(world.train, np.arange(world.train.n_users))

    def test_scores_are_finite_float32_of_all_items(self, fitted: Any, world: Split) -> None:
        scores = fitted.score(self.query(world))
        assert scores.shape == (world.train.n_users, world.train.n_items)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()

    def test_learns_the_blocks(self, fitted: Any, world: Split) -> None:
        result = evaluate(fitted, world, MEASURE, run=QUIET)
        assert result.summary["recall@2"] >= self.least_recall

    def test_same_seed_same_scores(self, fitted: Any, world: Split) -> None:
        again = self.fit(world)
        np.testing.assert_array_equal(fitted.score(self.query(world)), again.score(self.query(world)))

    def test_saved_and_loaded_scores_are_equal(self, fitted: Any, world: Split, tmp_path) -> None:
        save_ranker(fitted, resolved(self.config), tmp_path)
        loaded = load_ranker(tmp_path)
        assert type(loaded) is type(fitted)
        np.testing.assert_array_equal(loaded.score(self.query(world)), fitted.score(self.query(world)))

    def test_a_query_is_scored_by_itself(self, fitted: Any, world: Split) -> None:
        whole = self.query(world)
        some = np.array([5, 17, 2])
        np.testing.assert_allclose(fitted.score(whole.take(some)), fitted.score(whole)[some], rtol=1e-4, atol=1e-5)

    def test_scoring_leaves_state_and_query_alone(self, fitted: Any, world: Split) -> None:
        query = self.query(world)
        before = query.histories.items.copy()
        first = fitted.score(query)
        first[:] = -7.0
        assert not (fitted.score(query) == -7.0).any()
        np.testing.assert_array_equal(query.histories.items, before)

    def test_a_newcomer_is_scored_from_the_history(self, fitted: Any, world: Split) -> None:
        if not self.knows_newcomers:
            pytest.skip("this ranker scores only the users it was trained on")
        taken = [1, 5, 9, 13]  # of block 1
        scores = fitted.score(Query.of_histories([taken], world.train.n_items))[0]
        scores[taken] = -np.inf
        best = np.argsort(-scores)[:3]
        assert (best % 4 == 1).sum() >= 2

    def test_an_empty_history_is_scored(self, fitted: Any, world: Split) -> None:
        if not self.knows_newcomers:
            pytest.skip("this ranker scores only the users it was trained on")
        scores = fitted.score(Query.of_histories([[]], world.train.n_items))
        assert np.isfinite(scores).all()
