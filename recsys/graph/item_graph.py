"""Item-item graphs: nearest neighbours by content or by who took them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def top_k_rows(block: np.ndarray, k: int, first_row: int = 0) -> sp.csr_array:
    """Keep the ``k`` largest positive entries of each row of a dense block; entry ``(r, first_row + r)`` never.

    Args:
        block: float ``[b, n]``; changed in place.
        k: how many to keep at most.
        first_row: the row number of ``block[0]`` in the whole square matrix.
    """
    n_rows, n = block.shape
    block[np.arange(n_rows), first_row + np.arange(n_rows)] = -np.inf
    k = min(k, n)
    columns = np.argpartition(block, n - k, axis=1)[:, n - k :]
    values = np.take_along_axis(block, columns, axis=1)
    keep = values > 0
    indptr = np.concatenate([[0], np.cumsum(keep.sum(axis=1))])
    result = sp.csr_array((values[keep], columns[keep], indptr), shape=(n_rows, n))
    result.sort_indices()
    return result


def knn_graph(features: np.ndarray, k: int, *, block_rows: int = 1024) -> sp.csr_array:
    """Return the cosine nearest-neighbour graph, float32 ``[n, n]``, in blocks so that memory stays linear.

    Args:
        features: ``[n, dim]``; an item with a NaN or all-zero row gets no neighbours and is nobody's neighbour.
        k: neighbours an item at most (only positive similarities count).
        block_rows: rows compared at a time.
    """
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    usable = (norms > 0) & ~np.isnan(norms)
    unit = np.where(usable, features / np.where(usable, norms, 1.0), 0.0).astype(np.float32)  # [n, dim]
    blocks = [
        top_k_rows(unit[start : start + block_rows] @ unit.T, k, start) for start in range(0, len(unit), block_rows)
    ]
    return sp.csr_array(sp.vstack(blocks, format="csr"), dtype=np.float32)
