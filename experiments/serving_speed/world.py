"""Servers to compare: ours with everything on, and a bare FastAPI handler that does the same product with numpy.

python world.py ours|bare PORT N_ITEMS                 serves until stopped
python world.py exact|near PORT N_ITEMS GRAPH          ours, of clustered vectors: exactly, or by an index in it
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

DIM, N_USERS, HISTORY = 64, 10_000, 50


def vectors(n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return users ``[n_users, 64]`` and items ``[n_items, 64]``, float32."""
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((n, DIM), dtype=np.float32) / 8 for n in (N_USERS, n_items))


def clustered(n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return users and items as learned vectors are: in clumps, some longer than others; nothing is learned.

    Items: a mixture of 2,000 Gaussians of a spread of .7 around centres of a spread of 1, times a log-normal
    length (.3).
    Users: the mean of three centres, and a spread of .5.
    """
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((2000, DIM), dtype=np.float32)
    items = centres[rng.integers(len(centres), size=n_items)]
    items += 0.7 * rng.standard_normal(items.shape, dtype=np.float32)
    items *= rng.lognormal(0, 0.3, (n_items, 1)).astype(np.float32) / DIM
    users = centres[rng.integers(len(centres), size=(N_USERS, 3))].mean(axis=1)
    return users + 0.5 * rng.standard_normal(users.shape, dtype=np.float32), items


def taken(n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return who took what."""
    rng = np.random.default_rng(1)
    return np.repeat(np.arange(N_USERS), HISTORY), rng.integers(n_items, size=N_USERS * HISTORY)


def bare(n_items: int):
    """The least there can be: seen items out, top 20 of a product, ids and scores as JSON."""
    from fastapi import FastAPI

    users, items = vectors(n_items)
    seen = np.sort(taken(n_items)[1].reshape(N_USERS, HISTORY))
    ids = [f"i{item}" for item in range(n_items)]
    app = FastAPI()

    @app.get("/v1/recommendations")
    def recommend(user_id: str, k: int = 20):
        user = int(user_id[1:])
        scores = items @ users[user]
        scores[seen[user]] = -np.inf
        best = np.argpartition(-scores, k)[:k]
        best = best[np.argsort(-scores[best])]
        return {"items": [{"item_id": ids[item], "score": float(scores[item])} for item in best]}

    return app


def dataset(n_items: int):
    """Return the data as the service reads them: ids, titles, an attribute an item, who took what."""
    import polars as pl  # a peer's environment, which reads this file for its vectors, has none

    from recsys.core.values import Dataset, Interactions, Vocabulary

    user_idx, item_idx = (array.astype(np.int32) for array in taken(n_items))
    known = Interactions(user_idx, item_idx, N_USERS, n_items)
    ids = [f"i{item}" for item in range(n_items)]
    table = pl.DataFrame(
        {
            "item_id": ids, "title": [f"Title {item}" for item in range(n_items)], "text": [None] * n_items,
            "attributes": [[f"genre:{item % 20}"] for item in range(n_items)], "image": [None] * n_items,
        },
        schema_overrides={"text": pl.String, "image": pl.String},
    )  # fmt: skip
    return Dataset("world", Vocabulary(f"u{user}" for user in range(N_USERS)), Vocabulary(ids), known, table)


def ranker_of(users: np.ndarray, items: np.ndarray):
    """Return a ranker with these vectors."""
    from recsys.rankers.lightgcn import LightGCN

    ranker = LightGCN(LightGCN.Settings())
    ranker.restore({"user": users, "item": items, "fold": items})
    return ranker


def ours(n_items: int):
    """The service as `recsys serve` makes it: guard, log, metrics, state on the disk, models, reasons."""
    from recsys.serving.engine import Engine
    from recsys.serving.recommender import Recommender

    data, (users, items) = dataset(n_items), vectors(n_items)
    model = Recommender(data, ranker_of(users, items), data.interactions)
    return served(lambda name, reference: Engine(name, reference, model, items), data)


def of_clusters(n_items: int, graph: Path, near: bool):
    """The same service with clustered vectors: exactly, or as `recsys serve --recall` does it."""
    from near import engines

    made = engines(n_items, graph)[near]
    return served(lambda name, reference: made, made.dataset)


def served(open_engine, data):
    """Return the application around an engine."""
    from recsys.serving.http.app import create_app
    from recsys.serving.models import Models
    from recsys.serving.people import People
    from recsys.serving.service import Service
    from recsys.serving.state import make_state

    state = make_state(Path(tempfile.mkdtemp()) / "state.sqlite")
    models = Models(open_engine, state)
    models.start("lightgcn", "lightgcn")
    log = open("/dev/null", "w")  # noqa: SIM115 it lives as long as the server
    people = People(data, data.interactions, state)
    return create_app(Service(models, people, state), log=lambda line: print(line, file=log))


if __name__ == "__main__":
    import uvicorn

    kind, port, n_items = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if kind in ("ours", "bare"):
        app = {"ours": ours, "bare": bare}[kind](n_items)
    else:
        app = of_clusters(n_items, Path(sys.argv[4]), kind == "near")
    uvicorn.run(app, port=port, log_level="warning", access_log=False)
