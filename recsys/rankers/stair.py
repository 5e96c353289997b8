"""STAIR (Xu, He, Wang, Zhang, AAAI 2025): embeddings that start as content and move with their neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from recsys.core.values import Histories, Interactions
from recsys.graph.interaction import InteractionGraph, normalise
from recsys.graph.item_graph import mutual_graph
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.multimodal import ContentModule, ContentRanker
from recsys.rankers.vectors import VectorSettings


class STAIR(ContentRanker):
    """LightGCN whose dimensions go from behaviour to content, with updates smoothed over the item graph.

    Items start as the whitened features (singular vectors of length ``sqrt(n_items / dim)``, the modalities averaged
    by their numbers of neighbours), users as the mean of their items. Forward, dimension ``j`` is
    ``(1 - b) / (1 - b^(L+1)) sum_l b^l A^l e`` with ``b = 1 - a_j``, ``a_j = 0.1 + 0.9 (j / dim)^gamma``: the first
    dimensions take the most from the graph. Backward, an optimizer step ``D`` of the items becomes
    ``(1 - a) / (1 - a^(L+1)) sum_l a^l S^l D``, ``S`` = the symmetric graph of neighbours by content, so that alike
    items move together, those without a train interaction too.

    The smoothing is linear, so steps are summed as they come and the sum is smoothed: ``items = start + B Z`` with the
    gradient of the items handed to ``Z`` as it is. Weight decay (AdamW) acts on what was learned: it pulls towards
    the start, where the paper pulls towards 0.
    """

    title: ClassVar[str] = "stair"

    class Settings(VectorSettings):
        modalities: tuple[str, ...] = Field((), description="Item features to read; empty: all there are.")
        num_layers: int = Field(3, ge=1, description="Propagation steps, forward and backward.")
        gamma: float = Field(0.1, gt=0, description="How early the dimensions turn to content: smaller, earlier.")
        start_from_features: bool = Field(True, description="Start as whitened features; else at random.")
        smooth_updates: bool = Field(True, description="Smooth the items' updates over the item graph.")
        neighbours: int = Field(5, ge=1, description="Neighbours of an item in the graph of each modality.")
        image_neighbours: int = Field(1, ge=1, description="The same for images.")
        regularisation: float = Field(0.0, ge=0, description="L2 on the batch's embeddings before propagation.")

    def _module(self, train: Interactions, content: Mapping[str, np.ndarray], device: torch.device) -> STAIRModule:
        return STAIRModule(train, content, self.settings, device)

    def _fold_in(self, histories: Histories) -> np.ndarray:
        history = histories.matrix()
        lengths = np.maximum(np.diff(history.indptr), 1)[:, None]
        return super()._fold_in(histories) + (history @ self._arrays["fold_start"]) / lengths

    def _brought(self, item_idx: np.ndarray, length: int) -> np.ndarray:
        return super()._brought(item_idx, length) + self._arrays["fold_start"][item_idx] / length


class STAIRModule(ContentModule):
    """What users and items moved since the start."""

    separable: ClassVar[bool] = True

    def __init__(
        self, train: Interactions, content: Mapping[str, np.ndarray], settings: STAIR.Settings, device: torch.device
    ) -> None:
        super().__init__(train, content, settings)
        self.content, dim = content, settings.embedding_dim
        self.adjacency = SparseMatrix(InteractionGraph(train).normalised(), symmetric=True, device=device)
        self.neighbours = {
            name: settings.image_neighbours if name == "image" else settings.neighbours for name in content
        }
        mutual = mutual_graph(content, self.neighbours, train.item_counts > 0)
        self.item_graph = SparseMatrix(mutual, symmetric=True, device=device)
        towards_content = 0.1 + 0.9 * (torch.arange(dim) / dim) ** settings.gamma  # a, [dim]
        self.register_buffer("damping", 1.0 - towards_content, persistent=False)
        self.register_buffer("smoothing", towards_content, persistent=False)
        for name, matrix in content.items() if settings.start_from_features else ():
            self.register_buffer(f"whitening_{name}", torch.from_numpy(whitening(matrix, dim)))
        self.register_buffer("start", self._start(), persistent=False)
        unset = (self.start == 0).all(dim=0)  # dimensions that start from nothing start at random, or they stay there
        moved = torch.randn(train.n_users + train.n_items, dim) * settings.init_std * unset
        self.moved_user = torch.nn.Parameter(moved[: train.n_users])
        self.moved_item = torch.nn.Parameter(moved[train.n_users :] * self.trained)

    def adopt(self, learned: Mapping[str, np.ndarray]) -> None:
        super().adopt(learned)
        self.start = self._start()

    def _start(self) -> torch.Tensor:
        """Return where users and items start, ``[n_users + n_items, dim]``."""
        total = torch.zeros(self.train_data.n_items, self.settings.embedding_dim)
        weights = torch.zeros(self.train_data.n_items, 1)
        for name, matrix in self.content.items() if self.settings.start_from_features else ():
            rows, share = torch.from_numpy(matrix), float(self.neighbours[name])
            total += share * (rows @ self.get_buffer(f"whitening_{name}"))
            weights += share * (rows != 0).any(dim=1, keepdim=True)
        items = total / weights.clamp(min=1.0)
        means = normalise(self.train_data.matrix, "row") @ items.numpy()
        return torch.cat([torch.from_numpy(means), items])

    def initial(self) -> torch.Tensor:
        """Return the embeddings before propagation, ``[n_users + n_items, dim]``."""
        items = self.moved_item
        if self.settings.smooth_updates:
            smooth = damped_sum(layers_of(items.detach(), self.item_graph, self.smoothing, self.settings.num_layers))
            items = items + (smooth * _scale(self.smoothing, self.settings.num_layers) - items.detach())
        return self.start + torch.cat([self.moved_user, items])

    def layers(self) -> list[torch.Tensor]:
        """Return ``b^l A^l e`` for each layer, ``[n_nodes, dim]``."""
        return layers_of(self.initial(), self.adjacency, self.damping, self.settings.num_layers)

    def propagated(self) -> torch.Tensor:
        return self.unit(damped_sum(self.layers()) * self.scale)

    @property
    def scale(self) -> torch.Tensor:
        return _scale(self.damping, self.settings.num_layers)  # [dim]

    def final(self) -> dict[str, torch.Tensor]:
        """Return user and item vectors, and what a history item adds: through the graph, and to the start."""
        layers = self.layers()
        nodes = self.unit(damped_sum(layers) * self.scale)
        through = damped_sum(layers[:-1])[self.n_users :] * self.damping * self.scale * self.fold_scale
        start = self.start[self.n_users :] * self.scale
        return {"user": nodes[: self.n_users], "item": nodes[self.n_users :], "fold": through, "fold_start": start}

    def penalised(self, nodes: torch.Tensor) -> torch.Tensor:
        return self.initial().index_select(0, nodes)


def layers_of(x: torch.Tensor, matrix: SparseMatrix, damping: torch.Tensor, num_layers: int) -> list[torch.Tensor]:
    """Return ``d^l A^l x`` for ``l`` = 0 … L, ``[n, dim]`` each; ``damping`` is ``[dim]``."""
    result = [x]
    for _ in range(num_layers):
        result.append((matrix @ result[-1]) * damping)
    return result


def damped_sum(layers: list[torch.Tensor]) -> torch.Tensor:
    """Return the sum of layers, ``[n, dim]``."""
    return sum(layers[1:], layers[0])


def _scale(damping: torch.Tensor, num_layers: int) -> torch.Tensor:
    """Return what makes the damped weights of the layers sum to 1, ``[dim]``."""
    return (1.0 - damping) / (1.0 - damping ** (num_layers + 1))


def whitening(rows: np.ndarray, dim: int) -> np.ndarray:
    """Return the map ``[n_in, dim]`` that takes feature rows to their first left singular vectors, scaled.

    ``rows @ map = U[:, :dim] sqrt(n / dim)``; columns beyond the rank are 0.

    Args:
        rows: ``[n, n_in]``, centred.
        dim: columns wanted.
    """
    values, vectors = np.linalg.eigh(rows.T.astype(np.float64) @ rows)  # ascending
    singular, vectors = np.sqrt(np.maximum(values[::-1], 0.0)), vectors[:, ::-1]
    rank = min(dim, int((singular > 1e-5 * max(singular[0], 1e-12)).sum()))
    result = np.zeros((rows.shape[1], dim), dtype=np.float32)
    result[:, :rank] = vectors[:, :rank] / singular[:rank] * np.sqrt(len(rows) / dim)
    return result
