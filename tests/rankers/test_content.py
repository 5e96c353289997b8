"""Content kNN and EASE with content: each by another way of working it out, and taste that only features tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.core.errors import RankerError
from recsys.core.runtime import Run
from recsys.core.values import Interactions, ItemFeatures, Query, Split
from recsys.evaluation.evaluator import EvaluationSettings, evaluate
from recsys.rankers import closed_form
from recsys.rankers.content_ease import add_kernel
from recsys.rankers.ease import EASE
from recsys.rankers.store import make_ranker

from worlds import block_features, blocks, content_world, shuffled

QUIET = Run(seed=3, log=lambda message: None)
MEASURE = EvaluationSettings(ks=(3,), metric="recall@3", resamples=200)
SETTINGS: dict[str, dict[str, Any]] = {"content_knn": {"k": 10}, "content_ease": {}}


def fitted(name: str, train: Interactions, features: ItemFeatures, **settings: Any) -> Any:
    ranker = make_ranker({"name": name, **SETTINGS[name], **settings})
    ranker.fit(train, features, run=QUIET)
    return ranker


def dense(ranker: Any) -> np.ndarray:
    return ranker.weights if isinstance(ranker.weights, np.ndarray) else ranker.weights.toarray()


def recall(ranker: Any, split: Split) -> float:
    return evaluate(ranker, split, MEASURE, run=QUIET).summary["recall@3"]


# -- content kNN by hand: texts at 0, 60, 90 and 180 degrees around their mean ---------------------------------

ANGLES = np.deg2rad([0.0, 60.0, 90.0, 180.0, 240.0, 270.0])
TEXT = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)  # their mean is the origin
TAKEN = Interactions(np.array([0, 0, 1, 1], np.int32), np.array([0, 1, 1, 3], np.int32), 2, 6)  # items 2, 4, 5: new


def test_content_knn_by_hand() -> None:
    """``cos 60 = cos 300 = .5``, ``cos 30 = .866``; only items 0, 1 and 3 can be in a history, the others are new."""
    features = ItemFeatures({"text": TEXT})
    np.testing.assert_allclose(features.unit("text"), TEXT, atol=1e-6)
    near, half = np.sqrt(3) / 2, 0.5
    #   neighbours of item:  0: 1    1: 0     2: 1     3: -     4: 3     5: - (90 degrees to 0 and 3)
    wanted = np.zeros((6, 6))
    wanted[1, 0], wanted[0, 1], wanted[1, 2], wanted[3, 4] = half, half, near, half
    ranker = fitted("content_knn", TAKEN, features, k=2)
    np.testing.assert_allclose(dense(ranker), wanted, atol=1e-6)
    scores = ranker.score(Query.of_histories([[1, 3]], 6))[0]
    np.testing.assert_allclose(scores, [half, 0, near, 0, half, 0], atol=1e-6)


def test_content_knn_keeps_the_k_nearest_of_the_target() -> None:
    everybody = Interactions(np.zeros(6, np.int32), np.arange(6, dtype=np.int32), 1, 6)
    weights = dense(fitted("content_knn", everybody, ItemFeatures({"text": TEXT}), k=1))
    assert (weights > 0).sum(axis=0).tolist() == [1] * 6  # a column: the neighbours of that target
    assert [int(column.argmax()) for column in weights.T] == [1, 2, 1, 4, 5, 4]


def test_weights_mix_the_modalities_as_they_say() -> None:
    """``(w_t cos_t + w_i cos_i) / sqrt((w_t + w_i)(w_t + w_i))`` where both are there, an absent one counting 0."""
    image = np.roll(TEXT, 1, axis=0)
    image[5] = np.nan
    features = ItemFeatures({"text": TEXT, "image": image})
    units = {name: features.unit(name).astype(float) for name in ("text", "image")}
    weights = {"text": 3.0, "image": 1.0}
    mixed = sum(weights[name] * units[name] @ units[name].T for name in weights)
    mixed /= np.sqrt(np.outer(np.diag(mixed), np.diag(mixed)))
    np.fill_diagonal(mixed, 0)
    everybody = Interactions(np.zeros(6, np.int32), np.arange(6, dtype=np.int32), 1, 6)
    found = dense(fitted("content_knn", everybody, features, k=6, weights=weights))
    np.testing.assert_allclose(found, np.maximum(mixed, 0), atol=1e-6)


# -- EASE with content against one ridge regression an item ----------------------------------------------------


def crowd(n_users: int = 40, n_items: int = 23, seed: int = 0) -> tuple[Interactions, ItemFeatures]:
    """Interactions at random, two modalities with gaps, and three items that nobody took."""
    rng = np.random.default_rng(seed)
    taken = np.argwhere(rng.random((n_users, n_items - 3)) < 0.3).astype(np.int32)
    matrices = {name: rng.normal(size=(n_items, dim)).astype(np.float32) for name, dim in (("text", 5), ("image", 7))}
    matrices["text"][4], matrices["image"][[4, 6]] = np.nan, np.nan
    return Interactions(taken[:, 0], taken[:, 1], n_users, n_items), ItemFeatures(matrices)


def regressions(design: np.ndarray, regularisation: float) -> np.ndarray:
    """Return ``B``: each column predicts that column of the design ``[n, n_items]`` from the others, by ridge."""
    n_items = design.shape[1]
    weights = np.zeros((n_items, n_items))
    for item in range(n_items):
        others = np.arange(n_items) != item
        rest = np.vstack([design[:, others], np.sqrt(regularisation) * np.eye(n_items - 1)])
        goal = np.concatenate([design[:, item], np.zeros(n_items - 1)])
        weights[others, item] = np.linalg.lstsq(rest, goal, rcond=None)[0]
    return weights


@pytest.mark.parametrize("added", [0.0, 0.3])
def test_content_ease_is_a_ridge_regression_of_each_item_on_the_others(added: float) -> None:
    train, features = crowd()
    rows = {name: features.unit(name).astype(float).T for name in ("text", "image")}  # [dim, n_items]
    taken = train.matrix.toarray().astype(float)
    design = np.vstack([taken, np.sqrt(10 * 2.0) * rows["text"], np.sqrt(10 * 0.5) * rows["image"]])
    content = np.vstack([np.sqrt(2.0) * rows["text"], np.sqrt(0.5) * rows["image"]])
    wanted = (1 - added) * regressions(design, 7.0) + added * regressions(content, 2.0)
    ranker = fitted(
        "content_ease", train, features, regularisation=7.0, strength=10.0, added=added,
        regularisation_added=2.0, weights={"text": 2.0, "image": 0.5},
    )  # fmt: skip
    np.testing.assert_allclose(ranker.weights, wanted, atol=2e-5)
    assert np.abs(ranker.weights[-3:]).max() > 0.01  # rows of items that nobody took


def test_without_strength_it_is_ease_to_the_last_bit() -> None:
    train, features = crowd()
    plain = EASE(EASE.Settings(regularisation=20.0))
    plain.fit(train, ItemFeatures(), run=QUIET)
    without = fitted("content_ease", train, features, strength=0, regularisation=20.0)
    np.testing.assert_array_equal(without.weights, plain.weights)
    assert np.abs(fitted("content_ease", train, features, regularisation=20.0).weights - plain.weights).max() > 1e-3


def test_the_kernel_is_added_in_blocks() -> None:
    rows = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
    gram = np.ones((23, 23))
    add_kernel(gram, rows, 2.0, block=5)
    np.testing.assert_allclose(gram, 1 + 2.0 * rows @ rows.T, rtol=1e-6)


def test_content_ease_refuses_more_items_than_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    train, features = crowd()
    monkeypatch.setattr(closed_form, "available_memory", lambda: 12 * 23**2 - 1)
    with pytest.raises(RankerError, match="content_ease with 23 items"):
        fitted("content_ease", train, features)
    monkeypatch.setattr(closed_form, "available_memory", lambda: 12 * 23**2)
    fitted("content_ease", train, features)
    with pytest.raises(RankerError, match="content_ease with 23 items"):
        fitted("content_ease", train, features, added=0.5)  # has two regressions' weights at a time


def test_an_infinite_number_makes_a_row_absent_and_harms_no_other() -> None:
    train, features = crowd()
    broken, absent = features["text"].copy(), features["text"].copy()
    broken[3, 1], absent[3] = np.inf, np.nan
    wanted = fitted("content_ease", train, ItemFeatures({"text": absent})).weights
    np.testing.assert_array_equal(fitted("content_ease", train, ItemFeatures({"text": broken})).weights, wanted)


# -- both: worlds, newcomers, reasons, refusals ----------------------------------------------------------------


@pytest.mark.parametrize("reveals", ["image", "text"])
@pytest.mark.parametrize("name", SETTINGS)
def test_new_items_are_found_by_the_modality_that_tells_and_by_nothing_else(name: str, reveals: str) -> None:
    """Nobody took the test items in train: 3 of the 21 new ones that a user has left are right, chance is 0.14."""
    split, features = content_world(reveals)
    other = "text" if reveals == "image" else "image"
    ranker = fitted(name, split.train, features)
    assert recall(ranker, split) > 0.9
    assert recall(fitted(name, split.train, features, modalities=(reveals,)), split) > 0.9
    assert recall(fitted(name, split.train, features, modalities=(other,)), split) < 0.4
    assert recall(fitted(name, split.train, features, weights={reveals: 0}), split) < 0.4
    assert np.mean([recall(fitted(name, split.train, shuffled(features, seed)), split) for seed in range(6)]) < 0.3
    assert recall(fitted(name, split.train, content_world("graph")[1]), split) < 0.4


@pytest.mark.parametrize("name", SETTINGS)
def test_a_newcomer_who_took_only_new_items_is_understood(name: str) -> None:
    split, features = content_world("text")
    ranker, new = fitted(name, split.train, features), np.flatnonzero(split.train.item_counts == 0)
    taken = new[new % 4 == 1][:2]
    query = Query.of_histories([taken], split.train.n_items)
    scores = ranker.score(query)[0].copy()
    scores[taken] = -np.inf
    if name == "content_knn":  # its neighbours are items that train knows: untouched ones tell it nothing
        assert not scores[np.isfinite(scores)].any()
    else:
        assert (np.argsort(-scores)[:5] % 4 == 1).sum() >= 4


@pytest.mark.parametrize("name", SETTINGS)
def test_reasons_sum_to_the_score(name: str) -> None:
    world = blocks()
    ranker = fitted(name, world.train, block_features(world))
    query, everything = Query.of_users(world.train, np.array([5])), np.arange(world.train.n_items)
    scores, parts = ranker.score(query)[0], ranker.contributions_to(query, everything)
    assert np.abs(parts).max() > 0.01
    np.testing.assert_allclose(parts.sum(axis=1), scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(parts[7], ranker.contributions(query, 7))


@pytest.mark.parametrize("name", SETTINGS)
def test_refusals_name_the_remedy(name: str) -> None:
    train, features = crowd()
    for settings, said in (
        ({"modalities": ("audio",)}, r"ranker\.modalities.*audio.*image, text"),
        ({"weights": {"txet": 2.0}}, r"ranker\.weights\.txet.*Did you mean 'text'"),
        ({"weights": {"text": -1.0}}, r"ranker\.weights\.text.*from 0 up"),
    ):
        with pytest.raises(RankerError, match=said):
            fitted(name, train, features, **settings)
    absent = ItemFeatures({"text": np.full((23, 3), np.nan, np.float32)})
    with pytest.raises(RankerError, match=r"Set items\.text or items\.image"):
        fitted(name, train, absent)
