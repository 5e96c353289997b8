"""FREEDOM (Zhou & Shen, ACM MM 2023): LightGCN on a pruned graph, plus a frozen item graph by content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field

from recsys.core.runtime import Run
from recsys.core.values import Interactions
from recsys.graph.interaction import InteractionGraph, normalise
from recsys.graph.item_graph import mixed_graph
from recsys.graph.layers import LightConv
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.losses import bpr_loss
from recsys.rankers.multimodal import ContentModule, ContentRanker, xavier
from recsys.rankers.vectors import Batch, VectorSettings


class FREEDOM(ContentRanker):
    """``score = u . (i + h)``: behaviour from the user-item graph, content from the item graph.

    ``S = w S^image + (1 - w) S^text`` with ``S^m`` the mean of the k nearest items by content (eq. 1-3), frozen;
    ``h = S^L e`` of the item embeddings (eq. 7); ``u, i`` = LightGCN's mean over its layers (eq. 8) on a graph that
    is pruned anew each epoch: edge ``(u, i)`` is kept with a chance that falls with ``sqrt(d_u d_i)`` (eq. 5), the
    whole graph being used to score; ``L = BPR(u, i + h) + lambda sum_m BPR(u, W_m f_i^m)`` (eq. 12). Neighbours
    are items of train alone, an item is not its own, and features are never trained, so that an item without a
    train interaction is the mean of its neighbours.
    """

    title: ClassVar[str] = "freedom"

    class Settings(VectorSettings):
        modalities: tuple[str, ...] = Field((), description="Item features to read; empty: all there are.")
        num_layers: int = Field(2, ge=0, description="Propagation steps on the user-item graph.")
        num_item_layers: int = Field(1, ge=0, description="Propagation steps on the item graph; 0 = without it.")
        neighbours: int = Field(10, ge=1, description="Neighbours of an item in the graph of each modality.")
        image_weight: float = Field(0.1, ge=0, le=1, description="Share of images in the item graph; others alike.")
        keep_edges: float = Field(1.0, gt=0, le=1, description="Share of user-item edges kept in an epoch; 1 = all.")
        modality_weight: float = Field(0.0, ge=0, description="Weight of the loss on the features alone (lambda).")

    def _module(self, train: Interactions, content: Mapping[str, np.ndarray], device: torch.device) -> FREEDOMModule:
        return FREEDOMModule(train, content, self.settings, device)

    def _epoch_begin(self, module: FREEDOMModule, run: Run) -> Callable[[int], None] | None:
        if self.settings.keep_edges == 1:
            return None
        return lambda number: module.prune(run.rng("edges", number))


class FREEDOMModule(ContentModule):
    """One embedding a node, users first; a projection a modality where its loss is used."""

    separable: ClassVar[bool] = True

    def __init__(
        self, train: Interactions, content: Mapping[str, np.ndarray], settings: FREEDOM.Settings, device: torch.device
    ) -> None:
        super().__init__(train, content, settings)
        self.conv, self.graph, self.device = LightConv(), InteractionGraph(train), device
        self.whole = SparseMatrix(self.graph.normalised(), symmetric=True, device=device)
        self.pruned = self.whole
        ks, weights = dict.fromkeys(content, settings.neighbours), modality_shares(content, settings.image_weight)
        self.item_graph = SparseMatrix(mixed_graph(content, ks, weights, train.item_counts > 0), device=device)
        embedding = torch.randn(self.graph.n_nodes, settings.embedding_dim) * settings.init_std
        embedding[train.n_users :] *= self.trained  # an untrained item is what its neighbours are
        self.embedding = torch.nn.Parameter(embedding)
        self.projections = torch.nn.ParameterDict()
        for name, matrix in content.items() if settings.modality_weight else ():
            self.projections[name] = torch.nn.Parameter(xavier(matrix.shape[1], settings.embedding_dim))
            self.register_buffer(f"features_{name}", torch.from_numpy(matrix), persistent=False)

    def prune(self, rng: np.random.Generator) -> None:
        """Draw the edges that training sees: without replacement, with weights ``1 / sqrt(d_u d_i)`` (eq. 5)."""
        self.pruned = SparseMatrix(
            pruned_graph(self.graph, self.settings.keep_edges, rng), symmetric=True, device=self.device
        )

    def layers(self) -> list[torch.Tensor]:
        """Return ``[n_nodes, dim]`` for each layer 0 … L of the user-item graph."""
        adjacency = self.pruned if self.training else self.whole
        result = [self.embedding]
        for _ in range(self.settings.num_layers):
            result.append(self.conv(result[-1], adjacency))
        return result

    def by_content(self) -> torch.Tensor:
        """Return ``h = S^L e``, ``[n_items, dim]``; zeros without an item graph."""
        items = self.embedding[self.n_users :]
        if not self.settings.num_item_layers:
            return torch.zeros_like(items)
        for _ in range(self.settings.num_item_layers):
            items = self.item_graph @ items
        return items

    def propagated(self) -> torch.Tensor:
        return self.unit(self._joined(self.layers(), self.by_content()))

    def _joined(self, layers: list[torch.Tensor], content: torch.Tensor) -> torch.Tensor:
        users, items = (sum(layers) / len(layers)).split([self.n_users, len(content)])
        return torch.cat([users, items + content])

    def final(self) -> dict[str, torch.Tensor]:
        """Return user and item vectors, and what a history item adds: an untrained one adds what it is by content."""
        layers, content = self.layers(), self.by_content()
        nodes = self.unit(self._joined(layers, content))
        below = sum(layers[:-1]) / len(layers) if self.settings.num_layers else self.embedding
        fold = torch.where(self.trained, below[self.n_users :] * self.fold_scale, content / len(layers))
        return {"user": nodes[: self.n_users], "item": nodes[self.n_users :], "fold": fold}

    def penalised(self, nodes: torch.Tensor) -> torch.Tensor:
        return self.embedding.index_select(0, nodes)

    def bpr(self, batch: Batch) -> torch.Tensor:
        """Return BPR on the scores, plus BPR on the features alone."""
        if not self.projections:
            return super().bpr(batch)
        nodes = torch.cat([batch[0], batch[1] + self.n_users, batch[2] + self.n_users])
        propagated = self.propagated()
        user, positive, negative = propagated.index_select(0, nodes).chunk(3)  # [B, dim] each
        scale, side = 1.0 / self.settings.temperature, 0.0
        for name, weight in self.projections.items():
            features = self.get_buffer(f"features_{name}")
            ours, theirs = (self.unit(features.index_select(0, items) @ weight) for items in batch[1:])
            side = side + bpr_loss((user * ours).sum(1) * scale, (user * theirs).sum(1) * scale)
        value = bpr_loss((user * positive).sum(1) * scale, (user * negative).sum(1) * scale)
        return value + self.settings.modality_weight * side + self._penalty(nodes, len(batch[0]))

    def softmax(self, batch: Batch) -> torch.Tensor:
        """Return the cross-entropy on the scores, plus that on the features alone."""
        if not self.projections:
            return super().softmax(batch)
        propagated = self.propagated()
        vectors, side = propagated.index_select(0, batch[0]), 0.0
        for name, weight in self.projections.items():
            side = side + self._cross_entropy(vectors, self.unit(self.get_buffer(f"features_{name}") @ weight), batch)
        value = self._cross_entropy(vectors, propagated[self.n_users :], batch)
        nodes = torch.cat([batch[0], self.n_users + batch[3]])
        return value + self.settings.modality_weight * side + self._penalty(nodes, len(batch[3]))


def modality_shares(content: Mapping[str, np.ndarray], image_weight: float) -> dict[str, float]:
    """Return how much each modality counts: images as told, the others alike; what is alone counts whole."""
    others = [name for name in content if name != "image"]
    if not others or "image" not in content:
        return dict.fromkeys(content, 1.0)
    return {name: image_weight if name == "image" else (1 - image_weight) / len(others) for name in content}


def pruned_graph(graph: InteractionGraph, keep: float, rng: np.random.Generator) -> sp.csr_array:
    """Return the normalised adjacency of a share of the edges, rarer nodes' edges more likely kept (eq. 5).

    The exponential race of Efraimidis & Spirakis (2006) draws without replacement in one pass.
    """
    edges = graph.train.matrix.tocoo()
    weights = (graph.train.user_counts[edges.row] * graph.train.item_counts[edges.col]) ** -0.5
    n_kept = max(1, round(keep * edges.nnz))
    kept = np.argpartition(rng.exponential(size=edges.nnz) / weights, n_kept - 1)[:n_kept]
    parts = (edges.data[kept], (edges.row[kept], edges.col[kept]))
    ratings = sp.csr_array(parts, shape=edges.shape)
    return normalise(sp.csr_array(sp.block_array([[None, ratings], [ratings.T, None]], format="csr"), dtype=np.float32))
