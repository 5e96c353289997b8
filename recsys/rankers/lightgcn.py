"""LightGCN (He et al., SIGIR 2020); with no layers it is matrix factorisation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from recsys.core.protocols import Validator
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.graph.interaction import InteractionGraph
from recsys.graph.layers import LightConv
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.vectors import VectorModule, VectorRanker, VectorSettings
from recsys.rankers.vectors import pair_batches as _pair_batches  # noqa: F401  (named here by measurements)
from recsys.rankers.vectors import user_batches as _user_batches  # noqa: F401


class LightGCN(VectorRanker):
    """Embeddings averaged over the user-item graph, scored by their product.

    The defaults (catalogue softmax over cosines, Wu et al., TOIS 2024) reach a higher ndcg in a fraction of the
    time; the paper's own model is ``loss="bpr", similarity="dot", temperature=1``.

    A new user linked to the items of the history gets, in layer ``l + 1``, the mean
    ``sum_i e_i^(l) / sqrt(|H| d_i)`` of the trained graph; the layers are averaged as for any other.
    """

    class Settings(VectorSettings):
        num_layers: int = Field(3, ge=0, description="Propagation steps; 0 = matrix factorisation (BPR-MF).")
        regularisation: float = Field(1e-4, ge=0, description="L2 on the batch's initial embeddings (paper, eq. 15).")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Learn by mini-batches: pairs for ``bpr``, users with all their items for ``softmax``."""
        graph = InteractionGraph(train)
        adjacency = SparseMatrix(graph.normalised(), symmetric=True, device=run.torch_device())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.key("init"))
            module = LightGCNModule(graph, adjacency, self.settings)
        return self._learn(module, train, valid=valid, run=run, title="lightgcn")


class LightGCNModule(VectorModule):
    """The parameters: one embedding a node, users first."""

    separable: ClassVar[bool] = True

    def __init__(self, graph: InteractionGraph, adjacency: SparseMatrix, settings: LightGCN.Settings) -> None:
        super().__init__()
        self.settings, self.adjacency, self.n_users = settings, adjacency, graph.n_users
        self.conv = LightConv()
        self.embedding = torch.nn.Parameter(torch.randn(graph.n_nodes, settings.embedding_dim) * settings.init_std)
        degrees = np.maximum(graph.train.item_counts, 1).astype(np.float32)
        self.register_buffer("fold_scale", torch.from_numpy(degrees**-0.5).unsqueeze(1), persistent=False)

    def layers(self) -> list[torch.Tensor]:
        """Return ``[n_nodes, dim]`` for each layer 0 … L."""
        result = [self.embedding]
        for _ in range(self.settings.num_layers):
            result.append(self.conv(result[-1], self.adjacency))
        return result

    def propagated(self) -> torch.Tensor:
        """Return the mean over the layers ``[n_nodes, dim]``, of unit length for cosine."""
        layers = self.layers()
        return self.unit(sum(layers) / len(layers))

    def final(self) -> dict[str, torch.Tensor]:
        """Return user vectors, item vectors, and what each history item adds to a folded-in user."""
        layers = self.layers()
        mean = self.unit(sum(layers) / len(layers))
        below = sum(layers[:-1]) / len(layers) if self.settings.num_layers else self.embedding
        fold = below[self.n_users :] * self.fold_scale
        return {"user": mean[: self.n_users], "item": mean[self.n_users :], "fold": fold}

    def penalised(self, nodes: torch.Tensor) -> torch.Tensor:
        return self.embedding.index_select(0, nodes)
