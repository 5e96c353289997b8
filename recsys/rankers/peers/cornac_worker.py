"""Cornac (Salah et al. 2020): BPR, EASE and two variational autoencoders."""

from __future__ import annotations

from typing import Any

import numpy as np

VERSION = "3.0.1"
IMPORTS = ("cornac.models", "torch")
MODELS = {
    "BPR": ("k", "max_iter", "learning_rate", "lambda_reg", "use_bias"),
    "EASE": ("lamb", "posB"),
    "VAECF": ("k", "autoencoder_structure", "act_fn", "likelihood", "n_epochs", "batch_size", "learning_rate", "beta"),
    "BiVAECF": ("k", "encoder_structure", "act_fn", "likelihood", "n_epochs", "batch_size", "learning_rate", "beta_kl"),
}


def fit(model: str, params: dict[str, Any], train: Any, seed: int) -> dict[str, np.ndarray]:
    import torch
    from cornac import models

    torch.set_num_threads(1)
    made = getattr(models, model)(**params, seed=seed % 2**31, verbose=False)
    made.fit(_dataset(train, seed))
    return {"BPR": _bpr, "EASE": _ease, "VAECF": _vaecf, "BiVAECF": _bivaecf}[model](made, train)


def _dataset(train: Any, seed: int) -> Any:
    from cornac.data import Dataset

    n_users, n_items = train.shape
    rows = train.tocoo()
    triples = (rows.row.astype(np.int64), rows.col.astype(np.int64), np.ones(train.nnz))
    ids = [{str(place): place for place in range(size)} for size in (n_users, n_items)]
    return Dataset(n_users, n_items, *ids, triples, seed=seed % 2**31)


def _bpr(made: Any, train: Any) -> dict[str, np.ndarray]:
    ones = np.ones((train.shape[0], 1))
    return {"user": np.hstack([made.u_factors, ones]), "item": np.hstack([made.i_factors, made.i_biases[:, None]])}


def _ease(made: Any, train: Any) -> dict[str, np.ndarray]:
    return {"weights": np.asarray(made.B, dtype=np.float32)}


def _vaecf(made: Any, train: Any) -> dict[str, np.ndarray]:
    """The last layer is linear, and what follows keeps the order: what goes into it, and its rows, are the vectors."""
    import torch

    *before, last = made.vae.decoder
    with torch.no_grad():
        hidden = []
        for start in range(0, train.shape[0], 1024):
            block = torch.tensor(train[start : start + 1024].toarray())
            inner = made.vae.encode(block)[0]
            for layer in before:
                inner = layer(inner)
            hidden.append(inner)
        user = torch.cat(hidden).numpy()
        item = torch.cat([last.weight, last.bias[:, None]], dim=1).numpy()
    return {"user": np.hstack([user, np.ones((len(user), 1))]), "item": item}


def _bivaecf(made: Any, train: Any) -> dict[str, np.ndarray]:
    """A score is the sigmoid of the product, which keeps the order."""
    return {"user": made.get_user_vectors(), "item": made.get_item_vectors()}
