"""LensKit for Python (Ekstrand 2020): implicit-feedback ALS and item neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

VERSION = "2025.8.1"
IMPORTS = ("lenskit.als", "lenskit.knn", "lenskit.data", "lenskit.training")
MODELS = {
    "ImplicitMF": ("embedding_size", "epochs", "regularization", "weight"),
    "ItemKNN": ("max_nbrs", "min_nbrs", "min_sim", "save_nbrs"),
}


def fit(model: str, params: dict[str, Any], train: Any, seed: int) -> dict[str, np.ndarray]:
    from lenskit.als import ImplicitMFScorer
    from lenskit.knn import ItemKNNScorer
    from lenskit.parallel import initialize
    from lenskit.training import TrainingOptions

    initialize(processes=1, threads=1, backend_threads=1)
    made = ImplicitMFScorer(**params) if model == "ImplicitMF" else ItemKNNScorer(feedback="implicit", **params)
    made.train(_dataset(train), TrainingOptions(rng=seed % 2**31))
    order = made.items.numbers(np.arange(train.shape[1]))  # the place of each of our items in its vocabulary
    return _factors(made, order) if model == "ImplicitMF" else _neighbours(made, order)


def _dataset(train: Any) -> Any:
    """All items are in it, also those that nobody took; users without any are not needed: they are folded in."""
    import pandas as pd
    from lenskit.data import DatasetBuilder

    rows, builder = train.tocoo(), DatasetBuilder()
    builder.add_entities("item", np.arange(train.shape[1]))
    frame = pd.DataFrame({"user_id": rows.row, "item_id": rows.col})
    builder.add_interactions("rating", frame, entities=["user", "item"], missing="insert", default=True)
    return builder.build()


def _factors(made: Any, order: np.ndarray) -> dict[str, np.ndarray]:
    """Its users are folded in whenever their histories are known, those of train too."""
    settings = made.config
    return {"item": made.item_embeddings[order], "fold": np.array([settings.weight, settings.user_reg])}


def _neighbours(made: Any, order: np.ndarray) -> dict[str, np.ndarray]:
    weights = made.sim_matrix.to_scipy().tocsr()[order][:, order].astype(np.float32)
    return {
        "data": weights.data, "indices": weights.indices, "indptr": weights.indptr,
        "nearest": np.array([made.config.max_nbrs]),
    }  # fmt: skip
