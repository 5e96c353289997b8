"""Segments: by length of history, and by long tail and head."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recsys.core.values import Histories
from recsys.evaluation.metrics import Truth
from recsys.evaluation.segments import SCHEMA, history_groups, long_tail, segment_table, tail_recall
from recsys.evaluation.topk import tie_order


def test_long_tail_by_hand():
    # From the least popular: 0, 1, 2, 3, 5, 9 of 20 in all; 20 % is 4: 0 + 1 + 2 = 3 fits, + 3 = 6 does not.
    counts = np.array([9, 1, 5, 0, 3, 2])
    assert np.flatnonzero(long_tail(counts, 0.2)).tolist() == [1, 3, 5]
    assert np.flatnonzero(long_tail(counts, 0.3)).tolist() == [1, 3, 4, 5]  # exactly 6 of 20


def test_equally_popular_items_enter_the_tail_in_tie_order():
    tail = long_tail(np.full(10, 7), 0.3)
    assert sorted(tie_order(10)[tail]) == [0, 1, 2]


def test_tail_recall_by_hand():
    tail = np.array([True, True, False, False])
    truth = Truth.of(Histories.of([[0, 1, 2], [2, 3], [0]], 4))
    found = tail_recall(np.array([[2, 0], [3, 1], [1, -1]]), truth, tail, (1, 2))
    assert found.to_dict(as_series=False) == {
        "recall_tail@1": [0, None, 0],
        "recall_tail@2": [1 / 2, None, 0],  # the second user has no tail item to find
        "recall_head@1": [1, 1 / 2, None],
        "recall_head@2": [1, 1 / 2, None],
    }


def test_history_groups_cover_everybody_once():
    lengths = np.array([0, 1, 5, 6, 20, 21, 500])
    groups = history_groups(lengths, (5, 20))
    assert {label: lengths[mask].tolist() for label, mask in groups.items()} == {
        "0 (cold)": [0],
        "1–5": [1, 5],
        "6–20": [6, 20],
        "21+": [21, 500],
    }
    assert list(history_groups(np.array([3, 4]), (2, 3))) == ["3–3", "4+"]  # empty groups are left out


def test_segment_table():
    table = pl.DataFrame(
        {
            "n_history": [0, 2, 3, 30],
            "ndcg@2": [0.0, 0.2, 0.4, 0.9],
            "recall_tail@2": [None, 1.0, 0.0, None],
            "recall_head@2": pl.Series([None] * 4, dtype=pl.Float64),
        }
    )
    found = segment_table(table, ["ndcg@2"], n_resamples=500, seed=1)
    assert found.schema == pl.Schema(SCHEMA)
    rows = {(row["by"], row["segment"], row["metric"]): row for row in found.to_dicts()}
    assert set(rows) == {
        ("history", "0 (cold)", "ndcg@2"),
        ("history", "1–5", "ndcg@2"),
        ("history", "21+", "ndcg@2"),
        ("items", "tail", "recall@2"),  # nobody has head truth: no row rather than a mean of nothing
    }
    middle, tail = rows["history", "1–5", "ndcg@2"], rows["items", "tail", "recall@2"]
    assert (middle["n_users"], middle["mean"]) == (2, pytest.approx(0.3))
    assert (middle["low"], middle["high"]) == (0.2, 0.4)
    assert (tail["n_users"], tail["mean"], tail["low"], tail["high"]) == (2, 0.5, 0.0, 1.0)
