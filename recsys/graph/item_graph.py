"""Item-item graphs: nearest neighbours by content or by who took them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp

from recsys.graph.interaction import normalise


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


def knn_graph(features: np.ndarray, k: int, *, among: np.ndarray | None = None, block_rows: int = 1024) -> sp.csr_array:
    """Return the cosine nearest-neighbour graph, float32 ``[n, n]``, in blocks so that memory stays linear.

    Args:
        features: ``[n, dim]``; an item with a NaN or all-zero row gets no neighbours and is nobody's neighbour.
        k: neighbours an item at most (only positive similarities count).
        among: bool ``[n]``, who may be a neighbour; unset: all.
        block_rows: rows compared at a time.
    """
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    usable = (norms > 0) & ~np.isnan(norms)
    unit = np.where(usable, features / np.where(usable, norms, 1.0), 0.0).astype(np.float32)  # [n, dim]
    offered = unit if among is None else np.where(among[:, None], unit, np.float32(0))  # zero rows are like nobody
    blocks = [
        top_k_rows(unit[start : start + block_rows] @ offered.T, k, start) for start in range(0, len(unit), block_rows)
    ]
    return sp.csr_array(sp.vstack(blocks, format="csr"), dtype=np.float32)


def mixed_graph(
    features: Mapping[str, np.ndarray], k: Mapping[str, int], weights: Mapping[str, float], among: np.ndarray
) -> sp.csr_array:
    """Return the mean over the neighbours by content, the modalities weighted; float32 ``[n, n]``, rows sum to 1.

    An item without one of the modalities gets the mean by the others; one without any has an empty row.

    Args:
        features: ``[n, dim]`` a modality.
        k: neighbours by modality.
        weights: how much each modality counts.
        among: bool ``[n]``, who may be a neighbour.
    """
    means = [weights[name] * normalise(_linked(x, k[name], among), "row") for name, x in features.items()]
    return normalise(sp.csr_array(sum(means)), "row")


def mutual_graph(features: Mapping[str, np.ndarray], k: Mapping[str, int], among: np.ndarray) -> sp.csr_array:
    """Return the symmetric graph of neighbours by content, ``D^-1/2 A D^-1/2``, float32 ``[n, n]``.

    An edge weighs the number of modalities that it is in, in whichever direction that is more.
    """
    links = sp.csr_array(sum(_linked(x, k[name], among) for name, x in features.items()))
    return normalise(sp.csr_array(links.maximum(links.T)))


def _linked(features: np.ndarray, k: int, among: np.ndarray) -> sp.csr_array:
    graph = knn_graph(features, k, among=among)
    graph.data[:] = 1.0
    return graph
