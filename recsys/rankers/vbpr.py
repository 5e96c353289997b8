"""VBPR (He & McAuley, AAAI 2016): matrix factorisation with a part that reads item features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from recsys.core.values import Histories, Interactions, Query
from recsys.rankers.multimodal import ContentModule, ContentRanker, xavier
from recsys.rankers.vectors import VectorSettings


class VBPR(ContentRanker):
    """``score = b_i + g_u . g_i + t_u . (E f_i) + b' . f_i`` (eq. 4), with all modalities in one row ``f_i``.

    An item without a train interaction has no ``g_i`` and no ``b_i``: its features alone speak. The paper's loss is
    ``bpr``. A new user has ``g`` and ``t`` like the trained users with such histories: what the items bring
    (``sum_i v_i / sqrt(|H| d_i)``), times the number that fits the trained users' own vectors best.
    """

    title: ClassVar[str] = "vbpr"

    class Settings(VectorSettings):
        modalities: tuple[str, ...] = Field((), description="Item features to read; empty: all there are.")
        id_term: bool = Field(True, description="Learn a vector an item (g_i) besides that read off its features.")
        content_dim: int = Field(64, ge=1, description="Numbers that features are projected to (size of t_u).")
        item_bias: bool = Field(True, description="Learn a number an item that is added to its scores (b_i).")
        content_bias: bool = Field(True, description="Learn what features add to the scores of all users (b').")
        similarity: Literal["dot"] = Field("dot", description="Biases make sense with products alone.")
        temperature: float = Field(1.0, gt=0, description="Scores are divided by it in the loss.")
        regularisation: float = Field(1e-3, ge=0, description="L2 on the batch's vectors and biases, and on E and b'.")

    def _module(self, train: Interactions, content: Mapping[str, np.ndarray], device: torch.device) -> VBPRModule:
        return VBPRModule(train, content, self.settings)

    def _fold_in(self, histories: Histories) -> np.ndarray:
        vectors = super()._fold_in(histories)
        vectors[:, -1] = 1.0  # of the biases, which everybody gets
        return vectors

    def adds_up(self, query: Query) -> bool:
        """Return whether contributions sum to the score: only where no item has a bias."""
        return super().adds_up(query) and not (self.settings.item_bias or self.settings.content_bias)


class VBPRModule(ContentModule):
    """Vectors are ``[g | t | 1]`` of a user and ``[g | E f | b]`` of an item."""

    separable: ClassVar[bool] = True

    def __init__(self, train: Interactions, content: Mapping[str, np.ndarray], settings: VBPR.Settings) -> None:
        super().__init__(train, content, settings)
        rows = torch.from_numpy(np.concatenate(list(content.values()), axis=1) / len(content) ** 0.5)  # [n_items, dim]
        self.register_buffer("features", rows.float(), persistent=False)
        id_dim = settings.embedding_dim if settings.id_term else 0
        self.user = torch.nn.Parameter(torch.randn(train.n_users, id_dim + settings.content_dim) * settings.init_std)
        self.item = torch.nn.Parameter(torch.randn(train.n_items, id_dim) * settings.init_std * self.trained)
        self.projection = torch.nn.Parameter(xavier(rows.shape[1], settings.content_dim))
        self.bias = torch.nn.Parameter(torch.zeros(train.n_items, 1)) if settings.item_bias else None
        self.content_bias = torch.nn.Parameter(torch.zeros(rows.shape[1], 1)) if settings.content_bias else None

    def propagated(self) -> torch.Tensor:
        return torch.cat([self._users(self.user), self._items(slice(None))])

    def rows(self, nodes: torch.Tensor) -> torch.Tensor:
        """Return the vectors of a batch (a third of them users'), without projecting the other items."""
        users, items = nodes.split([len(nodes) // 3, len(nodes) - len(nodes) // 3])
        items = items - self.n_users
        if len(items) > len(self.features):
            return torch.cat([self._users(self.user[users]), self._items(slice(None)).index_select(0, items)])
        return torch.cat([self._users(self.user[users]), self._items(items)])

    def _users(self, own: torch.Tensor) -> torch.Tensor:
        return torch.cat([own, own.new_ones(len(own), 1)], dim=1)  # [n, dim + 1]

    def _items(self, which: torch.Tensor | slice) -> torch.Tensor:
        features = self.features[which]
        bias = features.new_zeros(len(features), 1)
        if self.bias is not None:
            bias = bias + self.bias[which]
        if self.content_bias is not None:
            bias = bias + features @ self.content_bias
        return torch.cat([self.item[which], features @ self.projection, bias], dim=1)  # [n, dim + 1]

    def final(self) -> dict[str, torch.Tensor]:
        """Return user and item vectors, and what each history item adds to a folded-in user."""
        items = self._items(slice(None))
        fold = items[:, :-1] * self.fold_scale
        n_id = self.item.shape[1]
        scales = torch.ones(items.shape[1] - 1)
        for part in (slice(0, n_id), slice(n_id, None)):
            scales[part] = self._best_scale(fold[:, part].cpu(), self.user[:, part].cpu())
        fold = torch.cat([fold * scales.to(fold.device), torch.zeros_like(items[:, :1])], dim=1)
        return {"user": self._users(self.user), "item": items, "fold": fold}

    def _best_scale(self, fold: torch.Tensor, users: torch.Tensor) -> float:
        """Return the number that brings folded-in vectors of the trained users nearest to their own (least squares)."""
        matrix = self.train_data.matrix
        lengths = np.maximum(self.train_data.user_counts, 1)[:, None]
        folded = (matrix @ fold.numpy()) / np.sqrt(lengths)  # [n_users, dim]
        size = float((folded**2).sum())
        return float((folded * users.numpy()).sum()) / size if size else 0.0

    def _penalty(self, nodes: torch.Tensor, n_examples: int) -> torch.Tensor | float:
        if not self.settings.regularisation:
            return 0.0
        is_user = nodes < self.n_users
        users, items = nodes[is_user], nodes[~is_user] - self.n_users
        total = self.user[users].square().sum() + self.item[items].square().sum()
        if self.bias is not None:
            total = total + self.bias[items].square().sum()
        shared = self.projection.square().sum()
        if self.content_bias is not None:
            shared = shared + self.content_bias.square().sum()
        return self.settings.regularisation * (total / n_examples + shared) / 2
