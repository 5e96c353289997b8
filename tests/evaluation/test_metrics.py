"""Every metric against a table worked by hand, a plain reference and ranx."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.core.errors import ConfigError
from recsys.core.values import Histories
from recsys.evaluation.metrics import METRICS, Truth, catalogue, gini, parse_metric, per_user

# Six items, lists of three. 1/log2(2), 1/log2(3), 1/log2(4) = 1, .6309297535714574, .5
#   user   truth     list       hits at rank   remark
#   A      1 4       4 0 1      1 . 3
#   B      2         3 5 2      . . 3
#   C      0 1 2 3   5 0 1      . 2 3          more truth than places
#   D      5         0 1 2      . . .          nothing found
#   E      0 3 3     3 - -      1 . .          item 3 twice in the truth counts once; only one item was left to show
TRUTH = Histories.of([[1, 4], [2], [0, 1, 2, 3], [5], [0, 3, 3]], 6)
LISTS = np.array([[4, 0, 1], [3, 5, 2], [5, 0, 1], [0, 1, 2], [3, -1, -1]])
GOLDEN = {
    "n_truth": [2, 1, 4, 1, 2],
    "recall@1": [1 / 2, 0, 0, 0, 1 / 2],
    "recall@3": [2 / 2, 1 / 1, 2 / 4, 0, 1 / 2],
    "precision@1": [1, 0, 0, 0, 1],
    "precision@3": [2 / 3, 1 / 3, 2 / 3, 0, 1 / 3],  # E: three places were offered, one filled
    "hit@1": [1, 0, 0, 0, 1],
    "hit@3": [1, 1, 1, 0, 1],
    "mrr@1": [1, 0, 0, 0, 1],
    "mrr@3": [1, 1 / 3, 1 / 2, 0, 1],
    "ndcg@1": [1, 0, 0, 0, 1],
    "ndcg@3": [
        1.5 / 1.6309297535714574,  # (1 + 1/2) / (1 + .6309…), ideal of two
        0.5,  # 1/2 of 1
        1.1309297535714574 / 2.1309297535714574,  # (.6309… + 1/2) of the ideal of three: min(k, 4)
        0,
        1 / 1.6309297535714574,  # the ideal from retrieved hits would call this 1
    ],
    "map@1": [1, 0, 0, 0, 1],
    "map@3": [
        (1 / 1 + 2 / 3) / 2,
        (1 / 3) / 1,
        (1 / 2 + 2 / 3) / 3,  # min(k, 4) = 3
        0,
        (1 / 1) / 2,
    ],
}


def test_golden_table():
    table = per_user(LISTS, TRUTH, (1, 3))
    assert set(table.columns) == set(GOLDEN)
    for name, expected in GOLDEN.items():
        np.testing.assert_allclose(table[name].to_numpy(), expected, rtol=0, atol=1e-15, err_msg=name)


def test_a_perfect_list_scores_one_and_the_worst_zero_at_every_k():
    lists, truth = np.tile(np.arange(6), (4, 1)), Histories.of([[*range(n)] for n in (1, 2, 4, 6)], 12)
    perfect = per_user(lists, truth, (1, 3, 6), ("ndcg", "map", "mrr", "hit")).drop("n_truth").to_numpy()
    worst = per_user(lists + 6, truth, (1, 3, 6)).drop("n_truth").to_numpy()
    np.testing.assert_allclose(perfect, 1.0, rtol=1e-12)
    assert not worst.any()


def test_catalogue_by_hand():
    # Shown at k = 1: 4, 3, 5, 0, 3. At k = 3: 0 and 1 three times, 2, 3 and 5 twice, 4 once; 13 places in all.
    counts = np.array([4, 2, 1, 0, 8, 2])  # of 8 users: 1, 2, 3, (3 by the floor), 0, 2 bits
    found = catalogue(LISTS, counts, 8, (1, 3))
    expected = {
        "coverage@1": 4 / 6,
        "gini@1": (-5 * 0 - 3 * 0 - 1 * 1 + 1 * 1 + 3 * 1 + 5 * 2) / (6 * 5),
        "novelty@1": (0 + 3 + 2 + 1 + 3) / 5,
        "popularity@1": (8 + 0 + 2 + 4 + 0) / 8 / 5,
        "coverage@3": 1.0,
        "gini@3": (-5 * 1 - 3 * 2 - 1 * 2 + 1 * 2 + 3 * 3 + 5 * 3) / (6 * 13),
        "novelty@3": (3 * 1 + 3 * 2 + 2 * 3 + 2 * 3 + 1 * 0 + 2 * 2) / 13,
        "popularity@3": (3 * 4 + 3 * 2 + 2 * 1 + 2 * 0 + 1 * 8 + 2 * 2) / 8 / 13,
    }
    assert found == pytest.approx(expected, abs=1e-15)


def test_gini_ends():
    assert gini(np.full(7, 3)) == 0
    assert gini(np.array([0, 0, 0, 9])) == pytest.approx(3 / 4)  # 1 - 1/n: all on one of four
    assert gini(np.zeros(4)) == 0


def plainest(shown: list[int], truth: list[int], k: int) -> dict[str, float]:
    """The definitions, one user at a time and as plainly as they can be written."""
    wanted, places = set(truth), [r for r, item in enumerate(shown[:k], 1) if item in set(truth)]
    best = min(k, len(wanted))
    return {
        "recall": len(places) / len(wanted),
        "precision": len(places) / k,
        "hit": 1.0 if places else 0.0,
        "mrr": 1 / min(places) if places else 0.0,
        "ndcg": sum(1 / math.log2(r + 1) for r in places) / sum(1 / math.log2(r + 1) for r in range(1, best + 1)),
        "map": sum(sum(q <= r for q in places) / r for r in places) / best,
    }


@settings(max_examples=100)
@given(data=st.data(), n_items=st.integers(1, 12), n_users=st.integers(1, 5))
def test_equals_the_plain_definitions(data, n_items, n_users):
    items = st.integers(0, n_items - 1)
    truth = [data.draw(st.lists(items, min_size=1, max_size=15)) for _ in range(n_users)]
    lists = [data.draw(st.permutations(range(n_items)))[: data.draw(st.integers(0, n_items))] for _ in range(n_users)]
    k_max = max(8, n_items)
    padded = np.array([[*row, *[-1] * (k_max - len(row))] for row in lists])
    table = per_user(padded, Histories.of(truth, n_items), (1, 3, 8))
    for row in range(n_users):
        for k in (1, 3, 8):
            for name, value in plainest(list(lists[row]), truth[row], k).items():
                assert table[f"{name}@{k}"][row] == pytest.approx(value, abs=1e-12), (name, k)


def random_lists(n: int, n_items: int, k: int, rng: np.random.Generator) -> tuple[np.ndarray, Histories]:
    lists = np.argsort(rng.random((n, n_items)), axis=1)[:, :k]
    sizes = rng.integers(1, n_items // 2, n)
    return lists, Histories.of([rng.choice(n_items, size, replace=False) for size in sizes], n_items)


@pytest.mark.slow  # ranx compiles for a minute when first used
def test_parity_with_ranx():
    """ranx divides average precision by all of the truth, we by min(k, |T|): ours is converted before comparing."""
    ranx = pytest.importorskip("ranx")
    lists, truth = random_lists(80, 60, 40, np.random.default_rng(3))
    qrels = ranx.Qrels({f"u{u:03}": {str(i): 1 for i in truth[u]} for u in range(80)})
    run = ranx.Run({f"u{u:03}": {str(i): float(-r) for r, i in enumerate(lists[u])} for u in range(80)})
    table = per_user(lists, truth, (1, 5, 20, 40))
    theirs = {"recall": "recall", "precision": "precision", "ndcg": "ndcg", "mrr": "mrr", "hit": "hit_rate"}
    names = {f"{ours}@{k}": f"{other}@{k}" for ours, other in (theirs | {"map": "map"}).items() for k in (1, 5, 20, 40)}
    found = ranx.evaluate(qrels, run, list(names.values()), return_mean=False)
    for ours, other in names.items():
        values = table[ours].to_numpy()
        if ours.startswith("map"):
            n_truth = table["n_truth"].to_numpy()
            values = values * np.minimum(n_truth, int(ours[4:])) / n_truth
        np.testing.assert_allclose(values, found[other], rtol=0, atol=1e-9, err_msg=ours)


def test_truth_among_and_hits_do_not_leak_into_the_row_before():
    truth = Truth.of(Histories.of([[5], [0], []], 6))
    assert truth.hits(np.array([[5, -1], [-1, 0], [-1, 5]])).tolist() == [[True, False], [False, True], [False, False]]
    low = truth.among(np.arange(6) < 3)
    assert low.n_truth.tolist() == [0, 1, 0]
    assert low.items.tolist() == [0]
    nothing = truth.among(np.zeros(6, dtype=bool))
    assert not nothing.hits(np.array([[5], [0], [1]])).any()


def test_metrics_and_ks_can_be_chosen():
    table = per_user(LISTS, TRUTH, (2,), ("hit", "recall"))
    assert table.columns == ["n_truth", "hit@2", "recall@2"]
    assert table.schema["hit@2"] == pl.Float64


def test_metric_names():
    assert parse_metric("recall@20") == ("recall", 20)
    assert {parse_metric(f"{name}@5") for name in METRICS} == {(name, 5) for name in METRICS}
    with pytest.raises(ConfigError, match="Did you mean 'recall'"):
        parse_metric("recal@20")
    for text in ("ndcg", "ndcg@", "ndcg@0", "ndcg@-3", "ndcg@ten", "ndcg@1.5", "ndcg@²"):
        with pytest.raises(ConfigError, match="Write it as ndcg@20"):
            parse_metric(text)


def test_lists_of_nothing_show_nothing():
    found = catalogue(np.full((2, 3), -1), np.array([0, 0]), 0, (3,))
    assert found == {"coverage@3": 0, "gini@3": 0, "novelty@3": 0, "popularity@3": 0}


def test_an_item_of_one_user_is_as_novel_as_one_of_nobody():
    found = catalogue(np.array([[0], [1]]), np.array([1, 0]), 4, (1,))
    assert (found["novelty@1"], found["popularity@1"]) == (2, 1 / 8)
