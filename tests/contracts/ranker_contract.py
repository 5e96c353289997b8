"""What every ranker must do, whatever it is: inherited once for each name of the registry."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from recsys.core.errors import RankerError
from recsys.core.protocols import AddsUp, Explains, SwapsFeatures
from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures, Query, Split
from recsys.evaluation.evaluator import EvaluationSettings, evaluate, make_validator
from recsys.rankers.store import load_ranker, make_ranker, resolved, save_ranker

from worlds import block_features, blocks

QUIET = Run(seed=3, log=lambda message: None)
MEASURE = EvaluationSettings(ks=(2,), metric="ndcg@2", resamples=200)


class RankerContract:
    """Subclasses name a configuration; ``knows_newcomers`` = scores users it was not trained on."""

    config: ClassVar[dict[str, Any]]
    knows_newcomers: ClassVar[bool] = True
    least_recall: ClassVar[float] = 0.9  # chance and popularity reach about 0.05 in this world

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls) -> Split:
        return blocks()

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, world: Split) -> Any:
        return cls.fit(world)

    @classmethod
    def fit(cls, world: Split, run: Run = QUIET) -> Any:
        ranker = make_ranker(cls.config)
        ranker.fit(world.train, cls.features(world), valid=make_validator(world, MEASURE), run=run)
        return ranker

    @classmethod
    def features(cls, world: Split) -> ItemFeatures:
        """Return what the ranker is given to read: nothing, unless it reads features."""
        return ItemFeatures()

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

    def test_parts_sum_to_the_score_of_whom_it_says_so(self, fitted: Any, world: Split) -> None:
        if not isinstance(fitted, Explains):
            pytest.skip("this ranker gives no reasons")
        n = world.train.n_items
        queries = [self.query(world).take(np.array([6])), Query.of_histories([[1, 5, 9, 5, 20]], n)]
        for query in queries if self.knows_newcomers else queries[:1]:
            parts = np.array([fitted.contributions(query, item) for item in range(n)])
            assert parts.shape == (n, len(query.histories[0]))
            if isinstance(fitted, AddsUp) and fitted.adds_up(query):
                np.testing.assert_allclose(parts.sum(axis=1), fitted.score(query)[0], rtol=1e-4, atol=1e-5)
                first = np.unique(query.histories[0], return_index=True)[1]
                assert not np.delete(parts, first, axis=1).any(), "an item counts once"

    def test_an_empty_history_is_scored(self, fitted: Any, world: Split) -> None:
        if not self.knows_newcomers:
            pytest.skip("this ranker scores only the users it was trained on")
        scores = fitted.score(Query.of_histories([[]], world.train.n_items))
        assert np.isfinite(scores).all()


class ReadsFeatures:
    """What rankers that read item features must do besides; goes before ``RankerContract`` in the bases."""

    @classmethod
    def features(cls, world: Split) -> ItemFeatures:
        return block_features(world)

    def test_it_says_that_it_reads_features(self, fitted: Any) -> None:
        assert type(fitted).uses_features is True
        assert isinstance(fitted, SwapsFeatures)

    def test_the_same_features_give_the_same_scores(self, fitted: Any, world: Split, tmp_path) -> None:
        save_ranker(fitted, resolved(self.config), tmp_path)
        query = self.query(world)
        for ranker in (fitted, load_ranker(tmp_path)):
            again = ranker.with_features(self.features(world)).score(query)
            np.testing.assert_allclose(again, fitted.score(query), rtol=1e-4, atol=1e-5)

    def test_other_features_give_other_scores_and_leave_the_ranker_alone(self, fitted: Any, world: Split) -> None:
        query, features = self.query(world), self.features(world)
        before = fitted.score(query)
        other = fitted.with_features(ItemFeatures({name: matrix[::-1] for name, matrix in features.matrices.items()}))
        assert np.abs(other.score(query) - before).max() > 1e-3
        assert np.isfinite(other.score(query)).all()
        np.testing.assert_array_equal(fitted.score(query), before)

    def test_swapping_features_draws_no_random_number(self, fitted: Any, world: Split) -> None:
        import torch

        before = torch.get_rng_state()
        fitted.with_features(self.features(world))
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_modality_knocked_out_is_scored(self, fitted: Any, world: Split) -> None:
        matrices = {name: np.full_like(matrix, np.nan) for name, matrix in self.features(world).matrices.items()}
        kept = {**matrices, "text": self.features(world)["text"]}
        assert np.isfinite(fitted.with_features(ItemFeatures(kept)).score(self.query(world))).all()

    def test_without_features_it_says_so(self, world: Split) -> None:
        with pytest.raises(RankerError, match="feature"):
            make_ranker(self.config).fit(world.train, ItemFeatures(), run=QUIET)
