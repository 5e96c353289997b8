"""The graph against PyG and against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recsys.core.values import Interactions
from recsys.graph.interaction import InteractionGraph, _column_sums, _row_sums, normalise
from recsys.graph.item_graph import knn_graph, mixed_graph, mutual_graph
from recsys.graph.layers import LightConv
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.lightgcn import LightGCN, LightGCNModule


def some_graph(seed: int = 0, n_users: int = 40, n_items: int = 30, n: int = 200) -> InteractionGraph:
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, n_users - 2, n), rng.integers(0, n_items - 2, n)  # the last ones have no edges
    return InteractionGraph(Interactions(users.astype(np.int32), items.astype(np.int32), n_users, n_items))


def test_adjacency_is_bipartite_symmetric_and_binary() -> None:
    graph = some_graph()
    dense = graph.adjacency.toarray()
    np.testing.assert_array_equal(dense, dense.T)
    assert set(np.unique(dense)) == {0.0, 1.0}
    assert not dense[: graph.n_users, : graph.n_users].any()
    assert not dense[graph.n_users :, graph.n_users :].any()
    assert graph.edge_index().shape == (2, graph.adjacency.nnz)


def test_normalisation_by_hand() -> None:
    matrix = sp.csr_array(np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    root = 2**-0.5
    np.testing.assert_allclose(normalise(matrix).toarray(), [[root, 0.5, 0], [0, root, 0], [0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(normalise(matrix, "row").toarray(), [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])
    assert normalise(matrix, "none") is matrix


def test_degrees_beyond_what_float32_counts_in_ones() -> None:
    """One item that 2^24 + 3 users took: a sum of ones in float32 would stay at 2^24."""
    n = 2**24 + 3
    takers = sp.csr_array((np.ones(n, np.float32), np.zeros(n, np.int32), np.arange(n + 1)), (n, 1))
    by_item = sp.csr_array((takers.data, np.arange(n), np.array([0, n])), (1, n))
    assert (_column_sums(takers)[0], _row_sums(by_item)[0]) == (n, n)
    assert normalise(by_item).data[0] == pytest.approx(n**-0.5, rel=1e-6)


def test_degrees_of_weights_are_those_of_the_whole_matrix() -> None:
    dense = np.random.default_rng(0).random((50, 30), dtype=np.float32) * (
        np.random.default_rng(1).random((50, 30)) < 0.1
    )
    matrix = sp.csr_array(dense)
    np.testing.assert_allclose(_row_sums(matrix), dense.sum(axis=1, dtype=np.float64))
    np.testing.assert_allclose(_column_sums(matrix), dense.sum(axis=0, dtype=np.float64))
    assert not normalise(sp.csr_array((3, 4), dtype=np.float32)).nnz


@pytest.mark.parametrize("num_layers", [1, 3])
def test_propagation_equals_pyg_lightgcn(num_layers: int) -> None:
    """Values and gradients, against PyG's own model with its own normalisation, to 1e-5."""
    from torch_geometric.nn.models import LightGCN as PyGLightGCN

    graph = some_graph()
    theirs = PyGLightGCN(graph.n_nodes, 8, num_layers)
    settings = LightGCN.Settings(embedding_dim=8, num_layers=num_layers, similarity="dot")
    ours = LightGCNModule(graph, SparseMatrix(graph.normalised(), symmetric=True), settings)
    ours.embedding.data.copy_(theirs.embedding.weight.data)
    value, expected = ours.propagated(), theirs.get_embedding(graph.edge_index())
    probe = torch.randn_like(value)
    (value * probe).sum().backward()
    (expected * probe).sum().backward()
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.embedding.grad, theirs.embedding.weight.grad, rtol=1e-5, atol=1e-5)


def test_no_layers_is_the_embedding_itself() -> None:
    graph = some_graph()
    settings = LightGCN.Settings(embedding_dim=8, num_layers=0, similarity="dot")
    module = LightGCNModule(graph, SparseMatrix(graph.normalised(), symmetric=True), settings)
    torch.testing.assert_close(module.propagated(), module.embedding.detach())


def test_layer_agrees_with_pyg_on_both_paths() -> None:
    from torch_geometric.nn import LGConv

    graph, x = some_graph(), torch.randn(70, 8)
    expected = LGConv()(x, graph.edge_index())
    layer = LightConv()
    torch.testing.assert_close(layer(x, graph.edge_index()), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        layer(x, SparseMatrix(graph.normalised(), symmetric=True)), expected, rtol=1e-5, atol=1e-6
    )


def test_gradient_of_an_asymmetric_product() -> None:
    matrix = sp.random_array((6, 9), density=0.4, rng=np.random.default_rng(0), dtype=np.float64).tocsr()
    dense = torch.randn(9, 4, requires_grad=True)
    probe = torch.randn(6, 4)
    ((SparseMatrix(matrix) @ dense) * probe).sum().backward()
    expected = torch.from_numpy(matrix.toarray().astype(np.float32)).T @ probe
    torch.testing.assert_close(dense.grad, expected)


def test_csr_path_of_other_devices_gives_the_same() -> None:
    """What a GPU runs (a CSR product) is checked here on the CPU's own kernel."""
    graph = some_graph()
    matrix = graph.normalised()
    parts = (torch.from_numpy(matrix.indptr.astype(np.int64)), torch.from_numpy(matrix.indices.astype(np.int64)))
    packed = torch.sparse_csr_tensor(*parts, torch.from_numpy(matrix.data), size=matrix.shape)
    ours, x = SparseMatrix(matrix, symmetric=True), torch.randn(graph.n_nodes, 8)
    expected = ours @ x
    ours._forward = ours._backward = packed
    torch.testing.assert_close(ours @ x, expected, rtol=1e-5, atol=1e-6)


def test_knn_graph_against_brute_force() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(50, 6)).astype(np.float32)
    features[7], features[9] = np.nan, 0.0
    graph = knn_graph(features, 4, block_rows=16).toarray()
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    for item in range(50):
        if item in (7, 9):
            assert not graph[item].any()
            assert not graph[:, item].any()
            continue
        similar = np.nan_to_num(unit @ unit[item], nan=-1.0)
        similar[item] = -1.0
        nearest = [other for other in np.argsort(-similar)[:4] if similar[other] > 0]
        assert set(np.flatnonzero(graph[item])) == set(nearest)
        np.testing.assert_allclose(graph[item, nearest], similar[nearest], rtol=1e-5)


def test_neighbours_among_some_only() -> None:
    rng = np.random.default_rng(1)
    features, among = rng.normal(size=(30, 6)).astype(np.float32), np.arange(30) % 3 == 0
    some, whole = knn_graph(features, 4, among=among, block_rows=8).toarray(), knn_graph(features, 30).toarray()
    assert not some[:, ~among].any()
    for item in range(30):
        expected = np.where(among, whole[item], 0.0)
        expected[expected < np.sort(expected)[-4]] = 0.0
        np.testing.assert_allclose(some[item], expected, rtol=1e-6)


def test_mixed_and_mutual_graphs_by_hand() -> None:
    """Items 0 and 1 look alike, 1 and 2 read alike; 3 has no image, 4 nothing, 5 must not be a neighbour."""
    nan = [np.nan, np.nan]
    image = np.array([[1, 0], [1, 0.1], [-1, 0.2], nan, nan, [1, 0.08]], dtype=np.float32)
    text = np.array([[0, -1], [1, 0], [1, 0.1], [1, 0.3], nan, [1, 0.02]], dtype=np.float32)
    features, among = {"image": image, "text": text}, np.arange(6) < 5
    k, weights = {"image": 1, "text": 1}, {"image": 0.25, "text": 0.75}
    mixed = mixed_graph(features, k, weights, among).toarray()
    expected = np.zeros((6, 6))
    expected[0, 1] = 1.0  # by the image alone: no text is like it
    expected[1, 0], expected[1, 2] = 0.25, 0.75
    expected[2, 1] = 1.0
    expected[3, 2] = 1.0
    expected[5, 1] = 1.0  # by both
    np.testing.assert_allclose(mixed, expected, atol=1e-6)

    links = np.zeros((6, 6))
    for one, two, weight in ((0, 1, 1), (1, 2, 1), (2, 3, 1), (1, 5, 2)):
        links[one, two] = links[two, one] = weight
    degrees = np.maximum(links.sum(1), 1e-9)
    mutual = mutual_graph(features, k, among).toarray()
    np.testing.assert_allclose(mutual, links / np.sqrt(np.outer(degrees, degrees)), rtol=1e-5)
