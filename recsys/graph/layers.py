"""Message-passing layers in PyG's form, with our sparse product as their fused path."""

from __future__ import annotations

import torch
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from recsys.graph.propagation import SparseMatrix


class LightConv(MessagePassing):
    """One step of ``D^-1/2 A D^-1/2 x``: no weights, no self-loops (He et al. 2020, eq. 3).

    Takes either a ``SparseMatrix``, already normalised (fused, what training uses), or PyG's
    ``edge_index`` (message by message: samplers and explainers of PyG work on it). Both give
    what ``torch_geometric.nn.LGConv`` gives.
    """

    def __init__(self) -> None:
        super().__init__(aggr="add")

    def forward(self, x: torch.Tensor, graph: SparseMatrix | torch.Tensor) -> torch.Tensor:
        """Return the neighbours' weighted sum.

        Args:
            x: ``[n_nodes, dim]``.
            graph: normalised ``[n_nodes, n_nodes]``, or int64 ``[2, n_edges]``.
        """
        if isinstance(graph, SparseMatrix):
            return graph @ x
        index, weight = gcn_norm(graph, None, x.size(0), add_self_loops=False, dtype=x.dtype)
        return self.propagate(index, x=x, edge_weight=weight)

    def message(self, x_j: torch.Tensor, edge_weight: torch.Tensor) -> torch.Tensor:
        return edge_weight.view(-1, 1) * x_j  # [n_edges, dim]
