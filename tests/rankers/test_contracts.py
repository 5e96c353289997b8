"""Every ranker of the registry passes the contract."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from recsys.core.errors import RankerError
from recsys.core.protocols import SwapsFeatures
from recsys.core.values import ItemFeatures, Query, Split
from recsys.evaluation.evaluator import evaluate, make_validator
from recsys.rankers import RANKERS
from recsys.rankers.store import make_ranker, uses_features

from contracts.ranker_contract import MEASURE, QUIET, RankerContract, ReadsFeatures
from worlds import block_features

DOT = {"similarity": "dot", "temperature": 1.0}
SHORT = {"epochs": 30, "learning_rate": 0.05, "patience": 5}


class TestPopularity(RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "popularity"}
    least_recall = 0.0

    def test_learns_the_blocks(self, fitted: Any, world: Split) -> None:
        """It must not: this is what makes the world a test for the others."""
        assert evaluate(fitted, world, MEASURE, run=QUIET).summary["recall@2"] < 0.3

    def test_a_newcomer_is_scored_from_the_history(self, fitted: Any, world: Split) -> None:
        """Everybody gets the same list."""
        scores = fitted.score(Query.of_histories([[1, 5], [2]], world.train.n_items))
        np.testing.assert_array_equal(scores[0], scores[1])


class TestItemKNN(RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "item_knn", "k": 10}


class TestItemKNNWeighted(RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "item_knn", "k": 10, "weighting": "bm25"}


class TestRP3beta(RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "rp3beta", "k": 10}


class TestEASE(RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "ease", "regularisation": 20.0}


class TestProfile(RankerContract):
    """Without an item table its concepts are neighbourhoods: the four blocks."""

    config: ClassVar[dict[str, Any]] = {
        "name": "profile", "contrast": {"least": 2}, "options": {"neighbourhoods": {"groups": 4}},
    }  # fmt: skip


class TestIALS(RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "ials", "embedding_dim": 16, "regularisation": 5.0}


class TestContentKNN(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "content_knn", "k": 10}


class TestContentEASE(RankerContract):
    """What it learned of features and what of interactions cannot be told apart: it has no ``with_features``."""

    config: ClassVar[dict[str, Any]] = {"name": "content_ease", "regularisation": 20.0, "added": 0.1}

    @classmethod
    def features(cls, world: Split) -> ItemFeatures:
        return block_features(world)

    def test_without_features_it_says_so(self, world: Split) -> None:
        with pytest.raises(RankerError, match="feature"):
            make_ranker(self.config).fit(world.train, ItemFeatures(), run=QUIET)


class TestFusion(RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "fusion", "objective": "ndcg",
        "members": [{"name": "ease", "regularisation": 20.0}, {"name": "rp3beta", "k": 10}, {"name": "popularity"}],
    }  # fmt: skip


class TestFusionByLikelihood(RankerContract):
    config: ClassVar[dict[str, Any]] = {**TestFusion.config, "objective": "softmax"}


class TestFusionOfEquals(RankerContract):
    config: ClassVar[dict[str, Any]] = {**TestFusion.config, "objective": "equal"}


class TestFusionOfTrees(RankerContract):
    config: ClassVar[dict[str, Any]] = {**TestFusion.config, "objective": "trees", "reranked": 20, "rounds": 20}


class TestFusionOfContent(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "fusion", "objective": "softmax",
        "members": [{"name": "ease", "regularisation": 20.0}, {"name": "content_ease"}, {"name": "content_knn"}],
    }  # fmt: skip

    def test_it_says_that_it_reads_features(self, fitted: Any) -> None:
        """Whether it does is up to its members."""
        assert uses_features(self.config)
        assert not uses_features(TestFusion.config)
        assert isinstance(fitted, SwapsFeatures)

    def test_without_features_it_says_so(self, world: Split) -> None:
        with pytest.raises(RankerError, match="ranker content_ease: reads item features"):
            make_ranker(self.config).fit(world.train, ItemFeatures(), valid=make_validator(world, MEASURE), run=QUIET)


class TestLightGCN(RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "lightgcn", **DOT, "batch_size": 32, "embedding_dim": 16, **SHORT}


class TestLightGCNPairs(RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "lightgcn", "loss": "bpr", **DOT, "batch_size": 128, "embedding_dim": 16, **SHORT,
    }  # fmt: skip


class TestLightGCNCosine(RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "lightgcn", "batch_size": 32, "embedding_dim": 16, **SHORT,
    }  # fmt: skip


class TestMatrixFactorisation(RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "lightgcn", "num_layers": 0, "loss": "bpr", **DOT, "batch_size": 128, "embedding_dim": 16, **SHORT,
    }  # fmt: skip


class TestSASRec(RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "sasrec", "epochs": 30, "learning_rate": 0.01, "batch_size": 32,
        "embedding_dim": 16, "max_length": 5, "dropout": 0.1, "feedforward": 1,
    }  # fmt: skip


SMALL = {"embedding_dim": 16, **SHORT}


class TestVBPR(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "vbpr", "batch_size": 32, "content_dim": 8, **SMALL}


class TestVBPRPairs(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "vbpr", "loss": "bpr", "batch_size": 128, "content_dim": 8, **SMALL,
    }  # fmt: skip


class TestFREEDOM(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "freedom", "batch_size": 32, "modality_weight": 0.1, **SMALL}


class TestFREEDOMPairs(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "freedom", "loss": "bpr", **DOT, "batch_size": 128, "keep_edges": 0.7, "modality_weight": 0.1, **SMALL,
    }  # fmt: skip


class TestSTAIR(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "stair", "batch_size": 32, **SMALL}


class TestSTAIRPairs(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "stair", "loss": "bpr", **DOT, "batch_size": 128, "weight_decay": 0.1, **SMALL,
    }  # fmt: skip


MMSSL = {"name": "mmssl", **SMALL, "critic_users": 16, "critic_columns": 40, "critic_dim": 16, "neighbours": 3}


class TestMMSSL(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {**MMSSL, "batch_size": 32, "epochs": 15}


class TestMMSSLPairs(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {**MMSSL, "loss": "bpr", **DOT, "batch_size": 128}


class TestVisualPrior(ReadsFeatures, RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "visual_prior", "epochs": 30, "eval_every": 10, "batch_size": 128, "learning_rate": 5e-3, "taste": 8,
        "components": 8, "width": 32, "depth": 2, "match": "cosine", "guidance": 1.5, "temperature": 1.0,
    }  # fmt: skip
    least_recall = 0.8  # three of 48 items have no picture

    def test_items_without_a_picture_are_as_near_as_average_ones(self, fitted: Any, world: Split) -> None:
        np.testing.assert_allclose(fitted.score(self.query(world))[:, :3], 0.0, atol=1e-6)

    def test_it_reads_pictures_alone_where_there_are_no_texts(self, world: Split) -> None:
        ranker = make_ranker({**self.config, "epochs": 1})
        features = ItemFeatures({"image": block_features(world)["image"]})
        ranker.fit(world.train, features, valid=None, run=QUIET)
        again = ranker.with_features(features).score(self.query(world))
        np.testing.assert_allclose(again, ranker.score(self.query(world)), rtol=1e-4, atol=1e-5)
        with pytest.raises(RankerError, match="pictures"):
            ranker.with_features(ItemFeatures({"image": features["image"][:, :5]}))


CONTRACTS = [kind for kind in list(globals().values()) if isinstance(kind, type) and issubclass(kind, RankerContract)]


@pytest.mark.parametrize("name", [name for name in RANKERS if name not in ("recbole", "peer")])
def test_every_ranker_is_in_a_contract(name: str) -> None:
    """Of this file; the adapters have tests of their own, which these rankers' libraries and environments need."""
    assert any(kind.config["name"] == name for kind in CONTRACTS if kind is not RankerContract)
