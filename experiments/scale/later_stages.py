"""More stages that measure.py times: a round of iALS, lists one at a time, an index of items, events of users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages import QUIET, Stage, clock, loaded, scaled

ASKED, EVENTS, DIM = 200, 20_000, 64


def ials(folder: Path, n_rows: int) -> dict[str, Any]:
    """One round of iALS (all users, then all items), 64 dimensions."""
    from recsys.core.values import ItemFeatures
    from recsys.rankers.ials import IALS

    train = loaded(folder).train
    with clock() as figures:
        IALS(IALS.Settings(iterations=1)).fit(train, ItemFeatures(), valid=None, run=QUIET)
    return figures | {"systems": train.n_users + train.n_items, "interactions": len(train)}


def serve(folder: Path, n_rows: int) -> dict[str, Any]:
    """Lists of 20 by 64-dimensional embeddings, one user at a time; seconds a list, and memory with all histories."""
    import numpy as np
    import torch

    from recsys.serving.recommender import Recommender

    torch.topk(torch.zeros(2), 1)  # imported by the first list otherwise, when the largest arrays are gone again
    split = loaded(folder)
    ranker = embeddings(len(split.dataset.users), len(split.dataset.items))
    users = np.random.default_rng(1).integers(0, len(split.dataset.users), ASKED)
    recommender = Recommender(split.dataset, ranker, split.dataset.interactions)
    with clock() as opening:
        recommender.best(users[:1], 20)
    with clock() as figures:
        for user in users:
            recommender.best(np.array([user]), 20)
    return scaled(figures, 1 / ASKED) | {"items": len(split.dataset.items), "opening_cpu_s": opening["cpu_seconds"]}


def index(folder: Path, n_rows: int) -> dict[str, Any]:
    """An HNSW index of all items' embeddings: seconds to make it, and to search it for 20 of 256 candidates."""
    import time

    import numpy as np

    from recsys.serving.index import ItemIndex

    n_items = len(loaded(folder).dataset.items)
    vectors = embeddings(1, n_items).item
    queries = np.random.default_rng(2).standard_normal((ASKED, DIM), dtype=np.float32)
    with clock() as figures:
        made = ItemIndex(vectors, threads=1)
    made.width, started = 256, time.process_time()
    for query in queries:
        made.search(query[None], 20)
    searched, path = time.process_time() - started, folder / "index"
    made._index.save(str(path))
    return figures | {"items": n_items, "search_cpu_s": searched / ASKED, "bytes": path.stat().st_size}


def state(folder: Path, n_rows: int) -> dict[str, Any]:
    """Events of users one after the other into SQLite, each on the disk before it is acknowledged; seconds an event."""
    from recsys.serving.state import make_state
    from recsys.serving.state.store import Event

    path, n = folder / "state.sqlite", min(n_rows // 100, EVENTS)
    store = make_state(path)
    store.add_user("u0")
    with clock() as figures:
        for number in range(n):
            store.record(Event(f"u{number % 1000}", f"item-{number % 997}", "like"))
    store.close()
    size = sum(file.stat().st_size for file in folder.glob("state.sqlite*"))
    return scaled(figures, 1 / n) | {"events": n, "bytes": size}


def embeddings(n_users: int, n_items: int) -> Any:
    """A ranker that scores by random vectors."""
    import numpy as np

    rng = np.random.default_rng(0)

    class Embeddings:
        user = rng.standard_normal((n_users, DIM), dtype=np.float32)
        item = rng.standard_normal((n_items, DIM), dtype=np.float32)

        def score(self, query: Any) -> np.ndarray:
            return self.user[query.user_idx] @ self.item.T

    return Embeddings()


LATER: dict[str, Stage] = {"ials_round": ials, "serve_exact": serve, "serve_index": index, "serve_state": state}
