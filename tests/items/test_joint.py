"""The joint space: pairs made from one cause are found, shuffled ones are not, and figures are worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.core.errors import ArtifactError, DataError
from recsys.core.runtime import Run
from recsys.core.values import TEST, TRAIN, VALID, ItemFeatures
from recsys.items.joint import ABSENT, JointModule, JointSettings, JointSpace, deal
from recsys.items.retrieval import pair_figures, ranks, wilson

QUICK = JointSettings(dim=16, dropout=0.1, learning_rate=0.01, batch_size=200, epochs=40)


def pairs(n: int = 800, latent: int = 8, seed: int = 0) -> ItemFeatures:
    """Two views of one latent vector, each through a random map of its own, with a little noise."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(n, latent))
    views = {}
    for name, dim in (("text", 24), ("image", 40)):
        views[name] = (cause @ rng.normal(size=(latent, dim)) + 0.1 * rng.normal(size=(n, dim))).astype(np.float32)
    return ItemFeatures(views)


@pytest.fixture(scope="module")
def world() -> ItemFeatures:
    """800 pairs; the first 40 items have no text, the next 40 no picture."""
    features = pairs()
    features["text"][:40], features["image"][40:80] = np.nan, np.nan
    return features


@pytest.fixture(scope="module")
def fitted(world: ItemFeatures) -> JointSpace:
    space = JointSpace(QUICK)
    space.fit(world, run=Run())
    return space


def test_pairs_with_one_cause_find_each_other(fitted: JointSpace, world: ItemFeatures) -> None:
    for figures in fitted.measure(world).values():
        assert figures["recall@1"] > 0.9
        assert figures["chance@1"] == 1 / 72


def test_shuffled_pairs_stay_at_chance() -> None:
    features = pairs()
    order = np.random.default_rng(1).permutation(len(features["text"]))
    shuffled = ItemFeatures({"text": features["text"][order], "image": features["image"]})
    space = JointSpace(QUICK)
    space.fit(shuffled, run=Run())
    for figures in space.measure(shuffled).values():
        assert figures["recall@10_low"] < figures["chance@10"] < figures["recall@10_high"] + 0.05
        assert figures["recall@1"] < 0.1


def test_items_without_one_of_the_two_are_left_out(fitted: JointSpace, world: ItemFeatures) -> None:
    assert (fitted.part[:80] == ABSENT).all()
    assert np.bincount(fitted.part[80:]).tolist() == [576, 72, 72]
    vectors = fitted.text_vectors(world["text"])
    assert np.isnan(vectors[:40]).all()
    np.testing.assert_allclose(np.linalg.norm(vectors[40:], axis=1), 1.0, rtol=1e-5)


def test_same_seed_same_space_and_another_seed_another(fitted: JointSpace, world: ItemFeatures) -> None:
    torch.manual_seed(99)  # what happened before must not matter
    again, other = JointSpace(QUICK), JointSpace(QUICK)
    again.fit(world, run=Run())
    other.fit(world, run=Run(seed=1))
    np.testing.assert_array_equal(again.image_vectors(world["image"]), fitted.image_vectors(world["image"]))
    assert (other.part != fitted.part).any()


def test_the_epoch_is_the_best_on_validation() -> None:
    """Noisy pairs are soon learned by heart: the weights kept are those before that."""
    noise = np.random.default_rng(2)
    features = pairs(400)
    for matrix in features.matrices.values():
        matrix += 3 * noise.normal(size=matrix.shape).astype(np.float32)
    space = JointSpace(QUICK.model_copy(update={"dropout": 0.0, "epochs": 30, "patience": 20}))
    log = space.fit(features, run=Run())
    best = max(range(len(log.rows)), key=lambda row: log.rows[row]["mrr"])
    assert 0 < log.best_epoch == log.rows[best]["epoch"] < len(log.rows)
    assert log.rows[-1]["mrr"] < log.best["mrr"]
    assert log.best["mrr"] == np.mean([figures["mrr"] for figures in space.measure(features, "valid").values()])


def test_saved_and_loaded_it_is_the_same(fitted: JointSpace, world: ItemFeatures, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = JointSpace.load(tmp_path, QUICK)
    np.testing.assert_array_equal(loaded.text_vectors(world["text"]), fitted.text_vectors(world["text"]))
    assert loaded.measure(world) == fitted.measure(world)
    with pytest.raises(ArtifactError, match="cannot be read"):
        JointSpace.load(tmp_path / "nowhere", QUICK)


def test_equal_pictures_and_texts_stay_on_one_side() -> None:
    """Items 0 and 1 share a picture, 1 and 2 a text: all three must lie together, whatever the seed."""
    features = pairs(200)
    for start in range(0, 150, 3):
        features["image"][start + 1] = features["image"][start]
        features["text"][start + 2] = features["text"][start + 1]
    for seed in range(5):
        part = deal(features, Run(seed=seed))
        assert (part[:150].reshape(50, 3) == part[:150:3, None]).all()
        assert {TRAIN, VALID, TEST} == set(part)


def test_too_few_pairs_are_refused(world: ItemFeatures) -> None:
    with pytest.raises(DataError, match="40 items have both"):
        deal(ItemFeatures({name: matrix[:120] for name, matrix in world.matrices.items()}), Run())
    with pytest.raises(DataError, match="0 items have both"):
        deal(ItemFeatures({"text": world["text"]}), Run())


def test_a_picture_that_half_of_the_items_share_is_trained_on_alone() -> None:
    features = pairs(400)
    features["image"][:200] = features["image"][0]
    for seed in range(5):
        part = deal(features, Run(seed=seed))
        assert (part[:200] == TRAIN).all()
        assert np.bincount(part[200:]).tolist() == [160, 20, 20]
    features["image"][:360] = features["image"][0]
    with pytest.raises(DataError, match="400 items have both, of which 41 differ"):
        deal(features, Run())


def test_loss_by_hand() -> None:
    """Two orthogonal pairs at temperature 1/2: each direction costs log(1 + e^-2)."""
    settings = JointSettings(dim=2, dropout=0, temperature=0.5)
    module = JointModule(torch.zeros(2, 2), torch.zeros(2, 2), settings)
    for name in ("text", "image"):
        module.scale.get_buffer(name).fill_(1.0)
        module.heads[name][1].weight.data = torch.eye(2)
        module.heads[name][1].bias.data.zero_()
    x = torch.tensor([[3.0, 0.0], [0.0, 5.0]])
    assert module.loss(x, x).item() == pytest.approx(np.log1p(np.exp(-2.0)), rel=1e-5)


@pytest.mark.parametrize("hidden", [0, 8])
def test_every_parameter_learns(hidden: int) -> None:
    features = pairs(64)
    text, image = (torch.from_numpy(features[name]) for name in ("text", "image"))
    module = JointModule(text, image, JointSettings(dim=4, hidden=hidden, dropout=0))
    module.loss(text, image).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert {id(p) for group in module.groups() for p in group["params"]} == {id(p) for p in module.parameters()}


def test_ranks_and_recall_by_hand() -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.5, 0.5, 0.5]])  # own: first, second, tied with all
    assert ranks(scores).tolist() == [1, 2, 3]
    figures = pair_figures(scores)
    assert (figures["recall@1"], figures["median_rank"], figures["chance@1"]) == (1 / 3, 2.0, 1 / 3)
    assert figures["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert (figures["recall@10"], figures["chance@10"]) == (1.0, 1.0)


def test_wilson_against_a_published_example() -> None:
    """Newcombe, Statistics in Medicine 1998, table I: 81 of 263 and 0 of 20, method 3."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
