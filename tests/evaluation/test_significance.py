"""Intervals cover, tests keep their level, Holm agrees with a hand-worked table."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest
from scipy import stats

from recsys.core.errors import ConfigError, DataError
from recsys.evaluation import significance
from recsys.evaluation.result import Evaluation
from recsys.evaluation.significance import bootstrap_interval, bootstrap_means, compare, holm, paired_bootstrap


def table(values: np.ndarray, users: np.ndarray | None = None) -> pl.DataFrame:
    users = np.arange(len(values)) if users is None else users
    return pl.DataFrame({"user_idx": users, "ndcg@2": values})


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    worlds = rng.beta(0.6, 1.4, size=(500, 80))  # skewed, like per-user metrics; mean 0.3
    ends = np.array([bootstrap_interval(row, 600, seed=i) for i, row in enumerate(worlds)])
    covered = ((ends[:, 0] < 0.3) & (ends[:, 1] > 0.3)).mean()
    assert 0.915 < covered < 0.975


def test_interval_equals_normal_theory_for_many_users():
    values = np.random.default_rng(1).normal(5, 2, 4000)
    low, high = bootstrap_interval(values, 4000, level=0.9)
    half = 1.6449 * values.std() / np.sqrt(4000)
    assert low == pytest.approx(values.mean() - half, abs=half / 15)
    assert high == pytest.approx(values.mean() + half, abs=half / 15)


def test_resamples_are_draws_with_replacement(monkeypatch):
    """All 27 draws of three values have the same chance: the means follow the exact distribution."""
    means = bootstrap_means(np.array([[0.0], [1.0], [10.0]]), 27_000, 3)[:, 0]
    sums, times = np.unique(np.round(means * 3), return_counts=True)
    exact = {0: 1, 1: 3, 2: 3, 3: 1, 10: 3, 11: 6, 12: 3, 20: 3, 21: 3, 30: 1}
    assert sums.tolist() == list(exact)
    assert stats.chisquare(times, np.array(list(exact.values())) * 1000).pvalue > 0.001
    monkeypatch.setattr(significance, "DRAWS_AT_ONCE", 100)  # memory bound, not result
    np.testing.assert_array_equal(bootstrap_means(np.array([[0.0], [1.0], [10.0]]), 27_000, 3)[:, 0], means)


def test_same_seed_same_interval_and_columns_share_resamples():
    values = np.random.default_rng(2).random((50, 1))
    both = bootstrap_means(np.hstack([values, values + 1]), 300, 7)
    np.testing.assert_allclose(both[:, 1] - both[:, 0], 1.0)
    assert bootstrap_interval(values[:, 0], seed=7) == bootstrap_interval(values[:, 0], seed=7)
    assert bootstrap_interval(values[:, 0], seed=7) != bootstrap_interval(values[:, 0], seed=8)


def test_one_user_has_an_interval_of_no_width():
    assert bootstrap_interval(np.array([0.25]), 100) == (0.25, 0.25)


def test_nobody_has_no_interval():
    with pytest.raises(DataError, match="no users to draw from"):
        bootstrap_means(np.empty((0, 2)), 100, 0)
    with pytest.raises(DataError, match="no users to draw from"):
        bootstrap_interval(np.empty(0), 100)


def test_ten_thousand_resamples_of_a_thousand_users_take_less_than_a_second():
    values = np.random.default_rng(3).random(1000)
    start = time.process_time()
    bootstrap_interval(values, 10_000)
    assert time.process_time() - start < 1.0


def test_p_is_uniform_where_there_is_no_difference():
    rng = np.random.default_rng(4)
    p = []
    for world in range(400):
        base = rng.random(60)
        noise = rng.exponential(0.1, (2, 60))
        p.append(paired_bootstrap(table(base + noise[0]), table(base + noise[1]), "ndcg@2", 500, seed=world).p)
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_a_real_difference_is_found_and_has_the_right_sign():
    rng = np.random.default_rng(5)
    base, order = rng.random(300), rng.permutation(300)
    better = table((base + rng.normal(0.05, 0.1, 300))[order], order)  # rows in another order
    found = paired_bootstrap(better, table(base), "ndcg@2", 2000)
    assert found.mean == pytest.approx(0.05, abs=0.02)
    assert 0 < found.low < found.mean < found.high
    assert found.p == 1 / 2001
    opposite = paired_bootstrap(table(base), better, "ndcg@2", 2000)
    assert (opposite.mean, opposite.low, opposite.high) == pytest.approx((-found.mean, -found.high, -found.low))


def test_p_agrees_with_the_t_test():
    rng = np.random.default_rng(6)
    for shift in (0.1, 0.2, 0.3):
        gaps = rng.normal(shift, 1, 200)
        p = paired_bootstrap(table(gaps), table(np.zeros(200)), "ndcg@2", 10_000).p
        assert p == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue, abs=0.02)


def test_equal_tables_give_p_one():
    values = np.random.default_rng(7).random(30)
    assert paired_bootstrap(table(values), table(values), "ndcg@2", 200).p == 1.0


def test_other_users_or_an_unknown_metric_are_refused():
    values = np.arange(4.0)
    with pytest.raises(ConfigError, match="different users"):
        paired_bootstrap(table(values), table(values, np.array([0, 1, 2, 9])), "ndcg@2")
    with pytest.raises(ConfigError, match="different users"):
        paired_bootstrap(table(values), table(values[:3]), "ndcg@2")
    with pytest.raises(ConfigError, match="Did you mean 'ndcg@2'"):
        paired_bootstrap(table(values), table(values), "ndcg@20")


def test_holm_by_hand():
    # Ascending: .005 × 4 = .02; .01 × 3 = .03; .03 × 2 = .06; .04 × 1 = .04, raised to .06 by the one before.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    # .4 × 3 = 1.2 is cut to 1, and so are those after it.
    np.testing.assert_allclose(holm([0.5, 0.4, 0.9]), [1, 1, 1])
    assert holm([0.2]).tolist() == [0.2]
    assert holm([]).tolist() == []


def evaluation(name: str, values: np.ndarray, **protocol: object) -> Evaluation:
    known = {"dataset": "d", "split": "random", "part": "test", "mask": "train", "history": "train", "fingerprint": "f"}
    return Evaluation(
        name=name,
        per_user=table(values),
        top_items=np.zeros((len(values), 2), np.int32),
        catalogue={},
        protocol=known | protocol,
        seconds={},
        metric="ndcg@2",
    )


def test_compare_agrees_with_pairs_and_holm():
    rng = np.random.default_rng(8)
    base = rng.random(100)
    systems = {"base": base, "up": base + rng.normal(0.06, 0.2, 100), "same": base + rng.normal(0, 0.2, 100)}
    evaluations = [evaluation(name, values) for name, values in systems.items()]
    found = compare(evaluations, "base", "ndcg@2", 2000, seed=3)
    assert found["name"].to_list() == ["base", "up", "same"]
    assert found.row(0)[2:] == (None,) * 5
    pairs = [paired_bootstrap(one.per_user, evaluations[0].per_user, "ndcg@2", 2000, seed=3) for one in evaluations[1:]]
    for row, pair in zip(found.rows(named=True)[1:], pairs, strict=True):
        assert row["mean"] == pytest.approx(systems[row["name"]].mean())
        expected = (pair.mean, pair.low, pair.high, pair.p)
        assert (row["difference"], row["low"], row["high"], row["p"]) == pytest.approx(expected)
    np.testing.assert_allclose(found["p_holm"].to_list()[1:], holm([pair.p for pair in pairs]))


def test_compare_with_the_reference_alone():
    assert compare([evaluation("a", np.ones(3))], "a", "ndcg@2")["mean"].to_list() == [1.0]


def test_compare_refuses_what_cannot_be_compared():
    values = np.arange(5.0)
    first = evaluation("first", values)
    with pytest.raises(ConfigError, match="their mask differs"):
        compare([first, evaluation("second", values, mask="train+valid")], "first", "ndcg@2")
    with pytest.raises(ConfigError, match="their fingerprint differs"):
        compare([first, evaluation("second", values, fingerprint="g")], "first", "ndcg@2")
    with pytest.raises(ConfigError, match="Did you mean 'first'"):
        compare([first], "fist", "ndcg@2")
    with pytest.raises(ConfigError, match="occurs twice"):
        compare([first, first], "first", "ndcg@2")
