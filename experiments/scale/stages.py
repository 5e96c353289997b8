"""The stages that measure.py times: each is given a folder and the number of rows, and returns its figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from recsys.core.runtime import Run, peak_memory_mb

CHUNK = 1_000_000
EASE_ITEMS = 10_000
BPR_STEPS = 32  # steps an epoch at every size
QUIET = Run(log=lambda message: None)
Stage = Callable[[Path, int], dict[str, Any]]


def sizes_of(n_rows: int) -> tuple[int, int]:
    """Return users and items: 2,000 each at 0.1 million, about 100,000 and 20,000 at 10 million."""
    grown = n_rows / 1e5
    return round(2000 * grown**0.85), round(2000 * grown**0.5)


def make(folder: Path, n_rows: int) -> dict[str, Any]:
    """Write the interactions as CSV, in no order, chunk by chunk."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    n_users, n_items = sizes_of(n_rows)
    popularity = np.cumsum(np.arange(1, n_items + 1) ** -0.8)
    with (folder / "interactions.csv").open("wb") as file:
        for start in range(0, n_rows, CHUNK):
            n = min(CHUNK, n_rows - start)
            chunk = {
                "user_id": rng.integers(0, n_users, n),
                "item_id": np.searchsorted(popularity, rng.random(n) * popularity[-1]),
                "rating": rng.integers(1, 11, n) / 2,
                "timestamp": rng.integers(1_500_000_000, 1_700_000_000, n),
            }
            ids = [pl.format("u{}", "user_id").alias("user_id"), pl.format("item-{}", "item_id").alias("item_id")]
            pl.DataFrame(chunk).with_columns(ids).write_csv(file, include_header=start == 0)
    return {}


def ingest(folder: Path, n_rows: int) -> dict[str, Any]:
    """CSV → canonical tables."""
    from recsys.data.canonical import CanonicalSettings, canonicalise
    from recsys.data.sources.own import OwnTables

    source = OwnTables(OwnTables.Settings(interactions="interactions.csv"))
    with clock() as figures:
        tables = source.tables(folder, run=QUIET)
        counts = canonicalise(tables, CanonicalSettings(), "synthetic", folder / "dataset", run=QUIET)
    return figures | {"counts": {count.what: count.rows for count in counts}}


def load(folder: Path, n_rows: int) -> dict[str, Any]:
    """Canonical tables → arrays and vocabularies."""
    from recsys.data.canonical import load_dataset

    with clock() as figures:
        data = load_dataset(folder / "dataset")
    return figures | {"interactions": len(data.interactions), "users": len(data.users), "items": len(data.items)}


def split(folder: Path, n_rows: int) -> dict[str, Any]:
    """Random split 8:1:1 per user."""
    from recsys.data.canonical import load_dataset
    from recsys.data.splits import SplitSettings, make_split, save_split

    data = load_dataset(folder / "dataset")
    with clock() as figures:
        made = make_split(data, SplitSettings(), run=QUIET)
    (folder / "split").mkdir()
    save_split(made, folder / "split")
    return figures


def loaded(folder: Path) -> Any:
    from recsys.data.canonical import load_dataset
    from recsys.data.splits import load_split

    return load_split(load_dataset(folder / "dataset"), folder / "split")


def graph(folder: Path, n_rows: int) -> dict[str, Any]:
    """Interaction graph of train, and its normalised adjacency."""
    from recsys.graph.interaction import InteractionGraph

    train = loaded(folder).train
    with clock() as figures:
        adjacency = InteractionGraph(train).normalised()
    return figures | {"nodes": adjacency.shape[0], "directed_edges": int(adjacency.nnz)}


def softmax_epoch(folder: Path, n_rows: int) -> dict[str, Any]:
    """LightGCN, 2 layers, 64 dimensions, batches of 2,048 users against the whole catalogue."""
    return epoch(folder, n_rows, "softmax", 2048)


def bpr_epoch(folder: Path, n_rows: int) -> dict[str, Any]:
    """LightGCN, 2 layers, 64 dimensions, pairs in 32 batches."""
    return epoch(folder, n_rows, "bpr", None)


def epoch(folder: Path, n_rows: int, loss: str, size: int | None) -> dict[str, Any]:
    """Time training steps: a whole epoch, or of a long one the first steps, told in ``measured_steps``."""
    import torch

    from recsys.graph.interaction import InteractionGraph
    from recsys.graph.propagation import SparseMatrix
    from recsys.rankers.lightgcn import LightGCN, LightGCNModule, _pair_batches, _user_batches
    from recsys.rankers.training import make_optimizer

    train, device = loaded(folder).train, torch.device("cpu")
    size = size or -(-len(train) // BPR_STEPS)
    settings = LightGCN.Settings(loss=loss, batch_size=size)
    interactions = InteractionGraph(train)
    adjacency = SparseMatrix(interactions.normalised(), symmetric=True)
    torch.manual_seed(0)
    module = LightGCNModule(interactions, adjacency, settings)
    optimizer = make_optimizer(module, settings)
    batches = (_user_batches if loss == "softmax" else _pair_batches)(train, size, QUIET, device)
    steps = -(-(train.n_users if loss == "softmax" else len(train)) // size)
    measured = steps if n_rows <= 1_000_000 else min(steps, 6)
    with clock() as figures:
        for batch in islice(batches(0), measured):
            optimizer.zero_grad()
            value = (module.softmax if loss == "softmax" else module.bpr)(batch)
            value.backward()
            optimizer.step()
    return scaled(figures, steps / measured) | {"measured_steps": measured, "steps_an_epoch": steps, "batch_size": size}


def ease(folder: Path, n_rows: int) -> dict[str, Any]:
    """EASE in closed form, on the 10,000 most popular items where there are more."""
    import numpy as np
    import scipy.linalg

    from recsys.core.values import Interactions, ItemFeatures
    from recsys.rankers.ease import EASE

    assert scipy.linalg.lapack  # imported by the first fit otherwise, on the clock

    train = loaded(folder).train
    kept = np.sort(np.argsort(-train.item_counts, kind="stable")[:EASE_ITEMS])
    number = np.full(train.n_items, -1, dtype=np.int32)
    number[kept] = np.arange(len(kept), dtype=np.int32)
    rows = np.flatnonzero(number[train.item_idx] >= 0)
    small = Interactions(train.user_idx[rows], number[train.item_idx[rows]], train.n_users, len(kept))
    with clock() as figures:
        EASE(EASE.Settings()).fit(small, ItemFeatures(), valid=None, run=QUIET)
    return figures | {"items": len(kept), "interactions": len(small)}


def evaluation(folder: Path, n_rows: int) -> dict[str, Any]:
    """Full ranking of all users by 64-dimensional embeddings, six metrics at two lengths; seconds per 10,000 users."""
    import numpy as np
    import torch

    from recsys.evaluation.evaluator import EvaluationSettings, evaluate

    torch.topk(torch.zeros(2), 1)  # imported by the first ranking otherwise, on the clock
    made, rng = loaded(folder), np.random.default_rng(0)

    class Embeddings:
        user = rng.standard_normal((made.train.n_users, 64), dtype=np.float32)
        item = rng.standard_normal((made.train.n_items, 64), dtype=np.float32)

        def score(self, query: Any) -> np.ndarray:
            return self.user[query.user_idx] @ self.item.T

    with clock() as figures:
        result = evaluate(Embeddings(), made, EvaluationSettings(), run=QUIET)
    users = len(result.per_user)
    return scaled(figures, 10_000 / users) | {"users": users}


def scaled(figures: dict[str, Any], factor: float) -> dict[str, Any]:
    """Return the figures with the times multiplied, and what was measured beside them."""
    kept = {f"measured_{name}": figures[name] for name in ("seconds", "cpu_seconds")}
    return figures | kept | {name: figures[name] * factor for name in ("seconds", "cpu_seconds")}


STAGES: dict[str, Stage] = {
    "ingest": ingest, "load": load, "split": split, "graph": graph, "lightgcn_softmax_epoch": softmax_epoch,
    "lightgcn_bpr_epoch": bpr_epoch, "ease_fit": ease, "evaluation_per_10k_users": evaluation,
}  # fmt: skip


class clock:
    """Measures wall and CPU seconds and the peak memory of a block, into the dictionary it gives."""

    def __enter__(self) -> dict[str, Any]:
        self.figures: dict[str, Any] = {"start_mb": round(peak_memory_mb())}
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self.figures

    def __exit__(self, *error: object) -> None:
        self.figures["seconds"] = time.perf_counter() - self.wall
        self.figures["cpu_seconds"] = time.process_time() - self.cpu
        self.figures["peak_mb"] = round(peak_memory_mb())
