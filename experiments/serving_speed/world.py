"""Servers to compare: ours with everything on, and a bare FastAPI handler that does the same product with numpy.

python world.py ours|bare PORT N_ITEMS        serves until stopped
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

DIM, N_USERS, HISTORY = 64, 10_000, 50


def vectors(n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return users ``[n_users, 64]`` and items ``[n_items, 64]``, float32."""
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((n, DIM), dtype=np.float32) / 8 for n in (N_USERS, n_items))


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


def ours(n_items: int):
    """The service as `recsys serve` makes it: guard, log, metrics, state on the disk, models, reasons."""
    from recsys.core.values import Dataset, Interactions, Vocabulary
    from recsys.rankers.lightgcn import LightGCN
    from recsys.serving.engine import Engine
    from recsys.serving.http.app import create_app
    from recsys.serving.models import Models
    from recsys.serving.people import People
    from recsys.serving.recommender import Recommender
    from recsys.serving.service import Service
    from recsys.serving.state import make_state

    users, items = vectors(n_items)
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
    data = Dataset("world", Vocabulary(f"u{user}" for user in range(N_USERS)), Vocabulary(ids), known, table)
    ranker = LightGCN(LightGCN.Settings())
    ranker.restore({"user": users, "item": items, "fold": items})
    state = make_state(Path(tempfile.mkdtemp()) / "state.sqlite")
    models = Models(lambda name, reference: Engine(name, reference, Recommender(data, ranker, known), items), state)
    models.start("lightgcn", "lightgcn")
    log = open("/dev/null", "w")  # noqa: SIM115 it lives as long as the server
    return create_app(Service(models, People(data, known, state), state), log=lambda line: print(line, file=log))


if __name__ == "__main__":
    import uvicorn

    kind, port, n_items = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    app = {"ours": ours, "bare": bare}[kind](n_items)
    uvicorn.run(app, port=port, log_level="warning", access_log=False)
