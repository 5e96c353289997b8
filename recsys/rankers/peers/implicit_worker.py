"""implicit (Frederickson): alternating least squares, BPR and item neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

VERSION = "0.7.2"
IMPORTS = ("implicit.als", "implicit.bpr", "implicit.nearest_neighbours")
MODELS = {
    "ALS": ("factors", "regularization", "alpha", "iterations", "use_cg"),
    "BPR": ("factors", "learning_rate", "regularization", "iterations"),
    "Cosine": ("K",),
    "TFIDF": ("K",),
    "BM25": ("K", "K1", "B"),
}


def fit(model: str, params: dict[str, Any], train: Any, seed: int) -> dict[str, np.ndarray]:
    return _factors(model, params, train, seed) if model in ("ALS", "BPR") else _neighbours(model, params, train)


def _factors(model: str, params: dict[str, Any], train: Any, seed: int) -> dict[str, np.ndarray]:
    """Item biases of BPR are a column of its vectors already."""
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking

    kind = AlternatingLeastSquares if model == "ALS" else BayesianPersonalizedRanking
    made = kind(**params, random_state=seed % 2**31, num_threads=1)
    made.fit(train, show_progress=False)
    found = {"user": np.asarray(made.user_factors), "item": np.asarray(made.item_factors)}
    if model == "ALS":  # recalculate_user: an observed entry has confidence alpha, any other one 1
        found["fold"] = np.array([made.alpha - 1.0, made.regularization])
    return found


def _neighbours(model: str, params: dict[str, Any], train: Any) -> dict[str, np.ndarray]:
    from implicit import nearest_neighbours

    kind = getattr(nearest_neighbours, f"{model}Recommender")
    made = kind(**params, num_threads=1)
    made.fit(train, show_progress=False)
    weights = made.similarity.tocsr()
    return {"data": weights.data.astype(np.float32), "indices": weights.indices, "indptr": weights.indptr}
