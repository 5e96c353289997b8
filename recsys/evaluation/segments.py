"""The same metrics by kind of user and kind of item: cold or rich histories, long tail or head."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from recsys.evaluation.metrics import Truth, recall
from recsys.evaluation.significance import bootstrap_intervals
from recsys.evaluation.topk import tie_order

SCHEMA = {
    "by": pl.String,  # "history": users by train-history length; "items": truth restricted to tail or head
    "segment": pl.String,
    "metric": pl.String,
    "n_users": pl.Int64,
    "mean": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def long_tail(item_counts: np.ndarray, share: float = 0.2) -> np.ndarray:
    """Return which items are in the long tail, bool ``[n_items]``; the others are the head.

    Items are lined up from the least popular one (equal ones in ``tie_order``); the tail is the longest stretch
    from the start that holds at most ``share`` of all train interactions. Items unseen in train belong to it.

    Args:
        item_counts: train users of each item, ``[n_items]``.
        share: of the train interactions, between 0 and 1.
    """
    line = np.lexsort((tie_order(len(item_counts)), item_counts))
    tail = np.zeros(len(item_counts), dtype=bool)
    tail[line] = np.cumsum(item_counts[line]) <= share * item_counts.sum()
    return tail


def tail_recall(top_items: np.ndarray, truth: Truth, tail: np.ndarray, ks: Sequence[int]) -> pl.DataFrame:
    """Return ``recall_tail@k`` and ``recall_head@k``: recall of the truth items of that kind alone.

    The lists are the same full lists. One row a user; null where a user has no truth item of the kind.
    """
    hits, columns = truth.hits(top_items), {}
    for kind, chosen in (("tail", tail), ("head", ~tail)):
        n_truth = truth.among(chosen).n_truth
        found = hits & chosen[top_items]  # where an item is -1 there is no hit
        has, none = pl.Series(n_truth > 0), pl.Series([None], dtype=pl.Float64)
        for k in ks:
            values = pl.Series(recall(found, np.maximum(n_truth, 1), k))
            columns[f"recall_{kind}@{k}"] = values.zip_with(has, none)
    return pl.DataFrame(columns)


def history_groups(lengths: np.ndarray, bounds: Sequence[int]) -> dict[str, np.ndarray]:
    """Return ``label -> rows`` for train-history lengths, bool masks, empty groups left out.

    ``bounds=(5, 20)`` gives ``0 (cold)``, ``1–5``, ``6–20`` and ``21+``.
    """
    edges = [0, *bounds]
    labels = ["0 (cold)", *(f"{low + 1}–{high}" for low, high in itertools.pairwise(edges))]
    labels.append(f"{edges[-1] + 1}+")
    group = np.searchsorted(edges, lengths)
    masks = {label: group == number for number, label in enumerate(labels)}
    return {label: mask for label, mask in masks.items() if mask.any()}


def segment_table(
    table: pl.DataFrame,
    metrics: Sequence[str],
    *,
    bounds: Sequence[int] = (5, 20),
    n_resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the tidy frame of ``SCHEMA``: means and bootstrap intervals of every segment.

    Args:
        table: per-user table with ``n_history``, the ``metrics`` and what ``tail_recall`` gives.
        metrics: columns to report by history length.
        bounds: ascending upper ends of the history groups, cold users being a group of their own.
        n_resamples, level, seed: of the intervals.
    """
    rows: list[Mapping[str, object]] = []
    options = {"n_resamples": n_resamples, "level": level, "seed": seed}
    for label, mask in history_groups(table["n_history"].to_numpy(), bounds).items():
        rows += _rows("history", label, table.filter(pl.Series(mask)).select(metrics), **options)
    for column in [name for name in table.columns if name.startswith(("recall_tail@", "recall_head@"))]:
        kind, _, k = column.removeprefix("recall_").partition("@")
        values = table.select(pl.col(column).alias(f"recall@{k}")).drop_nulls()
        rows += _rows("items", kind, values, **options) if len(values) else []
    return pl.DataFrame(rows, schema=SCHEMA)


def _rows(by: str, segment: str, values: pl.DataFrame, **options: float) -> list[Mapping[str, object]]:
    numbers = values.to_numpy()
    lows, highs = bootstrap_intervals(numbers, **options)  # type: ignore[arg-type]
    return [
        {"by": by, "segment": segment, "metric": metric, "n_users": len(values), "mean": mean, "low": low, "high": high}
        for metric, mean, low, high in zip(values.columns, numbers.mean(axis=0), lows, highs, strict=True)
    ]
