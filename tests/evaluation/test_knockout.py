"""Altered features: what is altered tells nothing, what is not stays bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures
from recsys.evaluation.knockout import HOWS, Knockout, knocked_out, reads

RUN = Run(seed=1)


@pytest.fixture
def features() -> ItemFeatures:
    rng = np.random.default_rng(0)
    image = rng.normal([5.0, -3.0, 0.0], [2.0, 0.1, 1.0], (400, 3)).astype(np.float32)
    image[:40] = np.nan
    return ItemFeatures({"image": image, "text": rng.normal(size=(400, 4)).astype(np.float32)})


@pytest.mark.parametrize("how", HOWS)
def test_the_others_are_the_same_and_the_original_is_left_alone(features: ItemFeatures, how) -> None:
    before = {name: matrix.copy() for name, matrix in features.matrices.items()}
    found = knocked_out(features, Knockout(how, ("image", "audio")), RUN)
    assert found["text"] is features["text"]
    assert list(found.matrices) == ["image", "text"]
    assert found["image"].dtype == np.float32
    for name, matrix in before.items():
        np.testing.assert_array_equal(features[name], matrix)
    assert not np.array_equal(found["image"], before["image"], equal_nan=True)


def test_shuffled_rows_are_the_same_rows_in_another_order(features: ItemFeatures) -> None:
    found = knocked_out(features, Knockout("shuffle", ("image",)), RUN)["image"]
    order = lambda matrix: matrix[np.lexsort(matrix.T)]  # noqa: E731
    np.testing.assert_array_equal(order(found), order(features["image"]))
    stayed = (found == features["image"]).all(axis=1)
    assert stayed.sum() < 10
    assert not np.isnan(found[:40]).all()  # who lacks a picture is shuffled, too


def test_zero_is_absent_everywhere(features: ItemFeatures) -> None:
    found = knocked_out(features, Knockout("zero", ("image", "text")), RUN)
    assert not found.present("image").any()
    assert not found.present("text").any()


def test_noise_has_the_mean_and_the_spread_of_each_column_and_nothing_else(features: ItemFeatures) -> None:
    found = knocked_out(features, Knockout("noise", ("image",)), RUN)
    np.testing.assert_array_equal(found.present("image"), features.present("image"))
    drawn, original = found["image"][40:], features["image"][40:]
    np.testing.assert_allclose(drawn.mean(0), original.mean(0), atol=0.35)
    np.testing.assert_allclose(drawn.std(0), original.std(0), rtol=0.15)
    for column in range(3):
        assert abs(np.corrcoef(drawn[:, column], original[:, column])[0, 1]) < 0.2


def test_the_seed_decides_and_modalities_are_altered_independently(features: ItemFeatures) -> None:
    both = Knockout("shuffle", ("image", "text"))
    first, again = (knocked_out(features, both, RUN) for _ in range(2))
    np.testing.assert_array_equal(first["text"], again["text"])
    other = knocked_out(features, both, Run(seed=2))
    assert not np.array_equal(first["text"], other["text"])
    alone = knocked_out(features, Knockout("shuffle", ("text",)), RUN)
    np.testing.assert_array_equal(first["text"], alone["text"])


def test_what_a_ranker_reads_is_its_own_and_its_members() -> None:
    there = ("audio", "image", "text")
    assert reads({"name": "ease"}, there) == set()
    assert reads({"name": "content_knn"}, there) == set(there)
    assert reads({"name": "content_knn", "modalities": ["text", "video"]}, there) == {"text"}
    fusion = {"name": "fusion", "members": [{"name": "ease"}, {"name": "freedom", "modalities": ["image"]}]}
    assert reads(fusion, there) == {"image"}
    assert reads(fusion, (*there, "attributes")) == {"image", "attributes"}  # trees see them
    assert reads({"name": "fusion", "members": [{"name": "ease"}] * 2}, (*there, "attributes")) == set()
    assert reads({"name": "content_knn"}, (*there, "attributes")) == set(there)
    assert reads({"name": "content_knn", "modalities": ["attributes"]}, (*there, "attributes")) == {"attributes"}


def test_a_ranker_that_reads_nothing_of_it_is_not_met() -> None:
    both = Knockout("noise", ("image", "text"))
    assert both.met({"name": "ease"}) is None
    assert both.met({"name": "content_knn"}) == both
    assert both.met({"name": "content_knn", "modalities": ["text"]}) == Knockout("noise", ("text",))
    assert both.label == "noise-image+text"


def test_what_is_wholly_absent_stays_so(recwarn: pytest.WarningsRecorder) -> None:
    bare = ItemFeatures({"image": np.full((3, 2), np.nan, np.float32)})
    for how in HOWS:
        assert not knocked_out(bare, Knockout(how, ("image",)), RUN).present("image").any()
    assert not recwarn.list


def test_a_knockout_is_plain_values_for_keys() -> None:
    assert Knockout("zero", ("image", "text")).to_dict() == {"how": "zero", "modalities": ["image", "text"]}
