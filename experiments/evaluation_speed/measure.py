"""Measure full-ranking evaluation against the bare work it cannot avoid, and against a per-user loop.

    python experiments/evaluation_speed/measure.py                  the bare work and the loop, three sizes
    python experiments/evaluation_speed/measure.py --against recbole

Prints JSON and keeps it in results.json, under the name of the comparison. All contenders score the same users with
the same 64-dimensional product, take the top 20 and run in this process, in turns, so that a busy machine slows all of
them alike. Ratios are taken within a turn; the median over turns is printed.

* ours: ``evaluate`` (queries, mask, finite check, top-k, ties, 6 metrics × 2 lengths, tail recall, catalogue).
* validator: what a training epoch pays.
* bare: the product and ``torch.topk`` in batches of the same size, with no mask and no metric at all.
* loop: one user at a time in Python, the same six metrics at the same two lengths.

Against RecBole: see recbole_evaluator.py. Exit status 1 if metrics differ by more than 1e-4.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import polars as pl
import torch

from recsys.core.artifact import commit, versions, write_json
from recsys.core.runtime import Run
from recsys.core.values import Dataset, Interactions, Query, Split, Vocabulary
from recsys.evaluation.evaluator import SCORE_BYTES, EvaluationSettings, evaluate, make_validator

KS, DIM = (10, 20), 64
SIZES = ("6000,3700,100", "19445,7050,8", "35598,18357,8")


class Product:
    """Scores are one product of two fixed matrices, the cheapest a learned ranker can be."""

    def __init__(self, n_users: int, n_items: int, dim: int, rng: np.random.Generator) -> None:
        self.user = rng.standard_normal((n_users, dim), dtype=np.float32)
        self.item = rng.standard_normal((n_items, dim), dtype=np.float32)

    def score(self, query: Query) -> np.ndarray:
        return self.user[query.user_idx] @ self.item.T  # [n, n_items]


def synthetic_split(n_users: int, n_items: int, per_user: int, rng: np.random.Generator) -> Split:
    """About ``per_user`` interactions a user, popular items first, in parts of 8:1:1."""
    draws = n_users * per_user
    users = np.repeat(np.arange(n_users), per_user)
    items = np.minimum((n_items * rng.random(draws) ** 2).astype(np.int64), n_items - 1)
    pairs = np.unique(users * n_items + items)
    arrays = ((pairs // n_items).astype(np.int32), (pairs % n_items).astype(np.int32))
    vocabularies = [Vocabulary(map(str, range(n))) for n in (n_users, n_items)]
    dataset = Dataset("synthetic", *vocabularies, Interactions(*arrays, n_users, n_items), pl.DataFrame())
    return Split(dataset, rng.choice(3, len(pairs), p=[0.8, 0.1, 0.1]).astype(np.uint8), "random")


def bare(ranker: Product, users: np.ndarray, batch: int) -> None:
    for start in range(0, len(users), batch):
        scores = ranker.user[users[start : start + batch]] @ ranker.item.T
        torch.topk(torch.from_numpy(scores), max(KS))


def loop(ranker: Product, split: Split) -> dict[str, float]:
    """The plainest evaluator: for each user, score, mask, sort, count."""
    known, test = split.train_valid.histories, split.test.histories
    sums: dict[str, float] = {}
    users = np.flatnonzero(split.test.user_counts)
    for user in users:
        scores = ranker.item @ ranker.user[user]
        scores[known[user]] = -np.inf
        truth = set(test[user].tolist())
        hits = [item in truth for item in np.argsort(-scores)[: max(KS)].tolist()]
        for k in KS:
            for name, value in _metrics(hits[:k], len(truth), k).items():
                sums[f"{name}@{k}"] = sums.get(f"{name}@{k}", 0.0) + value
    return {name: total / len(users) for name, total in sums.items()}


def _metrics(hits: list[bool], n_truth: int, k: int) -> dict[str, float]:
    ranks = [place for place, is_hit in enumerate(hits, 1) if is_hit]
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, n_truth) + 1))
    return {
        "recall": len(ranks) / n_truth,
        "precision": len(ranks) / k,
        "ndcg": sum(1 / math.log2(place + 1) for place in ranks) / ideal,
        "mrr": 1 / ranks[0] if ranks else 0.0,
        "hit": float(bool(ranks)),
        "map": sum(number / place for number, place in enumerate(ranks, 1)) / min(k, n_truth),
    }


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(n_users: int, n_items: int, per_user: int, repeats: int) -> dict[str, Any]:
    """Time all contenders on one synthetic split."""
    rng = np.random.default_rng(0)
    split = synthetic_split(n_users, n_items, per_user, rng)
    ranker = Product(n_users, n_items, DIM, rng)
    settings, run = EvaluationSettings(ks=KS), Run(log=lambda message: None)
    users = np.flatnonzero(split.test.user_counts)
    batch = max(1, SCORE_BYTES // (4 * n_items))
    validator = make_validator(split, settings)
    contenders = {
        "ours": lambda: evaluate(ranker, split, settings, run=run),
        "validator": lambda: validator(ranker),
        "bare": lambda: bare(ranker, users, batch),
    }
    found, expected = evaluate(ranker, split, settings, run=run).summary, loop(ranker, split)
    loop_s = [seconds(lambda: loop(ranker, split)) for _ in range(2)]
    turns = [{name: seconds(action) for name, action in contenders.items()} for _ in range(repeats)]
    median = {name: statistics.median(turn[name] for turn in turns) for name in contenders}
    return {
        "users": len(users),
        "items": n_items,
        "interactions": len(split.dataset.interactions),
        "k": max(KS),
        "repeats": repeats,
        "load": [round(value, 2) for value in os.getloadavg()],
        "seconds": {**median, "loop": min(loop_s)},
        "ours_to_bare": statistics.median(turn["ours"] / turn["bare"] for turn in turns),
        "validator_to_bare": statistics.median(turn["validator"] / turn["bare"] for turn in turns),
        "loop_to_ours": min(loop_s) / median["ours"],
        "largest_difference": max(abs(found[name] - expected[name]) for name in expected),
    }


def against_recbole(repeats: int) -> list[dict[str, Any]]:
    """Compare with RecBole's evaluator on ml-100k and on a split of the size of ml-1m (drawn pairs merge)."""
    import recbole_evaluator as other

    larger = synthetic_split(6000, 3700, 120, np.random.default_rng(0))
    batches = (2**18, 2**20, 2**22)
    return [
        other.compare("ml-100k, random 8:1:1", other.movielens(), repeats, batches),
        other.compare("synthetic, random 8:1:1", larger, max(3, repeats // 2), batches),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=["bare", "recbole"], default="bare", help="what to compare with")
    parser.add_argument("--sizes", nargs="*", metavar="USERS,ITEMS,PER_USER", default=SIZES, help="of synthetic data")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch; numpy follows OMP_NUM_THREADS")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.against == "recbole":
        found = against_recbole(options.repeats)
    else:
        found = [measure(*map(int, size.split(",")), options.repeats) for size in options.sizes]
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(),
        "threads": options.threads,
        "measured": found,
    }
    print(json.dumps(report, indent=2))
    file = Path(__file__).with_name("results.json")
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    write_json(file, {**kept, options.against: report})
    if not all(row["largest_difference"] < 1e-4 for row in found):
        sys.exit("the metrics differ by more than 1e-4: these times compare different things")


if __name__ == "__main__":
    main()
