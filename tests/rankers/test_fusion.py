"""The fusion: votes and weights by hand, the right member trusted, chance told as chance, members trained once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from test_workflow import make_raw, workflow

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError, RankerError
from recsys.core.runtime import Run
from recsys.core.values import TEST, VALID, FitLog, Histories, ItemFeatures, Query, Split
from recsys.evaluation.evaluator import EvaluationSettings, evaluate, make_validator
from recsys.rankers import fusion
from recsys.rankers.blending import (
    ABSENT,
    Candidates,
    learn_weights,
    metric_weights,
    ndcg,
    rank_votes,
    softmax_weights,
    standardise,
)
from recsys.rankers.ease import EASE
from recsys.rankers.fusion import Fusion
from recsys.rankers.store import load_ranker, make_ranker

from worlds import block_features, blocks

QUIET = Run(seed=3, log=lambda message: None)
MEASURE = EvaluationSettings(ks=(2,), metric="ndcg@2", resamples=200)
CLOSED = ({"name": "ease", "regularisation": 20.0}, {"name": "rp3beta", "k": 10})
FORMS = ["softmax", "ndcg"]


class Noise:
    """Scores at random, the same for a user whenever asked; remembers how often it was fitted."""

    fits = 0

    class Settings(BaseSettings):
        seed: int = 0
        known_only: bool = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Any, features: ItemFeatures, *, valid: Any = None, run: Run) -> FitLog:
        Noise.fits += 1
        shape = (train.n_users + 1, train.n_items)
        self.scores = np.random.default_rng(self.settings.seed).random(shape).astype(np.float32)
        return FitLog()

    def score(self, query: Query) -> np.ndarray:
        return self.scores[query.user_idx].copy()

    def can_score(self, query: Query) -> np.ndarray:
        return (query.user_idx >= 0) | (not self.settings.known_only)

    def state(self) -> dict[str, np.ndarray]:
        return {"scores": self.scores}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.scores = state["scores"]


def noise(seed: int, **settings: Any) -> dict[str, Any]:
    return {"name": "test_fusion:Noise", "seed": seed, **settings}


def fused(world: Split, members: Any, **settings: Any) -> tuple[Fusion, FitLog]:
    ranker = make_ranker({"name": "fusion", "members": members, "objective": "ndcg", "k": 2, **settings})
    return ranker, ranker.fit(world.train, ItemFeatures(), valid=make_validator(world, MEASURE), run=QUIET)


# -- votes ---------------------------------------------------------------------------------------------------


def worth(n_items: int, *ranks: int) -> np.ndarray:
    return np.log([(n_items + 10) / (rank + 10) for rank in ranks])


def votes(scores: list[float], history: list[int]) -> np.ndarray:
    taken = np.zeros((1, len(scores)))
    taken[0, history] = 1
    return rank_votes(np.array([scores]), sp.csr_array(taken))[0]


def test_votes_by_hand() -> None:
    np.testing.assert_allclose(votes([0.1, 0.5, 0.3, 0.2, 0.4], []), worth(5, 4, 0, 2, 3, 1), rtol=1e-6)
    assert votes([3.0, 1.0], []).dtype == np.float32


def test_what_was_taken_votes_last_whatever_its_score() -> None:
    np.testing.assert_allclose(votes([0.9, 0.5, 0.3, 0.2, 0.4], [0]), worth(5, 4, 0, 2, 3, 1), rtol=1e-6)
    some = votes([0.9, 0.8, 0.7, 0.6, 0.2, 0.1], [0, 1, 2, 3])  # most of the row: they share a place behind the rest
    np.testing.assert_allclose(some[4:], worth(6, 0, 1), rtol=1e-6)
    assert (some[:4] < some[5]).all()


def test_zeros_of_a_sparse_ranker_share_their_middle_rank() -> None:
    """Ranks 2, 3 and 4 are tied, and the median is among them: all three get rank 3, in whatever order they stand."""
    np.testing.assert_allclose(votes([0.9, 4, 0, 0, 0, 3], [0]), worth(6, 5, 0, 3, 3, 3, 1), rtol=1e-6)
    np.testing.assert_allclose(votes([0, 3, 0, 4, 0.9, 0], [4]), worth(6, 3, 1, 3, 0, 5, 3), rtol=1e-6)
    np.testing.assert_allclose(votes([0, 0, 0, 0], []), worth(4, 2, 2, 2, 2), rtol=1e-6)


def test_each_row_is_ranked_by_itself() -> None:
    rng = np.random.default_rng(0)
    scores, history = rng.random((7, 30)), sp.csr_array(rng.random((7, 30)) < 0.2)
    together = rank_votes(scores, history)
    for row in range(7):
        np.testing.assert_array_equal(rank_votes(scores[[row]], history[[row]])[0], together[row])
    np.testing.assert_array_equal(rank_votes(np.exp(5 * scores), history), together)  # only the order counts


def test_standard_scores_of_a_constant_row_are_zero() -> None:
    np.testing.assert_allclose(standardise(np.array([[1.0, 3.0], [2.0, 2.0]])), [[-1, 1], [0, 0]])


# -- candidates and weights ----------------------------------------------------------------------------------


def test_candidates_are_the_tops_of_all_members() -> None:
    said = np.array([[[5, 4, 3, 2, 1], [5, 4, 3, 2, 1]], [[1, 2, 3, 4, 5], [5, 4, 3, 1, 2]]], dtype=np.float32)
    truth = sp.csr_array(np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 1]]))
    found = Candidates.of(said, truth, 2)  # user 0: items 0, 1 and 3, 4; user 1: items 0, 1
    np.testing.assert_array_equal(found.features[0], [[5, 1], [4, 2], [2, 4], [1, 5]])
    np.testing.assert_array_equal(found.features[1], [[5, 5], [4, 4], [ABSENT, ABSENT], [ABSENT, ABSENT]])
    np.testing.assert_array_equal(found.gains, [[1, 0, 0, 0], [0, 1, 0, 0]])
    np.testing.assert_array_equal(found.n_truth, [2, 2])  # what no member found counts, too
    joined = Candidates.joined([found.take(np.array([1])), Candidates.of(said[:, :1], truth[[0]], 5)])
    assert joined.features.shape == (2, 5, 2)
    assert (joined.features[0, 2:] == ABSENT).all()
    np.testing.assert_array_equal(joined.gains, [[0, 1, 0, 0, 0], [1, 0, 1, 0, 0]])


def test_ndcg_by_hand() -> None:
    """The second user's one hit is third; of the ideal's two places one is for an item that is no candidate."""
    features = np.array([[[3.0], [2.0], [1.0]], [[3.0], [2.0], [1.0]]], dtype=np.float32)
    known = Candidates(features, np.array([[1, 1, 0], [0, 0, 1]], dtype=np.float32), np.array([2, 2]))
    third, ideal = 1 / np.log2(4), 1 + 1 / np.log2(3)
    assert ndcg(known, np.ones(1), 3) == pytest.approx((1 + third / ideal) / 2)
    assert ndcg(known, np.ones(1), 2) == pytest.approx(0.5)
    assert ndcg(known, np.ones(1), 50) == pytest.approx((1 + third / ideal) / 2)  # a list is as long as it can be


def crowd(n_members: int = 3, told: float = 1.0, seed: int = 0) -> Candidates:
    """60 users, 8 to 12 candidates; the first member knows something of what is held out, the last is against it."""
    rng = np.random.default_rng(seed)
    features, gains = np.full((60, 12, n_members), ABSENT, np.float32), np.zeros((60, 12), np.float32)
    for user in range(60):
        n = int(rng.integers(8, 13))
        features[user, :n] = rng.normal(size=(n, n_members))
        gains[user, rng.choice(n, 2, replace=False)] = 1
        features[user, :n, 0] += told * gains[user, :n]
        features[user, :n, -1] -= told * gains[user, :n]
    gains[7] = 0  # nothing of this user's was found
    return Candidates(features, gains, np.full(60, 3))


def listwise_loss(known: Candidates, weights: np.ndarray, ridge: float) -> float:
    """The loss as it is written down, user by user and in float64."""
    total = []
    for features, gains in zip(known.features.astype(float), known.gains, strict=True):
        if gains.any():
            scores = features[features[:, 0] != ABSENT] @ weights
            hits = gains[features[:, 0] != ABSENT] > 0
            total.append(np.log(np.exp(scores).sum()) - scores[hits].mean())
    return float(np.mean(total)) + ridge / 2 * float(weights @ weights)


@pytest.mark.parametrize("ridge", [1e-3, 0.5])
def test_softmax_weights_are_the_minimum(ridge: float) -> None:
    """Convex: where no direction leads down, it is the minimum; a weight at its bound must want to go below."""
    known = crowd()
    weights = softmax_weights(known, ridge)
    assert weights[0] > 0.3
    assert weights[2] == 0.0
    for member in range(3):
        step = np.zeros(3)
        step[member] = 1e-3
        up, down = (listwise_loss(known, weights + sign * step, ridge) for sign in (1, -1))
        slope = (up - down) / 2e-3
        assert slope > -1e-3
        assert member == 2 or abs(slope) < 1e-3
    assert listwise_loss(known, weights, ridge) < listwise_loss(known, 1.1 * weights, ridge)
    assert softmax_weights(replace(known, gains=0 * known.gains), ridge).tolist() == [1, 1, 1]


@pytest.mark.parametrize("seed", range(8))
def test_weights_by_the_metric_are_never_worse_than_their_start(seed: int) -> None:
    known = crowd(4, told=0.5, seed=seed)
    start = np.random.default_rng(seed).random(4)
    found = metric_weights(known, start, 5)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert ndcg(known, found, 5) >= ndcg(known, start / start.sum(), 5) - 1e-12
    assert ndcg(known, found, 5) > ndcg(known, np.full(4, 0.25), 5)  # where one is against what is held out


@pytest.mark.parametrize("by_metric", [False, True])
def test_weights_sum_to_one_whatever_there_is_to_learn_from(by_metric: bool) -> None:
    assert learn_weights(crowd(), 5, 1e-3, by_metric=by_metric).sum() == pytest.approx(1)
    against = crowd(1, told=-3.0)
    assert learn_weights(against, 5, 1e-3, by_metric=by_metric).tolist() == [1.0]


# -- the ranker ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", FORMS)
def test_the_right_member_is_trusted_and_noise_is_not(objective: str) -> None:
    world = blocks()
    ranker, log = fused(world, [noise(1), {"name": "ease", "regularisation": 20.0}, noise(2)], objective=objective)
    weights = [weight for _, weight in ranker.told_weights()]
    assert weights[1] > 0.85
    assert sum(weights) == pytest.approx(1)
    assert log.best["ndcg@2"] > 0.75  # two items are as right as each other, one of them is held out here: about .82
    assert evaluate(ranker, world, MEASURE, run=QUIET).summary["ndcg@2"] > 0.9
    equal, _ = fused(world, [noise(1), {"name": "ease", "regularisation": 20.0}, noise(2)], objective="equal")
    assert evaluate(equal, world, MEASURE, run=QUIET).summary["ndcg@2"] < 0.8  # trusting all alike would not do


def test_the_validation_figure_of_noise_is_chance() -> None:
    """Weights fitted to 96 users flatter themselves on them; each user here is ranked with those of the others.

    Chance is 1 right item among 38, in either of two places.
    """
    world, chance = blocks(), (1 + 1 / np.log2(3)) / 38
    told, flattered = [], []
    for trial in range(6):
        ranker, log = fused(world, [noise(10 * trial + n) for n in range(6)], candidates=20)
        told.append(log.best["ndcg@2"])
        flattered.append(make_validator(world, MEASURE)(ranker)["ndcg@2"])
    error = 0.17 / np.sqrt(96 * 6)  # the metric's deviation between users is about .17
    assert abs(np.mean(told) - chance) < 3 * error
    assert np.mean(flattered) > chance + 3 * error  # without the folds, this test would fail


def test_scores_are_the_weighted_votes() -> None:
    world = blocks()
    ranker, _ = fused(world, CLOSED)
    query = Query.of_users(world.train, np.arange(9))
    parts = [rank_votes(member.score(query), query.histories.matrix()) for member in ranker.members]
    wanted = sum(weight * part for (_, weight), part in zip(ranker.told_weights(), parts, strict=True))
    np.testing.assert_allclose(ranker.score(query), wanted, rtol=1e-5)
    equal, _ = fused(world, CLOSED, objective="equal")
    np.testing.assert_allclose(equal.score(query), (parts[0] + parts[1]) / 2, rtol=1e-5)


@pytest.mark.parametrize("objective", [*FORMS, "equal"])
def test_state_gives_the_same_fusion_back(objective: str) -> None:
    world = blocks()
    ranker, _ = fused(world, (*CLOSED, noise(1)), objective=objective)
    again = Fusion(ranker.settings)
    again.restore(ranker.state())
    query = Query.of_users(world.train, np.arange(20))
    np.testing.assert_array_equal(again.score(query), ranker.score(query))
    assert again.told_weights() == ranker.told_weights()


def test_a_user_whom_a_member_cannot_score_is_not_scored() -> None:
    world = blocks()
    query = Query(Histories.of([[1, 5], [2]], world.train.n_items), np.array([3, -1]))
    assert fused(world, (*CLOSED, noise(1)))[0].can_score(query).tolist() == [True, True]
    assert fused(world, (*CLOSED, noise(1, known_only=True)))[0].can_score(query).tolist() == [True, False]


def test_reasons_are_the_members_shares_by_weight() -> None:
    world = blocks()
    ranker, _ = fused(world, (*CLOSED, noise(1)), objective="equal")
    query = Query.of_users(world.train, np.array([4]))
    wanted = 0.0
    for member in ranker.members[:2]:  # noise gives no reasons
        parts = member.contributions(query, 12)
        wanted = wanted + parts / np.abs(parts).sum() / 3
    found = ranker.contributions(query, 12)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert np.abs(found).sum() == pytest.approx(2 / 3, abs=1e-4)


def test_other_features_reach_the_members_that_can_read_them() -> None:
    world, query = blocks(), Query.of_users(blocks().train, np.arange(8))
    features = block_features(world)
    ranker = make_ranker({"name": "fusion", "members": [*CLOSED, {"name": "content_knn"}], "objective": "softmax"})
    ranker.fit(world.train, features, valid=make_validator(world, MEASURE), run=QUIET)
    other = ranker.with_features(ItemFeatures({name: x[::-1].copy() for name, x in features.matrices.items()}))
    assert other.members[:2] == ranker.members[:2]
    assert np.abs(other.members[2].score(query) - ranker.members[2].score(query)).max() > 0.1
    assert other.told_weights() == ranker.told_weights()


def test_refusals_name_the_remedy() -> None:
    world = blocks()
    for members in ([{"name": "ease"}], [{"name": "ease"}, {"regularisation": 3}]):
        with pytest.raises(ConfigError, match=r"ranker\.members"):
            make_ranker({"name": "fusion", "members": members})
    with pytest.raises(ConfigError, match=r"ranker\.members\[1\]\.regularization.*Did you mean 'regularisation'"):
        fused(world, [{"name": "rp3beta"}, {"name": "ease", "regularization": 3}])
    ranker = make_ranker({"name": "fusion", "members": list(CLOSED)})
    with pytest.raises(RankerError, match="no validation part"):
        ranker.fit(world.train, ItemFeatures(), run=QUIET)
    equal = make_ranker({"name": "fusion", "members": list(CLOSED), "objective": "equal"})
    equal.fit(world.train, ItemFeatures(), run=QUIET)  # has nothing to learn there


@pytest.mark.parametrize("objective", ["softmax", "trees"])
def test_validation_users_who_are_all_new_are_refused_in_words(objective: str) -> None:
    world = blocks()
    new = world.valid.user_idx[0]
    part = np.where(world.dataset.interactions.user_idx == new, VALID, np.where(world.part == VALID, TEST, world.part))
    with pytest.raises(RankerError, match="no user has interactions both in train and in validation"):
        fused(Split(world.dataset, part.astype(np.uint8), "global_time"), CLOSED, objective=objective)


def test_many_items_are_scored_for_fewer_users_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world, asked, score = blocks(), [], EASE.score
    whole, _ = fused(world, CLOSED, objective="softmax")
    monkeypatch.setattr(fusion, "NUMBERS", 5 * world.train.n_items)
    monkeypatch.setattr(EASE, "score", lambda self, query: asked.append(len(query)) or score(self, query))
    users = np.flatnonzero((world.valid.user_counts > 0) & (world.train.user_counts > 0))
    found, known = whole._candidates(world.train, world.valid, QUIET)
    assert max(asked) == 5
    assert sum(asked) == len(users) == len(found) == len(known.gains)


# -- in a workflow -------------------------------------------------------------------------------------------


def test_members_are_trained_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, fits, fit = workflow(make_raw(tmp_path / "raw")), [], EASE.fit
    monkeypatch.setattr(
        EASE, "fit", lambda self, *args, **named: fits.append(self.settings) or fit(self, *args, **named)
    )
    members = [{"name": "ease", "regularisation": 10.0}, {"name": "rp3beta"}]
    made = steps.train({"name": "fusion", "members": members, "objective": "softmax"})
    kinds = [parent["kind"] for parent in made.manifest["parents"]]
    assert kinds == ["split", "ranker", "ranker"]
    alone = steps.train({"name": "ease", "regularisation": 10})
    assert alone.key in {parent["key"] for parent in made.manifest["parents"]}
    steps.train({"name": "fusion", "members": members, "objective": "ndcg"})
    assert len(fits) == 1
    other = steps.train({"name": "fusion", "members": [{"name": "ease", "regularisation": 11.0}, {"name": "rp3beta"}]})
    assert len(fits) == 2
    assert other.key != made.key
    query = Query.of_users(steps.loaded_split.train, np.arange(5))
    loaded = load_ranker(made.path)
    np.testing.assert_array_equal(loaded.members[0].score(query), load_ranker(alone.path).score(query))
    assert made.manifest["results"]["best"]["ndcg@5"] > 0


def test_a_run_that_has_the_members_is_asked_for_them() -> None:
    world, asked, before = blocks(), [], Noise.fits
    ready = Noise(Noise.Settings(seed=5))
    ready.fit(world.train, ItemFeatures(), run=QUIET)

    def fitted(config: Mapping[str, Any]) -> Noise:
        asked.append(dict(config))
        return ready

    ranker = make_ranker({"name": "fusion", "members": [noise(1), noise(2)], "objective": "equal"})
    ranker.fit(world.train, ItemFeatures(), run=replace(QUIET, fitted=fitted))
    assert asked == [noise(1), noise(2)]
    assert ranker.members == [ready, ready]
    assert Noise.fits == before + 1
