"""How far up should an item stand that came after training? Items taken out whole, placed as the server places them.

RECSYS_DATA=<folder of data sets> python experiments/new_items/measure.py      # writes results.json beside this file

MovieLens latest-small, a fifth of the movies taken out (half for validation, half for test); of every user one train
interaction is held out too, for what the old items lose. A list is of all items that the user has not taken.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from recsys.core.artifact import commit, write_json
from recsys.core.values import Interactions, ItemFeatures, Query
from recsys.evaluation.significance import bootstrap_interval
from recsys.evaluation.topk import top_k
from recsys.rankers.store import make_ranker
from recsys.runconfig import read_config
from recsys.serving.engine import Engine
from recsys.serving.fresh import FreshItems, Neighbourhood
from recsys.serving.recommender import Recommender
from recsys.serving.stretching import fair_stretch
from recsys.workflow import Workflow

HERE = Path(__file__).parent
K = 20
RANKERS = (
    {"name": "ease", "regularisation": 250},
    {"name": "lightgcn", "batch_size": 256, "learning_rate": 0.02},
    {"name": "item_knn"},
)
STRETCHES = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)  # besides the one that the server works out from train alone


def workflow() -> Workflow:
    """Return the run."""
    raw = Path(os.environ["RECSYS_DATA"]) / "movielens-latest-small"
    return Workflow(read_config(HERE / "config.toml", (f"data.raw={str(raw)!r}",)))


def parts(train: Interactions, seed: int = 0) -> tuple[Interactions, np.ndarray]:
    """Return train less one interaction of each user who has several, and the item held out, -1 for none."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(train))
    users, first = np.unique(train.user_idx[rows], return_index=True)
    several = train.user_counts[users] > 1
    kept = np.ones(len(train), dtype=bool)
    kept[rows[first[several]]] = False
    out = np.full(train.n_users, -1, dtype=np.int64)
    out[users[several]] = train.item_idx[rows[first[several]]]
    return train.select(np.flatnonzero(kept)), out


def placed(flow: Workflow, features: ItemFeatures, cold: np.ndarray, trained: np.ndarray) -> FreshItems:
    """Return the cold items, placed among the trained ones by text and picture, numbered as in the data set."""
    from dataclasses import replace

    alone = ItemFeatures({name: np.where(trained[:, None], rows, np.nan) for name, rows in features.matrices.items()})
    places, data = Neighbourhood(alone), flow.dataset
    items = []
    for item in cold.tolist():
        vectors = {name: rows[item] for name, rows in features.matrices.items() if np.isfinite(rows[item]).all()}
        found = places.place(data.items[item], "", (), vectors)
        items.append(replace(found, item_id=data.items[item]))
    return FreshItems(len(data.items), items)


def lists(scores: np.ndarray, new: np.ndarray, cold: np.ndarray, closed: np.ndarray, seen) -> np.ndarray:
    """Return the first ``K`` items, ``[n_users, K]``: new scores stand in the places of the cold items."""
    full = np.array(scores, dtype=np.float32)
    full[:, cold] = new
    return top_k(full, K, seen=seen, banned=closed, name="served")[0]


def recall(found: np.ndarray, truth: list[np.ndarray]) -> np.ndarray:
    """Return recall@K of those who have truth, ``[n]``."""
    rows = [np.isin(one, listed).sum() / min(len(one), K) for listed, one in zip(found, truth, strict=True) if len(one)]
    return np.array(rows)


def stretched(scores: np.ndarray, trained: np.ndarray, new: np.ndarray, factor: float) -> np.ndarray:
    """Return new items' scores further from the mean of the trained ones' by a factor."""
    middle = scores[:, trained].mean(axis=1, keepdims=True)
    return middle + factor * (new - middle)


def of_server(flow: Workflow, ranker: object, train: Interactions, features: ItemFeatures) -> float:
    """Return the stretch that the server would take: train items play new ones."""
    alone = ItemFeatures({
        name: np.where((train.item_counts > 0)[:, None], rows, np.nan) for name, rows in features.matrices.items()
    })  # fmt: skip
    engine = Engine("it", "it", Recommender(flow.dataset, ranker, train))
    return fair_stretch(engine, Neighbourhood(alone), alone, flow.run)


def main() -> None:
    """Measure, print, keep."""
    flow = workflow()
    split, features = flow.loaded_split, flow.features()
    train, warm = parts(split.train)
    trained = train.item_counts > 0
    told: dict[str, object] = {}
    for settings in RANKERS:
        ranker = make_ranker(dict(settings))
        ranker.fit(train, ItemFeatures(), valid=None, run=flow.run)
        scores = ranker.score(Query.of_users(train, np.arange(train.n_users)))
        seen = train.histories.matrix()
        fair = of_server(flow, ranker, train, features)
        rows = []
        for part, held in (("valid", split.valid), ("test", split.test)):
            cold = np.flatnonzero(held.item_counts)
            fresh = placed(flow, features, cold, trained)
            mixed = fresh.mixed(scores.T).T
            closed = ~trained
            closed[cold] = False
            truths = {"cold": list(held.histories), "warm": [one[one >= 0] for one in warm[:, None]]}
            for factor in (fair, *STRETCHES):
                found = lists(scores, stretched(scores, trained, mixed, factor), cold, closed, seen)
                shown = float(np.isin(found, cold).mean())
                row = {
                    "part": part,
                    "stretch": round(factor, 3),
                    "of_server": factor == fair,
                    "cold_in_lists": round(shown, 4),
                }
                for name, truth in truths.items():
                    values = recall(found, truth)
                    low, high = bootstrap_interval(values)
                    row[name] = {
                        "recall@20": round(float(values.mean()), 4),
                        "low": round(low, 4),
                        "high": round(high, 4),
                    }
                rows.append(row)
                print(settings["name"], json.dumps(row))
        told[str(settings["name"])] = rows
    write_json(HERE / "results.json", {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(),
                                       "settings": RANKERS, "rankers": told})  # fmt: skip


if __name__ == "__main__":
    main()
