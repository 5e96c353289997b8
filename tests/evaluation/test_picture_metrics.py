"""Metrics of pictures for somebody, by values that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluation.pictures import (
    centred,
    identified,
    kid,
    likeness_to_liked,
    nearest_likeness,
    sign_flips,
    spread,
)

X, Y = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_vectors_are_taken_less_the_centre_at_length_one_and_what_is_unknown_stays_so() -> None:
    found = centred(np.array([[4.0, 5.0], [1.0, 1.0], [np.nan, np.nan]], dtype=np.float32), np.array([1.0, 1.0]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0], [np.nan, np.nan]])
    assert found.dtype == np.float64


def test_likeness_is_the_mean_of_all_liked_and_of_the_nearest_five() -> None:
    mean, nearest = likeness_to_liked(np.array([X, Y]), np.array([X] * 4 + [Y] * 2 + [-X] * 2))
    np.testing.assert_allclose(mean, [(4 - 2) / 8, 2 / 8])
    np.testing.assert_allclose(nearest, [4 / 5, 2 / 5])
    mean, nearest = likeness_to_liked(np.array([X]), np.array([X, Y]))  # of fewer than five: all
    np.testing.assert_allclose([mean[0], nearest[0]], [0.5, 0.5])


def test_the_rank_of_the_right_user() -> None:
    found = identified(np.array([[9.0, 5, 1], [9, 5, 1], [9, 5, 1]]), np.array([0, 1, 2]))
    np.testing.assert_array_equal(found.ranks, [1, 2, 3])
    np.testing.assert_array_equal(found.hit(1), [1, 0, 0])
    np.testing.assert_array_equal(found.hit(2), [1, 1, 0])
    np.testing.assert_allclose(found.reciprocal, [1, 1 / 2, 1 / 3])
    assert (found.chance(1), found.chance(3), found.chance(10)) == (1 / 3, 1, 1)


def test_among_ties_the_order_is_guessed() -> None:
    found = identified(np.array([[7.0, 7, 1, 9]]), np.array([0]))  # second or third
    np.testing.assert_array_equal(found.ranks, [2.5])
    assert [found.hit(k)[0] for k in (1, 2, 3, 4)] == [0, 0.5, 1, 1]
    np.testing.assert_allclose(found.reciprocal, [(1 / 2 + 1 / 3) / 2])


def test_scores_that_tell_nothing_are_at_chance() -> None:
    found = identified(np.zeros((5, 24)), np.arange(5))
    for k in (1, 10):
        np.testing.assert_allclose(found.hit(k), found.chance(k))
    np.testing.assert_allclose(found.reciprocal, np.mean(1 / np.arange(1, 25)))
    noise = identified(rng().normal(size=(4000, 20)), np.arange(4000) % 20)
    assert noise.hit(10).mean() == pytest.approx(noise.chance(10), abs=0.03)


def test_kid_of_two_points_by_hand() -> None:
    """Within a set all kernels are (1 + 1)³ = 8, across (0 + 1)³ = 1: 8 + 8 - 2."""
    assert kid(np.array([X, X]), np.array([Y, Y]), rng()) == (14, 0)
    assert kid(np.array([X, X]), np.array([X, X]), rng()) == (0, 0)


def test_kid_is_about_zero_for_one_distribution_and_above_for_another() -> None:
    def drawn(seed: int, shift: float = 0.0) -> np.ndarray:
        return centred(rng(seed).normal(shift, 1, (400, 8)), np.zeros(8))

    same, deviation = kid(drawn(1), drawn(2), rng())
    other, _ = kid(drawn(1), drawn(2, shift=0.5), rng())
    assert abs(same) < 0.03
    assert 0 < deviation < 0.1
    assert other > 0.3


def test_kid_of_one_distribution_is_zero_on_average() -> None:
    """Unbiased: below zero about as often as above."""
    found = [
        kid(*(centred(rng(2 * seed + part).normal(size=(30, 4)), np.zeros(4)) for part in (0, 1)), rng())[0]
        for seed in range(30)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0 < max(found)


def test_the_nearest_known_picture() -> None:
    found = nearest_likeness(np.array([X, [0.6, 0.8]]), np.array([Y, X, -X]))
    np.testing.assert_allclose(found, [1, 0.8])


def test_spread_is_one_minus_the_mean_cosine_of_pairs() -> None:
    found = spread([np.array([X, X]), np.array([X, Y]), np.array([X, X, Y]), np.array([X, -X]), np.array([X])])
    np.testing.assert_allclose(found, [0, 1, 2 / 3, 2, np.nan])


def test_the_permutation_p_of_small_cases_by_hand() -> None:
    assert sign_flips(np.zeros(9), rng()) == 1
    assert sign_flips(np.array([1.0, -1, 2, -2]), rng()) == 1
    assert sign_flips(np.array([3.0]), rng()) == 1  # one user proves nothing
    assert sign_flips(np.ones(4), rng()) == pytest.approx(2 / 16, abs=0.02)
    assert sign_flips(np.array([1.0, 1, -1, 1]), rng()) == pytest.approx(10 / 16, abs=0.02)


def test_a_clear_gap_has_a_small_p_and_noise_a_large_one() -> None:
    assert sign_flips(rng().normal(1, 1, 40), rng()) < 0.001
    assert sign_flips(np.ones(40), rng()) == 1 / 10_001
    noise = rng(5).normal(0, 1, 40)
    assert sign_flips(noise - noise.mean() + 0.02, rng()) > 0.5


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_permutation_p_does_not_depend_on_the_unit(scale: float) -> None:
    gaps = np.array([0.1, 0.2, 0.3, -0.1, 0.7])
    assert sign_flips(gaps * scale, rng()) == sign_flips(gaps, rng())


def test_without_a_difference_p_is_about_uniform() -> None:
    found = np.array([sign_flips(rng(seed).normal(0, 1, 25), rng(1000 + seed), times=400) for seed in range(400)])
    for level in (0.05, 0.25, 0.5, 0.75):
        assert (found <= level).mean() == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 400) + 0.003)
