"""The user-item graph of the train interactions, and its sparse adjacency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.sparse as sp

from recsys.core.values import Interactions

if TYPE_CHECKING:
    import torch

Normalisation = Literal["symmetric", "row", "none"]


def normalise(matrix: sp.csr_array, kind: Normalisation = "symmetric") -> sp.csr_array:
    """Scale the edges by the degrees of their ends; nodes without edges keep empty rows.

    Args:
        matrix: non-negative ``[n, m]``.
        kind: ``"symmetric"`` gives ``D_r^-1/2 A D_c^-1/2`` (Kipf & Welling 2017), ``"row"`` gives
            ``D_r^-1 A``, ``"none"`` returns it as it is.
    """
    if kind == "none":
        return matrix
    power = -0.5 if kind == "symmetric" else -1.0
    rows = _degree_power(_row_sums(matrix), power)
    columns = _degree_power(_column_sums(matrix), power) if kind == "symmetric" else None
    scaled = sp.diags_array(rows) @ matrix
    if columns is not None:
        scaled = scaled @ sp.diags_array(columns)
    return sp.csr_array(scaled, dtype=np.float32)


def _row_sums(matrix: sp.csr_array) -> np.ndarray:
    """Sum in float64 without a copy of the edges: a float32 sum of ones would stay at 2^24."""
    filled = np.diff(matrix.indptr) > 0
    result = np.zeros(matrix.shape[0])
    if filled.any():
        result[filled] = np.add.reduceat(matrix.data, matrix.indptr[:-1][filled], dtype=np.float64)
    return result


def _column_sums(matrix: sp.csr_array) -> np.ndarray:
    return np.bincount(matrix.indices, weights=matrix.data, minlength=matrix.shape[1])


def _degree_power(degrees: np.ndarray, power: float) -> np.ndarray:
    result = np.zeros(len(degrees), dtype=np.float64)
    np.power(degrees, power, out=result, where=degrees > 0)
    return result


@dataclass(frozen=True)
class InteractionGraph:
    """Bipartite graph: nodes ``0 … n_users-1`` are users, then come the items.

    Args:
        train: the train interactions, and only they: held-out ones would leak.
    """

    train: Interactions

    @property
    def n_users(self) -> int:
        return self.train.n_users

    @property
    def n_items(self) -> int:
        return self.train.n_items

    @property
    def n_nodes(self) -> int:
        return self.n_users + self.n_items

    @cached_property
    def adjacency(self) -> sp.csr_array:
        """Binary symmetric ``[n_nodes, n_nodes]``: ``[[0, R], [R^T, 0]]``."""
        ratings = self.train.matrix
        return sp.csr_array(sp.block_array([[None, ratings], [ratings.T, None]], format="csr"), dtype=np.float32)

    def edge_index(self) -> torch.Tensor:
        """Return PyG's form, int64 ``[2, 2 * n_edges]``, both directions."""
        import torch

        coo = self.adjacency.tocoo()
        return torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))  # [2, n_directed]

    def normalised(self, kind: Normalisation = "symmetric") -> sp.csr_array:
        """Return the normalised adjacency ``[n_nodes, n_nodes]``."""
        return normalise(self.adjacency, kind)
